"""Text to tokens and planned frames. Knows nothing of audio, models or HTTP.

Three kinds of tokens, because F5 checkpoints were trained with three: `pinyin` (upstream's), `char` and `phoneme`.
A tokenizer makes a Prompt of a reference; a Prompt makes a Chunk of each piece of text that is spoken behind it.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch

from engine import readers
from engine.durations import DurationPredictor, edges, length_regulate
from engine.phonemes import phonemes, unspoken
from engine.symbols import NOT_HEARD, PAUSES, SILENCE, STRESS, VOCABULARY
from engine.weights import ModelUnavailable
from speech.alignment import owners
from speech.reading.language import language_of
from speech.text import clean, utf8_bytes

LEAD_FRAMES, JOIN_FRAMES = 6, 11
"""Silence before the first phoneme: as in training; and after a join, so that the cross-fade takes none of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of text behind its reference, as the model reads it."""

    tokens: torch.Tensor  # (n,) int64
    frames: int
    """Of reference and speech together."""
    text: str = ""
    language: str | None = None
    """As it was asked for; None: told by its words."""
    lead: int = 0
    """Frames of silence before its first symbol, where those are planned."""
    pause: int = 0
    """Samples of silence before it; then it does not fade into the chunk before."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What sounds in a chunk, and when."""

    symbols: list[str]
    spans: list[tuple[int, int] | None]
    """Of each of its words, in frames from the chunk's first; None where it has no sound."""


class Prompt(Protocol):
    """What speech is read behind: a reference's tokens and how many frames they take."""

    @property
    def frames(self) -> int: ...

    @property
    def chinese(self) -> bool:
        """Whether it has tokens for Chinese."""

    def chunk(
        self, text: str, speed: float, joined: bool, frames: int | None = None, language: str | None = None
    ) -> Chunk:
        """`text` spoken at `speed` times the reference's pace, or in `frames`; `joined` to a chunk before it.

        `language`: of the text; None: told by its words, or the reference's."""

    def max_bytes(self, frames: float, speed: float) -> int:
        """How much text fits so many frames."""

    def unspoken(self, text: str) -> list[str]:
        """Those of its words that have a letter or digit and no token."""

    def heard(self, chunk: Chunk, words: Sequence[str]) -> Heard | None:
        """`words`: its text, cut. None where the model decides only in the making how long each of them lasts."""


class Tokenizer(Protocol):
    def prompt(self, reference: str, frames: int) -> Prompt:
        """`reference`: the transcript; `frames`: of its mel."""

    def load(self) -> None:
        """What the first text would load. May be called in a thread."""


class CharTokenizer:
    """Tokens are letters or pinyin; speech takes as long for a byte as the reference does (upstream's rule)."""

    def __init__(self, vocab: Sequence[str], kind: str):
        self._index = {token: i for i, token in reversed(list(enumerate(vocab)))}
        self.chinese = kind == "pinyin" or "一" in self._index
        self._pinyin = None
        # With the first text they would hold the event loop: upstream's trainer comes with its pinyin, which takes 4 s.
        if kind == "pinyin":
            from f5_tts.model.utils import convert_char_to_pinyin

            self._pinyin = convert_char_to_pinyin
        if self.chinese:
            from speech.reading import chinese  # noqa: F401

    def prompt(self, reference: str, frames: int) -> "CharPrompt":
        reference = clean(reference)
        if not reference.endswith((".", "。")):
            reference += "."
        # Upstream spends two spaces on an English reference, and counts them.
        return CharPrompt(self, reference + "  " if utf8_bytes(reference[-1]) == 1 else reference, frames)

    def load(self) -> None:
        return None

    def ids(self, text: str) -> torch.Tensor:
        tokens = self._pinyin([text])[0] if self._pinyin else text
        return torch.tensor([self._index.get(token, 0) for token in tokens])

    def unspoken(self, text: str) -> list[str]:
        return [word for word in re.findall(r"[^\W_]+", text) if not self.ids(word).any()]


@dataclass(frozen=True, slots=True)
class CharPrompt:
    tokenizer: CharTokenizer
    text: str
    frames: int

    @property
    def chinese(self) -> bool:
        return self.tokenizer.chinese

    def chunk(
        self, text: str, speed: float, joined: bool, frames: int | None = None, language: str | None = None
    ) -> Chunk:
        ids = self.tokenizer.ids(self.text + text)
        if frames is None:
            pace = 0.3 if utf8_bytes(text) < 10 else speed
            frames = int(self.frames / utf8_bytes(self.text) * utf8_bytes(text) / pace)
        # At least one frame per token and one to generate: upstream's rule.
        return Chunk(ids, max(self.frames + frames, len(ids) + 1), text, language)

    def max_bytes(self, frames: float, speed: float) -> int:
        return max(1, int(utf8_bytes(self.text) / self.frames * frames * speed))

    def unspoken(self, text: str) -> list[str]:
        return self.tokenizer.unspoken(text)

    def heard(self, chunk: Chunk, words: Sequence[str]) -> None:
        return None


