"""Text and a voice in, 24 kHz samples out. Knows nothing of HTTP.   Try: python tts_core.py "Hello there." hello.wav"""

import argparse
import functools
import math
import os
import re
import secrets
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from engine import checkpoint, device, fingerprint
from engine.checkpoint import ModelUnavailable
from engine.mel import log_mel
from engine.sampler import Sampler
from engine.stepping import run_to_end, to_host
from engine.tokenizers import CharTokenizer, Chunk, PhonemeTokenizer, Prompt, Tokenizer
from engine.vocoder import Vocoder
from speech import audio
from speech.audio import HOP_SAMPLES, SAMPLE_RATE
from speech.reading.language import language_of
from speech.reading.passages import Passage, Piece, joined, pieces, read
from speech.request import DEFAULT_VOICE, SPEEDS, BadSpeech, Speech, UnknownVoice
from speech.text import clean

HERE = Path(__file__).parent
EMBEDDED_MODEL, VOICES = HERE / "models" / "tiny", HERE / "voices"
CROSS_FADE_SAMPLES = 3600
"""0.15 s, as upstream joins chunks."""
MIN_FRAMES = math.ceil(CROSS_FADE_SAMPLES / HOP_SAMPLES) + 1
"""Of speech in a chunk: what a cross-fade needs."""
SENTENCES_AT_ONCE = 16
"""Read between two yield points: about 10 ms."""
MIN_REFERENCE_SECONDS = 1.0
MAX_REFERENCE_SHARE = 0.6
"""A reference may take so much of what the model attends over; the rest is for speech."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A reference, prepared once for every request that uses it."""

    name: str
    text: str
    language: str
    seconds: float
    mel: torch.Tensor  # (frames, 100), on the device
    gain: float
    """What the speech is multiplied by: quiet references are raised before conditioning."""
    prompt: Prompt
    fingerprint: str
    """Of the reference and the model: who has it can speak what was promised with it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every length of a speech, known before any inference."""

    voice: Voice
    chunks: list[Chunk]
    samples: int
    """Of the whole speech, pauses counted and cross-fades taken off."""
    seed: int
    steps: int
    cfg_strength: float
    tail: int = 0
    """Samples of silence that the speech ends with."""
    unspoken: tuple[str, ...] = ()
    """Words in a script that this checkpoint has no sounds for."""

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE


