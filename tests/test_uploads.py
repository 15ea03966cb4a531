"""Uploads: what becomes of a recording, and what is refused in words. One-off cloning, which keeps nothing."""

import asyncio
import contextlib
import io
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from recordings import (
    MICHAEL,
    MICHAEL_SAID,
    everything,
    folder_of,
    names,
    recording,
    served,
    sound_of,
    speechlike,
    upload,
)
from starlette.requests import Request

from server.forms import Forms
from speech.voice_files import MAX_VOICES, NoRoom, VoiceExists, VoiceFolder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("served") / "voices", default="default", michael="michael")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with served(folder) as client:
        yield client


@pytest.fixture(autouse=True)
def tidied(folder: Path) -> Iterator[None]:
    yield
    for file in folder.glob("anna.*"):
        file.unlink()


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"rate": 8_000, "subtype": "ULAW"},
        {"rate": 96_000, "channels": 2, "subtype": "PCM_24"},
        {"format": "FLAC", "rate": 44_100, "silence": 3.0},
        {"format": "OGG", "subtype": "VORBIS", "rate": 48_000, "channels": 2},
        {"format": "OGG", "subtype": "OPUS", "rate": 48_000},
        {"format": "MP3", "rate": 22_050, "silence": 0.5},
        {"format": "AIFF", "rate": 16_000},
        {"subtype": "FLOAT", "rate": 11_025, "silence": 20.0},
    ],
    ids=str,
)
def test_an_upload_is_a_voice_from_the_next_request_on(
    client: httpx.Client, folder: Path, made: dict[str, Any]
) -> None:
    reply = upload(client, "anna", recording(**made))
    assert reply.status_code == 201, reply.text
    kept = reply.json()
    assert kept["name"] == "anna" and kept["language"] == "en-us"
    whole = len(soundfile.read(MICHAEL)[0]) / 24_000
    assert whole - 0.6 < kept["seconds"] <= whole + 0.15, "silence at the ends is taken off"
    assert kept["used"]["end"] - kept["used"]["start"] == pytest.approx(kept["seconds"], abs=0.02)
    stored = soundfile.info(folder / "anna.wav")
    assert (stored.samplerate, stored.channels, stored.subtype) == (24_000, 1, "PCM_16")
    assert stored.duration == pytest.approx(kept["seconds"], abs=0.01)
    assert (folder / "anna.txt").read_text() == MICHAEL_SAID + "\n" and names(client) == ["anna", "default", "michael"]
    assert client.post("/tts", json={"text": "Good evening.", "voice": "anna", "steps": 1}).status_code == 200
    again = upload(client, "anna")
    assert again.status_code == 409 and again.json()["error"]["code"] == "voice_exists"
    assert client.delete("/voices/anna").json() == {"name": "anna", "status": "removed"}
    assert not list(folder.glob("*anna*")) and names(client) == ["default", "michael"]


