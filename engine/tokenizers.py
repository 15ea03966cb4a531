"""Text to tokens and planned frames. Knows nothing of audio, models or HTTP.

Three tokenizers, because F5 checkpoints were trained with three: `pinyin` (upstream's), `char` and `phoneme`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from engine.phonemes import phonemes
from speech.text import clean, language_of, utf8_bytes

LEAD_FRAMES, JOIN_FRAMES = 3, 11
"""Silence before the first phoneme: as in training; and after a join, so that the cross-fade takes none of it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One chunk behind its reference, as the model reads it."""

    tokens: torch.Tensor  # int64
    frames: int
    """Of reference and speech together."""


class Letters:
    """Tokens are letters or pinyin, and speech lasts as many bytes as the reference spends on its own (upstream's rule)."""

    def __init__(self, vocab: Sequence[str], kind: str):
        self._index = {token: i for i, token in reversed(list(enumerate(vocab)))}
        self._kind = kind

    def script(self, reference: str, frames: int) -> "LettersScript":
        """What speech is read behind: the reference's transcript, and its mel frames."""
        reference = clean(reference)
        if not reference.endswith((".", "。")):
            reference += "."
        # Upstream spends two spaces on an English reference, and counts them.
        return LettersScript(self, reference + "  " if utf8_bytes(reference[-1]) == 1 else reference, frames)

    def ids(self, text: str) -> torch.Tensor:
        if self._kind == "char":
            return torch.tensor([self._index.get(c, 0) for c in text])
        from f5_tts.model.utils import convert_char_to_pinyin  # here, because it imports upstream's trainer: 4 s

        return torch.tensor([self._index.get(token, 0) for token in convert_char_to_pinyin([text])[0]])


@dataclass(frozen=True, slots=True)
class LettersScript:
    letters: Letters
    text: str
    frames: int

    def line(self, chunk: str, speed: float, joined: bool, frames: int | None = None) -> Line:
        """`chunk` spoken at `speed` times the reference's pace, or in `frames`; `joined` to a chunk before it."""
        ids = self.letters.ids(self.text + chunk)
        if frames is None:
            pace = 0.3 if utf8_bytes(chunk) < 10 else speed
            frames = int(self.frames / utf8_bytes(self.text) * utf8_bytes(chunk) / pace)
        # At least one frame per token and one to generate: upstream's rule.
        return Line(ids, max(self.frames + frames, len(ids) + 1))

    def bytes_in(self, frames: float, speed: float) -> int:
        """How much text fits so many frames."""
        return max(1, int(utf8_bytes(self.text) / self.frames * frames * speed))


class Phonemes:
    """Tokens are espeak's phonemes, each repeated over the frames it is expected to last: alignment is settled before inference."""

    def __init__(self, vocab: Sequence[str], durations: Path):
        self._index = {symbol: i for i, symbol in enumerate(vocab)}
        self._w = {name: weight.float() for name, weight in load_file(durations).items()}

    def script(self, reference: str, frames: int) -> "PhonemesScript":
        """What speech is read behind: the reference's transcript, and its mel frames."""
        language = language_of(reference)
        symbols = [" ", *_ended(phonemes(reference, language), ".")]
        expected = self.expected_frames(symbols)
        pace = float(np.clip(frames / expected.sum(), 0.6, 1.7))
        return PhonemesScript(
            self, self.spread(symbols, expected, frames), frames, pace, language, utf8_bytes(clean(reference))
        )

    def expected_frames(self, symbols: Sequence[str]) -> np.ndarray:
        """How long an average speaker of the training corpus holds each symbol: a small convolution over its neighbours."""
        w = self._w
        h = w["embed"][self.ids(symbols)].t()[None]
        for layer in ("1", "2"):
            weight = w[f"conv{layer}.weight"]
            h = F.relu(F.conv1d(h, weight, w[f"conv{layer}.bias"], padding=weight.shape[-1] // 2))
        return F.conv1d(h, w["out.weight"], w["out.bias"])[0, 0].exp().numpy().astype(np.float64)

    def spread(self, symbols: Sequence[str], expected: np.ndarray, frames: int) -> torch.Tensor:
        """(frames,): each symbol's id, repeated in proportion to its expected length."""
        edges = np.round(np.concatenate([[0], np.cumsum(expected)]) * (frames / expected.sum())).astype(np.int64)
        return torch.repeat_interleave(self.ids(symbols), torch.from_numpy(np.diff(edges)))

    def ids(self, symbols: Sequence[str]) -> torch.Tensor:
        return torch.tensor([self._index.get(symbol, 0) for symbol in symbols])


@dataclass(frozen=True, slots=True)
class PhonemesScript:
    phonemes: Phonemes
    ids: torch.Tensor
    frames: int
    pace: float
    """Frames this voice spends for each expected one."""
    language: str
    bytes: int

    def line(self, chunk: str, speed: float, joined: bool, frames: int | None = None) -> Line:
        """`chunk` spoken at `speed` times the reference's pace, or in `frames`; `joined` to a chunk before it."""
        symbols = _ended(phonemes(chunk, language_of(chunk, self.language)), ",")
        expected = self.phonemes.expected_frames([" ", *symbols])[1:] * self.pace / speed
        lead = JOIN_FRAMES if joined else LEAD_FRAMES
        if frames is None:
            frames = lead + max(1, round(float(expected.sum())))
        lead = min(lead, frames - 1)
        silence = self.phonemes.ids(["."] * (lead - LEAD_FRAMES) + [" "] * min(lead, LEAD_FRAMES))
        ids = torch.cat([self.ids, silence, self.phonemes.spread(symbols, expected, frames - lead)])
        return Line(ids, len(ids))

    def bytes_in(self, frames: float, speed: float) -> int:
        """How much text fits so many frames."""
        return max(1, int(self.bytes / self.frames * frames * speed))


def _ended(symbols: list[str], pause: str) -> list[str]:
    return symbols if symbols and symbols[-1] in ",.?!" else [*symbols, pause]
