"""What is settled of a speech before any inference: whose voice, which chunks, how long. Knows no weights."""

from dataclasses import dataclass

import torch

from engine.tokenizers import Chunk, Prompt
from speech.audio import SAMPLE_RATE
from speech.reading.passages import Passage


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
    passages: tuple[Passage, ...] = ()
    """The text as it was read, sentence by sentence."""

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    @property
    def language(self) -> str:
        """Of the most of it."""
        return max(self.passages, key=lambda passage: len(passage.words)).language
