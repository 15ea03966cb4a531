"""`python tts_core.py`: the bytes that the server sends, and a sentence for whatever cannot be done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import httpx
import pytest
from conftest import ROOT

import tts_core


def command(*options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "tts_core.py", *map(str, options)]
    return forked.run(line, forked.SERVERS, ROOT, os.environ | environment, timeout=120)


def test_the_command_and_the_server_give_the_same_bytes(tmp_path: Path, client: httpx.Client) -> None:
    """They rounded differently: half of the samples were one off."""
    wanted = {
        "text": "The ship reached the island. Nobody knew why.",
        "voice": "michael",
        "speed": 1.2,
        "seed": 7,
        "steps": 5,
    }
    options = [part for name in ("voice", "speed", "seed", "steps") for part in (f"--{name}", str(wanted[name]))]
    done = command(wanted["text"], tmp_path / "a.wav", *options)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").read_bytes() == client.post("/tts", json=wanted).content


@pytest.mark.parametrize(
    "options,sentence",
    [
        (["Hello.", "a.wav", "--voice", "anna"], "no voice 'anna'; have: an, bella, default, fenrir, michael"),
        (["Hello.", "a.wav", "--speed", "9"], "speed must be a number from 0.25 to 4.0"),
        (["Hello.", "a.wav", "--speed", "fast"], "argument --speed: invalid float value: 'fast'"),
        ([" ", "a.wav"], "text is empty"),
        (["Hello.", "."], "cannot be written: it is a folder"),
        (["Hello.", "no/such/folder/a.wav"], "cannot be written: there is no folder no/such/folder"),
        (["Hello.", "a.wav", "--model", "nothing"], "TTS_MODEL=nothing is neither a folder"),
        (["Hello.", "a.wav", "--device", "tpu"], "TTS_DEVICE=tpu is not on this machine"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_a_failing_exit(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    options = [str(tmp_path / part) if part == "a.wav" else part for part in options]
    failed = command(*options)
    assert failed.returncode != 0 and sentence in failed.stderr, failed.stderr
    assert "Traceback" not in failed.stderr and not (tmp_path / "a.wav").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    failed = command("Hello.", "/dev/full", "--steps", "1")
    assert failed.returncode != 0 and "/dev/full cannot be written: No space left" in failed.stderr, failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_environment_is_honoured_and_an_option_goes_before_it(tmp_path: Path, small_folder: Path) -> None:
    shutil.copytree(tts_core.VOICES, tmp_path / "voices")
    for kind in ("wav", "txt"):
        (tmp_path / "voices" / f"michael.{kind}").rename(tmp_path / "voices" / f"anna.{kind}")
    own = {"TTS_MODEL": str(small_folder), "TTS_VOICES": str(tmp_path / "voices"), "TTS_DEVICE": "cpu"}
    done = command("Hello.", tmp_path / "a.wav", "--voice", "anna", "--steps", "1", "--seed", "3", **own)
    assert done.returncode == 0 and "seed 3" in done.stdout, done.stderr
    failed = command("Hello.", tmp_path / "b.wav", "--voices", str(tts_core.VOICES), "--voice", "anna", **own)
    assert "no voice 'anna'" in failed.stderr
    failed = command("Hello.", tmp_path / "b.wav", **own | {"TTS_DEVICE": "tpu"})
    assert failed.returncode != 0 and "TTS_DEVICE=tpu" in failed.stderr


def test_every_field_of_a_speech_has_an_option() -> None:
    told = command("--help").stdout
    for name in ("voice", "speed", "duration", "seed", "steps", "cfg-strength"):
        assert f"--{name}" in told
