"""A client of /tts/stream, as an agent has it."""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

EVENTS = {"started", "chunk", "done", "cancelled", "error"}


def open_stream(server: str, narrow: bool = False, **how: Any) -> ClientConnection:
    """`narrow`: neither this end nor the system takes much that is not read."""
    if narrow:
        address = urlsplit(server)
        how |= {"sock": socket.socket(), "max_queue": 1}
        how["sock"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        how["sock"].connect((address.hostname, address.port))
    stream: ClientConnection = connect(f"{server.replace('http', 'ws', 1)}/tts/stream", open_timeout=60, **how)
    return stream


def say(stream: ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        stream.send(json.dumps(message))


@dataclass
class Heard:
    """What came, until an event, or until the server closed."""

    sound: bytes = b""
    frames: list[bytes] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    closed: tuple[int, str] | None = None

    def all(self, name: str) -> list[Any]:
        return [told for event, told in self.events if event == name]

    @property
    def chunks(self) -> list[str]:
        return [chunk["text"] for chunk in self.all("chunk")]


def listen(stream: ClientConnection, until: Iterable[str] = (), frames: int = 10**9, seconds: float = 60) -> Heard:
    """Until one of the events `until`, so many frames, or the end."""
    heard = Heard()
    while len(heard.frames) < frames:
        try:
            got = stream.recv(timeout=seconds)
        except ConnectionClosed as closed:
            assert closed.rcvd, "the server hung up without a word"
            heard.closed = closed.rcvd.code, closed.rcvd.reason
            return heard
        if isinstance(got, bytes):
            heard.frames.append(got)
            heard.sound += got
            continue
        [(name, told)] = json.loads(got).items()
        assert name in EVENTS
        if name == "error":
            assert set(told) == {"message", "type", "param", "code"}, told
        heard.events.append((name, told))
        if name in until:
            return heard
    return heard


def posted(server: str, text: str, **asked: Any) -> bytes:
    """The samples of the same text by POST."""
    reply = httpx.post(f"{server}/tts", json={"text": text} | asked, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.content[44:]
