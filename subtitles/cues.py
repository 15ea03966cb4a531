"""A subtitle file in, cues out: what is said, when, and by whom. Knows nothing of servers or sound.

Try: python tts_worker.py --srt examples/harbour.srt --check
"""

import html
import itertools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import charset_normalizer
import pysubs2

MAX_BYTES = 20_000_000
"""A film's subtitles are a tenth of a megabyte; more is the film itself."""

_TIME = r"(?:(\d{1,2}):)?(\d{1,2}):([0-5]?\d)(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*-+>\s*{_TIME}(?:\s.*)?")
_MEANT_AS_TIMING = re.compile(r"\s*-?\d+\s*[:.,]\s*\d.*(?:-+>|[–—]>|→|\d:\d\d:\d\d)|\s*-+>\s*\d+\s*[:.,]\s*\d")
_ASS = re.compile(r"^\[(?:script info|events|v4\+? styles)\]", re.IGNORECASE | re.MULTILINE)
_ASS_FIELDS = re.compile(r"\s*(?:layer|marked)\s*,start,end,style,(?:name|actor),marginl,marginr,marginv,effect,text")
_ASS_TIME = re.compile(r"\s*\d{1,2}:\d{1,2}:[0-5]?\d(?:[.,]\d{1,3})?\s*")
_NEAR_WESTERN = ("cp1252", "cp1250", "cp1257", "mac_latin2")
_SIGN_IN_WORD = re.compile(r"[^\W\d_][¹³¿£¥]|[¹³£¥][^\W\d_]")
_VTT_BLOCKS = ("NOTE", "STYLE", "REGION")
_VTT_SPEAKER = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_GLUE = re.compile(r"<(?:br ?/?|(?:\d+:)?\d\d:\d\d\.\d{3})>", re.IGNORECASE)
_SPEAKER = re.compile(r"\s*\[([^\]]+)\]")
_SOUNDS = re.compile(r"\[[^\]]*\]:?|[♪♫]+[^♪♫]*[♪♫]*")
_DASH = re.compile(r"^\s*[-–—]\s*", re.MULTILINE)


class BadSubtitle(ValueError):
    """What is wrong with the file, and in which line."""


@dataclass(frozen=True, slots=True)
class Cue:
    index: int
    """Its place among all cues of the file, from 0: audio_0007.wav belongs to index 7."""
    line: int
    """Where its time stands in the file, from 1."""
    start: float  # seconds
    end: float
    shown: str
    """As on the screen, tags of style taken off."""
    speaker: str
    text: str
    """What is spoken: `shown` without speakers and sounds; empty when there is nothing to say."""

    @property
    def file_name(self) -> str:
        return file_name(self.index)


def file_name(index: int) -> str:
    return f"audio_{index:04d}.wav"


def in_time(cue: Cue) -> tuple[float, int]:
    """The order of the film: by start, then by place in the file."""
    return cue.start, cue.index


def read(path: Path) -> tuple[list[Cue], str]:
    """All cues in the order of the file, and the encoding they were read with. Raises BadSubtitle, OSError."""
    if path.stat().st_size > MAX_BYTES:
        raise BadSubtitle(
            f"{path} has {path.stat().st_size / 1e6:.0f} MB, too many for subtitles; is it the film itself?"
        )
    text, encoding = _decoded(path)
    lines = re.sub(r"\r*\n|\r", "\n", text).split("\n")  # CR CR LF is what a twice converted file has
    if _ASS.search(text):
        timed, canonical = _ass(path, lines), "ass"
    else:
        timed, canonical = _srt(path, lines, vtt=text.startswith("WEBVTT")), "srt"
    if not timed:
        raise BadSubtitle(f"{path} has no cue; SRT, VTT and ASS files are read")
    events = pysubs2.SSAFile.from_string(_canonical(timed, canonical), format_=canonical).events
    if len(events) != len(timed):
        raise BadSubtitle(
            f"{path}: {len(timed)} cue times make {len(events)} cues; a cue's text seems to hold two times of its own"
        )
    cues: list[Cue] = []
    for (line, _), event in zip(timed, events, strict=True):
        if event.start > event.end:
            raise BadSubtitle(f"{path}, line {line}: the cue ends before it starts")
        if event.is_text:  # ASS has comments and drawings too
            shown = unicodedata.normalize("NFC", html.unescape(event.plaintext)).strip()
            cues.append(
                Cue(len(cues), line, event.start / 1000, event.end / 1000, shown, *_spoken(shown, event.name.strip()))
            )
    return cues, encoding


