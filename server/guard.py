"""What every request passes before the routes: is it ours to answer, may this one ask, does somebody take the answer,
does the server run on?"""

import asyncio
import contextlib
import ipaddress
import secrets
from collections.abc import Collection
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.connections import Connections
from server.errors import ForeignPage, Unauthorized, UnknownHost, mistake, refusal_of
from server.settings import Settings
from server.shutdown import ShuttingDown

STALL_SECONDS = 300
"""Who takes nothing for so long is not there: the place is needed."""
OPEN_PATHS = {"/", "/docs", "/health", "/ready", "/metrics", "/openapi.json"}
"""Need no key: probes and scrapers have none, and nothing there costs much or shows what was said."""
PAGE = "/web/"
"""The page's own files need none either: it is the page that asks for the key."""
KEY_SUBPROTOCOL = "bearer."


class Guard:
    """An ASGI app around another. Refuses foreign pages, rebound names and who has not the key; ends what stalls or
    outlives the grace."""

    def __init__(self, app: ASGIApp, connections: Connections):
        self._app, self._connections = app, connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._connections.attach(receive)
            await self._app(scope, receive, send)
            return
        settings: Settings = scope["state"]["settings"]
        started = False

        async def send_in_time(message: Message) -> None:
            nonlocal started
            started = True
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        async def answer(reply: Response) -> None:
            """Once begun there is no other: short of its length, the server under us drops the connection."""
            if started:
                return
            if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1008})
                return
            await reply(scope, receive, send)

        try:
            check_origin(scope, settings.allowed_hosts, settings.cors)
            check_key(scope, settings.api_key)
            with scope["state"]["shutdown"].cancels_after_grace(asyncio.current_task()):
                await self._app(scope, receive, send_in_time)
        except (ForeignPage, UnknownHost, Unauthorized, ShuttingDown) as error:
            await answer(refusal_of(error))
        except ClientDisconnect:
            pass  # gone, or stalled: so too
        except Exception:
            await answer(mistake())
            raise


def check_origin(scope: Scope, allowed: Collection[str], origins: Collection[str]) -> None:
    """Raises ForeignPage for a request that a page of another origin makes, UnknownHost for a name that is not ours.

    `allowed`: names, of hosts and of pages; `origins`: those of pages that may read the replies too. What is no browser
    sends neither `Origin` nor `Sec-Fetch-Site`, and browsers send true ones."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if "*" in allowed:
        return
    if host and _on_loopback(scope) and not _is_local(_name(host)) and _name(host) not in allowed:
        raise UnknownHost("this server is not known by the name in Host; set TTS_ALLOWED_HOSTS if it is to be")
    if origin is not None and may_read(origin, origins):
        return
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower() and _name(origin) not in allowed
    # Images and sounds in a page have no Origin. The front page and the documentation may be linked to.
    linked = _path(scope) in ("/", "/docs")
    elsewhere = origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site") and not linked
    if foreign or elsewhere:
        raise ForeignPage(
            "pages of other origins may not ask this server; set TTS_CORS, or TTS_ALLOWED_HOSTS, for those that may"
        )


def may_read(origin: str, origins: Collection[str]) -> bool:
    return "*" in origins or origin.lower() in origins


def check_key(scope: Scope, key: str) -> None:
    """Raises Unauthorized. Pages cannot give a WebSocket a header: there a subprotocol may carry the key."""
    path = _path(scope)
    if not key or path in OPEN_PATHS or path.startswith(PAGE):
        return
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        offered = [one for one in scope.get("subprotocols", ()) if one.startswith(KEY_SUBPROTOCOL)]
        given = unquote(offered[0].removeprefix(KEY_SUBPROTOCOL)) if offered else ""
    if not given:
        raise Unauthorized("this server wants its key (TTS_API_KEY): send the header Authorization: Bearer KEY")
    if not secrets.compare_digest(given.strip().encode(), key.encode()):
        raise Unauthorized("the key that was sent is not this server's (TTS_API_KEY)")


def _path(scope: Scope) -> str:
    """Without the prefix of a proxy."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


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
