"""What is set from outside: each has a range, what is wrong is one sentence and no server."""

import asyncio
import logging
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, serving

from bench.launcher import Server
from server.settings import BadSetting, Settings

BAD = [
    ("TTS_MAX_CHARS", "abc"),
    ("TTS_MAX_CHARS", "1e3"),
    ("TTS_MAX_WAITING", "0"),
    ("TTS_GRACE", "-1"),
    ("TTS_GRACE", "inf"),
    ("TTS_KEEP_HOURS", "nan"),
    ("TTS_CPU_LIMIT", "101"),
    ("TTS_MEMORY_LIMIT", "much"),
]


@pytest.mark.parametrize("name,value", BAD)
def test_a_bad_setting_is_named_with_what_it_takes(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=rf"{name} must be a (whole )?number from \S+ to \S+, not '{value}'"):
        Settings.read({name: value})


def test_what_is_absent_or_empty_leaves_the_default() -> None:
    assert Settings.read({"TTS_GRACE": ""}) == Settings()
    assert Settings.read({"TTS_GRACE": "2.5", "TTS_ALLOWED_HOSTS": "a.org, B.org"}) == Settings(
        grace=2.5, allowed_hosts=frozenset({"a.org", "b.org"})
    )


@pytest.mark.parametrize(
    "options,environment,sentence",
    [
        ((), {"TTS_MAX_CHARS": "abc"}, "TTS_MAX_CHARS must be a whole number"),
        ((), {"TTS_DEVICE": "tpu"}, "TTS_DEVICE=tpu"),
        ((), {"TTS_VOICES": "nowhere"}, "nowhere/default.wav is missing"),
        (("--workers", "2"), {"TTS_MODEL": "nowhere"}, "nowhere"),
    ],
)
def test_a_server_that_cannot_start_says_one_sentence_and_ends(
    tmp_path: Path, options: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    """With workers, the supervisor used to start them again for ever: it gives up on exit status 3 alone."""
    server = Server(tmp_path / "log", "app:app", *options)
    server.launch(**environment)
    try:
        status = server.process.wait(60)
    finally:
        server.kill()
    # uvicorn's supervisor ends with 0 by itself, whatever its workers ended with.
    assert options or status == 3
    said = [line for line in server.log.splitlines() if line.startswith("cannot start: ")]
    assert 1 <= len(said) <= (2 if options else 1) and sentence in said[0], server.log
    assert "Traceback" not in server.log


def test_voices_and_device_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    for suffix in ("wav", "txt"):
        for name in ("default", "michael"):
            shutil.copy(ROOT / "voices" / f"{name}.{suffix}", tmp_path / "voices")
    with serving(tmp_path / "log", TTS_VOICES=str(tmp_path / "voices"), TTS_DEVICE="cpu") as address:
        health = httpx.get(f"{address}/health").json()
        assert health["voices"] == ["default", "michael"] and health["device"] == "cpu"
        assert re.fullmatch(r"\d+\.\d+\.\d+", health["version"])
        assert httpx.get(f"{address}/openapi.json").json()["info"]["version"] == health["version"]


def test_the_table_of_settings_has_each_with_its_range() -> None:
    table = subprocess.run(
        [sys.executable, "-m", "server.settings"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "| `TTS_GRACE` | `30` | 0 to 86400 |" in table and str(ROOT) not in table
    assert table.count("\n| `TTS_") == len(Settings.__dataclass_fields__)


def test_one_lifespan_after_another_leaves_no_filter_and_no_signal_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They used to pile up in a program that starts the app more than once."""
    monkeypatch.setenv("TTS_OUTPUTS", str(tmp_path))
    from app import app

    def traces() -> list[object]:
        loggers = [logging.getLogger(name).filters[:] for name in ("uvicorn.access", "uvicorn.error")]
        return [loggers, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]

    async def once() -> None:
        async with app.router.lifespan_context(app):
            pass

    before = traces()
    asyncio.run(once())
    asyncio.run(once())
    assert traces() == before
