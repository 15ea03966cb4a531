"""What a cue shows in, what is said of it out: by whom, and what stays unsaid. Knows nothing of files or times.

What is dropped is dropped by name (a song, a sound), so that --check can say so; nothing else of a cue is ever lost."""

import html
import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

SPEAKER, END = "\U000f0001", "\U000f0002"
"""Around the name in VTT's <v Anna>, which may hold any other character."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAK = re.compile(r"<\s*br\s*/?\s*>", re.IGNORECASE)
_KARAOKE = re.compile(r"<(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}>")
_RUBY = re.compile(r"<rt>.*?(?:</rt>|$)|<rp>.*?(?:</rp>|$)", re.IGNORECASE | re.DOTALL)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
_VOICE_END = re.compile(r"</v\s*>")
_TAG = re.compile(
    r"""</?[A-Za-z][A-Za-z0-9:_-]*            # <i, </font, <c
        (?:\.[^\s<>]+)*                             # .loud.red
        (?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s<>]+))*   # color="red": words alone are no attributes
        \s*/?\s*>
        |<lang\s[^<>]*>""",
    re.VERBOSE,
)
_NOTES = "♩♪♫♬𝄞🎵🎶🎼¶"  # ¶ is what ♪ becomes in an old encoding
_NOTE = re.compile(f"[{_NOTES}][{_NOTES}\\s\ufe0e\ufe0f]*")
_HASH_SONG = re.compile(r"#+(?:\s+(?=[^\s\d#])|(?=.*\S\s*#+\s*$))")
_HASH_END = re.compile(r"(?<=\S)\s*#+\s*$")
_LEAD = re.compile(r"\s*(?:(?:[-–—]|>>+)\s*)?(?:\[[^\[\]]*\]:?\s*|[\U000f0001][^\U000f0002]*[\U000f0002]\s*)*[\"'“‘]?")
"""What may stand before the first word of a line: a dash, who speaks."""
_DASH = re.compile(r"\s*(?:[-–—]+(?![->])|>>+)\s*")
_MINUS = re.compile(r"\s*[-–—−](?=[.,]?\d|[$€£¥]\s?\d)")
_TAGGED = re.compile(r"\[([^\[\]]*)\]:?|[\U000f0001]([^\U000f0002]*)[\U000f0002]")
_BRACKETED = re.compile(r"(?:(?:\([^()]*\)|<[^<>]*>)[\s.,;:!?…]*)+")
_PAUSED = re.compile(r"[.!?…,;:。！？、，；：–—-][\"'”’»)\]]*$")
_HYPHENATED = re.compile(r"[^\W\d_]-$")
_CHAPTER = re.compile(
    r"(?:chapter|part|book|act|scene|episode|section|volume|chương|phần|tập|hồi|bài|quyển)\s+[\w.]{1,12}", re.IGNORECASE
)
_BEGINNING = re.compile(
    r"(?:The|An?|It|He|She|They|We|You|This|That|These|There|When|Once|If|But|And|So|Then|What|Where|Who|How|Why|In|On|At"
    r"|My|His|Her|Our|Their|Your)\s+[^\W\d_A-Z]"
)
"""A small word written large is no name that a line end has cut off: a sentence begins there."""


class Part(NamedTuple):
    """What one person says in a cue."""

    speaker: str
    text: str
    certain: bool
    """False where the name stands in brackets in the midst of speech, and may be a sound."""


@dataclass(slots=True)
class _Turn:
    speaker: str
    certain: bool
    tags: list[str]
    """As they stand in the text, for --check."""
    lines: list[str] = field(default_factory=list)
    """An empty one stands for an empty line."""


def without_markup(text: str) -> str:
    """Entities are characters, tags of style are gone; <v Anna> is SPEAKER Anna END. `a < b and c > d` stays."""
    text = text.replace(SPEAKER, "").replace(END, "").replace("â™ª", "♪").replace("â™«", "♫")  # UTF-8 read as cp1252
    for _ in range(3):  # twice escaped is seen often enough
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _KARAOKE.sub("", _RUBY.sub("", _BREAK.sub("\n", text)))
    text = _VOICE_END.sub(SPEAKER + END, _VOICE.sub(rf"{SPEAKER}\1{END}", text))
    return unicodedata.normalize("NFC", _TAG.sub("", text))


def as_shown(text: str) -> str:
    """Of what without_markup() returns: as on the screen."""
    return re.sub(rf"{SPEAKER}([^{END}]*){END}", lambda m: f"[{m[1].strip()}] " if m[1].strip() else "", text).strip()


def parts_of(text: str, actor: str = "") -> tuple[list[Part], list[str]]:
    """Who says what, of what without_markup() returns; and what stays unsaid, with its reason."""
    text = re.sub(r"【([^【】]*)】", r"[\1]", text).replace("（", "(").replace("）", ")")
    text = re.sub(r"\[[^\[\]]*\]", lambda tag: " ".join(tag[0].split()), text)
    lines, unsaid = _without_songs(text.split("\n"))
    parts: list[Part] = []
    for turn in _turns(lines, actor):
        said = _joined_lines(turn.lines)
        if _BRACKETED.fullmatch(said):
            unsaid.append(f"{_short(said)}, a sound in brackets")
            said = ""
        said = _speakable(said)
        if said:
            parts.append(Part(turn.speaker, said, turn.certain))
            unsaid += [f"{tag!r}, a sound in brackets" for tag in turn.tags if not _is_name(tag.strip("[]:"))]
        else:
            unsaid += [f"{tag!r}, a sound in brackets" for tag in turn.tags]
    if not parts and not unsaid and any(not c.isspace() for c in text):
        unsaid.append("there is no letter or digit")
    return parts, unsaid


def joined(before: str, after: str) -> str:
    """Two turns in one voice: with a pause, which a line end makes where no mark does."""
    return before + (" " if _PAUSED.search(before[-40:]) else "\n") + after


def _speakable(text: str) -> str:
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    if not any(c.isalnum() for c in text):
        return ""
    return "\n".join(words for line in text.split("\n") if (words := " ".join(line.split())))


def _without_songs(lines: list[str]) -> tuple[list[str], list[str]]:
    lines = _hashes_as_notes(lines)
    kept: list[str] = []
    unsaid: list[str] = []
    singing_until = -1  # the last line of a song that began above
    for i, line in enumerate(lines):
        pieces = _NOTE.split(line)
        if i <= singing_until:
            unsaid += _song(pieces[0])
            pieces = pieces[1:] if i == singing_until and len(pieces) > 1 else [""]
        spoken, sung = pieces[::2], pieces[1::2]
        for song in sung:
            unsaid += _song(song)
        kept.append(" ".join(spoken))
        if len(pieces) % 2 == 0 and (pieces[-1].strip() or not "".join(pieces).strip()):  # it is not closed here
            singing_until = max(singing_until, _song_end(lines, i))
    return kept, unsaid


def _song(sung: str) -> list[str]:
    return [f"{_short(sung)}, a song"] if sung.strip() else []


def _song_end(lines: list[str], first: int) -> int:
    """The last line of a song that begins in line `first` and has no sign at its end: the one with the sign, or as long
    as lines begin with a small letter. A dash, a name or a sign begins something else."""
    last = first
    for i in range(first + 1, len(lines)):
        start = _LEAD.match(lines[i])
        begin = start.end() if start else 0
        alone = _NOTE.fullmatch(lines[i].strip())
        if alone:
            return i
        if lines[i][:begin].strip(" \"'“‘") or _NOTE.match(lines[i], begin):
            return last
        if _NOTE.search(lines[i]):
            return i
        if last == i - 1 and lines[i][begin : begin + 1].islower():
            last = i
    return last


def _hashes_as_notes(lines: list[str]) -> list[str]:
    """# la la # is a song, #1, # 5 and "press # now" are not."""
    turned = list(lines)
    opened = False
    for i, line in enumerate(turned):
        lead = _LEAD.match(line)
        at = lead.end() if lead else 0
        hashes = _HASH_SONG.match(line, at)
        if not hashes and line.startswith("#", at) and any(_HASH_END.search(later) for later in turned[i + 1 :]):
            hashes = re.compile("#+").match(line, at)
            hashes = None if line[at + 1 : at + 2].isdecimal() else hashes
        if hashes:
            line, opened = f"{line[:at]}♪{line[hashes.end() :]}", True
        if opened and _HASH_END.search(line):
            line, opened = _HASH_END.sub(" ♪", line), False
        turned[i] = line
    return turned


