"""Voices without a restart: a folder that is read again, uploads, deletions, and what becomes of jobs meanwhile."""

import contextlib
import io
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT, serving

from speech.reference import check_said, reference_of
from speech.voice_files import MAX_VOICES, BadVoice, NoRoom, VoiceExists, VoiceFolder

VOICES = ROOT / "voices"
RMS, RMS_SAID = VOICES / "rms.wav", (VOICES / "rms.txt").read_text().strip()
SPOKEN = {"text": "Good evening.", "seed": 1, "steps": 1}


def folder_of(path: Path, **names: str) -> Path:
    """Each name is one of our voices."""
    path.mkdir(parents=True)
    for name, voice in names.items():
        for ending in (".wav", ".txt"):
            shutil.copy(VOICES / f"{voice}{ending}", path / f"{name}{ending}")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("served") / "voices", default="default", rms="rms")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    nowhere = str(folder.parent / "no temporary files")  # of its own: a form that went to disk would be an error 500
    with (
        serving(folder.parent / "log", TTS_VOICES=str(folder), TMPDIR=nowhere) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def tidied(folder: Path) -> Iterator[None]:
    """After each test the voices that it began with."""
    yield
    for file in folder.iterdir():
        if file.name.split(".")[0] not in ("default", "rms", ""):
            file.unlink()


def names(client: httpx.Client) -> list[str]:
    return [voice["name"] for voice in client.get("/voices").json()["voices"]]


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
    put(folder, "anna", "awb")
    first = spoken(client, "anna")
    assert names(client) == ["anna", "default", "rms"] and first != spoken(client, "rms")
    put(folder, "anna", "rms")
    assert spoken(client, "anna") == spoken(client, "rms"), "a voice is the sound and text that lie there"
    (folder / "anna.txt").write_text("Something else is said here, and at once.")
    assert spoken(client, "anna") != spoken(client, "rms")
    (folder / "anna.wav").unlink()
    gone = client.post("/tts", json=SPOKEN | {"voice": "anna"})
    assert gone.status_code == 404 and gone.json()["error"]["code"] == "voice_not_found"
    assert names(client) == ["default", "rms"] == client.get("/health").json()["voices"]


def test_files_that_are_no_voice_are_named_and_the_others_spoken(client: httpx.Client, folder: Path) -> None:
    put(folder, "anna", "awb")
    (folder / "anna.txt").unlink()
    put(folder, "bert", "awb")
    (folder / "bert.wav").write_bytes(b"RIFF, it says")
    put(folder, "cleo", "awb")
    (folder / "cleo.txt").write_bytes("In another encoding.".encode("utf-16"))
    put(folder, "dora", "awb")
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
    assert str(folder) not in str(told) and names(client) == ["default", "rms"]
    shutil.copy(VOICES / "awb.txt", folder / "anna.txt")
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


def test_one_bad_voice_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "voices", default="default", anna="rms")
    (folder / "anna.wav").write_bytes(b"not a sound")
    with serving(tmp_path / "log", TTS_VOICES=str(folder)) as address:
        assert "anna.wav cannot be read" in httpx.get(f"{address}/voices").json()["unusable"][0]["problem"]
    assert "voice 'anna' cannot be used: anna.wav cannot be read" in (tmp_path / "log").read_text()


def test_links_that_lead_out_of_the_folder_are_not_followed(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    outside = folder_of(tmp_path / "elsewhere", anna="awb")
    put(folder, "bert", "awb")
    (folder / "bert.txt").unlink()
    (folder / "bert.txt").symlink_to(outside / "anna.txt")
    shutil.copy(VOICES / "awb.txt", folder / "anna.txt")
    (folder / "anna.wav").symlink_to(outside / "anna.wav")
    shutil.copy(VOICES / "awb.txt", folder / "zero.txt")
    (folder / "zero.wav").symlink_to("/dev/zero")
    shutil.copy(VOICES / "awb.txt", folder / "loop.txt")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "pipe.txt").write_text("Nobody ever writes into it.")
    (folder / "inside.wav").symlink_to("rms.wav")  # as Kubernetes mounts files
    (folder / "inside.txt").symlink_to("rms.txt")
    told = problems(client)
    assert set(told) == {"anna", "bert", "zero", "loop"} and "bert.txt leads out of the folder" in told["bert"]
    assert spoken(client, "inside") == spoken(client, "rms")
    assert client.delete("/voices/anna").status_code == 200 and (outside / "anna.wav").exists()


