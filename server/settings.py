"""What can be set from outside, read once at start from TTS_* variables.   Try: python -m server.settings

Each has a range and a meaning; what is out of range or no number is a sentence and no start.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}
SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class BadSetting(ValueError):
    """A variable that cannot be used; the message names it and what it takes."""


ORIGIN = r"\*|(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://[^\s/?#@,*]+"
"""As a browser sends it: `https://app.example.org`, `http://localhost:3000`, `chrome-extension://abc`; another form
would never be met."""


def means(
    meaning: str, minimum: float | None = None, maximum: float | None = None, pattern: str | None = None, form: str = ""
) -> dict[str, Any]:
    """`pattern`: of a text, or of each between commas; `form` says it in words."""
    return {"meaning": meaning, "minimum": minimum, "maximum": maximum, "pattern": pattern, "form": form}


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
    normalize: bool = field(
        default=True,
        metadata=means("`false`: a request that has no `normalize` leaves its text as it is written", 0, 1),
    )
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
    api_key: str = field(
        default="",
        repr=False,
        metadata=means(
            "who asks must send it as `Authorization: Bearer …`, but for `/health`, `/ready`, `/metrics`, "
            "`/openapi.json` and `/`; empty: nobody need",
            pattern=r"[!-~]{1,500}",
            form="1 to 500 letters, digits and signs of ASCII, without blanks",
        ),
    )
    cors: frozenset[str] = field(
        default=frozenset(),
        metadata=means(
            "origins with commas between, whose pages may ask and read the replies; `*`: every page there is",
            pattern=ORIGIN,
            form="origins such as https://app.example.org or http://localhost:3000 (no path, no default port), or *",
        ),
    )
    outputs: Path = field(
        default=Path("outputs"),
        metadata=means("where jobs and their audio are kept; made with the first job"),
    )
    jobs: str = field(
        default="",
        repr=False,
        metadata=means(
            "`postgresql://user:password@host/database`: jobs and their audio are kept there, for servers on several "
            "machines; empty: in `TTS_OUTPUTS`",
            pattern=r"postgres(ql)?://\S+",
            form="as postgresql://user:password@host/database",
        ),
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
    if one.metadata["pattern"]:
        _check_form(one, text)
    if one.type in (str, Path):
        return Path(text) if one.type is Path else text
    if one.type is bool:
        if text.lower() not in SWITCHES:
            raise BadSetting(f"{variable(name)} must be true or false, not {text[:40]!r}")
        return SWITCHES[text.lower()]
    if one.type not in KINDS:
        return frozenset(_listed(text))
    minimum, maximum = one.metadata["minimum"], one.metadata["maximum"]
    try:
        value = one.type(text)  # type: ignore[operator]
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum:  # NaN is nowhere
        raise BadSetting(f"{variable(name)} must be {KINDS[one.type]} from {minimum} to {maximum}, not {text[:40]!r}")
    return value


def _listed(text: str) -> list[str]:
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def _check_form(one: Field[Any], text: str) -> None:
    for part in [text] if one.type is str else _listed(text):
        if not re.fullmatch(one.metadata["pattern"], part):
            shown = f", not {part[:40]!r}" if one.repr else ""  # a secret is not told to whoever reads the log
            raise BadSetting(f"{variable(one.name)} must be {one.metadata['form']}{shown}")


def table() -> str:
    """The settings in Markdown, as README has them."""
    rows = ["| variable | default | range | meaning |", "|---|---|---|---|"]
    for one in fields(Settings):
        minimum, maximum = one.metadata["minimum"], one.metadata["maximum"]
        limits = "" if minimum is None or one.type is bool else f"{minimum} to {maximum}"
        shown = (
            ""
            if one.default == frozenset()
            else str(one.default).removeprefix(f"{ROOT}{os.sep}").replace("True", "true")
        )
        rows.append(f"| `{variable(one.name)}` | `{shown}` | {limits} | {one.metadata['meaning']} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
