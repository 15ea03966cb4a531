"""Sockets as strangers use them: silent, slow, half closed, upgraded, too many."""

import concurrent.futures
import contextlib
import json
import math
import random
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from conftest import FIGURES, Server, serving

LONG = (
    "The ship reached the island early in the morning. "
    "Two men were standing in front of the hotel, and nobody knew why. "
)


def connect(address: str) -> socket.socket:
    host = urlsplit(address)
    return socket.create_connection((host.hostname, host.port), timeout=60)


def everything(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def stats(client: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/health").json()["stats"]
    return told


def test_who_closes_its_own_half_after_a_get_gets_its_sound(server: str) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /tts?text=Half+closed,+and+listening.&seed=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert body == httpx.get(f"{server}/tts", params={"text": "Half closed, and listening.", "seed": 1}).content


def test_who_hangs_up_at_the_last_byte_has_had_it_all(client: httpx.Client, server: str) -> None:
    """curl closes as soon as Content-Length bytes are there, before the server has looked whether more is to come."""
    before = client.get("/health").json()["stats"]
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", urlsplit(server).port or 80)) as connection:
            connection.sendall(b"GET /tts?text=Yes.&seed=1 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            reply = connection.makefile("rb")
            reply.readline()
            head = dict(line.decode().rstrip().split(": ", 1) for line in iter(reply.readline, b"\r\n"))
            assert len(reply.read(int(head["content-length"]))) == int(head["content-length"])
    end = time.monotonic() + 10
    while (after := client.get("/health").json()["stats"])["queue_size"] and time.monotonic() < end:
        time.sleep(0.01)
    assert after["failed_requests"] == before["failed_requests"]
    assert after["completed_requests"] == before["completed_requests"] + 10


def test_an_offer_of_http_2_is_passed_over(server: str, tmp_path: Path) -> None:
    """curl --http2 sends one with its body; the parser used to take the body for the other protocol's."""
    body = json.dumps({"text": "Upgraded?", "seed": 1})
    told = subprocess.run(
        [
            "curl",
            "-s",
            "--http2",
            "-m",
            "30",
            f"{server}/tts",
            "-d",
            body,
            "-o",
            str(tmp_path / "a.wav"),
            "-w",
            "%{http_code}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout == "200", told
    assert (tmp_path / "a.wav").read_bytes() == httpx.post(f"{server}/tts", content=body).content


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with short time limits."""
    with serving(tmp_path_factory.mktemp("impatient") / "log", app="tests.impatient_app:app") as address:
        yield address


def test_a_slow_head_a_slow_body_and_a_silent_connection_have_a_time_limit(impatient: str) -> None:
    with connect(impatient) as silent, connect(impatient) as slow, connect(impatient) as half:
        slow.sendall(b"GET /health HT")
        half.sendall(b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert everything(silent) == everything(slow) == b""
        refused = everything(half)
        assert time.monotonic() - began < 5
    assert refused.startswith(b"HTTP/1.1 408 ") and b'"message":"the body took more than' in refused
    assert httpx.get(f"{impatient}/health").json()["stats"]["queue_size"] == 0


def test_who_takes_nothing_loses_its_place(impatient: str) -> None:
    with connect(impatient) as stalled, httpx.Client(base_url=impatient) as client:
        body = json.dumps({"text": LONG * 100, "steps": 1}).encode()
        stalled.sendall(b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        end = time.monotonic() + 60
        while stats(client)["queue_size"] != 1:
            assert time.monotonic() < end
        while stats(client)["queue_size"]:
            assert time.monotonic() < end, "its place is still taken"
            time.sleep(0.05)
        assert stats(client)["failed_requests"] >= 1


def test_silent_connections_leave_room_for_a_listener(tmp_path: Path) -> None:
    """80 of them, and files for 64."""
    limit = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "sys.argv = sys.argv[1:]; runpy.run_module('uvicorn', run_name='__main__')"
    )
    server = Server(
        tmp_path / "log",
        command=lambda port: [sys.executable, "-c", limit, "uvicorn", "app:app", "--port", str(port)],
    )
    server.start()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 200
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            stack.enter_context(connect(server.address))
        reply = httpx.post(f"{server.address}/tts", json={"text": "Still served.", "steps": 1}, timeout=30)
        assert reply.status_code == 200 and len(reply.content) == int(reply.headers["content-length"])
    assert server.stop() == 0
    assert re.search(r"\d+ connections are open, as many as this process may have", server.log)


def post(address: str, text: str, method: str = "POST") -> socket.socket:
    connection = connect(address)
    body = json.dumps({"text": text}).encode()
    connection.sendall(b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def test_who_leaves_while_their_text_is_planned_leaves_their_place(client: httpx.Client, server: str) -> None:
    """31 with 20 000 characters: each was noticed only at its own next slot, after the plans of all others."""
    before = stats(client)
    leaving = [post(server, (LONG * 200)[:20_000]) for _ in range(31)]
    while stats(client)["queue_size"] < 31:
        time.sleep(0.005)
    for connection in leaving:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
    began = time.monotonic()
    while (after := stats(client))["queue_size"]:
        assert time.monotonic() - began < 10, after
    took = time.monotonic() - began
    assert took < 0.5, f"the places were free after {took:.2f} s"
    assert after["failed_requests"] - before["failed_requests"] == 31


def plan_of(text: str) -> bytes:
    body = json.dumps({"text": text}).encode()
    return b"POST /tts/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_asking_for_a_length_takes_a_place_and_goes_after_who_plays(tmp_path: Path) -> None:
    with serving(tmp_path / "log", TTS_MAX_WAITING="2") as address, httpx.Client(base_url=address) as client:
        text = "+".join((LONG * 100).split())[:9000]
        plan, head = connect(address), connect(address)
        plan.sendall(plan_of(text))
        head.sendall(f"HEAD /tts?text={text} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while stats(client)["waiting"] < 2:
            pass
        for route in ("/tts", "/tts/plan"):
            refused = client.post(route, json={"text": "One too many."})
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "full"
        plan.close()  # noticed, and its place is free
        while stats(client)["waiting"] > 1:
            pass
        assert head.recv(12) == b"HTTP/1.1 200"
        head.close()
        assert stats(client)["queue_size"] == 0


@pytest.mark.timing
def test_an_urgent_job_is_begun_beside_listeners_who_never_stop(client: httpx.Client, server: str) -> None:
    """Within the seconds that docs/reliability.md states, whoever listens."""
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            with httpx.stream("POST", f"{server}/tts", json={"text": LONG * 20}, timeout=60) as reply:
                for _ in reply.iter_raw():
                    if stop.is_set():
                        break

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        listening = [pool.submit(listen) for _ in range(2)]
        try:
            while stats(client)["running"] < 2:
                time.sleep(0.01)
            asked = {"text": LONG, "async": True, "priority": "urgent"}
            job = client.post("/tts", json=asked).json()["request_id"]
            began, begun = time.monotonic(), math.inf
            while (status := client.get(f"/tts/status/{job}").json())["progress"] == 0:
                if status["status"] == "processing":
                    begun = min(begun, time.monotonic() - began)
                assert time.monotonic() - began < 120, status
                time.sleep(0.02)
            assert stats(client)["queue_size"], "nobody listened"
            assert begun < 3, f"begun after {begun:.1f} s"
        finally:
            stop.set()
        for one in listening:
            one.result()
    client.delete(f"/tts/{job}")


def test_more_sound_than_a_wav_holds_is_refused(tmp_path: Path, small_folder: Path) -> None:
    """Its sizes have 32 bits: packing the header failed, after the place had been taken."""
    with (
        serving(tmp_path / "log", TTS_MODEL=str(small_folder), TTS_MAX_CHARS="2000000") as address,
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        endless = {"text": LONG * 5000, "speed": 0.25}
        for more in ({}, {"async": True}):
            reply = client.post("/tts", json=endless | more)
            assert reply.status_code == 400 and "a WAV file holds at most" in reply.json()["error"]["message"], (
                reply.text
            )
        assert stats(client)["queue_size"] == stats(client)["failed_requests"] == 0
        assert client.get("/health").json()["jobs"]["queued"] == 0


LEAVING = ("half a head", "half a body", "planning", "waiting", "playing", "length", "times", "half closed", "job")


def leave(address: str, how: str, draw: random.Random) -> None:
    """Ask in one of LEAVING's ways and go at a random moment, with a farewell (FIN) or without (RST)."""
    text = (LONG * 200)[: 20_000 if how in ("planning", "length", "times") else draw.randint(20, 2000)]
    body = json.dumps({"text": text, "steps": draw.randint(1, 7), "async": how == "job"}).encode()
    head = b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    data = head + body
    if how == "length":
        data = f"HEAD /tts?text={quote(text)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    elif how == "times":
        data = plan_of(text)
    elif how.startswith("half a"):
        data = data[: draw.randint(1, len(head) - 1 if how == "half a head" else len(data) - 1)]
    with connect(address) as connection:
        connection.sendall(data)
        if how == "half closed":
            connection.shutdown(socket.SHUT_WR)
        if how == "playing":
            connection.recv(draw.randint(1, 100_000))
        time.sleep(draw.uniform(0, 0.3))
        if draw.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def leave_in_many_ways(address: str, rounds: int, seed: int) -> tuple[float, float]:
    """Growth of memory over the second half, and the longest that the gauges took to settle."""
    draw, sizes, settled = random.Random(seed), [], 0.0
    with httpx.Client(base_url=address, timeout=60) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(rounds):
            ways = [draw.choice(LEAVING) for _ in range(draw.randint(1, 4))]
            for leaving in [pool.submit(leave, address, how, random.Random(draw.random())) for how in ways]:
                leaving.result()
            began = time.monotonic()
            while (now := stats(client))["queue_size"] or now["running"] or now["waiting"]:
                assert time.monotonic() - began < 10, now
            settled = max(settled, time.monotonic() - began)
            found = re.search(r"^process_resident_memory_bytes (\S+)$", client.get("/metrics").text, re.MULTILINE)
            assert found
            sizes.append(float(found[1]))
        assert client.post("/tts", json={"text": "Still here.", "steps": 1}).status_code == 200
    return max(sizes[rounds // 2 :]) / max(sizes[: rounds // 2]) - 1, settled


def test_whoever_leaves_in_whatever_way_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address:
        _, settled = leave_in_many_ways(address, 12, seed=3)
    assert settled < 3, f"the gauges were back at 0 after {settled:.2f} s"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.timing
def test_two_hundred_rounds_of_leaving_leave_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address:
        for letters in range(10, 400, 12):  # what is kept for each length of a chunk is no leak
            text = ("the boats lay still and nobody spoke of it " * 10)[:letters]
            httpx.post(f"{address}/tts", json={"text": text, "steps": 1}, timeout=60).raise_for_status()
        growth, settled = leave_in_many_ways(address, 200, seed=4)
    FIGURES["gauges at 0 after random leaving, s at most"] = round(settled, 2)
    FIGURES["memory growth over 200 rounds of leaving, %"] = round(100 * growth, 2)
    assert settled < 3 and growth < 0.05, (settled, growth)