# Uploads


def recording(
    format: str = "WAV", subtype: str | None = None, rate: int = 24_000, channels: int = 1, silence: float = 0.0
) -> bytes:
    samples, _ = soundfile.read(RMS, dtype="float32")
    samples = np.pad(soxr.resample(samples, 24_000, rate), round(silence * rate))
    out = io.BytesIO()
    soundfile.write(out, np.stack([samples] * channels, axis=1), rate, subtype, format=format)
    return out.getvalue()


def upload(client: httpx.Client, name: str, audio: bytes | None = None, text: str = RMS_SAID) -> httpx.Response:
    files = {"audio": ("sound", recording() if audio is None else audio)}
    return client.post("/voices", data={"name": name, "text": text}, files=files)


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
    whole = len(soundfile.read(RMS)[0]) / 24_000
    assert whole - 0.4 < kept["seconds"] <= whole + 0.15, "silence at the ends is taken off"
    assert kept["used"]["end"] - kept["used"]["start"] == pytest.approx(kept["seconds"], abs=0.02)
    stored = soundfile.info(folder / "anna.wav")
    assert (stored.samplerate, stored.channels, stored.subtype) == (24_000, 1, "PCM_16")
    assert stored.duration == pytest.approx(kept["seconds"], abs=0.01)
    assert (folder / "anna.txt").read_text() == RMS_SAID + "\n" and names(client) == ["anna", "default", "rms"]
    assert spoken(client, "anna")
    again = upload(client, "anna")
    assert again.status_code == 409 and again.json()["error"]["code"] == "voice_exists"
    assert client.delete("/voices/anna").json() == {"name": "anna", "status": "removed"}
    assert not list(folder.glob("*anna*")) and names(client) == ["default", "rms"]


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


def everything(path: Path) -> dict[str, int]:
    return {str(file.relative_to(path)): file.stat().st_size for file in path.rglob("*") if file.name != "log"}


def silent(seconds: float) -> bytes:
    return sound_of(np.zeros(round(24_000 * seconds)))


def sound_of(samples: np.ndarray, rate: int = 24_000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV")
    return out.getvalue()


def speechlike(seconds: float) -> np.ndarray:
    at = np.arange(round(24_000 * seconds)) / 24_000
    return 0.3 * np.sin(2 * np.pi * 180 * at) * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * at))


BOMB = io.BytesIO()
soundfile.write(BOMB, np.zeros(24_000 * 3600, np.int16), 24_000, format="FLAC")
WRONG = {
    "no sound file": (b"<html>", "audio", "must be a sound file"),
    "nothing": (b"", "audio", "must be a sound file"),
    "half a header": (recording()[:30], "audio", "cannot be read"),
    "silence": (silent(3), "audio", "no sound in it"),
    "too short": (sound_of(speechlike(0.5)), "audio", "0.5 s of speech"),
    "no pause": (sound_of(speechlike(30)), "audio", "no pause at which"),
    "clipped": (sound_of((20 * speechlike(4)).clip(-1, 1)), "audio", "is clipped"),
    "an hour in 1 MB": (BOMB.getvalue(), "audio", "lasts over 120 s"),
    "a number that is none": (sound_of(np.full(48_000, np.nan)) or b"", "audio", ""),
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
    data = {"name": "anna", "text": RMS_SAID}
    typed = {"content-type": "multipart/form-data; boundary=a"}
    begun = b'--a\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
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
        (400, {"content": b"name=\xff", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
        (413, {"data": data, "files": {"audio": ("a.wav", bytes(11 << 20))}}),
        (413, {"content": iter([begun, *[bytes(1 << 20)] * 11]), "headers": typed}),
    ]
    for status, body in asked:
        reply = client.post("/voices", **body)
        assert reply.status_code == status and reply.json()["error"]["message"], (body, reply.text)
    assert not list(folder.glob("*anna*"))


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


def test_what_cannot_be_deleted_is_said(client: httpx.Client, folder: Path) -> None:
    before = everything(folder.parent)
    default = client.delete("/voices/default")
    assert default.status_code == 409 and default.json()["error"]["code"] == "voice_needed"
    for name in ("nobody", "..", "%2e%2e", "..%2flog", "Default", "rms.wav", "x" * 300, "%00"):
        reply = client.delete(f"/voices/{name}")
        assert reply.status_code in (404, 405), (name, reply.text)
    assert everything(folder.parent) == before


def test_who_has_no_key_and_comes_from_elsewhere_changes_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "voices", default="default")
    with (
        serving(tmp_path / "log", TTS_VOICES=str(folder)) as address,
        httpx.Client(base_url=address) as client,
    ):
        client.headers["x-forwarded-for"] = "192.0.2.7"
        for reply in (upload(client, "anna"), client.delete("/voices/nobody")):
            assert reply.status_code == 403 and reply.json()["error"]["code"] == "not_allowed", reply.text
        client.headers["x-forwarded-for"] = "127.0.0.1"  # which anybody may write
        assert upload(client, "anna").status_code == 403
        foreign = client.delete("/voices/nobody", headers={"origin": "https://example.org"})
        assert foreign.status_code == 403 and foreign.json()["error"]["code"] == "foreign_origin"
    with (
        serving(tmp_path / "log", TTS_VOICES=str(folder), TTS_API_KEY="a-key-of-16-signs") as address,
        httpx.Client(base_url=address, headers={"x-forwarded-for": "192.0.2.7"}) as client,
    ):
        assert upload(client, "anna").status_code == 401
        client.headers["authorization"] = "Bearer a-key-of-16-signs"
        assert upload(client, "anna").status_code == 201 and client.delete("/voices/anna").status_code == 200


# What a kill or a disk leaves


def test_what_a_kill_leaves_is_no_voice_and_in_nobodys_way(client: httpx.Client, folder: Path) -> None:
    (folder / ".anna.wav.part").write_bytes(recording()[:1000])
    (folder / "anna.txt").write_text("Of an upload that was killed before its sound came.")
    assert names(client) == ["default", "rms"] and not problems(client)
    assert upload(client, "anna").status_code == 201
    assert (folder / "anna.txt").read_text() == RMS_SAID + "\n" and not list(folder.glob(".*.part"))


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


def test_a_folder_that_takes_nothing_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "voices", default="default")
    with serving(tmp_path / "log", TTS_VOICES=str(folder)) as address, httpx.Client(base_url=address) as client:
        shutil.rmtree(folder)
        reply = upload(client, "anna")
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "not_kept"
        assert str(tmp_path) not in reply.text and spoken(client, "default")