class TTS:
    """One model and its voices. Raises ModelUnavailable, ValueError for a device or voice that cannot be used.

    `normalize`: whether a request that does not say is read into words."""

    def __init__(
        self, model: str | Path = EMBEDDED_MODEL, voices: Path = VOICES, on: str = "auto", normalize: bool = True
    ):
        self._normalize = normalize
        self.device = device.choose(on)
        loaded = checkpoint.load(str(model))
        self.model, self._max_frames = loaded.name, loaded.max_seconds * SAMPLE_RATE / HOP_SAMPLES
        self._steps, self._cfg_strength = loaded.steps, loaded.cfg_strength
        read = functools.partial(checkpoint.read_weights, loaded.weights)
        self._sampler = Sampler(loaded.arch, read, self.device.place, self.device.dtype)
        # For the chunk that fp16 cannot hold; the other formats have fp32's range.
        self._spare = (loaded.arch, read) if self.device.dtype == torch.float16 else None
        # On GPUs its part is too small to gain from half precision.
        self._vocoder = Vocoder(
            loaded.vocoder, self.device.place, torch.bfloat16 if self.device.dtype == torch.bfloat16 else torch.float32
        )
        self._tokenizer: Tokenizer = (
            PhonemeTokenizer(loaded.vocab, loaded.durations)
            if loaded.durations
            else CharTokenizer(loaded.vocab, loaded.tokenizer)
        )
        self._fingerprint = fingerprint.of_checkpoint(loaded)
        self.voices = {path.stem: self._voice(path) for path in sorted(voices.glob("*.wav"))}
        if DEFAULT_VOICE not in self.voices:
            raise ValueError(f"{voices} needs {DEFAULT_VOICE}.wav and {DEFAULT_VOICE}.txt (its transcript)")

    def _voice(self, path: Path) -> Voice:
        transcript = path.with_suffix(".txt")
        if not transcript.is_file():
            raise ValueError(f"{path} needs its transcript in {transcript.name} beside it")
        said = clean(transcript.read_text(encoding="utf-8"))
        if not said:
            raise ValueError(f"{transcript} is empty; write into it what is said in {path.name}")
        samples, rate = audio.read_mono(path)
        longest = MAX_REFERENCE_SHARE * self._max_frames * HOP_SAMPLES / SAMPLE_RATE
        if not MIN_REFERENCE_SECONDS <= len(samples) / rate <= longest:
            raise ValueError(
                f"{path} lasts {len(samples) / rate:.1f} s; {self.model} takes references of {MIN_REFERENCE_SECONDS} to {longest:.1f} s"
            )
        identity = fingerprint.of_reference(self._fingerprint, samples, rate, said)
        rms = max(1e-4, float(np.sqrt(np.mean(samples**2))))
        gain = min(1.0, rms / audio.REFERENCE_RMS)
        samples = audio.resample(samples / gain, rate)
        frames = len(samples) // HOP_SAMPLES
        # Upstream conditions on one frame more and then speaks it again; without it no scrap of the reference leads the speech.
        mel = log_mel(torch.from_numpy(samples))[:frames].to(self.device.place)
        return Voice(
            path.stem,
            said,
            language_of(said),
            len(samples) / SAMPLE_RATE,
            mel,
            gain,
            self._tokenizer.prompt(said, frames),
            identity,
        )

    def plan(self, speech: Speech) -> Plan:
        """Chunks with exact lengths. Raises UnknownVoice, and BadSpeech for a duration no pace could meet."""
        return run_to_end(self.planning(speech))

    def planning(self, speech: Speech) -> Generator[None, None, Plan]:
        """`plan`, yielding after each chunk: an hour of text takes longer than a solver step."""
        voice = self.voices.get(speech.voice)
        if voice is None:
            raise UnknownVoice(f"no voice {speech.voice!r}; have: {', '.join(self.voices)}")
        passages = yield from self._passages(voice, speech)
        unspoken = self._unspoken(voice, passages)
        ends = passages[-1].pause if not passages[-1].words else 0.0
        passages = passages if not ends else passages[:-1]
        tail = round(ends * SAMPLE_RATE)
        if speech.duration is None:
            chunks = yield from self._chunks(voice, passages, speech.speed)
            samples = self._joined_samples(voice, chunks) + tail
        else:
            chunks = yield from self._fitted(voice, passages, speech.duration, tail)
            samples = round(speech.duration * SAMPLE_RATE)
        return Plan(
            voice,
            chunks,
            samples,
            secrets.randbits(63) if speech.seed is None else speech.seed,
            speech.steps or self._steps,
            self._cfg_strength if speech.cfg_strength is None else speech.cfg_strength,
            tail,
            unspoken,
        )

    def _passages(self, voice: Voice, speech: Speech) -> Generator[None, None, list[Passage]]:
        """The text in words; marks and pictures alone are a short silence, so that a client's test text "." has an answer."""
        normalize = self._normalize if speech.normalize is None else speech.normalize
        found: list[Passage] = []
        for passage in read(speech.text, speech.language, normalize, voice.language):
            found.append(passage)
            if not len(found) % SENTENCES_AT_ONCE:
                yield
        passages = joined(found)
        return passages if any(p.words for p in passages) else [Passage(".", voice.language), *passages]

    def _unspoken(self, voice: Voice, passages: list[Passage]) -> tuple[str, ...]:
        """Raises BadSpeech when no word of the text has a sound."""
        text = " ".join(passage.words for passage in passages)
        unspoken = tuple(voice.prompt.unspoken(text))
        if unspoken and not any(word not in unspoken for word in re.findall(r"[^\W_]+", text)):
            raise BadSpeech(f"text has no word that {self.model} can speak: {', '.join(unspoken)[:80]}", "text")
        return unspoken

    def _chunks(self, voice: Voice, passages: list[Passage], speed: float) -> Generator[None, None, list[Chunk]]:
        chunks: list[Chunk] = []
        for piece in self._pieces(voice, passages, speed):
            chunks.append(self._chunk(voice, piece, speed, joined=bool(chunks)))
            yield
        return chunks

    def _pieces(self, voice: Voice, passages: list[Passage], speed: float) -> list[Piece]:
        return pieces(passages, voice.prompt.max_bytes(self._max_frames - len(voice.mel), speed))

    def _chunk(self, voice: Voice, piece: Piece, speed: float, joined: bool, frames: int | None = None) -> Chunk:
        pause = round(piece.pause * SAMPLE_RATE)
        joined = joined and not pause
        chunk = voice.prompt.chunk(piece.text, speed, joined, frames, piece.language)
        if frames is None and chunk.frames < len(voice.mel) + MIN_FRAMES:
            chunk = voice.prompt.chunk(piece.text, speed, joined, MIN_FRAMES, piece.language)
        return replace(chunk, pause=pause) if pause else chunk

    def _fitted(
        self, voice: Voice, passages: list[Passage], duration: float, tail: int
    ) -> Generator[None, None, list[Chunk]]:
        """Chunks that together last `duration`, at most HOP_SAMPLES - 1 samples more; each at the same pace, pauses as asked."""
        usual = yield from self._chunks(voice, passages, 1.0)
        silence = (tail + sum(chunk.pause for chunk in usual)) / SAMPLE_RATE
        natural = self._joined_samples(voice, usual) / SAMPLE_RATE - (silence - tail / SAMPLE_RATE)
        pace = natural / (duration - silence) if duration > silence else math.inf
        if not SPEEDS[0] <= pace <= SPEEDS[1]:
            raise BadSpeech(
                f"duration {duration} s is too far from the {natural + silence:.2f} s this text takes; "
                f"possible are {silence + natural / SPEEDS[1]:.2f} to {silence + natural / SPEEDS[0]:.2f} s",
                "duration",
            )
        cut = self._pieces(voice, passages, pace)
        expected = [chunk.frames - len(voice.mel) for chunk in (yield from self._chunks(voice, passages, pace))]
        joins = sum(not round(piece.pause * SAMPLE_RATE) for piece in cut[1:])
        samples = round(duration * SAMPLE_RATE) - round(silence * SAMPLE_RATE) + CROSS_FADE_SAMPLES * joins
        frames = math.ceil(samples / HOP_SAMPLES) + len(cut)
        shares = np.diff(np.round(np.cumsum([0, *expected]) * (frames / sum(expected))).astype(int)).tolist()
        chunks: list[Chunk] = []
        for piece, share in zip(cut, shares, strict=True):
            chunks.append(self._chunk(voice, piece, pace, bool(chunks), share))
            yield
        if min(shares) < MIN_FRAMES or [chunk.frames - len(voice.mel) for chunk in chunks] != shares:
            raise BadSpeech(
                f"duration {duration} s is too short for this text, which takes {natural + silence:.2f} s", "duration"
            )
        return chunks

    def _joined_samples(self, voice: Voice, chunks: list[Chunk]) -> int:
        """Of speech and the pauses between, without the tail."""
        alone = sum((chunk.frames - len(voice.mel) - 1) * HOP_SAMPLES + chunk.pause for chunk in chunks)
        return alone - CROSS_FADE_SAMPLES * sum(not chunk.pause for chunk in chunks[1:])

    def samples(self, plan: Plan) -> Iterator[np.ndarray]:
        """`speak` without the yield points between: float32 samples alone, plan.samples in all."""
        return (samples for samples in self.speak(plan) if samples is not None)

    def speak(self, plan: Plan) -> Iterator[np.ndarray | None]:
        """None at each yield point, after a solver step or part of one; float32 samples as they become final, plan.samples in all.

        RuntimeError when the model makes no finite number."""
        noise = torch.Generator().manual_seed(plan.seed)
        fade_in = np.linspace(0, 1, CROSS_FADE_SAMPLES, dtype=np.float32)
        held: np.ndarray | None = None
        left = plan.samples - plan.tail
        for chunk, after in zip(plan.chunks, [*plan.chunks[1:], None], strict=True):
            if chunk.pause:
                yield np.zeros(chunk.pause, np.float32)
                left -= chunk.pause
            wave = yield from self._spoken(plan, chunk, noise)
            if held is not None:
                wave[:CROSS_FADE_SAMPLES] = held * (1 - fade_in) + wave[:CROSS_FADE_SAMPLES] * fade_in
            fades = after is not None and not after.pause
            final = len(wave) - CROSS_FADE_SAMPLES if fades else len(wave)
            held = wave[final:] if fades else None
            if final:
                yield wave[: min(final, left)]
                left -= final
        if plan.tail:
            yield np.zeros(plan.tail, np.float32)

    @torch.inference_mode()
    def _spoken(self, plan: Plan, chunk: Chunk, generator: torch.Generator) -> Generator[None, None, np.ndarray]:
        noise = torch.randn(chunk.frames, audio.MEL_BANDS, generator=generator).to(self.device.place)
        tokens = chunk.tokens.to(self.device.place)
        reference = plan.voice.mel
        for sampler in self._samplers():
            mel = yield from sampler.solve(reference, tokens, noise, plan.steps, plan.cfg_strength)
            samples = yield from to_host(self._vocoder.samples(mel[len(reference) :]) * plan.voice.gain)
            if bool(mel.isfinite().all()):
                return samples.numpy()
        raise RuntimeError(
            f"{self.model} made a sound that is not a number; its weights or its number format are broken"
        )

    def _samplers(self) -> Iterator[Sampler]:
        """The sampler, and where it runs in half precision a slower one that cannot overflow."""
        yield self._sampler
        if self._spare:
            arch, read = self._spare
            yield Sampler(arch, read, self.device.place, torch.float32)


