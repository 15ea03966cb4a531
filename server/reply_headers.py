"""What every reply says to browsers: take the type as it is told; and whose pages may read it. Knows no routes."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.guard import may_read

METHODS = ("GET", "HEAD", "POST", "DELETE")
EXPOSED = (
    "X-Seed",
    "X-Audio-Duration",
    "X-Unspoken",
    "X-Request-Id",
    "Location",
    "Retry-After",
    "Content-Range",
    "Accept-Ranges",
)
"""Headers that a page's script may read; length and type it may read anyway."""


class NoSniff:
    """An ASGI app around another: no reply is taken for what it does not say it is, a script least of all."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"].endswith("http.response.start"):  # of a WebSocket that is refused, too
                MutableHeaders(scope=message)["x-content-type-options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, send_marked)


class CrossOrigin:
    """An ASGI app around another: pages of the origins in TTS_CORS are told that they may ask, and read the replies.

    Without the setting it does nothing; pages of others go on to the Guard, which refuses them."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = scope["state"]["settings"].cors if scope["type"] == "http" else None
        if not origins or not may_read(Headers(scope=scope).get("origin", ""), origins):
            await self._app(scope, receive, send)
            return
        from starlette.middleware.cors import CORSMiddleware  # here: start-up does not wait for what few ask for

        app = CORSMiddleware(
            self._app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],  # SDKs send ones of their own
            expose_headers=EXPOSED,
            allow_private_network=True,
        )
        await app(scope, receive, send)
