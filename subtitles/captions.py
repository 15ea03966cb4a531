"""Word by word captions, as WebVTT: when each word of a cue is heard in the film. Knows nothing of servers or sound.

Try: python tts_worker.py --srt examples/harbour.srt --captions harbour.vtt"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subtitles.track import part_of

HEADER = "WEBVTT - when each word is spoken, by tts_worker.py"
"""By which a file is known as one of these, and may be replaced."""
MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: float  # seconds from the first sample of the sound that was asked for
    end: float


@dataclass(frozen=True, slots=True)
class WordTimes:
    """Of one sound that was asked for."""

    seconds: float
    words: Sequence[Word]

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "WordTimes":
        """A server's answer. Raises ValueError."""
        try:
            seconds, words = _number(told["seconds"]), tuple(_word(one) for one in told["words"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{error}") from None
        return cls(seconds, words)


def _word(told: Any) -> Word:
    if not isinstance(told["word"], str):
        raise ValueError("a word is no text")
    return Word(told["word"], _number(told["start"]), _number(told["end"]))


def _number(told: object) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told <= MAX_SECONDS:
        raise ValueError("a time is no number of seconds")
    return float(told)


@dataclass(frozen=True, slots=True)
class Said:
    """A text of a cue, and from when on its sound is heard in the film."""

    text: str
    words: Sequence[Word]
    start: float  # in seconds


@dataclass(frozen=True, slots=True)
class Caption:
    start: float  # seconds
    end: float
    said: Sequence[Said]

    def lines(self) -> str:
        """A cue of WebVTT; its end is moved where it is still spoken then.

        Every letter is of the text: what a server calls its words only says where a time stands."""
        spoken_until = [said.start + word.end for said in self.said for word in said.words]
        end = max(_ms(self.end), _ms(self.start) + 1, *map(_ms, spoken_until))
        body, last = "", _ms(self.start)
        for said in self.said:
            at = 0
            for word in said.words:
                found, when = said.text.find(word.text, at), _ms(said.start + word.start)
                if found < 0 or not word.text:
                    continue
                body += _escaped(said.text[at:found])
                if last < when < end:
                    body, last = f"{body}<{_clock(when)}>", when
                body, at = body + _escaped(word.text), found + len(word.text)
            body += _escaped(said.text[at:]) + "\n"
        shown = re.sub(r"\s*\n\s*", "\n", body).strip()
        return f"{_clock(_ms(self.start))} --> {_clock(end)}\n{shown}\n"


def write(captions: Iterable[Caption], out: Path) -> None:
    """`out` appears whole or not at all; OSError when the disk is full."""
    part = part_of(out)
    part.unlink(missing_ok=True)  # whatever it is: a link would be followed
    try:
        blocks = (caption.lines() for caption in captions)
        part.write_text("\n".join([f"{HEADER}\n", *blocks]), encoding="utf-8", newline="\n")
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
