"""A subtitle file's bytes in, its timed blocks out: encodings, times, where a text begins and ends. pysubs2 reads them.

Knows nothing of what is said. Raises BadSubtitle with the line's number."""

import re
from pathlib import Path
from typing import NamedTuple

import charset_normalizer
import pysubs2
from pysubs2.formats.substation import parse_tags

MAX_BYTES = 20_000_000
"""A film's subtitles are a tenth of a megabyte; more is the film itself."""

_TIME = r"(?:(\d{1,2}):)?(\d{1,2}):([0-5]?\d)(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*-+>\s*{_TIME}(?:\s.*)?")
_EXACT = r"(?:\d{1,2}:)?\d{1,2}:[0-5]\d[.,]\d{1,3}"
_EXACT_TIMING = re.compile(rf"\s*{_EXACT}\s*-->\s*{_EXACT}(?:\s+[A-Za-z]\w*:\S+)*\s*")
"""A time wherever it stands; what is only like one is a time where a time is due."""
_LIKE_TIMING = re.compile(r"\s*-?\d+\s*[:.,]\s*\d.*(?:-+>|[–—]>|→|\d:\d\d:\d\d)|\s*-+>\s*\d+\s*[:.,]\s*\d")
_CLOCK = r"(?:\d{1,3}:\d{1,2}:\d{1,2}(?:[.,]\d{1,3})?|\d{1,2}:\d{2}[.,]\d{1,3})"
_HALF_TIMING = re.compile(rf"\s*-?{_CLOCK}\s*(?:-+>|[–—]>|→)|.*(?:-+>|[–—]>|→)\s*{_CLOCK}\s*$")
_ASS = re.compile(r"^\[(?:script info|events|v4\+? styles)\]", re.IGNORECASE | re.MULTILINE)
_ASS_FIELDS = re.compile(r"\s*(?:layer|marked)\s*,start,end,style,(?:name|actor),marginl,marginr,marginv,effect,text")
_ASS_TIME = re.compile(r"\s*\d{1,2}:\d{1,2}:[0-5]?\d(?:[.,]\d{1,3})?\s*")
_NEAR_WESTERN = ("cp1252", "cp1250", "cp1257", "mac_latin2")
_SIGN_IN_WORD = re.compile(r"[^\W\d_][¹³¿£¥]|[¹³£¥][^\W\d_]")
_VTT_BLOCKS = ("NOTE", "STYLE", "REGION")
_HIDDEN = {ord(sign): chr(0xF0010 + number) for number, sign in enumerate("<>:")}
"""pysubs2 takes two times in a text for a cue's, and all between < and > for a tag: it is not shown these."""
_SHOWN = {ord(hidden): chr(sign) for sign, hidden in _HIDDEN.items()} | {0xF0001: None, 0xF0002: None}


class BadSubtitle(ValueError):
    """What is wrong with the file, and in which line."""


class Block(NamedTuple):
    line: int
    """Where its time stands in the file, from 1."""
    start: float  # seconds
    end: float
    actor: str
    text: str
    """With entities and tags, without overrides and drawings of ASS; its line ends are line feeds."""


