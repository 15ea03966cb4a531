"""What is asked for. Knows the limits of every field, nothing of models or HTTP."""

import math
import re
from dataclasses import dataclass

from speech.text import clean, control_character

DEFAULT_VOICE = "default"
MOST_STEPS = 64
SPEEDS = 0.25, 4.0
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class BadSpeech(ValueError):
    """The caller's mistake, in words; `field` names it."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


class UnknownVoice(LookupError):
    """No voice of that name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What to say and how. Valid from birth: BadSpeech says what is wrong."""

    text: str
    voice: str = DEFAULT_VOICE
    speed: float = 1.0
    """1.0 keeps the voice's own pace; 0.25 to 4."""
    duration: float | None = None
    """Seconds the speech is to last, exactly; None: as long as it takes."""
    seed: int | None = None
    """Same text, voice, seed and settings: same samples. None draws one."""
    steps: int | None = None
    """Solver steps, 1 to 64; None: the checkpoint's own (7). More is slower and seldom better."""
    cfg_strength: float | None = None
    """Guidance, 0 to 10; None: the checkpoint's own. 0 halves the work."""
    language: str | None = None
    """Of the text, as `en`, `vi`, `zh`; None: told by its words, sentence by sentence."""
    normalize: bool | None = None
    """Numbers, signs, abbreviations and markup are read as words; false leaves the text as it is. None: the server's choice."""

    def __post_init__(self) -> None:
        _check(isinstance(self.text, str), "text", "must be a string")
        stray = control_character(self.text)
        _check(stray is None, "text", f"has the control or half character U+{ord(stray or ' '):04X}; leave it out")
        _check(bool(clean(self.text)), "text", "is empty")
        _check(isinstance(self.voice, str), "voice", "must be a string")
        _check(
            _number(self.speed) and SPEEDS[0] <= self.speed <= SPEEDS[1],
            "speed",
            f"must be a number from {SPEEDS[0]} to {SPEEDS[1]}",
        )
        _check(
            self.duration is None or (_number(self.duration) and 0 < self.duration <= 86_400),
            "duration",
            "must be seconds above 0, at most 86400",
        )
        _check(
            self.seed is None or (_whole(self.seed) and 0 <= self.seed < 2**63),
            "seed",
            "must be a whole number from 0 to 2^63 - 1",
        )
        _check(
            self.steps is None or (_whole(self.steps) and 1 <= self.steps <= MOST_STEPS),
            "steps",
            f"must be a whole number from 1 to {MOST_STEPS}",
        )
        _check(
            self.cfg_strength is None or (_number(self.cfg_strength) and 0 <= self.cfg_strength <= 10),
            "cfg_strength",
            "must be a number from 0 to 10",
        )
        _check(
            self.language is None or (isinstance(self.language, str) and bool(_LANGUAGE.fullmatch(self.language))),
            "language",
            "must be a language's short name, as en, en-gb, vi or zh",
        )
        _check(self.normalize is None or isinstance(self.normalize, bool), "normalize", "must be true or false")


def _check(ok: bool, field: str, rule: str) -> None:
    if not ok:
        raise BadSpeech(f"{field} {rule}", field)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))
