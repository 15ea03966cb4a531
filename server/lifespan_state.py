"""What the lifespan opened, in the state of every request, whoever runs the app. Knows ASGI alone."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class LifespanState:
    """An ASGI app around another. uvicorn copies the lifespan's state into each request's scope; Ray Serve, and others
    that run an app's lifespan apart from its requests, do not."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._state = scope.setdefault("state", {})  # filled by the lifespan
        else:
            scope["state"] = self._state | scope.get("state", {})
        await self._app(scope, receive, send)
