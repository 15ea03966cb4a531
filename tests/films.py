"""What the tests of the subtitle client share: films, runs of the real command, and looks into its folder."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import soundfile
from scripted import Scripted

ROOT = Path(__file__).parents[1]
HARBOUR = ROOT / "examples" / "harbour.srt"


def command(film: Path, out: Path, *options: str, servers: list[str]) -> list[str]:
    named = [part for url in servers for part in ("--server", url)]
    return [sys.executable, str(ROOT / "tts_worker.py"), "--srt", str(film), "--output", str(out), *named, *options]


def work(
    film: Path, out: Path, *options: str, servers: list[Scripted] | list[str], expect: int = 0, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    urls = [server if isinstance(server, str) else server.url for server in servers]
    done = forked.run(command(film, out, *options, servers=urls), forked.CLIENTS, timeout=timeout)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def working(film: Path, out: Path, *options: str, servers: list[Scripted]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(film, out, *options, servers=[server.url for server in servers]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def make_film(file: Path, texts: list[str], slot: float = 2.0, speaks: float = 1.5) -> Path:
    """Cues that start every `slot` seconds and are shown for `speaks` of them."""

    def clock(seconds: float) -> str:
        ms = round(seconds * 1000)
        return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"

    blocks = [f"{i + 1}\n{clock(i * slot)} --> {clock(i * slot + speaks)}\n{text}\n" for i, text in enumerate(texts)]
    file.write_text("\n".join(blocks))
    return file


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_film(tmp_path / "film.srt", [f"Line {i}." for i in range(12)])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def checkpoint(out: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((out / ".checkpoint.json").read_text())
    return kept


def sounds(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(out.glob("audio_*.wav"))}


def leftovers(out: Path) -> list[str]:
    return [file.name for file in out.iterdir() if file.name.endswith(".part")]


def asked(server: Scripted) -> list[str]:
    return [line["text"] for line in server.asked]


def completed(out: Path) -> int:
    return len(checkpoint(out)["completed"]) if (out / ".checkpoint.json").exists() else 0


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def starts_and_ends(file: Path, threshold: float = 0.02) -> list[tuple[float, float]]:
    """Stretches of sound with at least 50 ms of silence between them."""
    samples, rate = soundfile.read(file)
    loud = np.flatnonzero(np.abs(samples) > threshold)
    breaks = np.flatnonzero(np.diff(loud) > 0.05 * rate)
    return [(loud[a] / rate, loud[b] / rate) for a, b in zip([0, *(breaks + 1)], [*breaks, len(loud) - 1], strict=True)]