def _spoken(shown: str, actor: str) -> tuple[str, str]:
    """Who speaks, and what."""
    tag = _SPEAKER.match(shown)
    text = _DASH.sub("", _SOUNDS.sub(" ", shown))
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    if not any(c.isalnum() for c in text):
        text = ""
    return actor or (tag[1].strip() if tag else ""), " ".join(text.split())


def _decoded(path: Path) -> tuple[str, str]:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace"), "utf-16"
    if b"\0" not in raw:  # in UTF-16 every other byte is 0, and UTF-8 would take them for characters
        try:
            return raw.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError as error:
            mostly = [c for c in raw.decode("utf-8", "replace") if c > "\x7f"]
            if len(mostly) > 3 * mostly.count("\ufffd"):
                raise BadSubtitle(
                    f"{path}, line {1 + raw[: error.start].count(10)}: not UTF-8, as the rest of the file is; type the line again"
                ) from None
    guesses = charset_normalizer.from_bytes(raw)
    best = guesses.best()
    if best is None:
        raise BadSubtitle(f"{path} is not text in any encoding known here; save it as UTF-8")
    encoding = best.encoding
    # A few accents fit several tables nearly as well: then it is the one most files are in, unless its signs would stand inside words.
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
    # With a number and an empty line around every text, and one number more at the end, no number is spoken and none that is text is lost.
    blocks = ["\n".join([str(number), head, *body, ""]) for number, (_, (head, body)) in enumerate(timed, 1)]
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
                f"{path}, line {number}: the fields are not in the usual order; save the file anew with Aegisub or another editor"
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
        timing = _TIMING.fullmatch(line)
        if timing:
            cue_number = close(path, body, body_line, cue_number, in_cue=bool(timed), at_end=False)
            body, body_line = [], number + 1
            timed.append((number, (f"{_clock(timing.groups()[:4])} --> {_clock(timing.groups()[4:])}", body)))
        elif _MEANT_AS_TIMING.match(line):
            raise BadSubtitle(
                f"{path}, line {number}: {line.strip()[:60]!r} is not a cue's time, such as 00:01:02,500 --> 00:01:04,000"
            )
        else:
            line = _VTT_SPEAKER.sub(r"[\1] ", line) if vtt else line
            body.append(_GLUE.sub(" ", line))
    close(path, body, body_line, cue_number, in_cue=bool(timed), at_end=True)
    return timed


def _clock(groups: tuple[str | None, ...]) -> str:
    hours, minutes, seconds, fraction = groups
    return f"{int(hours or 0):02d}:{int(minutes or 0):02d}:{int(seconds or 0):02d},{(fraction or '0').ljust(3, '0')}"


def _close_vtt(path: Path, body: list[str], body_line: int, cue_number: int, in_cue: bool, at_end: bool) -> int:
    """A cue's text ends at its first empty line; below come notes, styles and the next cue's name. All of these are taken off."""
    if not at_end and body and body[-1].strip() and (len(body) == 1 or not body[-2].strip()):
        body.pop()
    end = next((i for i, line in enumerate(body) if not line.strip()), len(body))
    in_block = not in_cue  # the header is one
    for i in range(end, len(body)):
        if body[i].strip() and not body[i - 1].strip():
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


def rooms(cues: list[Cue]) -> dict[int, float]:
    """Seconds that the speech of each cue may last: its slot and the silence after it, up to the next cue that speaks."""
    speaking = sorted((cue for cue in cues if cue.text), key=in_time)
    following = itertools.pairwise(speaking)
    return {cue.index: after.start - cue.start for cue, after in following} | {
        cue.index: cue.end - cue.start for cue in speaking[-1:]
    }


def length(cues: list[Cue]) -> float:
    """Seconds until the last cue ends."""
    return max(cue.end for cue in cues)