def read_bytes(path: Path) -> bytes:
    """No more of it than `parse_blocks` refuses. Raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def parse_blocks(path: Path, raw: bytes) -> tuple[list[Block], str]:
    """In the order of the file, and the encoding they were read with. Raises BadSubtitle."""
    if len(raw) > MAX_BYTES:
        raise BadSubtitle(f"{path} has over {MAX_BYTES / 1e6:.0f} MB, too many for subtitles; is it the film itself?")
    text, encoding = _decoded(path, raw)
    lines = re.sub(r"\r*\n|\r", "\n", text).split("\n")  # CR CR LF is what a twice converted file has
    if _ASS.search(text):
        timed, canonical = _ass(path, lines), "ass"
    else:
        timed, canonical = _srt(path, lines, vtt=text.startswith("WEBVTT")), "srt"
    if not timed:
        raise BadSubtitle(f"{path} has no cue; SRT, VTT and ASS files are read")
    events = pysubs2.SSAFile.from_string(_canonical(timed, canonical), format_=canonical).events
    if len(events) != len(timed):
        raise BadSubtitle(f"{path}: {len(timed)} cue times make {len(events)} cues")
    blocks: list[Block] = []
    for (line, _), event in zip(timed, events, strict=True):
        if event.start > event.end:
            raise BadSubtitle(f"{path}, line {line}: the cue ends before it starts")
        shown = _plain(event).translate(_SHOWN)
        if not event.is_comment and (shown.strip() or not event.is_drawing):  # ASS has comments and drawings too
            blocks.append(Block(line, event.start / 1000, event.end / 1000, event.name.strip(), shown))
    return blocks, encoding


def _plain(event: pysubs2.SSAEvent) -> str:
    if not event.is_drawing:
        return event.plaintext
    words = "".join(fragment for fragment, style in parse_tags(event.text) if not style.drawing)
    return pysubs2.SSAEvent(text=words).plaintext


def _decoded(path: Path, raw: bytes) -> tuple[str, str]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace"), "utf-16"
    if b"\0" not in raw:  # in UTF-16 every other byte is 0, and UTF-8 would take them for characters
        try:
            return raw.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError as error:
            mostly = [c for c in raw.decode("utf-8", "replace") if c > "\x7f"]
            if len(mostly) > 3 * mostly.count("\ufffd"):
                line = 1 + raw[: error.start].count(10)
                raise BadSubtitle(
                    f"{path}, line {line}: not UTF-8, as the rest of the file is; type the line again"
                ) from None
    guesses = charset_normalizer.from_bytes(raw)
    best = guesses.best()
    if best is None:
        raise BadSubtitle(f"{path} is not text in any encoding known here; save it as UTF-8")
    encoding = best.encoding
    # A few accents fit several tables nearly as well: then it is the one most files are in, unless its signs would
    # stand inside words.
    likely = any(guess.encoding == "cp1252" and guess.chaos <= best.chaos + 0.1 for guess in guesses)
    if likely and encoding in _NEAR_WESTERN:
        encoding = "cp1250" if _SIGN_IN_WORD.search(raw.decode("cp1252", "replace")) else "cp1252"
    return raw.decode(encoding, "replace").removeprefix("\ufeff"), encoding


Timed = list[tuple[int, tuple[str, list[str]]]]
"""(line number, (head, text lines)): the head is a time for SRT and VTT, a whole line for ASS."""


def _canonical(timed: Timed, form: str) -> str:
    """The one form of each kind that pysubs2 reads without guessing."""
    if form == "ass":
        return "\n".join(["[Events]", *(head for _, (head, _) in timed)])
    # With a number and an empty line around every text, and one number more at the end, no number is spoken and none
    # that is text is lost.
    blocks = [
        "\n".join([str(number), head, *(line.translate(_HIDDEN) for line in body), ""])
        for number, (_, (head, body)) in enumerate(timed, 1)
    ]
    return "\n".join([*blocks, str(len(timed) + 1)])


def _ass(path: Path, lines: list[str]) -> Timed:
    timed: Timed = []
    events = False
    for number, line in enumerate(map(str.strip, lines), 1):
        if line.startswith("["):
            events = line.lower() == "[events]"
        kind, _, rest = line.partition(":")
        if events and kind == "Format" and not _ASS_FIELDS.fullmatch(rest.lower().replace(" ", "")):
            raise BadSubtitle(
                f"{path}, line {number}: the fields are not in the usual order; "
                "save the file anew with Aegisub or another editor"
            )
        if events and kind in ("Dialogue", "Comment"):
            fields = rest.split(",", 9)
            if len(fields) < 10 or not all(_ASS_TIME.fullmatch(time) for time in fields[1:3]):
                example = "Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,Hello"
                raise BadSubtitle(f"{path}, line {number}: not a whole {kind} line with two times, such as {example}")
            timed.append((number, (line, [])))
    return timed


def _srt(path: Path, lines: list[str], vtt: bool) -> Timed:
    """Times with the text below them. Numbers, names of cues and VTT's notes are left out."""
    close = _close_vtt if vtt else _close_srt
    timed: Timed = []
    body: list[str] = []
    body_line, cue_number = 1, 0
    for number, line in enumerate(lines, 1):
        due = _time_is_due(body, bool(timed), cue_number, vtt)
        timing = _TIMING.fullmatch(line)
        if timing and (due or _EXACT_TIMING.fullmatch(line)):
            cue_number = close(path, body, body_line, cue_number, in_cue=bool(timed), at_end=False)
            body, body_line = [], number + 1
            timed.append((number, (f"{_clock(timing.groups()[:4])} --> {_clock(timing.groups()[4:])}", body)))
        elif (due == "below a number" and _LIKE_TIMING.match(line)) or (due and _HALF_TIMING.match(line)):
            raise BadSubtitle(
                f"{path}, line {number}: {line.strip()[:60]!r} is not a cue's time, such as "
                "00:01:02,500 --> 00:01:04,000"
            )
        else:
            body.append(line)
    close(path, body, body_line, cue_number, in_cue=bool(timed), at_end=True)
    return timed


