"""What every request passes before the routes: is it ours to answer, does somebody take it, does the server run on?"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.connections import Connections
from server.errors import ForeignPage, UnknownHost, refused
from server.shutdown import ShuttingDown

STALL_SECONDS = 300
"""Who takes nothing for so long is not there: the place is needed."""


class Guard:
    """An ASGI app around another. Refuses foreign pages and rebound names, ends what stalls or outlives the grace."""

    def __init__(self, app: ASGIApp, connections: Connections):
        self._app, self._connections = app, connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._connections.attach(receive)
            await self._app(scope, receive, send)
            return
        allowed, shutdown = scope["state"]["settings"].allowed_hosts, scope["state"]["shutdown"]
        started = False

        async def send_in_time(message: Message) -> None:
            nonlocal started
            started = True
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        try:
            check_origin(scope, allowed)
            with shutdown.cancels_after_grace(asyncio.current_task()):
                await self._app(scope, receive, send_in_time)
        except (ForeignPage, UnknownHost, ShuttingDown) as error:
            if scope["type"] == "http" and not started:
                reply = await refused(Request(scope), error)
                await reply(scope, receive, send)
            elif scope["type"] == "websocket" and not started:
                await send({"type": "websocket.close", "code": 1008})
            # Begun, and now short of its length: the server under us drops the connection.
        except ClientDisconnect:
            pass  # gone, or stalled: so too


def check_origin(scope: Scope, allowed: Collection[str]) -> None:
    """Raises ForeignPage for a request that a page of another origin makes, UnknownHost for a name that is not ours.

    What is no browser sends neither `Origin` nor `Sec-Fetch-Site`, and browsers send true ones."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if "*" in allowed:
        return
    if host and _on_loopback(scope) and not _is_local(_name(host)) and _name(host) not in allowed:
        raise UnknownHost("this server is not known by the name in Host; set TTS_ALLOWED_HOSTS if it is to be")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower() and _name(origin) not in allowed
    # Images and sounds in a page have no Origin. The front page may be linked to.
    elsewhere = origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["path"] != "/"
    if foreign or elsewhere:
        raise ForeignPage("pages of other origins may not ask this server; set TTS_ALLOWED_HOSTS for those that may")


def _name(host_or_origin: str) -> str:
    """The host's name without its port, in lower case; "" for what has none."""
    with contextlib.suppress(ValueError):
        return urlsplit(host_or_origin if "//" in host_or_origin else f"//{host_or_origin}").hostname or ""
    return ""


def _on_loopback(scope: Scope) -> bool:
    with contextlib.suppress(ValueError):
        return bool(scope.get("server")) and ipaddress.ip_address(scope["server"][0]).is_loopback
    return False


def _is_local(name: str) -> bool:
    """Names that no stranger can give an address to: addresses themselves, and names without a dot."""
    if "." not in name or name.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False
