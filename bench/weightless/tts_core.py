"""A fixed tone per word instead of a model: what is left of a request is the server. Knows nothing of HTTP, weights or
torch.

The doors of the real `tts_core` that speech and jobs go through (no word times, no text in pieces), found first on the
path: chunks cut by the same rules, `steps` yield points in each, lengths known before the first sample, same seed same
samples. `SLEEP_MS` (0) is slept in each, for tests that need speech to last.

Try: PYTHONPATH=bench/weightless uvicorn app:app
"""

import hashlib
import os
import secrets
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from speech.audio import SAMPLE_RATE
from speech.request import DEFAULT_VOICE, Speech, UnknownVoice
from speech.text import chunks_of, clean

HERE = Path(__file__).parents[2]
EMBEDDED_MODEL, VOICES = HERE / "models" / "tiny", HERE / "voices"
WORD_SAMPLES = 7200
"""0.3 s at speed 1: three words a second, as people speak."""
CHUNK_BYTES = 160
STEPS = 7
SLEEP_SECONDS = float(os.environ.get("SLEEP_MS", 0)) / 1000


class ModelUnavailable(Exception):
    """Never: there is no model."""


@dataclass(frozen=True, slots=True)
class Voice:
    name: str
    language: str = "en-us"
    seconds: float = 0.0
    fingerprint: str = "a tone per word"


@dataclass(frozen=True, slots=True)
class Device:
    place: str = "cpu"
    reason: str = "there is nothing to compute"


@dataclass(frozen=True, slots=True)
class Plan:
    """Every length of a speech."""

    voice: Voice
    chunks: list[list[str]]  # words
    word_samples: int
    seed: int
    steps: int
    cfg_strength: float
    unspoken: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        return self.word_samples * sum(map(len, self.chunks))

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE


class TTS:
    """No model, two voices."""

    batches = False

    def __init__(
        self, model: str | Path = EMBEDDED_MODEL, voices: Path = VOICES, on: str = "auto", normalize: bool = True
    ):
        self.model, self.device = "weightless", Device()
        self.voices = {name: Voice(name) for name in (DEFAULT_VOICE, "other")}
        self.unusable: dict[str, str] = {}

    def voices_changed(self) -> bool:
        return False

    def plan(self, speech: Speech) -> Plan:
        """Raises UnknownVoice."""
        voice = self.voices.get(speech.voice)
        if voice is None:
            raise UnknownVoice(f"no voice {speech.voice!r}; have: {', '.join(self.voices)}")
        chunks = [chunk.split() for chunk in chunks_of(clean(speech.text), CHUNK_BYTES)]
        return Plan(
            voice,
            chunks,
            round(WORD_SAMPLES / speech.speed),
            secrets.randbits(63) if speech.seed is None else speech.seed,
            speech.steps or STEPS,
            0.0,
        )

    def planning(self, speech: Speech, voice: Voice | None = None) -> Generator[None, None, Plan]:
        yield
        return self.plan(speech)

    def samples(self, plan: Plan) -> Iterator[np.ndarray]:
        """`speak` without the yield points between."""
        return (samples for samples in self.speak(plan) if samples is not None)

    def speak(self, plan: Plan) -> Iterator[np.ndarray | None]:
        """None at each yield point, then a chunk's samples."""
        for words in plan.chunks:
            for _ in range(plan.steps):
                if SLEEP_SECONDS:
                    time.sleep(SLEEP_SECONDS)
                yield None
            yield np.concatenate([tone(word, plan.word_samples, plan.seed) for word in words])


@cache
def tone(word: str, samples: int, seed: int) -> np.ndarray:
    """The same word and seed sound the same in every process; no two words sound alike."""
    draw = int.from_bytes(hashlib.sha256(f"{word} {seed}".encode()).digest()[:4], "big")
    wave = np.sin(2 * np.pi * (200 + draw % 1000) * np.arange(samples) / SAMPLE_RATE)
    return (0.3 * np.hanning(samples) * wave).astype(np.float32)
