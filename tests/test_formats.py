"""Every format, as it is sent: complete, of the planned length, while it is made; and what of it is known before."""

import io
import json
import shutil
import statistics
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from conftest import ROOT, serving
from sounds import decoded, likeness
from test_command import command
from test_http import LONG
from test_jobs import finished

from speech.audio import SAMPLE_RATE, pcm16
from speech.formats import FORMATS, encoded

ASKED: dict[str, Any] = {
    "text": "The harbour was empty. Nobody had told the men on the pier why they had come.",
    "seed": 3,
    "steps": 1,
}
ENCODED = [name for name in FORMATS if name not in ("wav", "pcm")]
LENGTHS = [3000, 4608, 5759, 5760, 5761, 24_000, 50_001]
"""Samples: whole frames of the encoders, and one more or less."""
TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
}


def sound(samples: int) -> np.ndarray:
    """Something like a voice: a few tones that come and go."""
    t = np.arange(samples) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * pitch * t) / pitch for pitch in (140, 280, 710, 2300))
    return (30 * tones * np.sin(2 * np.pi * 3 * t) ** 2).astype(np.float32)


def whole(samples: np.ndarray, name: str) -> bytes:
    parts = encoded([samples[:1000], None, samples[1000:]], FORMATS[name], len(samples))
    return b"".join(part.data for part in parts if part)


@pytest.fixture(scope="module")
def replies(server: str) -> dict[str, httpx.Response]:
    with httpx.Client(base_url=server, timeout=120) as client:
        return {name: client.post("/tts", json=ASKED | {"format": name}) for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_a_reply_has_the_format_its_type_and_the_planned_length(
    client: httpx.Client, replies: dict[str, httpx.Response], name: str
) -> None:
    reply, said = replies[name], decoded(replies["wav"].content, "wav")
    assert reply.status_code == 200 and reply.headers["content-type"] == TYPES[name]
    assert abs(len(said) / SAMPLE_RATE - float(reply.headers["x-audio-duration"])) < 1e-3
    heard = decoded(reply.content, name)
    assert abs(len(heard) - len(said)) <= 0.05 * SAMPLE_RATE, (len(heard), len(said))
    assert likeness(heard, said) > 0.98  # Opus: 0.99, and a hair less for some speeches
    if name in ("pcm", "flac"):
        assert (heard == said).all()
    known = reply.headers.get("content-length")
    assert known == (str(len(reply.content)) if name in ("wav", "pcm", "mp3") else None)
    asked = ASKED | {"format": name}
    assert client.get("/tts", params=asked).content == reply.content, "the same seed, the same bytes"
    assert client.head("/tts", params=asked).headers.get("content-length") == known


@pytest.mark.parametrize("name", ENCODED)
def test_any_number_of_samples_decodes_to_as_many(name: str) -> None:
    for samples in LENGTHS:
        said = sound(samples)
        made = whole(said, name)
        heard = decoded(made, name)
        assert abs(len(heard) - samples) <= (0.05 * SAMPLE_RATE if name == "aac" else 0), (samples, len(heard))
        assert likeness(heard, np.frombuffer(pcm16(said), "<i2")) > 0.9, samples
        assert made == whole(said, name), samples
        size = FORMATS[name].size
        assert size is None or size(samples) == len(made), samples


@pytest.mark.parametrize("name", FORMATS)
def test_an_encoder_keeps_no_more_than_a_quarter_of_a_second_back(name: str) -> None:
    """libsndfile's Opus keeps a second, if one lets it: whoever plays hears gaps that the server knows not."""
    said, sent, given = sound(4 * SAMPLE_RATE), b"", 0
    for part in encoded(np.split(said, 8), FORMATS[name], len(said)):
        assert part
        sent, given = sent + part.data, given + part.samples
        if given < len(said):
            assert len(sent) > 0 and len(decoded(sent, name)) >= given - SAMPLE_RATE // 4, given


def test_an_mp3_is_lames_own_but_for_what_lame_knows_last() -> None:
    """Its first frame, which tells the length, is ours; LAME would come back for it when the sound is over."""
    for samples in LENGTHS:
        said = sound(samples)
        file = io.BytesIO()
        how: dict[str, Any] = {"bitrate_mode": "CONSTANT", "compression_level": (160 - 64) / 152}
        with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, "MPEG_LAYER_III", format="MP3", **how) as theirs:
            theirs.buffer_write(pcm16(said), "int16")
        lames, ours = file.getvalue(), whole(said, "mp3")
        assert ours[192:] == lames[192:]
        frames = slice(21, 25), slice(17, 21)
        assert lames[frames[0]] == ours[frames[0]] or lames[21:25] == ours[21:25]
        gaps = lames.index(b"LAME") + 21, ours.index(b"LAME") + 21
        assert lames[gaps[0] : gaps[0] + 3] == ours[gaps[1] : gaps[1] + 3], "delay and padding"


