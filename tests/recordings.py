"""What the tests of voices share: folders of ours, recordings as people have them, and the form that sends one."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import soxr
from conftest import ROOT, serving

VOICES = ROOT / "voices"
MICHAEL, MICHAEL_SAID = VOICES / "michael.wav", (VOICES / "michael.txt").read_text().strip()


def folder_of(path: Path, **names: str) -> Path:
    """Each name is one of our voices."""
    path.mkdir(parents=True)
    for name, voice in names.items():
        for ending in (".wav", ".txt"):
            shutil.copy(VOICES / f"{voice}{ending}", path / f"{name}{ending}")
    return path


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[httpx.Client]:
    with (
        serving(folder.parent / "log", TTS_VOICES=str(folder), **settings) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def recording(
    format: str = "WAV", subtype: str | None = None, rate: int = 24_000, channels: int = 1, silence: float = 0.0
) -> bytes:
    samples, _ = soundfile.read(MICHAEL, dtype="float32")
    samples = np.pad(soxr.resample(samples, 24_000, rate), round(silence * rate))
    out = io.BytesIO()
    soundfile.write(out, np.stack([samples] * channels, axis=1), rate, subtype, format=format)
    return out.getvalue()


def upload(
    client: httpx.Client, name: str, audio: bytes | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    files = {"audio": ("sound", recording() if audio is None else audio)}
    return client.post("/voices", data={"name": name, "text": MICHAEL_SAID}, files=files, headers=headers)


def everything(path: Path) -> dict[str, int]:
    return {str(file.relative_to(path)): file.stat().st_size for file in path.rglob("*") if file.name != "log"}


def sound_of(samples: np.ndarray, subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 24_000, subtype, format="WAV")
    return out.getvalue()


def speechlike(seconds: float) -> np.ndarray:
    at = np.arange(round(24_000 * seconds)) / 24_000
    return 0.3 * np.sin(2 * np.pi * 180 * at) * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * at))


def names(client: httpx.Client) -> list[str]:
    return [voice["name"] for voice in client.get("/voices").json()["voices"]]
