"""Folders of which something becomes, as on a bad day: a disk that is full, gone, or not to be written on."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of its own at `folder`. Needs root; the test is skipped without."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_protected(folder: Path, protected: bool) -> None:
    """Seen through a mount of its own, because a disk with open files does not become read-only by being told to."""
    if protected:
        _mount("--bind", str(folder), str(folder))
        _mount("-o", "remount,bind,ro", str(folder))
    else:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves no byte free; the file that takes them."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


def damage(file: Path, seed: int = 1) -> bytes:
    """Nothing of it is left; what was there, to repair it."""
    before = file.read_bytes()
    with file.open("r+b") as opened:  # the same file, as a broken disk would leave it
        opened.write(bytes((seed + 37 * place) % 251 for place in range(max(len(before), 8192))))
        os.fsync(opened.fileno())
    return before