# A recording becomes a reference


def with_pauses(*parts: float) -> np.ndarray:
    """Seconds of sound, of silence, of sound …"""
    made = [speechlike(one) if number % 2 == 0 else np.zeros(round(24_000 * one)) for number, one in enumerate(parts)]
    return np.concatenate(made)


@pytest.mark.parametrize(
    "parts,start,end",
    [
        ((3,), 0, 3),
        ((0, 1, 3, 2), 1, 4),  # silence at the ends
        ((2, 0.5, 2, 0.5, 9), 0, 4.5),  # as much as fits
        ((1.5, 0.4, 2, 3, 3, 0.4, 2), 6.9, 12.3),  # no long silence within
        ((1.2, 0.5, 8, 0.2, 3, 0.2, 3), 9.9, 16.1),  # cut at a shorter pause, as otherwise little is left
    ],
)
def test_the_longest_part_is_used(parts: tuple[float, ...], start: float, end: float) -> None:
    used = reference_of(sound_of(with_pauses(*parts)), "audio", 1.0, 7.2)
    assert (used.start, used.end) == pytest.approx((start, end), abs=0.12)
    assert len(used.wav) == pytest.approx(44 + 48_000 * used.seconds, abs=2)


def test_clipped_parts_are_passed_over() -> None:
    samples = with_pauses(3, 0.5, 2)
    samples[: 3 * 24_000] = (20 * samples[: 3 * 24_000]).clip(-1, 1)
    assert reference_of(sound_of(samples), "audio", 1.0, 7.2).start == pytest.approx(3.5, abs=0.12)


@pytest.mark.parametrize(
    "text,fits",
    [
        ("The boy was there when the sun rose and went.", True),
        ("Trời hôm nay rất đẹp, chúng ta đi dạo nhé.", True),
        ("今天天气很好我们去公园散步吧", True),
        ("It was in 1984.", True),
        ("No.", False),
        ("Everything that was said in an hour. " * 10, False),
    ],
)
def test_a_text_is_weighed_as_it_is_said(text: str, fits: bool) -> None:
    reference = reference_of(sound_of(speechlike(3)), "audio", 1.0, 7.2)
    with contextlib.nullcontext() if fits else pytest.raises(BadVoice, match=r"as it is said, and 3\.0 s of speech"):
        assert check_said(text, "text", reference) == text.strip()