def _time_is_due(body: list[str], in_cue: bool, cue_number: int, vtt: bool) -> str:
    """Where a cue's time may stand in the line after `body`; "" in the midst of a text, where 3, 2, 1 -> go is text."""
    if not body:
        return "" if in_cue else "at the start"
    last = body[-1].strip()
    if not last:
        return "below an empty line"
    first = len(body) == 1 or not body[-2].strip()
    if vtt:
        return "below a name" if len(body) > 1 and not body[-2] else ""
    known = not in_cue or last == str(cue_number + 1) or (first and len(body) > 1)
    return "below a number" if last.isdecimal() and known else ""


def _clock(groups: tuple[str | None, ...]) -> str:
    hours, minutes, seconds, fraction = groups
    return f"{int(hours or 0):02d}:{int(minutes or 0):02d}:{int(seconds or 0):02d},{(fraction or '0').ljust(3, '0')}"


def _close_vtt(path: Path, body: list[str], body_line: int, cue_number: int, in_cue: bool, at_end: bool) -> int:
    """Takes off what is below a cue's text: notes, styles, the next cue's name.

    A text ends at its first empty line; a line of blanks, as YouTube writes, is not empty."""
    if not at_end and body and body[-1] and (not in_cue if len(body) == 1 else not body[-2]):
        body.pop()
    end = next((i for i, line in enumerate(body) if not line), len(body))
    in_block = not in_cue  # the header is one
    for i in range(end, len(body)):
        if body[i].strip() and not body[i - 1]:
            in_block = body[i].startswith(_VTT_BLOCKS)
        if body[i].strip() and not in_block:
            raise BadSubtitle(
                f"{path}, line {body_line + i}: text below an empty line belongs to no cue; take the empty line out"
            )
    del body[end:]
    return cue_number


def _close_srt(path: Path, body: list[str], body_line: int, cue_number: int, in_cue: bool, at_end: bool) -> int:
    """Takes the number of the next cue off and returns it, 0 where there is none."""
    filled = [i for i, line in enumerate(body) if line.strip()]
    due = str(cue_number + 1) if cue_number or not in_cue else None
    number = 0
    if filled and body[filled[-1]].strip().isdecimal():
        last = filled[-1]
        right_above = last == len(body) - 1 and not at_end
        # Farther above a time, or at the end of the file, only the number that is due counts as one: others are spoken.
        is_due = body[last].strip() == due and (len(filled) > 1 or not in_cue) and not body[last - 1].strip()
        if right_above or is_due:
            number = int(body[last])
            del body[last:]
    for i, line in enumerate(body):
        if line.strip() and not in_cue and not at_end:
            raise BadSubtitle(f"{path}, line {body_line + i}: text above the first cue's time")
        if line.strip() == due and i and not body[i - 1].strip() and any(map(str.strip, body[i + 1 : i + 2])):
            raise BadSubtitle(f"{path}, line {body_line + i}: cue {due} has no time below its number")
    return number
