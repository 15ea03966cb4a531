"""Text and a voice in, 24 kHz samples out. Knows nothing of HTTP.   Try: python tts_core.py "Hello there." hello.wav"""

import argparse
import functools
import io
import os
import re
import secrets
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from engine import checkpoint, device, fingerprint
from engine.chunking import CROSS_FADE_SAMPLES, MIN_FRAMES, Chunker
from engine.fallback import Fp32Fallback
from engine.joins import WaveMaker, joined_waves
from engine.plan import Plan, Voice
from engine.sampler import Sampler
from engine.stepping import Result, run_to_end, to_device, to_host
from engine.tokenizers import CharTokenizer, Chunk, PhonemeTokenizer, Tokenizer
from engine.vocoder import Vocoder
from engine.voices import MIN_REFERENCE_SECONDS, References, Voices
from engine.weights import ModelUnavailable
from engine.word_times import Timing, timing
from speech import audio
from speech.audio import HOP_SAMPLES, SAMPLE_RATE
from speech.formats import FORMATS, encoded, named_by
from speech.reading.passages import Passage, joined, read
from speech.request import DEFAULT_VOICE, BadSpeech, Speech, UnknownVoice

if TYPE_CHECKING:
    from engine.utterance import Utterance

__all__ = [
    "CROSS_FADE_SAMPLES",
    "EMBEDDED_MODEL",
    "MIN_FRAMES",
    "TTS",
    "VOICES",
    "BadSpeech",
    "ModelUnavailable",
    "Plan",
    "Speech",
    "UnknownVoice",
    "Voice",
    "checkpoint",
]

HERE = Path(__file__).parent
EMBEDDED_MODEL, VOICES = HERE / "models" / "tiny", HERE / "voices"
READING_SECONDS = 0.01
"""Between two yield points: sentences are read until so long has passed."""
MANY_CHUNKS = 16
"""A speech of so many takes seconds, and the memory that it leaves is worth some milliseconds."""
MAX_REFERENCE_SHARE = 0.6
"""A reference may take so much of what the model attends over; the rest is for speech."""


