"""The server under one that runs apps as Ray Serve does: the lifespan's state stays out of a request's scope, and who
leaves is a cancelled task."""

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from app import app as ours


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await ours(scope, receive, send)
        return
    heard: asyncio.Queue[Message] = asyncio.Queue()

    async def listen() -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            heard.put_nowait(message)

    alone: dict[str, Any] = {name: value for name, value in scope.items() if name != "state"}
    asked = asyncio.create_task(ours(alone, heard.get, send))
    left = asyncio.create_task(listen())
    await asyncio.wait({asked, left}, return_when=asyncio.FIRST_COMPLETED)
    (left if asked.done() else asked).cancel()
    await asyncio.gather(asked, left, return_exceptions=True)