NAMES = [
    "",
    "..",
    "../anna",
    "a/b",
    "a\\b",
    "/etc/passwd",
    ".anna",
    "Anna",
    "änna",
    "a nna",
    "con",
    "lpt1",
    "a\0b",
    "x" * 41,
]
NAMES += ["a.wav", "~", "-a", "ａ", "anna\n", "%2e%2e", "нет"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_plain_word(client: httpx.Client, folder: Path, name: str) -> None:
    before = everything(folder.parent)
    reply = upload(client, name)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "name", reply.text
    assert everything(folder.parent) == before


BOMB = io.BytesIO()
soundfile.write(BOMB, np.zeros(24_000 * 3600, np.int16), 24_000, format="FLAC")
HARMED = bytearray(recording(format="AIFF"))
HARMED[36:40] = b"\xff\xff\xff\xff"  # which makes libsndfile seek to -1
WRONG = {
    "a head that leads astray": (bytes(HARMED), "audio", "cannot be read"),
    "no sound file": (b"<html>", "audio", "must be a sound file"),
    "nothing": (b"", "audio", "must be a sound file"),
    "half a header": (recording()[:30], "audio", "cannot be read"),
    "silence": (sound_of(np.zeros(72_000)), "audio", "no sound in it"),
    "too short": (sound_of(speechlike(0.5)), "audio", "0.5 s of speech"),
    "no pause": (sound_of(speechlike(30)), "audio", "no pause at which"),
    "clipped": (sound_of((20 * speechlike(4)).clip(-1, 1)), "audio", "is clipped"),
    "an hour in 1 MB": (BOMB.getvalue(), "audio", "lasts over 120 s"),
    "a number that is none": (sound_of(np.full(48_000, np.nan), subtype="FLOAT"), "audio", "holds what is no number"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_sound_that_is_no_reference_is_refused_in_words(client: httpx.Client, folder: Path, what: str) -> None:
    audio, field, sentence = WRONG[what]
    reply = upload(client, "anna", audio)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["param"] == field and sentence in error["message"], error
    assert not list(folder.glob("*anna*"))


TEXTS = [
    "",
    " \n",
    "Hi.",
    "A much longer text than anybody could say in so short a time, " * 4,
    "a\0b",
    "\ud800",
    "你好世界" * 4,
]


@pytest.mark.parametrize("text", TEXTS, ids=[ascii(text)[:20] for text in TEXTS])
def test_a_text_that_nobody_says_in_that_time_is_refused(client: httpx.Client, text: str) -> None:
    body = {"name": b"anna", "text": text.encode("utf-8", "surrogatepass")}
    reply = client.post("/voices", data=body, files={"audio": ("sound", recording())})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "text", reply.text


def test_what_is_no_form_is_refused_in_words(client: httpx.Client, folder: Path) -> None:
    audio = {"audio": ("a.wav", recording())}
    data = {"name": "anna", "text": MICHAEL_SAID}
    typed = {"content-type": "multipart/form-data; boundary=a"}
    begun = b'--a\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
    odd = b'--a\r\nContent-Disposition: form-data; name="text"\r\n\r\nHello.\r\n--a--\r\n'
    asked: list[tuple[int, dict[str, Any]]] = [
        (400, {"json": data}),
        (400, {"data": data}),
        (400, {"data": data | {"audio": "path.wav"}}),
        (400, {"data": data | {"audio": "https://example.org/a.wav"}, "files": {"x": ("x", b"")}}),
        (400, {"data": data | {"speed": "1"}, "files": audio}),
        (400, {"data": {"name": "anna"}, "files": audio}),
        (400, {"data": data | {"name": ["anna", "anna"]}, "files": audio}),
        (400, {"files": audio | {"name": ("n", b"anna"), "text": ("t", b"text")}}),
        (400, {"content": b"", "headers": {"content-type": "multipart/form-data"}}),
        (400, {"content": b"--a\r\n", "headers": typed}),
        (400, {"content": odd, "headers": {"content-type": f"{typed['content-type']}; charset=undefined"}}),
        (400, {"content": b"name=\xff", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
        (413, {"data": data, "files": {"audio": ("a.wav", bytes(11 << 20))}}),
        (413, {"content": iter([begun, *[bytes(1 << 20)] * 11]), "headers": typed}),
    ]
    for status, body in asked:
        reply = client.post("/voices", **body)
        assert reply.status_code == status and reply.json()["error"]["message"], (body, reply.text)
    assert not list(folder.glob("*anna*"))


def test_a_form_touches_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def to_disk(file: object) -> None:
        raise AssertionError("it went to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", to_disk)
    sent = httpx.Request("POST", "http://a/voices", files={"audio": ("a.wav", bytes(9 << 20))})
    body, headers = sent.read(), [(name.lower(), value) for name, value in sent.headers.raw]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def held() -> bytes:
        async with Forms().one(Request({"type": "http", "headers": headers}, receive)) as form:
            return form.file("audio")

    assert asyncio.run(held()) == bytes(9 << 20)


def test_few_forms_are_held_at_once(client: httpx.Client) -> None:
    host, port = client.base_url.host, client.base_url.port
    head = "POST /voices HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=a\r\n"
    with contextlib.ExitStack() as held:
        for _ in range(4):
            half = held.enter_context(socket.create_connection((host, port)))
            half.sendall(f"{head}Content-Length: 999\r\n\r\n".encode())
        while (reply := upload(client, "anna")).status_code != 503:
            client.delete("/voices/anna")
        assert reply.json()["error"]["code"] == "full" and reply.headers["retry-after"] == "1"
    while (reply := upload(client, "anna")).status_code == 503:
        pass
    assert reply.status_code == 201


# Deletions, who may


def test_of_a_link_the_link_is_deleted(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    outside = folder_of(tmp_path / "elsewhere", anna="michael")
    for ending in (".wav", ".txt"):
        (folder / f"anna{ending}").symlink_to(outside / f"anna{ending}")
    assert client.delete("/voices/anna").status_code == 200
    assert (outside / "anna.wav").exists() and not list(folder.glob("*anna*"))


def test_what_cannot_be_deleted_is_said(client: httpx.Client, folder: Path) -> None:
    before = everything(folder.parent)
    default = client.delete("/voices/default")
    assert default.status_code == 409 and default.json()["error"]["code"] == "voice_needed"
    for name in ("nobody", "..", "%2e%2e", "..%2flog", "Default", "michael.wav", "x" * 300, "%00"):
        reply = client.delete(f"/voices/{name}")
        assert reply.status_code in (404, 405), (name, reply.text)
    assert everything(folder.parent) == before


def test_who_has_no_key_and_comes_from_elsewhere_changes_nothing(client: httpx.Client) -> None:
    """127.0.0.1 in a header too: anybody may write it there."""
    for headers, code in (
        ({"x-forwarded-for": "192.0.2.7"}, "not_allowed"),
        ({"x-forwarded-for": "127.0.0.1"}, "not_allowed"),
        ({"forwarded": "for=127.0.0.1"}, "not_allowed"),
        ({"origin": "https://example.org"}, "foreign_origin"),
    ):
        for reply in (
            upload(client, "anna", headers=headers),
            client.delete("/voices/michael", headers=headers),
        ):
            assert reply.status_code == 403 and reply.json()["error"]["code"] == code, reply.text
    assert names(client) == ["default", "michael"]


# What a kill or a disk leaves


def test_what_a_kill_leaves_is_no_voice_and_in_nobodys_way(client: httpx.Client, folder: Path) -> None:
    (folder / ".anna.wav.part").write_bytes(recording()[:1000])
    (folder / "anna.txt").write_text("Of an upload that was killed before its sound came.")
    assert names(client) == ["default", "michael"]
    assert upload(client, "anna").status_code == 201
    assert (folder / "anna.txt").read_text() == MICHAEL_SAID + "\n" and not list(folder.glob(".*.part"))


def test_no_more_voices_are_taken_in_than_there_is_room_for(tmp_path: Path) -> None:
    folder = VoiceFolder(tmp_path)
    for number in range(MAX_VOICES):
        (tmp_path / f"v{number}.wav").touch()
    with pytest.raises(NoRoom, match="delete one first"):
        folder.keep("anna", "Hello.", b"RIFF")
    (tmp_path / "v7.wav").unlink()
    (tmp_path / "Anna.WAV").touch()
    with pytest.raises(VoiceExists):  # one file for both where letter case is nothing
        folder.keep("anna", "Hello.", b"RIFF")
    (tmp_path / "Anna.WAV").unlink()
    folder.keep("anna", "Hello.", b"RIFF")
    assert (tmp_path / "anna.wav").read_bytes() == b"RIFF"


def test_a_folder_that_takes_nothing_is_said(client: httpx.Client, folder: Path) -> None:
    away = folder.rename(folder.with_name("away"))
    reply = upload(client, "anna")
    assert reply.status_code == 503 and reply.json()["error"]["code"] == "not_kept"
    assert str(folder.parent) not in reply.text
    assert client.post("/tts", json={"text": "Good evening.", "steps": 1}).status_code == 200
    away.rename(folder)
    assert upload(client, "anna").status_code == 201


# One-off cloning


def clone(client: httpx.Client, sound: bytes | None = None, **fields: str) -> httpx.Response:
    files = {} if sound is None else {"audio_file": ("me.wav", sound)}
    return client.post("/v1/tts", data={"text": "Good evening.", "seed": "1", "steps": "1"} | fields, files=files)


def test_who_sends_a_sound_is_answered_in_its_voice_and_nothing_is_kept(client: httpx.Client, folder: Path) -> None:
    asked = {"text": "Good evening.", "seed": 1, "steps": 1}
    plain = clone(client, voice="michael", speed="1.25")  # a form without a file, as requests.post(data=…) sends it
    assert plain.content == client.post("/tts", json=asked | {"voice": "michael", "speed": 1.25}).content
    assert clone(client, b"", voice="", audio_url="").content == client.post("/tts", json=asked).content
    before = everything(folder.parent)
    cloned = clone(client, recording(rate=16_000), ref_text=MICHAEL_SAID, voice="8", ignored="yes")
    assert cloned.status_code == 200 and cloned.headers["content-type"] == "audio/wav"
    assert int(cloned.headers["content-length"]) == len(cloned.content)
    assert everything(folder.parent) == before and names(client) == ["default", "michael"]
    assert cloned.content == clone(client, recording(rate=16_000), ref_text=MICHAEL_SAID).content
    assert upload(client, "anna", recording(rate=16_000)).status_code == 201
    assert cloned.content == client.post("/tts", json=asked | {"voice": "anna"}).content
    flac = clone(client, recording(), ref_text=MICHAEL_SAID, format="flac")
    assert flac.headers["content-type"] == "audio/flac" and flac.content[:4] == b"fLaC"


def test_what_cannot_be_cloned_is_refused_in_words(client: httpx.Client) -> None:
    sound = recording()
    refused: list[tuple[int, str, httpx.Response]] = [
        (400, "ref_text", clone(client, sound)),
        (400, "ref_text", clone(client, sound, ref_text="No.")),
        (400, "audio_file", clone(client, b"<html>", ref_text=MICHAEL_SAID)),
        (400, "audio_file", clone(client, audio_file="/etc/passwd", ref_text=MICHAEL_SAID)),
        (400, "audio_url", clone(client, audio_url="https://example.org/a.wav", ref_text=MICHAEL_SAID)),
        (400, "audio_url", clone(client, audio_url="file:///etc/passwd", ref_text=MICHAEL_SAID)),
        (400, "speed", clone(client, sound, ref_text=MICHAEL_SAID, speed="fast")),
        (400, "speed", clone(client, speed="9")),
        (400, "text", clone(client, text="")),
        (413, "text", clone(client, text="a" * 20_001)),
        (404, "voice", clone(client, voice="../default")),
    ]
    for status, param, reply in refused:
        assert reply.status_code == status and reply.json()["error"]["param"] == param, (param, reply.text)
    assert client.post("/v1/tts", json={"text": "Good evening."}).status_code == 400
    assert client.get("/v1/tts").status_code == 405