class TTS:
    """One model and its voices. Raises ModelUnavailable, ValueError for a device or voice that cannot be used.

    `normalize`: whether a request that does not say is read into words."""

    def __init__(
        self, model: str | Path = EMBEDDED_MODEL, voices: Path = VOICES, on: str = "auto", normalize: bool = True
    ):
        self._normalize = normalize
        self.device = device.choose(on)
        loaded = checkpoint.load(str(model))
        self.model, self._max_frames = loaded.name, int(loaded.max_seconds * SAMPLE_RATE / HOP_SAMPLES)
        self._steps, self._cfg_strength, self._temperature = loaded.steps, loaded.cfg_strength, loaded.temperature
        read = functools.partial(checkpoint.read_weights, loaded.weights)
        self._sampler = Sampler(loaded.arch, read, self.device.place, self.device.dtype)
        # For the chunk that fp16 cannot hold; the other formats have fp32's range.
        half = self.device.dtype == torch.float16
        self._fallback = Fp32Fallback(loaded.arch, read, self.device.place) if half else None
        # On GPUs its part is too small to gain from half precision.
        self._vocoder = Vocoder(
            loaded.vocoder, self.device.place, torch.bfloat16 if self.device.dtype == torch.bfloat16 else torch.float32
        )
        self._tokenizer: Tokenizer = (
            PhonemeTokenizer(loaded.vocab, loaded.durations)
            if loaded.durations
            else CharTokenizer(loaded.vocab, loaded.tokenizer)
        )
        longest = MAX_REFERENCE_SHARE * self._max_frames * HOP_SAMPLES / SAMPLE_RATE
        self.reference_seconds = MIN_REFERENCE_SECONDS, longest
        """Of a reference, at least and at most."""
        model = fingerprint.of_checkpoint(loaded)
        self._voices = Voices(voices, References(self.model, model, self._tokenizer, self.device.place, longest))
        run_to_end(self._voices.reading())
        if DEFAULT_VOICE not in self.voices:
            raise ValueError(f"{voices}{os.sep}{self.unusable[DEFAULT_VOICE]}")

    @property
    def voices(self) -> dict[str, Voice]:
        """By name, as they were when last looked at."""
        return self._voices.usable

    @property
    def unusable(self) -> dict[str, str]:
        """Of the voices' folder, by name, why files there are no voice; without paths."""
        return self._voices.problems

    @property
    def batches(self) -> bool:
        """Whether chunks of speeches that are advanced by turns are made together."""
        return self._sampler.batches is not None

    def load_reader(self) -> None:
        """What the first text would load, where the checkpoint has a reader: 0.3 s. May be called in a thread."""
        self._tokenizer.load()

    def voices_changed(self) -> bool:
        """Whether `reading_voices` may find anything new: 30 µs for a dozen."""
        return self._voices.changed()

    def reading_voices(self) -> Generator[None, None, None]:
        """Their folder as it is now; yields as `planning` does."""
        return self._following(self._voices.reading())

    def referencing(self, wav: bytes, said: str) -> Generator[None, None, Voice]:
        """A voice of a sound that lies nowhere, nor is kept. Raises ValueError."""
        samples, rate = audio.read_mono(io.BytesIO(wav))
        return self._following(self._voices.of("", samples, rate, said))

    def plan(self, speech: Speech) -> Plan:
        """Chunks with exact lengths. Raises UnknownVoice, and BadSpeech for a duration no pace could meet."""
        return run_to_end(self.planning(speech))

    def planning(self, speech: Speech, voice: Voice | None = None) -> Generator[None, None, Plan]:
        """`plan`, yielding after each chunk: an hour of text takes longer than a solver step.

        `voice`: this one, whatever is named."""
        return self._following(self._planning(speech, voice))

    def _following(self, work: Generator[None, None, Result]) -> Generator[None, None, Result]:
        """`work`, with as many threads as other programs leave free."""
        return self.device.threads.following(work) if self.device.threads else work

    def _planning(self, speech: Speech, voice: Voice | None) -> Generator[None, None, Plan]:
        voice = voice or (yield from self._voices.finding(speech.voice))
        sentences = yield from self._sentences(voice, speech)
        passages = joined(sentences)
        unspoken = self._unspoken(voice, passages)
        ends = passages[-1].pause if not passages[-1].words else 0.0
        passages = passages if not ends else passages[:-1]
        tail = round(ends * SAMPLE_RATE)
        chunker = Chunker(voice.prompt, self._max_frames)
        if speech.duration is None:
            chunks = yield from chunker.at_speed(passages, speech.speed)
            samples = chunker.samples(chunks) + tail
        else:
            chunks = yield from chunker.to_last(passages, speech.duration, tail)
            samples = round(speech.duration * SAMPLE_RATE)
        return Plan(voice, chunks, samples, *self._settled(speech), tail, unspoken, tuple(sentences))

    def _reads(self, speech: Speech) -> bool:
        """Into words."""
        return self._normalize if speech.normalize is None else speech.normalize

    def _settled(self, speech: Speech) -> tuple[int, int, float]:
        """Seed, steps and guidance: what is left to chance or to the checkpoint."""
        return (
            secrets.randbits(63) if speech.seed is None else speech.seed,
            speech.steps or self._steps,
            self._cfg_strength if speech.cfg_strength is None else speech.cfg_strength,
        )

    def timing(self, plan: Plan, text: str) -> Generator[None, None, Timing]:
        """When each word of a plan's text is heard, without inference; yields as `planning` does."""
        end = plan.samples - plan.tail
        return self._following(timing(text, plan.passages, plan.voice.prompt, plan.chunks, end))

    def _sentences(self, voice: Voice, speech: Speech) -> Generator[None, None, list[Passage]]:
        """The text in words; marks and pictures alone are a short silence: a client's test text "." has an answer."""
        found: list[Passage] = []
        began = time.perf_counter()
        for passage in read(
            speech.text, speech.language, self._reads(speech), voice.language, chinese=voice.prompt.chinese
        ):
            found.append(passage)
            if time.perf_counter() - began > READING_SECONDS:
                yield
                began = time.perf_counter()
        return found if any(passage.words for passage in found) else [Passage(".", voice.language), *found]

    def _unspoken(self, voice: Voice, passages: list[Passage]) -> tuple[str, ...]:
        """Raises BadSpeech when no word of the text has a sound."""
        text = " ".join(passage.words for passage in passages)
        unspoken = tuple(voice.prompt.unspoken(text))
        if unspoken and not any(word not in unspoken for word in re.findall(r"[^\W_]+", text)):
            raise BadSpeech(f"text has no word that {self.model} can speak: {', '.join(unspoken)[:80]}", "text")
        return unspoken

    def samples(self, plan: Plan) -> Iterator[np.ndarray]:
        """`speak` without the yield points between: float32 samples alone, plan.samples in all."""
        return (samples for samples in self.speak(plan) if samples is not None)

    def speak(self, plan: Plan) -> Iterator[np.ndarray | None]:
        """None at each yield point, after a solver step or part of one; float32 samples as they become final.

        They are plan.samples in all. RuntimeError when the model makes no finite number."""
        try:
            yield from joined_waves(plan, self._wave_maker(plan))
        finally:
            if len(plan.chunks) >= MANY_CHUNKS:
                device.give_back_freed_memory()

    def utterance(self, speech: Speech) -> tuple[Plan, "Utterance"]:
        """For a text that is still being written: how it will be spoken, without chunks, and what takes it in.

        `speech`: how it is asked for; its text is not spoken. Raises UnknownVoice."""
        from engine.utterance import Utterance  # here: start-up does not wait for them
        from speech.reading.arriving import ArrivingText

        voice = run_to_end(self._voices.finding(speech.voice))
        plan = Plan(voice, [], 0, *self._settled(speech))
        text = ArrivingText(speech.language, self._reads(speech), voice.language, voice.prompt.chinese)
        chunker = Chunker(voice.prompt, self._max_frames)
        return plan, Utterance(text, chunker, speech.speed, self._wave_maker(plan), self._following)

    def _wave_maker(self, plan: Plan) -> WaveMaker:
        """Noise is drawn chunk by chunk, from one generator."""
        return functools.partial(self._spoken, plan, generator=torch.Generator().manual_seed(plan.seed))

    @torch.inference_mode()
    def _spoken(self, plan: Plan, chunk: Chunk, generator: torch.Generator) -> Generator[None, None, np.ndarray]:
        noise = torch.randn(chunk.frames, audio.MEL_BANDS, generator=generator) * self._temperature
        noise = to_device(noise, self.device.place)
        tokens = to_device(chunk.tokens, self.device.place)
        reference = plan.voice.mel
        sampler = self._sampler
        while True:
            solving = sampler.solve(reference, tokens, noise, plan.steps, plan.cfg_strength)
            mel = yield from self._following(solving)
            samples = self._vocoder.samples(mel[len(reference) :]) * plan.voice.gain
            samples, finite = yield from to_host(samples, mel.isfinite().all())
            if finite:
                spoken: np.ndarray = samples.numpy()
                return spoken
            if self._fallback is None or sampler is not self._sampler:
                raise RuntimeError(
                    f"{self.model} made a sound that is not a number; its weights or its number format are broken"
                )
            sampler = yield from self._fallback.sampler()


