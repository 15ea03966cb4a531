"""What is wanted of a run, and what a server is asked for each cue. Knows nothing of files in a folder or of HTTP."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from subtitles.cues import Cue

SPEEDS = 0.25, 4.0
FITTED_SPEEDS = 0.252, 3.95
"""A little inside SPEEDS: lengths are rounded to a millisecond, and at the very limit a server would refuse half of them."""
MIN_SECONDS = 0.25
"""Shorter than this no speech is asked for: a server has no frames for it."""

Request = dict[str, str | float | int]
"""The fields of one POST /tts."""


class BadUsage(ValueError):
    """What to type instead."""


def check(right: bool, otherwise: str) -> None:
    """Raises BadUsage."""
    if not right:
        raise BadUsage(otherwise)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Valid from birth: BadUsage says what is wrong."""

    srt: Path
    output: Path
    servers: tuple[str, ...]
    workers: int
    speed: float
    voice: str | None
    voices: Mapping[str, str]
    """Speaker, in small letters → voice."""
    seed: int | None
    fit: bool
    max_speed: float
    track: Path | None
    retry_failed: bool
    patience: float

    def __post_init__(self) -> None:
        check(self.workers >= 1, f"--workers {self.workers} speaks nothing; 1 or more")
        check(SPEEDS[0] <= self.speed <= SPEEDS[1], f"--speed {self.speed} is not from {SPEEDS[0]} to {SPEEDS[1]}")
        check(1 <= self.max_speed <= SPEEDS[1], f"--max-speed {self.max_speed} is not from 1 to {SPEEDS[1]}")
        check(self.patience > 0, f"--patience {self.patience} gives up at once; seconds above 0")
        check(self.seed is None or 0 <= self.seed < 2**63, f"--seed {self.seed} is not from 0 to 2^63 - 1")
        for url in self.servers:
            check(
                urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname),
                f"--server {url} needs the form http://127.0.0.1:8000",
            )

    def request(self, cue: Cue, natural: float | None, room: float) -> Request:
        """Only what was chosen: a server that knows fewer fields is asked for fewer."""
        asked: Request = {"text": cue.text, "speed": self.speed}
        if voice := self.voice_of(cue):
            asked["voice"] = voice
        if self.seed is not None:
            asked["seed"] = self.seed
        if natural is not None:
            asked["duration"] = self.fitted(natural, room)
        return asked

    def voice_of(self, cue: Cue) -> str | None:
        return self.voices.get(cue.speaker.casefold(), self.voice)

    def fitted(self, natural: float, room: float) -> float:
        """Seconds: as long as --speed takes if there is room, else faster, at most --max-speed times the voice's pace."""
        slowest, fastest = FITTED_SPEEDS
        wanted = natural / min(max(self.speed, slowest), fastest)
        shortest = natural / min(max(self.speed, self.max_speed), fastest)
        return round(max(min(wanted, max(room, shortest)), min(natural, MIN_SECONDS)), 3)


def read_voices(file: Path) -> dict[str, str]:
    try:
        named = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadUsage(f"{file}: {error}") from None
    for speaker, voice in named.items():
        check(isinstance(voice, str), f'{file}: {speaker} needs the name of a voice, such as {speaker} = "default"')
    return {speaker.casefold(): voice for speaker, voice in named.items()}
