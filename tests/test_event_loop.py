"""The loop goes on while the model works: who leaves frees it, and `/health` is answered, within a step."""

import concurrent.futures
import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from test_http import LONG, assert_true_lengths

import tts_core
from speech.request import Speech

pytestmark = pytest.mark.timing


def leave_early(server: str, wanted: dict[str, Any], read: int) -> None:
    """Ask, read `read` bytes, and hang up."""
    host = urlsplit(server)
    body = json.dumps(wanted).encode()
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall(b"POST /tts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        while read > 0:
            read -= len(connection.recv(min(read, 65536)))


def longest_gap(tts: tts_core.TTS, text: str) -> float:
    """Seconds between two breaths of a speech, at most: what this machine needs for its slowest step."""
    speaking = tts.speak(tts.plan(Speech(text, seed=1)))
    longest, last = 0.0, time.perf_counter()
    for _ in speaking:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


@pytest.fixture(scope="module")
def step(tts: tts_core.TTS) -> float:
    """Seconds that the slowest step of an ordinary text takes here."""
    return longest_gap(tts, LONG[:800])


@pytest.mark.parametrize(
    "wanted,read",
    [({"text": LONG[:48], "steps": 64}, 0), ({"text": LONG}, 60_000)],
    ids=["before the first byte", "while it plays"],
)
def test_a_vanished_client_frees_the_model_within_a_step(
    server: str, client: httpx.Client, tts: tts_core.TTS, wanted: dict[str, Any], read: int
) -> None:
    step = longest_gap(tts, wanted["text"][:800])
    before = client.get("/health").json()["stats"]
    leave_early(server, wanted, read)
    began = time.monotonic()
    while (after := client.get("/health").json()["stats"])["failed_requests"] == before["failed_requests"]:
        assert time.monotonic() - began < 10, f"still speaking to nobody: {after}"
    freed = time.monotonic() - began
    assert after["running"] == after["waiting"] == 0
    # Two steps: the one under way when the client left, and the one that a health request may itself wait for.
    assert freed < 2 * step + 0.1, f"freed after {freed:.3f} s, a step takes {step:.3f} s"


def assert_health_answers(client: httpx.Client, within: float, work: Callable[[], object]) -> None:
    """In so many seconds at most, while `work` goes on, in one of three times: another process may have had the
    processor once, but what the server itself holds up it holds up each time."""
    longest: list[float] = []
    while not longest or longest[-1] >= within:
        assert len(longest) < 3, f"/health took {longest} s at most; {within:.3f} are allowed"
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            working, waits = pool.submit(work), []
            while not working.done():
                began = time.perf_counter()
                client.get("/health").raise_for_status()
                waits.append(time.perf_counter() - began)
                time.sleep(0.003)  # unsynchronised with the steps
            working.result()
        longest.append(max(waits))


def test_health_answers_within_a_step_while_speaking(server: str, client: httpx.Client, step: float) -> None:
    def speak() -> None:
        assert_true_lengths(httpx.post(f"{server}/tts", json={"text": LONG[:800]}, timeout=120))

    assert_health_answers(client, 1.5 * step + 0.02, speak)


ZOO = {
    "one word": "a" * 20_000,
    "marks": "!?.,;:" * 3_000,
    "digits": "0123456789" * 2_000,
    "Thai": "สวัสดีครับ" * 2_000,
    "Arabic": "مرحبا بالعالم " * 1_400,
    "Chinese": "你好世界今天" * 3_000,
    "emoji": "👋🌍🎉" * 6_000,
    "combining": "a" + "\u0301\u0327" * 9_999,
}


@pytest.mark.parametrize("name", ZOO)
def test_no_text_holds_the_loop_before_its_first_slot(
    server: str, client: httpx.Client, step: float, name: str
) -> None:
    """Sorting 20 000 combining marks took the loop a second."""

    def ask() -> None:
        with contextlib.suppress(httpx.TimeoutException):
            httpx.get(f"{server}/health")
            with httpx.stream("POST", f"{server}/tts", json={"text": ZOO[name], "speed": 0.25}, timeout=2) as reply:
                next(reply.iter_bytes())

    assert_health_answers(client, 1.5 * step + 0.1, ask)
