"""What a client of /tts/stream says: JSON objects, checked. Knows no socket and no model."""

import json
from dataclasses import dataclass
from typing import Any

from starlette.types import Message as Event

from server.connections import MAX_MESSAGE_BYTES
from server.errors import MAX_ECHO, TooLarge
from speech.request import FIELDS, BadSpeech, Speech
from speech.text import control_character

FORMATS = ("pcm", "wav")
OPTIONS = frozenset(FIELDS) - {"text", "duration", "format"}
COMMANDS = ("flush", "cancel", "end")
_PLACEHOLDER = "."
"""Speech has a text; this one's is still to come."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message."""

    text: str | None
    options: dict[str, Any]
    """How it is to be spoken: fields of Speech, and `format`."""
    command: str | None


def said(event: Event) -> Said:
    """Raises BadSpeech, TooLarge."""
    text = event.get("text")
    if text is None:
        raise BadSpeech('a message is JSON text such as {"text": "Hello there."}, not bytes')
    if len(text) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"the message is over {MAX_MESSAGE_BYTES} characters; send the text in parts")
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSpeech(f"the message is not JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadSpeech('the message must be a JSON object such as {"text": "Hello there."}')
    known = ("text", *COMMANDS, *sorted(OPTIONS), "format")
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        raise BadSpeech(f"unknown field {unknown[:MAX_ECHO]!r}; known are: {', '.join(known)}", unknown[:MAX_ECHO])
    piece = wanted.pop("text", None)
    if piece is not None and not isinstance(piece, str):
        raise BadSpeech("text must be a string", "text")
    return Said(piece, {name: wanted[name] for name in wanted if name not in COMMANDS}, _command(wanted, piece))


def _command(wanted: dict[str, Any], text: str | None) -> str | None:
    for name in COMMANDS:
        if not isinstance(wanted.get(name, False), bool):
            raise BadSpeech(f"{name} must be true or false", name)
    commands = [name for name in COMMANDS if wanted.get(name)]
    if len(commands) > 1 or (commands == ["cancel"] and (text or len(wanted) > 1)):
        raise BadSpeech(f"{commands[-1]} goes with nothing else in a message", commands[-1])
    return commands[0] if commands else None


def speech_of(options: dict[str, Any]) -> tuple[Speech, str]:
    """How it is asked for, with a text that is not the one, and the format. Raises BadSpeech."""
    format = options.get("format", FORMATS[0])
    if format not in FORMATS:
        raise BadSpeech(f"format must be one of {', '.join(FORMATS)}: the length of a stream is not known", "format")
    return Speech(_PLACEHOLDER, **{name: value for name, value in options.items() if name != "format"}), format


@dataclass(slots=True)
class Pieces:
    """Text as it comes, in pieces that may end in the middle of a character."""

    _half: str = ""

    def whole(self, piece: str) -> str:
        """What can be spoken of it by now. Raises BadSpeech for a character that no text has."""
        text = (self._half + piece).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text.removesuffix(half)
        stray = control_character(text)
        if stray is not None:
            raise BadSpeech(f"text has the control or half character U+{ord(stray):04X}; leave it out", "text")
        self._half = half
        return text
