"""What uvicorn does not do for its connections: time limits, room for new ones, two ways of asking that it cuts off.

Knows sockets and uvicorn's protocol classes (a request under way is a `cycle`), nothing of routes.
"""

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import Receive

HEADER_SECONDS = 10.0
"""For the whole head of a request, from the connection or from its first byte on."""
MAX_HEAD_BYTES = 2**20
MAX_MESSAGE_BYTES = 2**20
"""Of a WebSocket's message; a longer one ends it (close code 1009)."""
KEPT_FILES = 24
"""File descriptors that connections leave to jobs, to the hub's files and to the system."""
PROBE_SECONDS = 0.05
"""How often to look whether somebody who will send no more is still there."""
WARNING_SECONDS = 60.0

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_H2C = re.compile(rb"(?im)^upgrade:[ \t]*h2c[ \t]*\r?\n")
_FIN_WAIT_OR_GONE = {"04", "05", "06", "07"}

log = logging.getLogger("uvicorn.tts")


class Connections:
    """The open ones of a server, the oldest first; WebSockets apart."""

    def __init__(self) -> None:
        self._open: dict[Any, None] = {}
        self.sockets: set[Any] = set()
        self.stopping = asyncio.Event()
        """The server ends: whoever has a WebSocket open closes it, in words."""
        self._most: int | None = None
        self._warned = -WARNING_SECONDS

    def attach(self, receive: Receive) -> None:
        """To the uvicorn whose lifespan this is, before it listens; under another server nothing is changed."""
        config: Any = getattr(getattr(receive, "__self__", None), "config", None)
        self.stopping = asyncio.Event()
        if getattr(config, "ws_protocol_class", None):
            config.ws_protocol_class = type("Limited", (_SocketLimits, config.ws_protocol_class), {"all_open": self})
            config.ws_per_message_deflate = False  # sound does not shrink, and the attempt takes the loop's time
            config.ws_max_size = min(config.ws_max_size, MAX_MESSAGE_BYTES)
        if hasattr(config, "http_protocol_class"):
            config.http_protocol_class = type("Limited", (_Limits, config.http_protocol_class), {"all_open": self})
            self._most = _most_connections()

    def abort(self) -> None:
        for connection in [*self._open, *self.sockets]:
            connection.transport.abort()

    def opened(self, connection: Any) -> None:
        self._open[connection] = None
        if self._most is None or len(self._open) + len(self.sockets) <= self._most:
            return
        silent = next((one for one in self._open if one is not connection and not one.has_request), None)
        if time.monotonic() - self._warned > WARNING_SECONDS:
            self._warned = time.monotonic()
            what = "the oldest silent one is closed for each new one" if silent else "and all of them are at work"
            log.warning("%d connections are open, as many as this process may have (ulimit -n): %s", self._most, what)
        if silent:
            silent.transport.abort()

    def closed(self, connection: Any) -> None:
        self._open.pop(connection, None)


def _most_connections() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else KEPT_FILES
    return None if limit == resource.RLIM_INFINITY else max(4, limit - used - KEPT_FILES)


class _Limits:
    """Put before a protocol class of uvicorn's: what it has, with what it has not."""

    all_open: Connections
    transport: asyncio.Transport
    cycle: Any
    client: tuple[str, int] | None
    server: tuple[str, int] | None
    scheme: str | None
    _unset_keepalive_if_required: Callable[[], None]

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._head = b""
        self._head_timer: asyncio.TimerHandle | None = None
        self.all_open.opened(self)
        self._await_head()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_head_timer()
        self.all_open.closed(self)
        super().connection_lost(error)  # type: ignore[misc]

    @property
    def has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if not self.has_request:
            self._head += data
            end = _HEAD_END.search(self._head)
            if end is None and len(self._head) < MAX_HEAD_BYTES:
                self._unset_keepalive_if_required()
                self._await_head()
                return
            cut = end.end() if end else len(self._head)
            # Upgrading to HTTP/2 is an offer. Left in, the parser takes the body for the other protocol's.
            data, self._head = _H2C.sub(b"", self._head[:cut]) + self._head[cut:], b""
        self._stop_head_timer()
        super().data_received(data)  # type: ignore[misc]
        reader: object = self.transport.get_protocol()
        if reader is not self:  # a WebSocket now
            self.all_open.closed(self)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def eof_received(self) -> bool | None:
        """True keeps the connection for the answer: who has asked may close its own half."""
        waits = self.has_request and not self.cycle.response_started and not self.cycle.more_body
        if not waits or self.scheme == "https":
            return super().eof_received()  # type: ignore[misc, no-any-return]
        self.cycle.keep_alive = False
        self._look_for_peer()
        return True

    def _look_for_peer(self) -> None:
        """Closing all and closing one half look the same from here, until something is sent."""
        if self.transport.is_closing() or not self.has_request or self.cycle.response_started:
            return
        gone = _local_peer_is_gone(self.client, self.server)
        if gone:
            self.transport.abort()
            return
        if gone is None and self.cycle.scope["http_version"] != "1.0":
            # To nobody it is an error by the next time; to a client it is nothing.
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        asyncio.get_running_loop().call_later(PROBE_SECONDS, self._look_for_peer)


class _SocketLimits:
    """Put before a WebSocket class of uvicorn's."""

    all_open: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self.all_open.sockets.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.all_open.sockets.discard(self)
        super().connection_lost(error)  # type: ignore[misc]

    def shutdown(self) -> None:
        """uvicorn would hang up in the middle of a word: whoever is connected is left to end it."""
        self.all_open.stopping.set()
        if not getattr(self, "handshake_complete", False) or getattr(self, "close_sent", True):
            super().shutdown()  # type: ignore[misc]


def _local_peer_is_gone(client: tuple[str, int] | None, server: tuple[str, int] | None) -> bool | None:
    """Whether the socket at the other end has an owner; None where that cannot be known from here."""
    if not client or not server or not ipaddress.ip_address(client[0]).is_loopback:
        return None
    table = Path("/proc/net/tcp6" if ":" in client[0] else "/proc/net/tcp")
    if not table.exists():
        return None
    ends = f":{client[1]:04X}", f":{server[1]:04X}"
    for line in table.read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if (local[-5:], remote[-5:]) == ends:
            return state in _FIN_WAIT_OR_GONE and rest[5] == "0"
    return True
