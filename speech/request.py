"""What is asked for. Knows the limits of every field, nothing of models or HTTP."""

import math
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, get_args

from speech.formats import FORMATS
from speech.text import clean, control_character

DEFAULT_VOICE = "default"
MIN_SPEED, MAX_SPEED = SPEEDS = 0.25, 4.0
_KINDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


class BadSpeech(ValueError):
    """The caller's mistake, in words; `field` names it."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


class UnknownVoice(LookupError):
    """No voice of that name; the message lists those there are."""


def takes(
    meaning: str,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    choices: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """A field's metadata: from `minimum` (or above `above`) to `maximum`. Queries and OpenAPI are made from it."""
    bounds = {"minimum": minimum, "maximum": maximum, "above": above, "max_length": max_length}
    return {"meaning": meaning, "pattern": pattern, "choices": choices} | bounds


@dataclass(frozen=True, slots=True)
class Speech:
    """What to say and how. Valid from birth: BadSpeech says what is wrong."""

    text: str = field(metadata=takes("what to say"))
    voice: str = field(default=DEFAULT_VOICE, metadata=takes("one of /voices", max_length=100))
    speed: float = field(default=1.0, metadata=takes("1.0 keeps the voice's own pace", MIN_SPEED, MAX_SPEED))
    duration: float | None = field(
        default=None,
        metadata=takes("seconds the speech is to last, exactly; absent: as long as it takes", above=0, maximum=86_400),
    )
    seed: int | None = field(
        default=None,
        metadata=takes("same text, voice, seed and settings: same samples; absent: drawn", 0, 2**63 - 1),
    )
    steps: int | None = field(
        default=None,
        metadata=takes("solver steps; absent: the checkpoint's own. More is slower and seldom better", 1, 64),
    )
    cfg_strength: float | None = field(
        default=None,
        metadata=takes("guidance; absent: the checkpoint's own. 0 halves the work", 0, 10),
    )
    language: str | None = field(
        default=None,
        metadata=takes(
            "a language's short name, as en, en-gb, vi or zh; absent: told by its words, sentence by sentence",
            max_length=40,
            pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
        ),
    )
    normalize: bool | None = field(
        default=None,
        metadata=takes(
            "numbers, signs, abbreviations and markup are read as words; false leaves the text as it is; "
            "absent: the server's choice"
        ),
    )
    format: str = field(default="wav", metadata=takes("of the sound that is sent", choices=tuple(FORMATS)))

    def __post_init__(self) -> None:
        for name, one in FIELDS.items():
            _check(one, getattr(self, name))
        stray = control_character(self.text)
        if stray is not None:
            raise BadSpeech(f"text has the control or half character U+{ord(stray):04X}; leave it out", "text")
        if not clean(self.text):
            raise BadSpeech("text is empty", "text")
        needed = FORMATS[self.format].needs
        if needed is not None and not FORMATS[self.format].available:
            raise BadSpeech(f"format {self.format} needs the package {needed}; see docs/http-api.md#formats", "format")


FIELDS: dict[str, Field[Any]] = {one.name: one for one in fields(Speech)}


def kind(one: Field[Any]) -> type:
    """str, bool, int or float, whether or not it may also be None."""
    plain: type = (get_args(one.type) or (one.type,))[0]
    return plain


def parse(name: str, text: str) -> object:
    """A field's value from a query string or a command line. Raises BadSpeech."""
    wanted = kind(FIELDS[name])
    try:
        return {"true": True, "false": False}[text.lower()] if wanted is bool else wanted(text)
    except (ValueError, KeyError):
        raise BadSpeech(f"{name} must be {_KINDS[wanted]}", name) from None


def _check(one: Field[Any], value: Any) -> None:
    if value is None and one.default is None:
        return
    wanted, rule = kind(one), one.metadata
    right = isinstance(value, bool) == (wanted is bool) and isinstance(
        value, (int, float) if wanted is float else wanted
    )
    if not right or (wanted in (int, float) and not _within(value, rule)):
        raise BadSpeech(f"{one.name} must be {_KINDS[wanted]}{_range(rule)}", one.name)
    if rule["max_length"] is not None and len(value) > rule["max_length"]:
        raise BadSpeech(f"{one.name} must have at most {rule['max_length']} characters", one.name)
    if rule["choices"] is not None and value not in rule["choices"]:
        raise BadSpeech(f"{one.name} must be one of {', '.join(rule['choices'])}", one.name)
    if rule["pattern"] is not None and not re.fullmatch(rule["pattern"], value):
        raise BadSpeech(f"{one.name} must be {rule['meaning'].split(';')[0]}", one.name)


def _within(value: float, rule: Mapping[str, Any]) -> bool:
    return (
        not (isinstance(value, float) and not math.isfinite(value))
        and (rule["minimum"] is None or value >= rule["minimum"])
        and (rule["above"] is None or value > rule["above"])
        and (rule["maximum"] is None or value <= rule["maximum"])
    )


def _range(rule: Mapping[str, Any]) -> str:
    if rule["maximum"] is None:
        return ""
    low = f" from {rule['minimum']} to " if rule["above"] is None else f" above {rule['above']}, at most "
    return f"{low}{rule['maximum']}"
