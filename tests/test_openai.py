"""OpenAI's routes, asked by OpenAI's own packages and as other programs ask them, unchanged but for the address."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from conftest import ROOT
from sounds import decoded

from speech.formats import FORMATS

INPUT = "The harbour was empty. Nobody had told the men on the pier why they had come."
LONG = f"{INPUT} " * 40
NODE = ROOT / "tests" / "node"


@pytest.fixture
def sdk(server: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)


def planned(client: httpx.Client, text: str, **fields: Any) -> int:
    """Samples that the speech has."""
    return (int(client.head("/tts", params={"text": text, **fields}).headers["content-length"]) - 44) // 2


def assert_complete(sound: bytes, name: str, samples: int) -> np.ndarray:
    heard = decoded(sound, name)
    assert abs(len(heard) - samples) <= 0.05 * 24_000, (len(heard), samples)
    assert np.abs(heard.astype(int)).max() > 1000
    return heard


def disconnected(client: httpx.Client) -> int:
    told = client.get("/metrics").text
    line = next(line for line in told.splitlines() if line.startswith('tts_requests_total{outcome="disconnected"}'))
    return round(float(line.split()[-1]))


def assert_free(client: httpx.Client, before: int) -> None:
    """Who left is known to have left, and nobody is spoken to."""
    end = time.monotonic() + 10
    while disconnected(client) == before or client.get("/health").json()["stats"]["queue_size"]:
        assert time.monotonic() < end, "still speaking to nobody"


def events_of(body: str) -> list[dict[str, Any]]:
    blocks = body.split("\n\n")
    assert blocks.pop() == "" and all(block.startswith("data: ") for block in blocks)
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


# The openai package for Python


@pytest.mark.parametrize("name", FORMATS)
def test_the_python_package_gets_every_format(sdk: openai.OpenAI, client: httpx.Client, name: Any) -> None:
    samples = planned(client, INPUT, speed=1.25)
    whole = sdk.audio.speech.create(model="tts-1", voice="alloy", input=INPUT, response_format=name, speed=1.25)
    assert_complete(whole.read(), name, samples)
    assert whole.response.headers["content-type"] == FORMATS[name].content_type
    streaming = sdk.audio.speech.with_streaming_response
    with streaming.create(
        model="gpt-4o-mini-tts", voice="nova", input=INPUT, response_format=name, speed=1.25, instructions="Be calm."
    ) as reply:
        parts = list(reply.iter_bytes())
    assert len(parts) > 1
    assert_complete(b"".join(parts), name, samples)


def test_the_python_package_gets_events(sdk: openai.OpenAI, client: httpx.Client) -> None:
    streaming = sdk.audio.speech.with_streaming_response
    with streaming.create(
        model="gpt-4o-mini-tts", voice="coral", input=INPUT, response_format="mp3", stream_format="sse"
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in reply.headers
        *deltas, done = events_of("".join(f"{line}\n" for line in reply.iter_lines()))
    assert len(deltas) > 1 and all(set(delta) == {"type", "audio"} for delta in deltas)
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    samples = planned(client, INPUT)
    assert_complete(b"".join(base64.b64decode(delta["audio"]) for delta in deltas), "mp3", samples)
    characters, frames = len(INPUT), -(-samples // 256)
    usage = {"input_tokens": characters, "output_tokens": frames, "total_tokens": characters + frames}
    assert done == {"type": "speech.audio.done", "usage": usage}


def test_the_python_package_finds_the_models(sdk: openai.OpenAI, client: httpx.Client) -> None:
    models = sdk.models.list().data
    assert [model.id for model in models] == ["tiny", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    assert all(model.object == "model" and model.owned_by and model.created > 0 for model in models)
    assert sdk.models.retrieve("tiny") == models[0]
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'; have: tiny, tts-1"):
        sdk.models.retrieve("gpt-5")
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.audio.speech.create(model="gpt-5", voice="alloy", input="Hello.")
    assert refused.value.code == "model_not_found" and refused.value.param == "model"
    assert sdk.audio.speech.create(model="tts-1-1106", voice="alloy", input="Hello.").read()
    assert sdk.audio.speech.create(model="tiny", voice="alloy", input="Hello.").read()


def test_the_lines_that_are_told_work(
    server: str, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/clients.md"""
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / "docs" / "clients.md").read_text().split("```python\n")[1].split("```")[0]
    exec(lines.replace("http://localhost:8000", server))
    assert_complete((tmp_path / "hello.mp3").read_bytes(), "mp3", planned(client, "Good evening."))


