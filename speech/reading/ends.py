"""Where text that is still being written has surely ended, whatever follows. Knows nothing of how it is read."""

import functools
import re

from speech.reading import markup
from speech.reading.passages import sentence_ends

MAX_OPEN = 200
"""Characters after which a bracket, tag or star that was never closed is taken for one that stands alone."""
_LOOK_BACK = 200
_MARKS = "[.,;:!?…–—]"
_CLOSERS = "[\"'”’)\\]*_~`]*"
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_TOKEN = re.compile(rf"[\"'“‘(\[*_~`]*(.*?)({_MARKS}*){_CLOSERS}")
_UNSPACED_END = re.compile(r"[。！？，、；：][”’」』）\"')]*")
_LINE_END = re.compile(r"[^\S\n]*(\n\s*)")
_NUMBERED = re.compile(r"\s*\d{1,3}[.)]\s+\S")
_PAUSE_TAG = re.compile(r"\[(?:pause|break)\b[^\[\]]*\]|<break\b[^<>]*>", re.IGNORECASE)
_BLOCK_TAG = re.compile(r"</(?:p|s|div|li|h[1-6])\s*>", re.IGNORECASE)
_OPEN = re.compile(
    r"<[A-Za-z/!?][^<>]*$|\[[^\[\]]*$|<(sub|say-as|script|style)\b(?!.*</\1\b).*$", re.DOTALL | re.IGNORECASE
)
_STAR = re.compile(r"(?<=[^\s*\d])\*+|\*+(?=[^\s*\d])")
_BULLET = re.compile(r"(?m)^\s*[*+-]\s")
_VIETNAMESE_ABBREVIATIONS = set("tp ths ts gs pgs bs ks ls đt đc ng tx tt vd".split())


def sentence_end(text: str) -> tuple[int, str]:
    """How much of `text` is whole sentences, lines or paragraphs, and the mark that the last of them may lack; 0 when
    none has surely ended."""
    ends = [(end, "") for end in sentence_ends(text)]
    ends += [(m.end(), "") for m in _PAUSE_TAG.finditer(text)]
    ends += [(m.end(), ".") for m in _BLOCK_TAG.finditer(text)]
    start = 0
    for m in _LINE_END.finditer(text):
        if mark := _mark_of_line(text[start : m.start()], m.group(1), text[m.end() :].partition("\n")[0]):
            ends.append((m.end(), mark))
        start = m.end()
    return next(((end, mark) for end, mark in sorted(ends, reverse=True) if not _is_open(text[:end])), (0, ""))


def _mark_of_line(line: str, end: str, following: str) -> str:
    """What a line that ends without a mark is read with; "" where the sentence may go on in the next one."""
    if end.count("\n") > 1 or markup.stands_alone(line) or markup.stands_alone(following):
        return "."
    return "," if _NUMBERED.match(line) and _NUMBERED.match(following) else ""


def last_sure_end(text: str) -> int:
    """How much of a sentence that is still being written is read as it will be read in the end: up to a mark, or
    between two plain words."""
    begin = max(0, len(text) - _LOOK_BACK)
    tokens = list(re.finditer(r"\S+", text[begin:]))
    ends = [m.end() + begin for m in _UNSPACED_END.finditer(text[begin:])]
    for before, token in zip([None, *tokens], tokens, strict=False):
        blank = re.compile(r"\s+").match(text, begin + token.end())
        if blank and (before or not begin) and _is_sure(before.group() if before else "", token.group()):
            ends.append(blank.end())
    return next((end for end in sorted(ends, reverse=True) if not _is_open(text[:end])), 0)


def _is_sure(before: str, token: str) -> bool:
    """Whether a token, with a blank behind it, is read the same whatever follows."""
    found = _TOKEN.fullmatch(token)
    assert found  # anything is: its groups may be empty
    word, marks = found.groups()
    if not word:
        return bool(re.fullmatch(r"[–—!?…]+|\.{3,}", marks)) and _is_plain(before)
    if re.search(r"[!?…]|\.\.", marks):
        return True
    if not _WORD.fullmatch(word):  # digits, signs, links
        return False
    if marks == ".":
        short = len(word) < 2 or (word.isupper() and len(word) < 4) or (not _is_plain(before) and len(word) < 4)
        return not short and word.lower() not in _abbreviations()
    return bool(marks) or (word.islower() and _is_plain(before))


def _is_plain(token: str) -> bool:
    found = _TOKEN.fullmatch(token)
    return not token or bool(found and _WORD.fullmatch(found.group(1)))


@functools.cache
def _abbreviations() -> frozenset[str]:
    from speech.reading import english_words as words  # here: start-up does not wait for tables

    tables = (words.TITLES, words.STREETS, words.ABBREVIATIONS, words.BEFORE_NUMBER, words.DAYS, words.MONTH_OF)
    dotless = {name.rstrip(".").lower() for table in tables for name in table}
    return frozenset(dotless | _VIETNAMESE_ABBREVIATIONS | {"sept", "cf"})


def _is_open(text: str) -> bool:
    """Whether it ends within a tag, a bracket or an emphasis that may still be closed."""
    tail = text[-MAX_OPEN:].rpartition("\n\n")[2]
    stars = _STAR.findall(_BULLET.sub("", tail))
    return bool(_OPEN.search(tail)) or len(stars) % 2 == 1 or tail.count("`") % 2 == 1