def _turns(lines: list[str], actor: str) -> list[_Turn]:
    turns = [_Turn(actor, True, [])]
    dashes = _dashes(lines)
    for line, dash in zip(lines, dashes, strict=True):
        if dash and (match := _DASH.match(line)):
            line = line[match.end() :]
            turns.append(_Turn(actor, True, []))
        position = 0
        for tag in _TAGGED.finditer(line):
            before = line[position : tag.start()]
            at_start = not turns[-1].lines and not before.strip() and not turns[-1].tags
            _say(turns[-1], re.sub(r"\s[-–—]\s*$", " ", before) if before.strip() else before)
            _begin(turns, tag, actor, at_start)
            position = tag.end()
        _say(turns[-1], line[position:], ends=True)
    return turns


def _say(turn: _Turn, text: str, ends: bool = False) -> None:
    if text.strip() or (ends and turn.lines):
        turn.lines.append(text.strip())


def _begin(turns: list[_Turn], tag: re.Match[str], actor: str, at_start: bool) -> None:
    if tag[2] is not None:  # VTT's voice: certain
        turns.append(_Turn(tag[2].strip() or actor, True, []))
        return
    name = tag[1].strip()
    if at_start:  # of a cue, or behind a dash
        turn = turns[-1]
        turn.tags.append(tag[0])
        turn.speaker = turn.speaker or name
    elif _is_name(name):
        turns.append(_Turn(name, False, [tag[0]]))
    else:
        turns[-1].tags.append(tag[0])


