"""Ctrl+C and SIGTERM: listeners finish, and nobody who sends half or takes nothing keeps the process."""

import contextlib
import json
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from bench.launcher import Server

LONG = (
    "The ship reached the island early in the morning. "
    "Two men were standing in front of the hotel, and nobody knew why. "
)


def sent(server: Server, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(data)
    return connection


def request(path: str = "/tts", **wanted: object) -> bytes:
    body = json.dumps(wanted).encode()
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_listeners_finish_and_the_exit_status_is_0(tmp_path: Path, how: signal.Signals) -> None:
    server = Server(tmp_path / "log")
    server.start()
    with httpx.stream("POST", f"{server.address}/tts", json={"text": LONG * 3, "steps": 2}, timeout=60) as reply:
        server.process.send_signal(how)
        assert len(reply.read()) == int(reply.headers["content-length"])
    assert server.process.wait(10) == 0
    assert "Traceback" not in server.log, server.log


def misbehaving(server: Server, stack: contextlib.ExitStack) -> None:
    """Half a body, half a head, a download and a speech of which nothing is taken, a connection without a word."""
    with httpx.Client(base_url=server.address, timeout=60) as client:
        job = client.post("/tts", json={"text": LONG * 30, "steps": 1, "cfg_strength": 0, "async": True}).json()
        while client.get(f"/tts/status/{job['request_id']}").json()["status"] != "completed":
            time.sleep(0.05)
    half = request(text="Half of this is missing.")[:-10]
    download = f"GET /tts/result/{job['request_id']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for data in (half, b"POST /tts HT", download, request(text=LONG * 100, steps=1), b""):
        stack.enter_context(contextlib.closing(sent(server, data)))
    while not httpx.get(f"{server.address}/health").json()["stats"]["running"]:
        time.sleep(0.02)


@pytest.mark.parametrize("second", [False, True], ids=["after the grace", "at a second signal"])
def test_nobody_keeps_the_process(tmp_path: Path, small_folder: Path, second: bool) -> None:
    server = Server(tmp_path / "log", TTS_MODEL=str(small_folder))
    server.start(TTS_GRACE="600" if second else "1")
    try:
        with contextlib.ExitStack() as stack:
            misbehaving(server, stack)
            server.process.terminate()
            began = time.monotonic()
            if second:
                time.sleep(0.3)
                assert server.process.poll() is None
                server.process.terminate()
            assert server.process.wait(30) == 0, server.log
            took = time.monotonic() - began
    finally:
        server.kill()
    assert took < 3, f"ended after {took:.1f} s"
    assert "Traceback" not in server.log, server.log
