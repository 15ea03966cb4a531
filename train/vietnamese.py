"""The Vietnamese teacher: espeak-ng's three voices under many timbres, its timed phonemes laid onto the reader's
symbols."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speech import audio
from train import align, corpus, everyday_vi, pitch, reader, texts
from train.espeak import Spoken

DIALECTS = ["vi", "vi", "vi-vn-x-central", "vi-vn-x-south"]
"""Northern twice: it is the voice that is shipped."""
TIMBRES = [
    "",
    *(f"+f{i}" for i in range(1, 6)),
    *(f"+m{i}" for i in range(1, 9)),
    "+Alicia",
    "+Andrea",
    "+Annie",
    "+belinda",
    "+linda",
    "+Denis",
    "+Diogo",
    "+Gene",
    "+Hugo",
    "+Jacky",
    "+Marco",
    "+Michael",
    "+antonio",
    "+benjamin",
    "+john",
    "+max",
    "+miguel",
    "+paul",
]
HUNSPELL, MESSAGES = Path("/usr/share/hunspell/vi_VN.dic"), Path("/usr/share/locale/vi/LC_MESSAGES")
MOST_FRAMES = 80
"""Of one symbol: longer ones are a slip of the alignment."""


def sentences(draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """(text in words, voice) of one voice."""
    from sea_g2p import Normalizer

    voice, words = draw.choice(DIALECTS) + draw.choice(TIMBRES), Normalizer("vi")
    held = {s.lower() for s in texts.held_out("vi")}
    phrases = texts.vietnamese(count, draw.randrange(2**31), held, HUNSPELL, MESSAGES)
    for phrase in phrases:
        said = everyday_vi.sentence(draw) if draw.random() < 0.5 else phrase
        yield words.normalize(said), voice  # espeak reads words only: figures are the reader's to say


def cut(text: str, voice: str, spoken: Spoken, symbols: list[str]) -> "corpus.Utterance | None":
    """None where espeak said something far from the reader's symbols."""
    segments = [(_named(name), end) for name, end in spoken.segments]
    if len(symbols) < 4 or len(segments) < 4:
        return None
    samples = audio.resample(spoken.samples, spoken.rate)
    samples = samples * (audio.REFERENCE_RMS / max(1e-4, float(np.sqrt(np.mean(samples**2)))))
    total = len(samples) // audio.HOP_SAMPLES
    ends = [(name, min(total, round(end * audio.SAMPLE_RATE / audio.HOP_SAMPLES))) for name, end in segments]
    ends[-1] = (ends[-1][0], total)
    symbols, frames = align.frames_of(ends, symbols)
    skip = 0
    if symbols[0] == align.SILENCE:
        skip = max(0, frames[0] - corpus.LEADING_FRAMES)
        frames[0] -= skip
    if symbols[-1] in reader.PAUSES:
        frames[-1] = min(frames[-1], corpus.TRAILING_FRAMES)
    total = sum(frames)
    seconds = total * audio.HOP_SAMPLES / audio.SAMPLE_RATE
    if max(frames) > MOST_FRAMES or not corpus.LEAST_SECONDS <= seconds <= corpus.MOST_SECONDS:
        return None
    samples = samples[skip * audio.HOP_SAMPLES : (skip + total) * audio.HOP_SAMPLES]
    f0 = pitch.track(np.pad(samples, (0, audio.HOP_SAMPLES)))[:total]
    return corpus.timed(text, voice, symbols, frames, samples, f0)


def _named(name: str) -> str:
    """espeak's name of a segment in the reader's spelling: the level tone is 1, no stress."""
    name = name.replace("ˈ", "").replace("ˌ", "")
    name = {"tʃ": "ʧ", "dʒ": "ʤ"}.get(name, name)
    match = re.fullmatch(r"(\D*?)([ɜ1-7])", name)
    return match[1] + {"7": "1", "ɜ": "3"}.get(match[2], match[2]) if match else name