def _command() -> argparse.ArgumentParser:
    """An option for each field of Speech, and the server's settings."""
    command = argparse.ArgumentParser(description="Speak a text into a sound file.")
    command.add_argument("text")
    command.add_argument("file", type=Path)
    for field in fields(Speech):
        if field.name == "text":
            continue
        kind: Any = (get_args(field.type) or (field.type,))[0]  # of `float | None`: float
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        meaning = field.metadata.get("meaning")
        command.add_argument(f"--{field.name.replace('_', '-')}", default=field.default, help=meaning, **how)
    command.set_defaults(format=None)  # by the file's suffix
    for option, default, meaning in (
        ("model", str(EMBEDDED_MODEL), "a checkpoint folder or a preset's name"),
        ("voices", str(VOICES), "a folder of sound files with their transcripts"),
        ("device", "auto", "auto, cpu, cuda, cuda:N or mps"),
    ):
        name = f"TTS_{option.upper()}"
        command.add_argument(f"--{option}", default=os.environ.get(name, default), help=f"{meaning}; else {name}")
    return command


def _check_writable(file: Path) -> None:
    """Raises ValueError for what is known before any inference."""
    if file.is_dir():
        raise ValueError(f"{file} cannot be written: it is a folder")
    if not file.parent.is_dir():
        raise ValueError(f"{file} cannot be written: there is no folder {file.parent}")


def main() -> None:
    chosen = _command().parse_args()
    file: Path = chosen.file
    try:
        chosen.format = chosen.format or named_by(file)
        speech = Speech(**{field.name: getattr(chosen, field.name) for field in fields(Speech)})
        _check_writable(file)
        tts = TTS(chosen.model, Path(chosen.voices), chosen.device)
        plan = tts.plan(speech)
    except (BadSpeech, UnknownVoice, ModelUnavailable, ValueError) as error:
        sys.exit(f"{error}")
    try:
        # The bytes that the server sends.
        with file.open("wb") as out:
            for part in encoded(tts.samples(plan), FORMATS[speech.format], plan.samples):
                out.write(part.data if part else b"")
    except (OSError, RuntimeError) as error:
        if file.is_file():  # not a device
            file.unlink()
        sys.exit(f"{file} cannot be written: {error.strerror}" if isinstance(error, OSError) else f"{error}")
    print(f"{file}: {plan.seconds:.2f} s, seed {plan.seed}")


if __name__ == "__main__":
    main()
