"""Words as they were written, each with what is said for it: `$5` is "five dollars". Knows nothing of sound."""

import re
from collections.abc import Generator
from dataclasses import dataclass

from speech.alignment import owners
from speech.reading.passages import Passage, words
from speech.text import clean

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
_LETTER = re.compile(r"[^\W_]")
MAX_STRAY = 500
"""So many characters further on, at most, a word is looked for in the text: what markup hid is not found, and nothing
of the same letters far behind it is taken for it."""


@dataclass(frozen=True, slots=True)
class Word:
    """`written` is "" for marks that no word is near enough to own."""

    written: str
    said: tuple[str, ...]
    """Tokens; with those of all words before and behind it they are the passage's."""


def tokens(text: str) -> list[str]:
    """What stands between blanks; in writing that has none, each character. Marks stay with what is before them."""
    return _TOKEN.findall(text)


def written_words(passage: Passage) -> Generator[None, None, list[Word]]:
    """All that is said in a passage, by the word it was written as. Yields after each word that is read alone."""
    said = tokens(clean(passage.words))
    written = tokens(passage.written) if passage.written else said
    if written == said:
        return [_word(token, [token]) for token in said]
    alone = []
    for token in written:
        alone.append(tokens(words(token, passage.language)))
        yield
    shares: list[list[str]] = [[] for _ in written]
    for token, owner in zip(said, owners(alone, said), strict=True):
        shares[owner].append(token)
    found: list[Word] = []
    silent = ""
    for token, share in zip(written, shares, strict=True):
        if share or not _LETTER.search(token):
            found.append(_word(f"{silent} {token}".lstrip(), share))
            silent = ""
        elif found:  # said together with the word before it, or by that alone
            found[-1] = Word(f"{found[-1].written} {token}".lstrip(), found[-1].said)
        else:
            silent = f"{silent} {token}".lstrip()
    return found


def _word(token: str, said: list[str]) -> Word:
    return Word(token if any(map(_LETTER.search, (token, *said))) else "", tuple(said))


def as_in(text: str, written: list[Word]) -> list[str]:
    """Their spelling in `text`, in whose order they stand: without the marks that reading puts at the end of a line."""
    text, at, found = clean(text), 0, []
    for word in written:
        spellings = word.written, word.written.rstrip(".,")
        nearest = [(text.find(spelling, at, at + MAX_STRAY), -len(spelling)) for spelling in spellings if spelling]
        start, length = min((place for place in nearest if place[0] >= 0), default=(-1, 0))
        found.append(text[start : start - length] if start >= 0 else word.written)
        at = max(at, start - length)
    return found
