"""Text in, tokens and planned lengths out. Knows nothing of audio, models or HTTP.

Three tokenizers, because F5 checkpoints were trained with three: `pinyin` (upstream's), `char` and `phoneme`.
Try: python text.py "Numbers like 42 are spoken."
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

FIRST_CHUNK_BYTES = 10, 48
"""The first chunk is the first clause of at least 10 bytes, and cut at a space past 48: its length is the wait for first audio."""
SECOND_CHUNK_BYTES, CHUNK_GROWTH = 72, 3.0
"""A chunk is made while the one before it plays: it may be so many times that one's size, and always 72 bytes (about 4 s)."""
LEAD_FRAMES, JOIN_FRAMES = 3, 11
"""Silence before the first phoneme: as in training; and after a join, so that the cross-fade takes none of it."""

PAUSES = {c: "," for c in ",;:–—…，、；"} | {c: c for c in ".?!"} | {"。": ".", "！": "!", "？": "?"}
"""Punctuation that is heard, and the pause symbol it becomes."""

_PAUSE_AT = re.compile(r"([,;:.?!…]+(?=\s|$|[\"'”’)\]}])|[–—。，、！？；]+|\s-+\s)")
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.(?=\s)")
_TITLE_END = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.$")
_UNSPOKEN = re.compile(r"[\"“”„«»‹›()\[\]{}<>|*_~^`#\\¡¿]+")
_VIETNAMESE = re.compile("[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉĩịọỏốồổỗộớờởỡợụủũứừửữựỳỵỷỹ]", re.IGNORECASE)
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")
_CLAUSE_END = re.compile(r"(?<=[,;:–—])\s+|(?<=[，、；：])")


def clean(text: str) -> str:
    """NFC, without invisible format characters, one space for any run of white space."""
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFC", text).split())


def unspeakable(text: str) -> str | None:
    """The first character that no text has: a control that is not white space, or half of a surrogate pair."""
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") and not c.isspace()), None)


def language_of(text: str, otherwise: str = "en-us") -> str:
    """`vi` when a letter that only Vietnamese has is in the text, else `otherwise`."""
    return "vi" if _VIETNAMESE.search(text) else otherwise


def size(text: str) -> int:
    """Bytes in UTF-8: F5's measure of how long a text takes to say."""
    return len(text.encode())


def chunks_of(text: str, limit: int) -> list[str]:
    """Cleaned text in pieces of at most `limit` bytes, cut after sentences where that fits, else clauses, words, or anywhere.

    The first piece is short and the next ones grow, so that sound starts early and does not starve. At least one piece."""
    rest = clean(text)
    pieces: list[str] = []
    least, room = FIRST_CHUNK_BYTES
    while _exceeds(rest, room := min(room, limit)) or (not pieces and _exceeds(rest, least)):
        at = _cut(rest, room, first=least if not pieces else None)
        pieces.append(rest[:at].strip())
        rest = rest[at:].strip()
        room = max(SECOND_CHUNK_BYTES, int(CHUNK_GROWTH * size(pieces[-1])))
    return [*pieces, rest] if rest or not pieces else pieces


def _exceeds(text: str, room: int) -> bool:
    return size(text[: room + 1]) > room


def _cut(text: str, room: int, first: int | None) -> int:
    """Where to cut: the last sentence end, clause end or space within `room` bytes; or the first end past `first` bytes."""
    start = text[: room + 1].encode()  # no character has less than a byte
    head, fits = start[: room + 1].decode(errors="ignore"), start[:room].decode(errors="ignore")
    sentences = [m.end() for m in _SENTENCE_END.finditer(head) if not _TITLE_END.search(head[: m.start()])]
    clauses = [m.end() for m in _CLAUSE_END.finditer(head)]
    if first is not None:
        return next((at for at in sorted(sentences + clauses) if size(text[:at].strip()) >= first), 0) or _space(text, head, fits)
    for ends, least in ((sentences, len(fits) // 3), (clauses, len(fits) // 3), (sentences + clauses, FIRST_CHUNK_BYTES[0])):
        if ends and max(ends) >= least:
            return max(ends)
    return _space(text, head, fits)


def _space(text: str, head: str, fits: str) -> int:
    if fits == text:
        return len(text)
    at = head.rfind(" ")
    return at if at > 0 else max(1, len(fits))


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
        return LettersScript(self, reference + "  " if size(reference[-1]) == 1 else reference, frames)

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
            pace = 0.3 if size(chunk) < 10 else speed
            frames = int(self.frames / size(self.text) * size(chunk) / pace)
        # At least one frame per token and one to generate: upstream's rule.
        return Line(ids, max(self.frames + frames, len(ids) + 1))

    def bytes_in(self, frames: float, speed: float) -> int:
        """How much text fits so many frames."""
        return max(1, int(size(self.text) / self.frames * frames * speed))


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
        return PhonemesScript(self, self.spread(symbols, expected, frames), frames, pace, language, size(clean(reference)))

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


@functools.cache
def _espeak(language: str):
    # Imported here: checkpoints with other tokenizers need no espeak.
    import espeakng_loader
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    wrapper = EspeakWrapper()
    wrapper.set_voice(language)
    return wrapper


def phonemes(text: str, language: str) -> list[str]:
    """espeak's IPA symbols with primary stress kept on the vowel, and a pause symbol for each heard punctuation.

    Vietnamese vowels carry their tone digit instead of stress. An empty list when nothing can be spoken."""
    symbols: list[str] = []
    for part in _PAUSE_AT.split(_TITLE.sub(r"\1", clean(text))):
        pause = PAUSES.get(part.strip()[:1]) or ("," if part and not part.strip("- ") else None)
        if pause:
            if symbols and symbols[-1] not in ",.?!":
                symbols.append(pause)
            continue
        spoken = _UNSPOKEN.sub(" ", part).strip()
        if not spoken:
            continue
        ipa = _LANGUAGE_SWITCH.sub("", _espeak(language).text_to_phonemes(spoken))
        for symbol in re.split(r"[_\s]+", ipa):
            symbol = symbol.replace("ˌ", "").replace("ˈ", "" if language == "vi" else "ˈ")
            if symbol.strip("ˈ"):
                symbols.append(symbol)
    return symbols


if __name__ == "__main__":
    print(" ".join(phonemes(sys.argv[1], language_of(sys.argv[1]))))