class PhonemeTokenizer:
    """Tokens are phonemes, each repeated over the frames it will last: alignment is settled before inference."""

    def __init__(self, vocab: Sequence[str], durations: Path):
        """Raises ModelUnavailable."""
        self._index = {symbol: i for i, symbol in enumerate(vocab)}
        if lacking := readers.lacking():
            raise ModelUnavailable(
                f"phonemes need the packages {' and '.join(lacking)}: pip install -r requirements.txt"
            )
        if missing := [symbol for symbol in VOCABULARY if symbol not in self._index]:
            raise ModelUnavailable(
                f"vocab.txt lacks {' '.join(missing[:5])}: its reader says {len(missing)} such symbols"
            )
        self._predictor = DurationPredictor(durations, len(vocab))

    def prompt(self, reference: str, frames: int) -> "PhonemePrompt":
        return PhonemePrompt(self, reference, frames)

    def load(self) -> None:
        readers.load()

    def predict_durations(self, symbols: Sequence[str]) -> np.ndarray:
        """(symbols,) float64: the frames that an average speaker of the training corpus holds each."""
        return self._predictor.predict_durations(self.ids(symbols))

    def ids(self, symbols: Sequence[str]) -> torch.Tensor:
        return torch.tensor([self._index[symbol] for symbol in symbols])


class PhonemePrompt:
    """Its transcript is read with the first speech behind it: a server is ready before its reader is."""

    chinese: ClassVar[bool] = False

    def __init__(self, tokenizer: PhonemeTokenizer, reference: str, frames: int):
        self.tokenizer, self.frames = tokenizer, frames
        self.language = language_of(reference)
        self._reference = clean(reference)

    @functools.cached_property
    def _expected_reference(self) -> tuple[list[str], np.ndarray]:
        symbols = [SILENCE, *_ended(phonemes(self._reference, self.language), "."), SILENCE]
        return symbols, self.tokenizer.predict_durations(symbols)

    @functools.cached_property
    def tokens(self) -> torch.Tensor:
        """(frames,) int64."""
        symbols, expected = self._expected_reference
        return length_regulate(self.tokenizer.ids(symbols), expected, self.frames)

    @functools.cached_property
    def pace(self) -> float:
        """Frames this voice spends for each expected one."""
        return float(np.clip(self.frames / self._expected_reference[1].sum(), 0.6, 1.7))

    def chunk(
        self, text: str, speed: float, joined: bool, frames: int | None = None, language: str | None = None
    ) -> Chunk:
        symbols, expected = self._expected(text, language)
        expected = expected * self.pace / speed
        lead = JOIN_FRAMES if joined else LEAD_FRAMES
        if frames is None:
            frames = lead + max(1, round(float(expected.sum())))
        lead = min(lead, frames - 1)
        silence = self.tokenizer.ids([SILENCE] * lead)
        spoken = length_regulate(self.tokenizer.ids(symbols), expected, frames - lead)
        tokens = torch.cat([self.tokens, silence, spoken])
        return Chunk(tokens, len(tokens), text, language, lead)

    def heard(self, chunk: Chunk, words: Sequence[str]) -> Heard:
        symbols, expected = self._expected(chunk.text, chunk.language)
        at = chunk.lead + edges(expected, chunk.frames - self.frames - chunk.lead)
        # Stress depends on the neighbours, and so does many a vowel: words read alone only say where each belongs.
        alone = [[_bare(symbol) for symbol in self._symbols(word, chunk.language)] for word in words]
        spans: list[tuple[int, int] | None] = [None] * len(words)
        for number, owner in enumerate(owners(alone, list(map(_bare, symbols)))):
            if symbols[number] not in NOT_HEARD:
                start, _ = spans[owner] or (int(at[number]), 0)
                spans[owner] = start, int(at[number + 1])
        return Heard([symbol for symbol in symbols if symbol != SILENCE], spans)

    def _symbols(self, text: str, language: str | None) -> list[str]:
        return phonemes(text, language or language_of(text, self.language))

    def _expected(self, text: str, language: str | None) -> tuple[list[str], np.ndarray]:
        """Symbols, and the frames that an average speaker holds each; a sentence's end is followed by silence."""
        symbols = _ended(self._symbols(text, language), ",")
        expected = self.tokenizer.predict_durations([SILENCE, *symbols, SILENCE])[1:]
        return ([*symbols, SILENCE], expected) if symbols[-1] in ".?!" else (symbols, expected[:-1])

    def max_bytes(self, frames: float, speed: float) -> int:
        return max(1, int(utf8_bytes(self._reference) / self.frames * frames * speed))

    def unspoken(self, text: str) -> list[str]:
        return unspoken(text)


def _ended(symbols: list[str], pause: str) -> list[str]:
    return symbols if symbols and symbols[-1] in PAUSES else [*symbols, pause]


def _bare(symbol: str) -> str:
    return symbol.lstrip(STRESS)
