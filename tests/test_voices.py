"""Voices without a restart: a folder that is read again, and what becomes of jobs meanwhile."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from conftest import serving
from recordings import VOICES, folder_of, names, served

from server.jobs.promise import VoiceGone, promised
from server.jobs.store import Job

SPOKEN = {"text": "Good evening.", "seed": 1, "steps": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("served") / "voices", default="default", michael="michael")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def client(folder: Path, jobs: str) -> Iterator[httpx.Client]:
    """It accepts jobs and begins none."""
    put(folder, "broken", "michael")
    (folder / "broken.wav").write_bytes(b"not a sound")
    with served(folder, TTS_OUTPUTS=jobs, TTS_MEMORY_LIMIT="0") as client:
        yield client


@pytest.fixture(autouse=True)
def tidied(folder: Path) -> Iterator[None]:
    """After each test the voices that it began with."""
    yield
    for file in folder.iterdir():
        if file.stem not in ("default", "michael"):
            file.unlink()


def problems(client: httpx.Client) -> dict[str, str]:
    return {one["name"]: one["problem"] for one in client.get("/voices").json()["unusable"]}


def spoken(client: httpx.Client, voice: str) -> bytes:
    reply = client.post("/tts", json=SPOKEN | {"voice": voice})
    assert reply.status_code == 200, reply.text
    return reply.content


def put(folder: Path, name: str, voice: str) -> None:
    for ending in (".txt", ".wav"):
        shutil.copy(VOICES / f"{voice}{ending}", folder / f"{name}{ending}")


# The folder


def test_what_is_put_into_the_folder_is_a_voice_at_once(client: httpx.Client, folder: Path) -> None:
    assert client.post("/tts", json=SPOKEN | {"voice": "anna"}).status_code == 404
    put(folder, "anna", "fenrir")
    first = spoken(client, "anna")
    assert names(client) == ["anna", "default", "michael"] and first != spoken(client, "michael")
    put(folder, "anna", "michael")
    assert spoken(client, "anna") == spoken(client, "michael"), "a voice is the sound and text that lie there"
    (folder / "anna.txt").write_text("Something else is said here, and at once.")
    assert spoken(client, "anna") != spoken(client, "michael")
    (folder / "anna.wav").unlink()
    gone = client.post("/tts", json=SPOKEN | {"voice": "anna"})
    assert gone.status_code == 404 and gone.json()["error"]["code"] == "voice_not_found"
    assert names(client) == ["default", "michael"] == client.get("/health").json()["voices"]


def test_files_that_are_no_voice_are_named_and_the_others_spoken(client: httpx.Client, folder: Path) -> None:
    put(folder, "anna", "fenrir")
    (folder / "anna.txt").unlink()
    put(folder, "bert", "fenrir")
    (folder / "bert.wav").write_bytes(b"RIFF, it says")
    put(folder, "cleo", "fenrir")
    (folder / "cleo.txt").write_bytes("In another encoding.".encode("utf-16"))
    put(folder, "dora", "fenrir")
    shutil.copy(folder / "dora.wav", folder / "dora.WAV")
    soundfile.write(folder / "emil.wav", np.zeros(24_000 * 200), 24_000)
    (folder / "emil.txt").write_text("Long.")
    told = problems(client)
    assert set(told) == {"anna", "bert", "cleo", "dora", "emil"}
    assert told["anna"] == "anna.wav needs its transcript in anna.txt beside it"
    assert told["bert"].startswith("bert.wav cannot be read: ") and told["cleo"].startswith("cleo.txt is not in UTF-8")
    assert "a voice has one file" in told["dora"] and told["emil"] == "emil.wav lasts over 120 s"
    refused = client.post("/tts", json=SPOKEN | {"voice": "anna"}).json()["error"]
    assert refused["message"] == f"voice 'anna' cannot be used: {told['anna']}" and refused["code"] == "voice_not_found"
    assert str(folder) not in str(told) and names(client) == ["default", "michael"]
    shutil.copy(VOICES / "fenrir.txt", folder / "anna.txt")
    assert spoken(client, "anna") and "anna" not in problems(client)


def test_the_default_voice_stays_whatever_becomes_of_its_files(client: httpx.Client, folder: Path) -> None:
    before = spoken(client, "default")
    for harm in (b"RIFF, it says", None):
        if harm is None:
            (folder / "default.wav").unlink()
        else:
            (folder / "default.wav").write_bytes(harm)
        assert spoken(client, "default") == before and problems(client)["default"].startswith("default.wav ")
    put(folder, "default", "default")
    assert spoken(client, "default") == before and not problems(client)


def test_one_bad_voice_does_not_keep_a_server_from_starting(client: httpx.Client, folder: Path) -> None:
    assert "voice 'broken' cannot be used: broken.wav cannot be read" in (folder.parent / "log").read_text()


def test_links_that_lead_out_of_the_folder_are_not_followed(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    outside = folder_of(tmp_path / "elsewhere", anna="fenrir")
    put(folder, "bert", "fenrir")
    (folder / "bert.txt").unlink()
    (folder / "bert.txt").symlink_to(outside / "anna.txt")
    shutil.copy(VOICES / "fenrir.txt", folder / "anna.txt")
    (folder / "anna.wav").symlink_to(outside / "anna.wav")
    shutil.copy(VOICES / "fenrir.txt", folder / "zero.txt")
    (folder / "zero.wav").symlink_to("/dev/zero")
    shutil.copy(VOICES / "fenrir.txt", folder / "loop.txt")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "pipe.txt").write_text("Nobody ever writes into it.")
    (folder / "inside.wav").symlink_to("michael.wav")  # as Kubernetes mounts files
    (folder / "inside.txt").symlink_to("michael.txt")
    told = problems(client)
    assert set(told) == {"anna", "bert", "zero", "loop"} and "bert.txt leads out of the folder" in told["bert"]
    assert spoken(client, "inside") == spoken(client, "michael")


# Jobs


def later(client: httpx.Client, voice: str) -> str:
    reply = client.post("/tts", json=SPOKEN | {"voice": voice, "async": True})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["request_id"])


def done(client: httpx.Client, job: str) -> dict[str, Any]:
    status: dict[str, Any] = {"status": "queued"}
    end = time.monotonic() + 60
    while status["status"] in ("queued", "processing") and time.monotonic() < end:
        time.sleep(0.1)
        status = client.get(f"/tts/status/{job}").json()
    return status


def test_a_job_is_spoken_with_the_voice_it_was_accepted_with_or_fails_in_words(
    client: httpx.Client, folder: Path, jobs: str
) -> None:
    """Meanwhile that voice has another name, or another sound has its name, or it is gone; or only the server that
    accepted the job was ever asked for it."""
    voices = {"anna": "fenrir", "bert": "an", "cleo": "michael"}
    for name, voice in voices.items():
        put(folder, name, voice)
    (folder / "cleo.txt").write_text("My brother painted the kitchen table, he did.")
    promised = {name: spoken(client, name) for name in voices}
    accepted = {name: later(client, name) for name in voices}
    for ending in (".wav", ".txt"):
        (folder / f"anna{ending}").rename(folder / f"zoe{ending}")
        (folder / f"cleo{ending}").unlink()
    put(folder, "bert", "michael")
    log = folder.parent / "log of another"
    with serving(log, "tests.hasty_app:app", TTS_VOICES=str(folder), TTS_OUTPUTS=jobs):
        assert done(client, accepted["anna"])["status"] == "completed"
        assert client.get(f"/tts/result/{accepted['anna']}").content == promised["anna"]
        put(folder, "dora", "fenrir")
        (folder / "dora.txt").write_text("A good friend showed us around the long lake.")
        assert done(client, job := later(client, "dora"))["status"] == "completed"
        assert client.get(f"/tts/result/{job}").content == spoken(client, "dora")
        for name in ("bert", "cleo"):
            failed = done(client, accepted[name])
            assert failed["status"] == "failed" and "the voice any more that it was accepted with" in failed["error"]
    assert "Traceback" not in log.read_text()


def test_a_job_whose_voice_goes_as_it_is_begun_is_not_spoken_with_another() -> None:
    job = Job("1", json.dumps({"text": "Good evening.", "voice": "anna"}), "a fingerprint", "normal", 0.0, 0.0, 1)
    with pytest.raises(VoiceGone):
        promised(job, [])