def main() -> None:
    options = argparse.ArgumentParser(description="Speak a text into a WAV file.")
    options.add_argument("text")
    options.add_argument("file", type=Path)
    options.add_argument(
        "--model",
        default=os.environ.get("TTS_MODEL", str(EMBEDDED_MODEL)),
        help="a checkpoint folder or a preset's name",
    )
    options.add_argument("--voice", default=DEFAULT_VOICE)
    options.add_argument("--speed", type=float, default=1.0)
    options.add_argument("--duration", type=float)
    options.add_argument("--seed", type=int)
    options.add_argument("--steps", type=int)
    options.add_argument("--cfg-strength", type=float)
    options.add_argument("--language")
    options.add_argument("--no-normalize", dest="normalize", action="store_false")
    chosen = options.parse_args()
    try:
        speech = Speech(
            chosen.text,
            chosen.voice,
            chosen.speed,
            chosen.duration,
            chosen.seed,
            chosen.steps,
            chosen.cfg_strength,
            chosen.language,
            chosen.normalize,
        )
        tts = TTS(chosen.model)
        plan = tts.plan(speech)
    except (BadSpeech, UnknownVoice, ModelUnavailable, ValueError) as error:
        sys.exit(f"{error}")
    soundfile.write(chosen.file, np.concatenate(list(tts.samples(plan))), SAMPLE_RATE, subtype="PCM_16")
    print(f"{chosen.file}: {plan.seconds:.2f} s, seed {plan.seed}")


if __name__ == "__main__":
    main()