def _is_name(tag: str) -> bool:
    words = tag.split()
    return 0 < len(words) <= 3 and words[0][:1].isupper()


def _dashes(lines: list[str]) -> list[bool]:
    """Which lines begin with a dash of dialogue: -10 degrees does not, unless another line begins with -Really?"""
    found = [bool(_DASH.match(line)) for line in lines]
    negative = [bool(_MINUS.match(line)) for line in lines]
    tight = any(re.match(r"\s*[-–—][^\W\d_]", line) for line in lines)
    return [dash and (tight or not minus) for dash, minus in zip(found, negative, strict=True)]


def _joined_lines(lines: list[str]) -> str:
    """Wrapped lines are one; a line end is kept where it is a pause: at an empty line and behind a heading.

    Most line ends in a subtitle only wrap, so that one alone is a pause only where the first line says that it is a
    heading (capitals alone, "Chapter One"), or the next that a sentence begins ("It was"); and a file that puts an
    empty line after every line is known by its small letters."""
    said: list[str] = []
    gap = False
    for line in lines:
        if not line:
            gap = bool(said)
            continue
        before, small = said[-1] if said else "", line[0].islower()
        if _HYPHENATED.search(before) and small:
            said.append(line)
        elif said and not small and not _PAUSED.search(before) and (gap or _is_heading(before, line)):
            said += ["\n", line]
        else:
            said += [" ", line] if said else [line]
        gap = False
    return "".join(said)


def _is_heading(line: str, below: str) -> bool:
    capitals = line.isupper() and sum(map(str.isalpha, line)) > 3 and not below.isupper()
    heading = capitals or bool(_CHAPTER.fullmatch(line.strip()))
    return (heading and below[:1].isupper()) or bool(_BEGINNING.match(below))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "…")
