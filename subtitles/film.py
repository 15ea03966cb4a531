"""Which film a folder's sound belongs to, so that another does not take its place. Knows nothing of sound."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Film:
    """A film is known by its words and times, not by its file's name alone: files are edited, renamed and moved.

    Two are the same when
    - the file is the same, and a quarter of the words of the shorter one are, or nearly all times are (a film spoken
      anew in another language, the one line of a short one corrected): its next version;
    - the file is another, and half of the words of the longer one are the same: renamed, and perhaps edited.
    Lines that every film has ("Yes.", "What?") are far below a quarter; the same film in two languages lies in two
    files and shares times but no words, so that the second is another film here: it would take that one's place."""

    path: str
    words: frozenset[str]
    """A few letters of a hash of each cue's letters and digits."""
    starts: frozenset[int]
    """Milliseconds."""

    @classmethod
    def of(cls, path: Path, cues: Iterable[tuple[float, str]]) -> "Film":
        """From the start and the shown text of each cue."""
        cues = list(cues)
        letters = ("".join(c for c in text.casefold() if c.isalnum()) for _, text in cues)
        words = frozenset(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8] for text in letters if text)
        return cls(str(path.resolve()), words, frozenset(round(1000 * start) for start, _ in cues))

    def is_same_as(self, other: "Film") -> bool:
        shared = len(self.words & other.words)
        fewer, more = sorted((len(self.words), len(other.words)))
        if self.path != other.path:
            return 2 * shared >= more
        times = len(self.starts & other.starts)
        return 4 * shared >= fewer or 5 * times >= 4 * max(len(self.starts), len(other.starts))

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "words": sorted(self.words), "starts": sorted(self.starts)}

    @classmethod
    def from_json(cls, written: Any) -> "Film":
        """Raises ValueError."""
        told: dict[str, Any] = written if isinstance(written, dict) else {}
        path, words, starts = told.get("path"), told.get("words"), told.get("starts")
        if (
            not isinstance(path, str)
            or not isinstance(words, list)
            or not isinstance(starts, list)
            or not all(isinstance(word, str) for word in words)
            or not all(type(start) is int for start in starts)
        ):
            raise ValueError("film is not a path with words and starts")
        return cls(path, frozenset(words), frozenset(starts))