def test_flac_tells_its_length_at_once() -> None:
    said = sound(30_000)
    assert soundfile.info(io.BytesIO(whole(said, "flac"))).frames == 30_000


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="needs ffprobe")
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_ffprobe_and_wave_agree(replies: dict[str, httpx.Response], name: str) -> None:
    """From a pipe, as from a stream: FFmpeg cannot look at the end of it."""
    reply = replies[name]
    seconds = float(reply.headers["x-audio-duration"])

    def told(*line: str) -> str:
        done = subprocess.run([*line], input=reply.content, capture_output=True, timeout=30)
        assert not done.stderr, done.stderr
        return done.stdout.decode(errors="replace")

    entries = "stream=codec_name,channels:format=duration"
    found = json.loads(told("ffprobe", "-v", "error", "-of", "json", "-show_entries", entries, "-"))
    codec = {"wav": "pcm_s16le"}.get(name, name)
    assert found["streams"] == [{"codec_name": codec, "channels": 1}]
    if name in ("flac", "mp3"):  # the others' heads have no place for it, and a WAV's size is enough for wave
        assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.08)
    if name == "wav":
        with wave.open(io.BytesIO(reply.content)) as file:
            assert file.getnframes() / file.getframerate() == pytest.approx(seconds, abs=1e-3)
    line = f"ffmpeg -v error -xerror -i - -f s16le -ar {SAMPLE_RATE} -ac 1 -y /dev/stdout"
    raw = subprocess.run(line.split(), input=reply.content, capture_output=True, timeout=30)
    assert raw.returncode == 0 and not raw.stderr, raw.stderr
    assert len(raw.stdout) / 2 / SAMPLE_RATE == pytest.approx(seconds, abs=0.05)


def test_a_fault_in_the_middle_is_no_end(tmp_path: Path) -> None:
    """A chunked reply has no length to fall short of: it must lack its last chunk."""
    with serving(tmp_path / "log", app="tests.failing_app:app", clean=False) as address:
        assert httpx.post(f"{address}/tts", json={"text": "Hello.", "format": "opus"}).status_code == 500
        for name in ("flac", "mp3", "opus"):
            with httpx.stream("POST", f"{address}/tts", json={"text": LONG, "format": name}, timeout=60) as reply:
                assert reply.status_code == 200
                with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
                    reply.read()


def test_a_job_is_kept_in_its_format(client: httpx.Client, replies: dict[str, httpx.Response]) -> None:
    accepted = client.post("/tts", json=ASKED | {"format": "opus", "async": True, "priority": "urgent"}).json()
    job = accepted["request_id"]
    status = finished(client, job)
    assert status["result"]["output_path"] == f"{job}.opus" and status["result"]["format"] == "opus"
    streamed = replies["opus"].content
    result = client.get(f"/tts/result/{job}")
    assert result.content == streamed and result.headers["content-type"] == "audio/ogg"
    assert result.headers["content-length"] == str(len(streamed))
    part = client.get(f"/tts/result/{job}", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"OggS", "audio/ogg")
    assert client.delete(f"/tts/{job}").json()["status"] == "removed"


@pytest.mark.parametrize("name", ["mp4", "ogg", "WAV", "", 5, None])
def test_another_format_is_refused_with_those_there_are(client: httpx.Client, name: object) -> None:
    reply = client.post("/tts", json=ASKED | {"format": name})
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["param"] == "format"
    if isinstance(name, str):
        assert error["message"] == "format must be one of wav, pcm, flac, mp3, opus, aac"


@pytest.mark.timing
def test_the_first_bytes_of_an_mp3_come_as_soon_as_a_wavs(client: httpx.Client) -> None:
    """At most 30 ms later: the median of seven pairs, and what else the machine does is in both."""

    def first_byte(name: str) -> float:
        began = time.perf_counter()
        with client.stream("POST", "/tts", json=ASKED | {"text": "Good evening.", "format": name}) as reply:
            parts = reply.iter_raw()
            next(parts)
            waited = time.perf_counter() - began
            for _ in parts:
                pass
        return waited

    pairs = [(first_byte("wav"), first_byte("mp3")) for _ in range(7)]
    later = statistics.median(mp3 - wav for wav, mp3 in pairs)
    low, _, high = statistics.quantiles([wav for wav, _ in pairs], n=4)
    assert later < 0.03 + (high - low), pairs


def test_the_commands_file_has_the_format_of_its_name(tmp_path: Path, replies: dict[str, httpx.Response]) -> None:
    options = ["--seed", "3", "--steps", "1"]
    done = command(ASKED["text"], tmp_path / "a.MP3", *options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.MP3").read_bytes() == replies["mp3"].content
    failed = command("Hello.", tmp_path / "a.ogg")
    assert "its suffix names no format; there are .wav, .pcm, .flac, .mp3, .opus, .aac" in failed.stderr
    assert failed.returncode != 0 and not (tmp_path / "a.ogg").exists()


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_its_package_aac_is_refused_in_words() -> None:
    """PyAV is not among requirements.txt; docs/http-api.md says why."""
    code = """
import sys
sys.modules["av"] = None
from speech.request import BadSpeech, Speech
try:
    Speech("Hello.", format="aac")
except BadSpeech as error:
    print(error.field, error)
"""
    assert python(code).startswith("format format aac needs the package av")


@pytest.mark.timing
def test_whoever_starts_waits_for_no_door_that_few_use() -> None:
    code = """
import asyncio, sys
from app import app
async def start():
    async with app.router.lifespan_context(app):
        late = {"av", "server.openai_api", "server.openapi", "prometheus_client", "hibari_g2p", "sea_g2p"}
        print(late & set(sys.modules))
asyncio.run(start())
"""
    assert python(code) == "set()"
