"""What can be set from outside, read once at start from TTS_* variables.   Try: python -m server.settings

Each has a range and a meaning; what is out of range or no number is a sentence and no start.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


class BadSetting(ValueError):
    """A variable that cannot be used; the message names it and what it takes."""


def means(meaning: str, minimum: float | None = None, maximum: float | None = None) -> dict[str, Any]:
    return {"meaning": meaning, "minimum": minimum, "maximum": maximum}


@dataclass(frozen=True, slots=True)
class Settings:
    """Valid from birth: BadSetting says what is wrong."""

    model: str = field(
        default=str(ROOT / "models" / "tiny"),
        metadata=means(
            "a checkpoint folder, or a preset fetched once from the Hugging Face hub: "
            "`F5TTS_v1_Base`, `F5TTS_Base`, `vi` (hynt/F5-TTS-Vietnamese-ViVoice)"
        ),
    )
    voices: Path = field(
        default=ROOT / "voices",
        metadata=means("folder of `NAME.wav` with `NAME.txt`; one of them is `default`"),
    )
    device: str = field(default="auto", metadata=means("`auto`, `cpu`, `cuda`, `cuda:1`, `mps`"))
    max_chars: int = field(default=20_000, metadata=means("longer texts are refused", 1, 10_000_000))
    max_waiting: int = field(
        default=32,
        metadata=means("listeners at once; the next one is told 503 and when to come back", 1, 10_000),
    )
    grace: float = field(
        default=30,
        metadata=means("seconds that listeners have to finish after SIGTERM; jobs pause at once", 0, 86_400),
    )
    allowed_hosts: frozenset[str] = field(
        default=frozenset(),
        metadata=means(
            "names with commas between, by which a server on loopback may also be asked, "
            "and whose pages may ask; `*`: all"
        ),
    )
    outputs: Path = field(
        default=Path("outputs"),
        metadata=means("where jobs and their audio are kept; made with the first job"),
    )
    keep_hours: float = field(default=24, metadata=means("finished jobs are removed after so long", 0, 87_600))
    cpu_limit: float = field(
        default=80,
        metadata=means("percent of CPU, used by other programs, above which no job starts; it waits", 0, 100),
    )
    memory_limit: float = field(
        default=85,
        metadata=means("percent of memory, used by all, above which no job starts; it waits", 0, 100),
    )

    @staticmethod
    def read(environment: Mapping[str, str] = os.environ) -> "Settings":
        """A variable that is absent or empty leaves the default. Raises BadSetting."""
        given = {one.name: environment.get(variable(one.name)) for one in fields(Settings)}
        return Settings(**{name: _parsed(name, text) for name, text in given.items() if text})


def variable(name: str) -> str:
    return f"TTS_{name.upper()}"


def _parsed(name: str, text: str) -> Any:
    one = next(one for one in fields(Settings) if one.name == name)
    if one.type in (str, Path):
        return Path(text) if one.type is Path else text
    if one.type not in KINDS:
        return frozenset(name.strip().lower() for name in text.split(",") if name.strip())
    minimum, maximum = one.metadata["minimum"], one.metadata["maximum"]
    try:
        value = one.type(text)  # type: ignore[operator]
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum:  # NaN is nowhere
        raise BadSetting(f"{variable(name)} must be {KINDS[one.type]} from {minimum} to {maximum}, not {text[:40]!r}")
    return value


def table() -> str:
    """The settings in Markdown, as README has them."""
    rows = ["| variable | default | range | meaning |", "|---|---|---|---|"]
    for one in fields(Settings):
        minimum, maximum = one.metadata["minimum"], one.metadata["maximum"]
        limits = "" if minimum is None else f"{minimum} to {maximum}"
        shown = "" if one.default == frozenset() else str(one.default).removeprefix(f"{ROOT}{os.sep}")
        rows.append(f"| `{variable(one.name)}` | `{shown}` | {limits} | {one.metadata['meaning']} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
