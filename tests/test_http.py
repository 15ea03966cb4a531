"""Through the front door: what curl, the wave module and an impatient client see."""

import contextlib
import io
import json
import math
import random
import re
import selectors
import socket
import time
import wave
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from conftest import FIGURES, serving, small_checkpoint

import tts_core
from speech import audio
from speech.request import Speech

LONG = (
    "The ship reached the island early in the morning. "
    "Two men were standing in front of the hotel, and nobody knew why. " * 12
)
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz  ,.",
    "0123456789 +-/%$",
    ".,;:!?-—…()[]\"'",
    "àáảãạăằắẳẵặâầấẩẫậđèéẻẽẹêềếểễệ ",
    "你好世界今天天气很好。，",
    "Привет мир добро ",
    "مرحبا بالعالم ",
    "👋🌍🎉é̂ñ½№ ",
]


def random_text(draw: random.Random, longest: int) -> str:
    """1 to `longest` characters, short ones as likely as long ones."""
    length = int(math.exp(draw.uniform(0, math.log(longest))))
    letters = draw.choice([*ALPHABETS, "".join(ALPHABETS)])
    text = "".join(draw.choice(letters) for _ in range(length))
    return text if text.strip() else "a"


def assert_true_lengths(reply: httpx.Response) -> None:
    if reply.status_code == 400 and "no word that" in reply.text:  # a script of which the checkpoint has no letter
        return
    assert reply.status_code == 200, reply.text
    assert int(reply.headers["content-length"]) == len(reply.content)
    riff, data = (int.from_bytes(reply.content[at : at + 4], "little") for at in (4, 40))
    assert (riff, data) == (len(reply.content) - 8, len(reply.content) - 44)
    with wave.open(io.BytesIO(reply.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert file.getnframes() * 2 == data
        assert abs(file.getnframes() / 24000 - float(reply.headers["x-audio-duration"])) < 1e-3


def assert_spoken_truly(reply: httpx.Response) -> None:
    """Or refused, as a text without a word that the model can speak."""
    if reply.status_code != 400 or "has no word that" not in reply.text:
        assert_true_lengths(reply)


def test_content_length_and_riff_sizes_are_the_bytes_sent(client: httpx.Client) -> None:
    draw = random.Random(7)
    for _ in range(24):
        assert_spoken_truly(client.post("/tts", json={"text": random_text(draw, 250), "steps": 1}))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_random_texts_have_true_lengths(client: httpx.Client) -> None:
    draw = random.Random(8)
    for _ in range(200):
        assert_spoken_truly(client.post("/tts", json={"text": random_text(draw, 5000), "steps": 1}))
    told = re.search(r"^process_resident_memory_bytes (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert told
    FIGURES["memory after 200 random texts, MB"] = round(float(told[1]) / 1e6)


@pytest.mark.parametrize("tokenizer", ["char", "pinyin"])
def test_true_lengths_with_upstreams_rule(tokenizer: str, tmp_path: Path) -> None:
    """An untrained model, because lengths do not depend on weights."""
    model = small_checkpoint(tmp_path / "small", tokenizer)
    draw = random.Random(9)
    with (
        serving(tmp_path / "log", TTS_MODEL=str(model)) as address,
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        for _ in range(30):
            asked = {"text": random_text(draw, 2000), "steps": 1, "cfg_strength": 0}
            assert_spoken_truly(client.post("/tts", json=asked))


def test_streamed_bytes_are_the_files_bytes_and_the_seed_decides_them(client: httpx.Client, tts: tts_core.TTS) -> None:
    speech = Speech(
        "One small step, then another. And then a much longer sentence that needs a chunk of its own.", seed=11
    )
    plan = tts.plan(speech)
    assert len(plan.chunks) > 1
    whole = np.concatenate(list(tts.samples(plan)))
    file = audio.wav_header(len(whole)) + audio.pcm16(whole)
    first, second, other = (client.post("/tts", json={"text": speech.text, "seed": seed}) for seed in (11, 11, 12))
    assert first.content == file
    assert second.content == file
    assert other.content != file
    drawn = client.post("/tts", json={"text": speech.text})
    again = client.post("/tts", json={"text": speech.text, "seed": int(drawn.headers["x-seed"])})
    assert drawn.content == again.content


@pytest.mark.parametrize("seconds", [0.9, 1.0, 2.3456, 4.5])
def test_duration_is_met_to_the_sample(client: httpx.Client, seconds: float) -> None:
    reply = client.post("/tts", json={"text": "The clock is slow.", "duration": seconds, "steps": 1})
    assert_true_lengths(reply)
    assert len(reply.content) == 44 + 2 * round(seconds * 24000)


def test_speed_shortens(client: httpx.Client) -> None:
    lengths = [
        len(client.post("/tts", json={"text": "The river runs past the mill.", "speed": s, "steps": 1}).content)
        for s in (0.5, 1, 2)
    ]
    assert lengths[0] > 1.7 * lengths[1] > 2.9 * lengths[2], lengths


BAD = [
    (b"not json", 400, None),
    (b"[" * 100_000, 400, None),
    (b"[]", 400, None),
    (b"\xff\xfe", 400, None),
    (b"{}", 400, "text"),
    (b'{"text": 5}', 400, "text"),
    (b'{"text": null}', 400, "text"),
    (b'{"text": ["a"]}', 400, "text"),
    (b'{"text": ""}', 400, "text"),
    (b'{"text": " \\n\\t "}', 400, "text"),
    (b'{"text": "a\\u0000b"}', 400, "text"),
    (b'{"text": "bell\\u0007"}', 400, "text"),
    (b'{"text": "\\ud800"}', 400, "text"),
    (b'{"text": "half \\udc00 pair"}', 400, "text"),
    (b'{"text": "a", "speed": NaN}', 400, "speed"),
    (b'{"text": "a", "speed": Infinity}', 400, "speed"),
    (b'{"text": "a", "speed": -1}', 400, "speed"),
    (b'{"text": "a", "speed": 0}', 400, "speed"),
    (b'{"text": "a", "speed": "fast"}', 400, "speed"),
    (b'{"text": "a", "speed": true}', 400, "speed"),
    (b'{"text": "a", "speed": 1e400}', 400, "speed"),
    (b'{"text": "a", "duration": -1}', 400, "duration"),
    (b'{"text": "a", "duration": 1e300}', 400, "duration"),
    (b'{"text": "hello there everyone", "duration": 60}', 400, "duration"),
    (b'{"text": "a", "seed": -1}', 400, "seed"),
    (b'{"text": "a", "seed": 1.5}', 400, "seed"),
    (b'{"text": "a", "seed": ' + b"9" * 5000 + b"}", 400, None),
    (b'{"text": "a", "seed": 99999999999999999999}', 400, "seed"),
    (b'{"text": "a", "steps": 0}', 400, "steps"),
    (b'{"text": "a", "steps": 1000000}', 400, "steps"),
    (b'{"text": "a", "cfg_strength": -2}', 400, "cfg_strength"),
    (b'{"text": "a", "pitch": 2}', 400, "pitch"),
    (b'{"text": "a", "\\ud800": 2}', 400, "\\ud800"),
    (b'{"text": "a", "voice": "nobody"}', 404, "voice"),
    (b'{"text": "a", "voice": "\\ud800"}', 404, "voice"),
    (b'{"text": "a", "voice": "../../etc/passwd"}', 404, "voice"),
    (b'{"text": "a", "voice": 7}', 400, "voice"),
    (b'{"text": "' + b"a" * 20_001 + b'"}', 413, "text"),
    (b'{"text": "' + b"a" * 10_000_000 + b'"}', 413, "text"),
]


@pytest.mark.parametrize("body,status,param", BAD, ids=[str(body[:40]) for body, _, _ in BAD])
def test_bad_input_is_refused_in_words(client: httpx.Client, body: bytes, status: int, param: str | None) -> None:
    reply = client.post("/tts", content=body)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(reply.json()) == {"error"} and set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) < 300
    assert error["param"] == param, error
    assert client.get("/health").status_code == 200


def test_bad_queries_and_routes_are_refused_in_the_same_shape(client: httpx.Client) -> None:
    for reply, status in [
        (client.get("/tts"), 400),
        (client.get("/tts", params={"text": "a", "speed": "nan"}), 400),
        (client.get("/tts", params={"text": "a", "seed": "x"}), 400),
        (client.get("/nothing"), 404),
        (client.put("/tts"), 405),
    ]:
        assert reply.status_code == status
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert (
        "default, fenrir, michael" in client.post("/tts", json={"text": "a", "voice": "x"}).json()["error"]["message"]
    )


@pytest.mark.timing
def test_ten_at_once_are_all_spoken_in_order_of_arrival(server: str) -> None:
    place, selector = urlsplit(server), selectors.DefaultSelector()
    with contextlib.ExitStack() as open_:
        callers = [
            open_.enter_context(socket.create_connection((place.hostname, place.port), timeout=120)) for _ in range(10)
        ]
        for number, caller in enumerate(callers):
            body = json.dumps({"text": f"Number {number}, said aloud.", "steps": 4}).encode()
            fields = f"Host: {place.netloc}\r\nConnection: close\r\nContent-Length: {len(body)}"
            caller.sendall(f"POST /tts HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
            time.sleep(0.01)  # arrival order is the point
            selector.register(caller, selectors.EVENT_READ, number)
        firsts: list[int] = []
        while len(firsts) < len(callers):
            for key, _ in selector.select(timeout=120):
                selector.unregister(key.fileobj)
                firsts.append(key.data)
        for caller in callers:
            head, _, sound = caller.makefile("rb").read().partition(b"\r\n\r\n")
            assert f"content-length: {len(sound)}".encode() in head.lower().split(b"\r\n")
    assert firsts == sorted(firsts)


def test_one_listener_too_many_is_told_when_to_come_back(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "log", TTS_MAX_WAITING="3") as address,
        httpx.Client(base_url=address, timeout=60) as client,
        contextlib.ExitStack() as open_,
    ):
        streams = [
            open_.enter_context(client.stream("POST", "/tts", json={"text": LONG, "steps": 2})) for _ in range(3)
        ]
        began = time.monotonic()
        refused = client.post("/tts", json={"text": "Hello."})
        assert time.monotonic() - began < 1
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "full"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert client.post("/tts", json={"text": ""}).status_code == 400
        assert client.get("/health").json()["stats"]["queue_size"] == 3
        for stream in streams:
            assert len(stream.read()) == int(stream.headers["content-length"])
        assert_true_lengths(client.post("/tts", json={"text": "Hello.", "steps": 2}))


def test_a_fault_is_a_500_before_the_first_byte_and_a_broken_connection_after(tmp_path: Path) -> None:
    with serving(tmp_path / "log", app="tests.failing_app:app", clean=False) as address:
        early = httpx.post(f"{address}/tts", json={"text": "Hello."})
        assert early.status_code == 500
        assert early.json()["error"]["type"] == "server_error" and "broke" not in early.text
        with httpx.stream("POST", f"{address}/tts", json={"text": LONG}, timeout=60) as reply:
            assert reply.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
                reply.read()
        stats = httpx.get(f"{address}/health").json()["stats"]
        assert stats["failed_requests"] == stats["total_requests"] == 2 and stats["running"] == 0
