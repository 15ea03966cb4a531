"""A recording that somebody sends, made a reference: its longest clean part, and whether a text can be what is said
there. Knows nothing of models, files' names or HTTP."""

import io
import itertools
import math
import unicodedata
from dataclasses import dataclass

import numpy as np

from speech.audio import SAMPLE_RATE, UnreadableAudio, pcm16, read_mono, resample, wav_header
from speech.reading.language import language_of
from speech.reading.passages import joined, read
from speech.text import clean, control_character
from speech.voice_files import MAX_TRANSCRIPT_BYTES, BadVoice

MAX_REFERENCE_SECONDS = 12.0
"""Longer ones do not help, and each chunk is solved with its reference."""
MAX_RECORDING_SECONDS = 120.0
STEP = SAMPLE_RATE // 100
"""10 ms, over which loudness is measured."""
EDGE_STEPS = 5
"""Of what is before the first sound and behind the last, as much is kept."""
PAUSES = 0.3, 0.15, 0.06
"""Seconds of silence at which a recording that is too long may be cut, the longest first."""
GOOD_SECONDS = 3.0
"""What is so long need not be cut at a shorter pause to be longer."""
LONGEST_PAUSE_SECONDS = 1.0
"""More silence than that is no part of a reference."""
SILENCE, FLOOR, MAX_SILENCE = 0.01, 2.0, 0.1
"""Of the loudest, of the quietest, and of the loudest at most: below it there is silence."""
CLIPPED, CLIPPED_SHARE = 0.98, 0.001
"""Samples that stay at full scale, and how many of them there may be."""
LETTERS_PER_SECOND = 3.0, 30.0
USUAL_LETTERS_PER_SECOND = 15.0
"""People who speak say 10 to 20."""
CUT_SHARE = 0.8
"""Where less than this of a recording's speech is used, a text may be that of the whole."""
LETTERS_IN_A_CHARACTER = 3
"""Of Chinese or Japanese."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording's used part, 24 kHz mono, as it is kept."""

    wav: bytes
    start: float
    """Seconds of the recording from which it is used."""
    end: float
    spoken_seconds: float
    """Of the whole recording, pauses counted."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


def reference_of(recording: bytes, field: str, shortest: float, longest: float) -> Reference:
    """Raises BadVoice, which names `field`. Takes some 0.1 s; no more memory than two minutes of sound."""
    longest = min(longest, MAX_REFERENCE_SECONDS)
    if not recording.startswith(KINDS):
        raise BadVoice(f"{field} must be a sound file: WAV, FLAC, Ogg, MP3 or AIFF", field)
    try:
        samples, rate = read_mono(_Bytes(recording), MAX_RECORDING_SECONDS)
    except UnreadableAudio as error:
        raise BadVoice(f"{field} {error}", field) from None
    np.clip(samples, -1, 1, out=samples)  # floats may be louder
    whole, clipped = resample(samples, rate), _clipped(samples) * (SAMPLE_RATE / rate)
    loud = _loud(whole)
    if not loud.any():
        raise BadVoice(f"{field} has no sound in it", field)
    start, end = _used(loud, clipped, field, shortest, longest)
    part = whole[start : min(end, len(whole))]
    spoken = sum(after - before for before, after in _parts(loud, round(100 * LONGEST_PAUSE_SECONDS))) / 100
    return Reference(
        wav_header(len(part)) + pcm16(part), start / SAMPLE_RATE, start / SAMPLE_RATE + len(part) / SAMPLE_RATE, spoken
    )


def check_said(text: str, field: str, reference: Reference) -> str:
    """What is said in it, cleaned. Raises BadVoice where it cannot be."""
    stray = control_character(text)
    if stray is not None:
        raise BadVoice(f"{field} has the control or half character U+{ord(stray):04X}; leave it out", field)
    if len(text.encode()) > MAX_TRANSCRIPT_BYTES:
        raise BadVoice(f"{field} has over {MAX_TRANSCRIPT_BYTES} bytes; what is said takes seconds", field)
    said = clean(text)
    letters = sum(map(_letters, " ".join(passage.words for passage in joined(read(said, language_of(said))))))
    slowest, fastest = (math.ceil(rate * reference.seconds) for rate in LETTERS_PER_SECOND)
    used = f"{reference.seconds:.1f} s of speech ({reference.start:.1f} to {reference.end:.1f} s of the recording)"
    if not slowest <= letters <= fastest:
        raise BadVoice(
            f"{field} has {letters} letters as it is said, and {used} have {slowest} to {fastest}; "
            "write all that is said in them, and nothing else",
            field,
        )
    cut = reference.seconds < CUT_SHARE * reference.spoken_seconds
    if cut and _oddity(letters, reference.spoken_seconds) < _oddity(letters, reference.seconds):
        raise BadVoice(
            f"{field} seems to be all that is said in the recording, and {used} are used; "
            "write what is said in them, and nothing else, or send that part alone",
            field,
        )
    return said


def _oddity(letters: int, seconds: float) -> float:
    """How far that is from how fast people speak; 0 is usual."""
    return abs(math.log(letters / seconds / USUAL_LETTERS_PER_SECOND))


KINDS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", *(bytes((0xFF, second)) for second in range(0xE0, 0x100)))
"""How the files begin that are given to the decoder: of those that it knows, the ones that people have."""


class _Bytes(io.BytesIO):
    """In broken files libsndfile seeks to before the beginning. What is raised there is printed, and goes nowhere."""

    def seek(self, at: int, whence: int = 0, /) -> int:
        try:
            return super().seek(at, whence)
        except ValueError:
            return -1


def _used(loud: np.ndarray, clipped: np.ndarray, field: str, shortest: float, longest: float) -> tuple[int, int]:
    """Samples; see `reference_of`."""
    steps, best = int(100 * longest), (0, 0)
    for pause in PAUSES:
        parts = [part for part in _parts(loud, round(100 * pause)) if not _is_clipped(clipped, part)]
        best = max([best, *_runs(parts, steps)], key=lambda run: run[1] - run[0])
        if best[1] - best[0] >= 100 * GOOD_SECONDS:
            break
    if best[1] - best[0] < 100 * shortest:
        raise BadVoice(_why_none(loud, clipped, field, shortest, longest), field)
    edge = min(EDGE_STEPS, (steps - (best[1] - best[0])) // 2)
    return max(0, best[0] - edge) * STEP, (best[1] + edge) * STEP


def _why_none(loud: np.ndarray, clipped: np.ndarray, field: str, shortest: float, longest: float) -> str:
    parts = _parts(loud, round(100 * PAUSES[0]))
    if any(_is_clipped(clipped, part) for part in parts):
        return f"{field} is clipped: record it more quietly"
    if max(end - start for start, end in parts) > 100 * longest:
        return f"{field} has no pause at which {longest:g} s of it could end; send {shortest:g} to {longest:g} s"
    said = sum(end - start for start, end in parts) / 100
    return f"{field} has {said:.1f} s of speech; it needs {shortest:g} to {longest:g} s in one piece"


def _loud(samples: np.ndarray) -> np.ndarray:
    """(steps,) bool: what is not silence."""
    steps = np.pad(samples, (0, -len(samples) % STEP)).reshape(-1, STEP)
    loudness = np.sqrt(np.mean(steps.astype(np.float64) ** 2, axis=1))
    if not loudness.any():
        return np.zeros(len(loudness), bool)
    loudest, quietest = np.quantile(loudness, (0.95, 0.1))
    loudest = loudest or loudness.max()
    heard: np.ndarray = loudness > min(max(SILENCE * loudest, FLOOR * quietest), MAX_SILENCE * loudest)
    return heard


def _parts(loud: np.ndarray, pause: int) -> list[tuple[int, int]]:
    """From where to where there is sound without `pause` steps of silence."""
    at = np.flatnonzero(loud)
    breaks = np.flatnonzero(np.diff(at) > pause)
    starts, ends = at[[0, *(breaks + 1)]], at[[*breaks, len(at) - 1]] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _runs(parts: list[tuple[int, int]], longest: int) -> list[tuple[int, int]]:
    """From each part the neighbours that are short enough together, without a long silence between."""
    runs = []
    for number, (start, _) in enumerate(parts):
        end = start
        for before, after in itertools.pairwise([(start, start), *parts[number:]]):
            if after[1] - start > longest or after[0] - before[1] > 100 * LONGEST_PAUSE_SECONDS:
                break
            end = after[1]
        runs.append((start, end))
    return runs


def _clipped(samples: np.ndarray) -> np.ndarray:
    """Places at which a recording stays at full scale for three samples."""
    flat = np.diff(samples) == 0
    at_limit = np.abs(samples[1:-1]) >= CLIPPED
    places: np.ndarray = np.flatnonzero(flat[1:] & flat[:-1] & at_limit)
    return places


def _is_clipped(places: np.ndarray, part: tuple[int, int]) -> bool:
    start, end = part[0] * STEP, part[1] * STEP
    return bool(np.sum((places >= start) & (places < end)) > CLIPPED_SHARE * (end - start))


def _letters(character: str) -> int:
    if not character.isalnum():
        return 0
    wide = unicodedata.east_asian_width(character) in "WF" and not character.isascii()
    return LETTERS_IN_A_CHARACTER if wide else 1