def test_openais_voices_are_the_default_one(sdk: openai.OpenAI, client: httpx.Client) -> None:
    def length(voice: Any) -> int:
        made = sdk.audio.speech.create(model="tts-1", voice=voice, input=INPUT, response_format="pcm")
        return len(made.read()) // 2

    default, michael = planned(client, INPUT), planned(client, INPUT, voice="michael")
    assert default != michael
    assert [length("marin"), length("michael"), length({"id": "michael"})] == [default, michael, michael]


def test_who_leaves_frees_the_model(sdk: openai.OpenAI, client: httpx.Client) -> None:
    before = disconnected(client)
    for fields in ({"response_format": "opus"}, {"stream_format": "sse"}):
        streaming: Any = sdk.audio.speech.with_streaming_response
        with streaming.create(model="tts-1", voice="alloy", input=LONG, **fields) as reply:
            next(reply.iter_bytes(1000))
        assert_free(client, before)
        before += 1


# The openai package for Node


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node (apt-get install nodejs npm)")
@pytest.mark.skipif(not (NODE / "node_modules").exists(), reason="needs npm ci in tests/node (make test does it)")
def test_the_node_package(server: str, client: httpx.Client, tmp_path: Path) -> None:
    before, samples = disconnected(client), planned(client, INPUT)
    line = ["node", str(NODE / "speak.mjs"), f"{server}/v1", str(tmp_path), json.dumps({"input": INPUT})]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in FORMATS:
        assert_complete((tmp_path / f"whole.{name}").read_bytes(), name, samples)
    *deltas, end = events_of((tmp_path / "events.txt").read_text())
    sound = b"".join(base64.b64decode(delta["audio"]) for delta in deltas)
    assert len(sound) == 2 * samples and end["type"] == "speech.audio.done"
    told = json.loads(done.stdout)
    assert told["models"] == ["tiny", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"] and told["model"] == "tts-1"
    refused = told["refused"]
    assert (refused["name"], refused["status"], refused["code"]) == ("NotFoundError", 404, "voice_not_found")
    assert "no voice 'nobody'; have: an," in refused["message"] and told["heard"] > 0
    assert_free(client, before)


# What else a body may be


REFUSED: list[tuple[Any, int, str | None, str]] = [
    (b"not json", 400, None, "the body is not JSON"),
    ([], 400, None, "the body must be a JSON object"),
    ({}, 400, "input", "input is missing"),
    ({"input": None}, 400, "input", "input is missing"),
    ({"input": ""}, 400, "input", "input is empty"),
    ({"input": 5}, 400, "input", "input must be a string"),
    ({"input": "bell\u0007"}, 400, "input", "input has the control or half character U+0007"),
    ({"input": "สวัสดี"}, 400, "input", "input has no word that tiny can speak"),
    ({"input": "a" * 4097}, 413, "input", "input has 4097 characters, at most 4096"),
    ({"input": "a", "instructions": "a" * 200_000}, 413, "input", "the body is over"),
    ({"input": "a", "voice": "nobody"}, 404, "voice", "no voice 'nobody'; have: an, bella, default, fenrir, michael"),
    ({"input": "a", "voice": {"id": "nobody"}}, 404, "voice", "no voice 'nobody'"),
    ({"input": "a", "voice": {"name": "michael"}}, 400, "voice", "voice must be a string"),
    ({"input": "a", "voice": ["michael"]}, 400, "voice", "voice must be a string"),
    ({"input": "a", "model": 5}, 400, "model", "model must be a string"),
    ({"input": "a", "response_format": "ogg"}, 400, "response_format", "response_format must be one of wav, pcm, flac"),
    ({"input": "a", "response_format": 5}, 400, "response_format", "response_format must be a string"),
    ({"input": "a", "speed": 0.2}, 400, "speed", "speed must be a number from 0.25 to 4.0"),
    ({"input": "a", "speed": "1"}, 400, "speed", "speed must be a number"),
    ({"input": "a", "stream_format": "chunks"}, 400, "stream_format", "stream_format must be audio or sse"),
    ({"input": "a", "stream_format": []}, 400, "stream_format", "stream_format must be audio or sse"),
]


@pytest.mark.parametrize("body,status,param,message", REFUSED, ids=[str(body)[:50] for body, *_ in REFUSED])
def test_what_cannot_be_is_refused_in_their_words(
    client: httpx.Client, body: Any, status: int, param: str | None, message: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body)
    reply = client.post("/v1/audio/speech", content=content)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["param"] == param
    assert error["message"].startswith(message)


def test_what_else_a_body_has_is_passed_over(client: httpx.Client) -> None:
    body = {
        "input": "Hello.",
        "model": None,
        "voice": None,
        "response_format": None,
        "stream_format": None,
        "speed": None,
        "instructions": "Whisper.",
        "text": 5,
        "format": "tape",
        "seed": "x",
        "async": True,
        "steps": 0,
        "language": "Klingon",
        "user": {"id": 1},
    }
    reply = client.post("/v1/audio/speech", json=body)
    assert reply.status_code == 200 and reply.headers["content-type"] == "audio/mpeg", reply.text
    assert_complete(reply.content, "mp3", planned(client, "Hello."))
    assert client.post("/v1/audio/speech", content=b"x", headers={"origin": str(client.base_url)}).status_code == 415
    assert client.get("/v1/audio/speech").status_code == 405


# Other programs


def test_open_webui(client: httpx.Client) -> None:
    """open_webui/routers/audio.py, 0.6: a page's {input, voice} with the model of its settings, then the two lists."""
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Bearer sk-none",
        "X-OpenWebUI-User-Name": "Anna",
        "X-OpenWebUI-User-Id": "7",
        "X-OpenWebUI-User-Email": "anna@localhost",
        "X-OpenWebUI-User-Role": "user",
    }
    payload = {"input": INPUT, "voice": "alloy", "model": "tts-1"}
    reply = client.post("/v1/audio/speech", json=payload, headers=headers)
    assert reply.status_code == 200
    assert_complete(reply.content, "mp3", planned(client, INPUT))
    voices = client.get("/v1/audio/voices", headers=headers).json()
    names = ["an", "bella", "default", "fenrir", "michael"]
    assert voices == {"voices": [{"id": name, "name": name} for name in names]}
    assert client.get("/v1/audio/models", headers=headers).json()["models"][:2] == [{"id": "tiny"}, {"id": "tts-1"}]


