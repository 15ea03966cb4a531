"""Text cleaned, measured and cut into chunks. Knows nothing of audio, models or HTTP."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

MAX_MARKS = 30
"""On one letter, as Unicode's stream-safe form has it (UAX 15)."""

FIRST_CHUNK_BYTES = 10, 48
"""The first chunk is the first clause of at least 10 bytes, and cut at a space past 48: its length is the wait for
first audio."""
LAST_WORDS_BYTES = 24
"""Words cut off by so few bytes are said as if they were a sentence of their own: the piece before takes them in."""
SECOND_CHUNK_BYTES, CHUNK_GROWTH = 72, 3.0
"""A chunk is made while the one before it plays: it may be so many times that one's size, and always 72 bytes (about 4
s)."""

_NOT_AN_END = re.compile(
    r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|Mt|Ft|Jan|Feb|Aug|Sept?|Oct|Nov|Dec"
    r"|cf|al|approx|est|pp?|[vV]ol|[fF]ig|(?<![^\W_]['’])(?!I\b)[A-Z]|(?:\w\.)+\w)\.$"
)
"""A dot that belongs to an abbreviation or an initial. Only for text that is not read into words: that has none
left."""
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")
_CLAUSE_END = re.compile(r"(?<=[,;:–—])\s+|(?<=[，、；：])")


def clean(text: str) -> str:
    """NFC, without invisible format characters, one space for any run of white space."""
    if text.isascii():
        return " ".join(text.split())
    text = "".join(_few_marks(c for c in text if unicodedata.category(c) != "Cf"))
    return " ".join(unicodedata.normalize("NFC", text).split())


def _few_marks(text: Iterable[str]) -> Iterator[str]:
    """NFC sorts the marks on a letter, in their number squared: 20 000 take a second. No writing has more than
    MAX_MARKS."""
    marks = 0
    for c in text:
        marks = marks + 1 if unicodedata.combining(c) else 0
        if marks <= MAX_MARKS:
            yield c


def utf8_text(raw: bytes) -> str:
    """What a file holds, with or without a mark at its beginning. Raises ValueError for another encoding."""
    text = raw.decode("utf-8-sig")
    if "\0" in text:  # UTF-16 of plain letters can be read as UTF-8, with a zero beside each
        raise ValueError("it is not in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def control_character(text: str) -> str | None:
    """The first character that no text has: a control that is not white space, or half of a surrogate pair."""
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") and not c.isspace()), None)


def utf8_bytes(text: str) -> int:
    """Bytes in UTF-8: F5's measure of how long a text takes to say."""
    return len(text.encode())


def chunks_of(text: str, limit: int, before: int | None = None) -> Iterator[str]:
    """Clean text in pieces of at most `limit` bytes, cut after sentences where that fits, else clauses, words, or
    anywhere.

    The first piece is short and the next ones grow, so that sound starts early and does not starve. At least one piece.
    `before`: bytes of the piece that is spoken before this text; then none is a first one."""
    start = 0
    while True:
        # Of what is to come no more than is looked at: a long text is not copied.
        size = next_piece(text[start : start + limit + 2], limit, before) or 0
        piece = text[start : start + size].strip()
        yield piece
        start += size
        start += text.startswith(" ", start)
        if start >= len(text):
            return
        before = utf8_bytes(piece)


def next_piece(text: str, limit: int, before: int | None, open: bool = False) -> int | None:
    """How many characters, from the beginning of cleaned text, are its next piece; see `chunks_of`.

    `open`: more text may come behind this; None where that could make the piece another one."""
    room = min(FIRST_CHUNK_BYTES[1] if before is None else _room_after(before), limit)
    least = FIRST_CHUNK_BYTES[0] if before is None else None
    rest = text[: room + 2]
    fits = not _exceeds(rest, room)
    if fits and open:
        return None if least is None else _first_end(rest, rest, least)
    if fits and (least is None or not _exceeds(rest, least)):
        return len(rest)
    at_end = _cut_at_end(rest, room, least)
    if at_end is not None:
        return at_end
    reach = min(room + LAST_WORDS_BYTES, limit)
    further, past = text[: reach + 2], len(_within(text, room))
    for end in ends_of(_within(further, reach + 1)):
        if end > past:
            return end
    if not _exceeds(further, reach):
        return None if open else len(further)
    return _space(rest, room)


def ends_of(text: str) -> list[int]:
    """Where clauses and sentences of cleaned text end, behind the blank that follows them."""
    sentences, clauses = _ends(text)
    return sorted(sentences + clauses)


def _room_after(size: int) -> int:
    return max(SECOND_CHUNK_BYTES, int(CHUNK_GROWTH * size))


def _exceeds(text: str, room: int) -> bool:
    return utf8_bytes(text[: room + 1]) > room


def _cut_at_end(text: str, room: int, first: int | None) -> int | None:
    """The last sentence end or clause end within `room` bytes; or the first end past `first` bytes."""
    head = _within(text, room + 1)
    if first is not None:
        return _first_end(text, head, first)
    sentences, clauses = _ends(head)
    least = len(_within(text, room)) // 3
    for ends, past in ((sentences, least), (clauses, least), (sentences + clauses, FIRST_CHUNK_BYTES[0])):
        if ends and max(ends) >= past:
            return max(ends)
    return None


def _within(text: str, room: int) -> str:
    """The beginning that has at most so many bytes; no character has less than one."""
    return text[:room].encode()[:room].decode(errors="ignore")


def _first_end(text: str, head: str, least: int) -> int | None:
    return next((at for at in ends_of(head) if utf8_bytes(text[:at].strip()) >= least), None)


def _ends(head: str) -> tuple[list[int], list[int]]:
    """Of sentences, and of clauses."""
    sentences = [m.end() for m in _SENTENCE_END.finditer(head) if not _NOT_AN_END.search(head[: m.start()])]
    return sentences, [m.end() for m in _CLAUSE_END.finditer(head)]


def _space(text: str, room: int) -> int:
    head, fits = _within(text, room + 1), _within(text, room)
    spaces = [i for i, c in enumerate(head) if c == " " and i]
    apart = [i for i in spaces if not (head[i - 1].isdigit() and text[i + 1 : i + 2].isdigit())]  # not inside 10 000
    return (apart or spaces or [max(1, len(fits))])[-1]
