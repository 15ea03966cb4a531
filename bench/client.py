"""The one client of all rivals: a kept connection, the moment of each piece of sound, many at once. Knows HTTP, nothing
of servers.

Plain sockets and a parser in C, because the client's own milliseconds would be counted as the server's.

Try: python -m bench.client 8000 "Hello there."
"""

import concurrent.futures
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools

from speech.audio import SAMPLE_RATE, WAV_HEADER_BYTES

PATIENCE_SECONDS = 180
KEPT_SECONDS = 3
"""Servers close a connection that was silent for five."""
LATE_SECONDS = 2.0
"""A listener whose sound starts later than this is not served. Without it a server that sends whole files would never
have a gap."""


class Refused(Exception):
    """Not the answer that was asked for."""


@dataclass(slots=True)
class Heard:
    """A speech as it arrived. Times are seconds since it was asked for."""

    first: float = 0.0
    last: float = 0.0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """When, and how many bytes of sound had come by then."""
    body: bytes = b""

    @property
    def seconds(self) -> float:
        """Of sound."""
        return (len(self.body) - WAV_HEADER_BYTES) / 2 / SAMPLE_RATE

    @property
    def gap_free(self) -> bool:
        """Somebody who plays from the first sound on never runs dry, and waits no longer than LATE_SECONDS for it."""
        had = 0
        for at, got in self.arrivals:
            if had and at - self.first > had / 2 / SAMPLE_RATE:
                return False
            had = got
        return self.first <= LATE_SECONDS


class Client:
    """One connection to a server on this machine."""

    def __init__(self, port: int):
        self._port = port
        self._socket: socket.socket | None = None
        self._used = 0.0

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def speak(self, wanted: dict[str, Any]) -> Heard:
        """Raises Refused for anything but a 200, OSError for a broken connection."""
        reply = self._exchange("POST", "/tts", json.dumps(wanted).encode())
        if reply.status != 200:
            raise Refused(f"{reply.status}: {reply.body[:200]!r}")
        return Heard(reply.first, reply.last, reply.arrivals, bytes(reply.body))

    def get(self, path: str) -> tuple[int, float]:
        """Status and seconds."""
        reply = self._exchange("GET", path, b"")
        return reply.status, reply.last

    def read(self, path: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(bytes(self._exchange("GET", path, b"").body))
        return told

    def post(self, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON, where a speech is not the answer."""
        reply = self._exchange("POST", "/tts", json.dumps(wanted).encode())
        return reply.status, json.loads(bytes(reply.body))

    def _exchange(self, method: str, path: str, body: bytes) -> "_Reply":
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        if time.monotonic() - self._used > KEPT_SECONDS:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reply = _Reply()
        try:
            self._socket.sendall(head.encode() + body)
            while not reply.done:
                part = self._socket.recv(1 << 18)
                if not part:
                    raise ConnectionResetError("the server hung up in the middle")
                reply.feed(part)
        except BaseException:
            self.close()
            raise
        if not reply.keep_alive:
            self.close()
        self._used = time.monotonic()
        return reply


class _Reply:
    """Callbacks of httptools' parser."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._began = time.perf_counter()
        self._now = 0.0
        self.body, self.done, self.keep_alive, self.status = bytearray(), False, True, 0
        self.arrivals: list[tuple[float, int]] = []

    def feed(self, part: bytes) -> None:
        self._now = time.perf_counter() - self._began
        self._parser.feed_data(part)

    def on_body(self, part: bytes) -> None:
        self.body += part
        sound = len(self.body) - WAV_HEADER_BYTES
        if sound > 0:
            self.arrivals.append((self._now, sound))

    def on_message_complete(self) -> None:
        self.done, self.status, self.keep_alive = True, self._parser.get_status_code(), self._parser.should_keep_alive()

    @property
    def first(self) -> float:
        return self.arrivals[0][0] if self.arrivals else self._now

    @property
    def last(self) -> float:
        return self._now


def ask(port: int, wanted: dict[str, Any]) -> Heard:
    """One speech over a connection of its own."""
    with contextlib.closing(Client(port)) as client:
        return client.speak(wanted)


def at_once(port: int, wanted: Sequence[dict[str, Any]]) -> list[Heard]:
    """So many clients, connected before, asking in the same moment."""
    together = threading.Barrier(len(wanted))

    def ask_with_them(one: dict[str, Any]) -> Heard:
        with contextlib.closing(Client(port)) as client:
            client.get("/")  # connected, whatever it answers
            together.wait()
            return client.speak(one)

    with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(ask_with_them, wanted))


def health_waits(port: int, path: str, wanted: dict[str, Any]) -> list[float]:
    """Seconds that the health route took, again and again while a speech was made."""
    waits = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool, contextlib.closing(Client(port)) as health:
        speaking = pool.submit(ask, port, wanted)
        while not speaking.done():
            status, seconds = health.get(path)
            if status != 200:
                raise Refused(f"{path} answered {status}")
            waits.append(seconds)
            time.sleep(0.003)  # unsynchronised with the model's steps
        speaking.result()
    return waits


def main() -> None:
    heard = ask(int(sys.argv[1]), {"text": sys.argv[2]})
    print(
        f"first sound after {heard.first:.3f} s, last after {heard.last:.3f} s, {heard.seconds:.2f} s of sound "
        f"in {len(heard.arrivals)} pieces"
    )


if __name__ == "__main__":
    main()
