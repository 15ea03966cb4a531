"""What is wanted of a run, and what a server is asked for each cue. Knows nothing of files in a folder or of HTTP."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from subtitles.cues import Cue
from subtitles.spoken import joined

SPEEDS = 0.25, 4.0
FITTED_SPEEDS = 0.252, 3.95
"""A little inside SPEEDS: lengths are rounded to a millisecond, and at the limit a server would refuse half of them."""
MIN_SECONDS = 0.25
"""Shorter than this no speech is asked for: a server has no frames for it."""

MAX_MAP_BYTES = 1_000_000
TURN_PAUSE_SECONDS = 0.25
"""Between two voices in one cue: as long as people leave between their turns."""

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

    voices_file: Path | None = None
    captions: Path | None = None
    api_key: str = field(default="", repr=False)
    """Which the servers want."""

    def __post_init__(self) -> None:
        check(self.workers >= 1, f"--workers {self.workers} speaks nothing; 1 or more")
        check(SPEEDS[0] <= self.speed <= SPEEDS[1], f"--speed {self.speed} is not from {SPEEDS[0]} to {SPEEDS[1]}")
        check(1 <= self.max_speed <= SPEEDS[1], f"--max-speed {self.max_speed} is not from 1 to {SPEEDS[1]}")
        check(self.patience > 0, f"--patience {self.patience} gives up at once; seconds above 0")
        check(self.seed is None or 0 <= self.seed < 2**63, f"--seed {self.seed} is not from 0 to 2^63 - 1")
        check(
            not self.api_key or bool(re.fullmatch("[!-~]+", self.api_key)),
            "TTS_API_KEY has a blank, a line end or a letter that no request can carry; set it without",
        )
        for url in self.servers:
            check(_is_address(url), f"--server {url} needs the form http://127.0.0.1:8000")

    def spoken_by(self, cue: Cue) -> list[tuple[str, str | None]]:
        """The cue's texts, each with its voice; neighbours of one voice are one text."""
        texts: list[tuple[str, str | None]] = []
        voice = self.voice
        for part in cue.parts:
            # A tag that may be a sound and that the map does not know changes nothing: whoever spoke speaks on.
            if part.certain or part.speaker.casefold() in self.voices:
                voice = self.voices.get(part.speaker.casefold(), self.voice)
            if texts and texts[-1][1] == voice:
                texts[-1] = joined(texts[-1][0], part.text), voice
            else:
                texts.append((part.text, voice))
        return texts

    def requests(self, cue: Cue, naturals: Sequence[float] | None, room: float) -> list[Request]:
        """What is asked for a cue, one request a voice, with the duration of each where the `naturals` are known.

        Only what was chosen: a server that knows fewer fields is asked for fewer."""
        texts = self.spoken_by(cue)
        durations = self.durations(naturals, room) if naturals else [None] * len(texts)
        requests: list[Request] = []
        for (text, voice), duration in zip(texts, durations, strict=True):
            asked: Request = {"text": text, "speed": self.speed}
            if voice:
                asked["voice"] = voice
            if self.seed is not None:
                asked["seed"] = self.seed
            if duration is not None:
                asked["duration"] = duration
            requests.append(asked)
        return requests

    def durations(self, naturals: Sequence[float], room: float) -> list[float]:
        """Seconds of each text: as long as --speed takes if there is room for all of them, else faster, at most
        --max-speed times the voice's own pace. The texts of a cue share its room as they share its natural length."""
        natural = sum(naturals)
        slowest, fastest = FITTED_SPEEDS
        wanted = natural / min(max(self.speed, slowest), fastest)
        shortest = natural / min(max(self.speed, self.max_speed), fastest)
        seconds = min(wanted, max(room - pauses(len(naturals)), shortest))
        return [round(max(seconds * one / natural, min(one, MIN_SECONDS)), 3) for one in naturals]


def pauses(texts: int) -> float:
    """Seconds of silence between the texts of a cue."""
    return TURN_PAUSE_SECONDS * (texts - 1)


def _is_address(url: str) -> bool:
    try:
        split, host = urlsplit(url), httpx.URL(url).host  # which raise ValueError for a name that is none
        port = split.port  # and for one past 65535
    except (ValueError, httpx.InvalidURL):
        return False
    named = split.scheme in ("http", "https") and bool(split.hostname) and bool(host)
    return named and port != 0 and not split.query and not split.fragment


def read_voices(file: Path) -> dict[str, str]:
    with file.open("rb") as opened:
        raw = opened.read(MAX_MAP_BYTES + 1)
    check(len(raw) <= MAX_MAP_BYTES, f"{file} is no map of voices: it has over {MAX_MAP_BYTES / 1e6:.0f} MB")
    try:
        named = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise BadUsage(f"{file}: {'it is nested too deeply' if isinstance(error, RecursionError) else error}") from None
    for speaker, voice in named.items():
        check(isinstance(voice, str), f'{file}: {speaker} needs the name of a voice, such as {speaker} = "default"')
    return {speaker.casefold(): voice for speaker, voice in named.items()}