def test_sillytavern(client: httpx.Client) -> None:
    """src/endpoints/openai.js, 1.13, its OpenAI Compatible provider. Without a key its header is "Bearer ", of which
    Node's fetch sends no blank."""
    headers = {"Content-Type": "application/json", "Authorization": "Bearer"}
    payload = {"input": INPUT, "response_format": "mp3", "voice": "shimmer", "speed": 1, "model": "tts-1"}
    reply = client.post("/v1/audio/speech", json=payload, headers=headers)
    assert reply.status_code == 200, reply.text
    assert_complete(reply.content, "mp3", planned(client, INPUT))


def test_home_assistant(client: httpx.Client, sdk: openai.OpenAI) -> None:
    """The openai_tts integration checks a key with a full stop, within 10 s, and asks for voices; core's
    openai_conversation goes through the openai package, with its instructions as text whether or not there are any."""
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    check = {"model": "tts-1", "input": ".", "voice": "alloy", "response_format": "mp3"}
    began = time.monotonic()
    reply = client.post("/v1/audio/speech", json=check, headers=headers)
    assert reply.status_code == 200 and time.monotonic() - began < 10
    assert len(decoded(reply.content, "mp3")) > 0
    speech = check | {"input": INPUT, "speed": 1.0, "instructions": "Speak slowly."}
    agent = headers | {"User-Agent": "HomeAssistant-OpenAI-TTS"}
    reply = client.post("/v1/audio/speech", json=speech, headers=agent)
    assert_complete(reply.content, "mp3", planned(client, INPUT))
    streaming = sdk.audio.speech.with_streaming_response
    with streaming.create(
        model="gpt-4o-mini-tts", voice="marin", input=INPUT, instructions="None", speed=1.0, response_format="flac"
    ) as core:
        assert_complete(b"".join(core.iter_bytes()), "flac", planned(client, INPUT))
