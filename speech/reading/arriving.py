"""Text that is still being written, in the pieces that are spoken: what of it has surely ended, and how it is said.

What has arrived may go on: `$5` as `$5.20`, `No.` as `No. 7`, `Dr.` as `Dr. Smith`. So a text is read up to a place
that no letter which may follow can change, and cut as `speech.text` cuts whole texts. Knows nothing of audio or models.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from speech.reading.ends import last_sure_end, sentence_end
from speech.reading.passages import MAX_SENTENCE, SAMPLE, Passage, Piece, joined, main_language, read
from speech.text import clean, ends_of, next_piece, utf8_bytes

_ENDS_WITH_MARK = re.compile(r"[.!?…:;,。！？，；：–—][\"'”’)\]]*$")
_LEADING_MARKS = re.compile(r"^[.,;:]+(?=\s|$)")


@dataclass(slots=True)
class ArrivingText:
    """`language`: of the whole text; None: each sentence's own, by its words, and `otherwise` where they do not say.

    `chinese`: who speaks it can say what Chinese reading gives."""

    language: str | None
    normalize: bool
    otherwise: str
    chinese: bool = False
    ended: bool = False
    _source: str = ""
    """From the beginning of the first sentence that is not read to its end."""
    _upto: int = 0
    """So many characters of it were read already, because a piece needed them."""
    _partly: list[Passage] = field(default_factory=list)
    """As these words."""
    _beginning: str = ""
    """The text's first SAMPLE characters."""
    _passages: list[Passage] = field(default_factory=list)
    """Read, and in no piece yet."""
    _before: int | None = None
    """Bytes of the piece before."""
    _main: tuple[int, str] = 0, ""
    """The language of so many characters of the beginning."""

    def add(self, text: str) -> None:
        self._source += text
        self._beginning += text[: SAMPLE - len(self._beginning)]

    @property
    def characters(self) -> int:
        """That are in no piece yet: as they were written, or said where they are read."""
        return len(self._source) - self._upto + sum(len(passage.words) for passage in self._passages)

    @property
    def tail(self) -> float:
        """Seconds of silence that an ended text ends with, when its last piece is taken."""
        return sum(passage.pause for passage in self._passages)

    def piece(self, limit: int, hurry: bool) -> Generator[None, None, Piece | None]:
        """The next one of at most `limit` bytes; None while what may still come decides on it, or when all is taken.

        `hurry`: clauses that have ended do not wait for more that would go with them. Yields after each sentence."""
        while (size := self._next(limit)) is None:
            read_more = yield from self._read_more(limit, hurry)
            if not read_more:
                size = self._last_end() if hurry else None
                break
        if size is not None:
            first, *others = self._passages
            rest = first.words[size:].strip()
            self._passages = [replace(first, words=rest, pause=0.0), *others] if rest else others
            piece = Piece(first.words[:size].strip(), first.language, first.pause)
        elif self.ended and self._before is None and clean(self._beginning):
            piece = Piece(".", self.otherwise)  # marks and pictures alone are a short silence
        else:
            return None
        self._before = utf8_bytes(piece.text)
        return piece

    def _next(self, limit: int) -> int | None:
        """Characters of the first passage."""
        if not self._passages or not self._passages[0].words:
            return None
        open = len(self._passages) == 1 and not (self.ended and not self._source)
        return next_piece(self._passages[0].words + " " * open, limit, self._before, open)

    def _last_end(self) -> int | None:
        ends = ends_of(self._passages[0].words + " ") if self._passages else []
        return ends[-1] if ends else None

    def _read_more(self, limit: int, hurry: bool) -> Generator[None, None, bool]:
        """Whether there was more to read: whole sentences; else, where a piece waits for it, the beginning of one."""
        window = self._source[: MAX_SENTENCE + 1]
        end, mark = sentence_end(window)
        if not end and self.ended:
            end = len(self._source)
        elif not end and len(window) > MAX_SENTENCE:  # it is read in parts, as a whole text's would be
            end = last_sure_end(window) or window.rfind(" ") + 1 or MAX_SENTENCE
        if end:
            yield from self._finish(end, mark)
            return True
        waiting = self.characters > limit or self._before is None
        end = last_sure_end(window) if waiting or hurry else 0
        if end <= self._upto:
            return False
        yield from self._begin(end)
        return True

    def _finish(self, end: int, mark: str) -> Generator[None, None, None]:
        """Reads sentences to their end."""
        yield from self._begin(end)
        self._source, self._upto, self._partly = self._source[end:], 0, []
        if self.normalize and mark and self._passages and not _ENDS_WITH_MARK.search(words := self._passages[-1].words):
            self._passages[-1] = replace(self._passages[-1], words=words + mark if words else "")

    def _begin(self, end: int) -> Generator[None, None, None]:
        """Reads so many characters of the source, of which the first may have been read before."""
        passages = yield from self._read(self._source[:end])
        new = _behind(self._partly, passages)
        if new is None:  # what followed has changed how they are read; but they are said, so it is read by itself
            new = yield from self._read(self._source[self._upto : end])
        last = self._passages[-1] if self._passages else None
        if self._partly and last and new and last.language == new[0].language and last.words:
            self._passages[-1] = replace(last, words=last.words + new.pop(0).words)
        elif self._partly and new:
            new[0] = replace(new[0], words=_LEADING_MARKS.sub("", new[0].words.strip()).strip())
        self._passages = joined(one for one in [*self._passages, *new] if one.words or one.pause)
        self._upto, self._partly = end, passages

    def _read(self, text: str) -> Generator[None, None, list[Passage]]:
        if self._main[0] != len(self._beginning):
            told = self.language or main_language(self._beginning, self.normalize, self.otherwise, self.chinese)
            self._main = len(self._beginning), told
        found = []
        for passage in read(text, self.language, self.normalize, self.otherwise, self._main[1], self.chinese):
            found.append(passage)
            yield
        return joined(found)


def _behind(before: list[Passage], now: list[Passage]) -> list[Passage] | None:
    """What is in `now` and was not in `before`, a beginning of it; None if it was another one."""
    if not before:
        return now
    *whole, last = before
    same = now[: len(whole)] == whole and len(now) > len(whole)
    at = now[len(whole)] if same else None
    if at is None or at.language != last.language or not at.words.startswith(last.words):
        return None
    return [replace(at, words=at.words.removeprefix(last.words), pause=0.0), *now[len(before) :]]
