"""The door that all layered servers share: the request read, the errors told, a whole WAV sent. Knows nothing of what
lies behind it.

Each of them gives it `speak(speech) -> bytes` and what its /health tells. Nothing of the direct server is imported but
what it says a Speech is, so that nobody carries its start-up or memory.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from speech.audio import pcm16, wav_header
from speech.request import BadSpeech, Speech, UnknownVoice
from tts_core import TTS

Start = Callable[[], contextlib.AbstractAsyncContextManager[None]]


_planning = threading.Lock()


def cores_for(models: int) -> int:
    return max(1, (os.cpu_count() or 1) // models)


def share_cores(threads: int) -> None:
    """Each of several models computes on so many cores, that they do not fight over all of them; 0 leaves the engine's
    own choice."""
    if threads and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def spoken(tts: TTS, speech: Speech) -> np.ndarray:
    """The engine, asked plainly: the whole speech in one call."""
    with _planning:  # the readers promise nothing to threads
        plan = tts.plan(speech)
    return np.concatenate(list(tts.samples(plan)))


def wav(samples: np.ndarray) -> bytes:
    return wav_header(len(samples)) + pcm16(samples)


def parse(body: bytes) -> tuple[Speech, dict[str, Any]]:
    """What to say, and what is not about the speech itself: async, priority. Raises BadSpeech."""
    try:
        wanted = json.loads(body)
        rest = {name: wanted.pop(name) for name in ("async", "priority") if name in wanted}
        return Speech(**wanted), rest
    except (ValueError, TypeError, AttributeError) as error:
        raise (
            error if isinstance(error, BadSpeech) else BadSpeech(f"the body does not say what to speak: {error}")
        ) from None


def front(
    speak: Callable[[Speech], Awaitable[bytes]],
    start: Start,
    health: Callable[[], dict[str, Any]],
    *routes: Route,
    errors: dict[type[Exception], int] | None = None,
) -> Starlette:
    """`speak` makes the file, `start` is open while the server is; `errors` have a status each."""

    async def tts(request: Request) -> Response:
        speech, _ = parse(await request.body())
        return Response(await speak(speech), media_type="audio/wav")

    async def tell_health(request: Request) -> Response:
        return JSONResponse({"status": "healthy"} | health())

    async def ready(request: Request) -> Response:
        return JSONResponse({"status": "ready"})  # the socket opens after start-up

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with start():
            yield

    return Starlette(
        routes=[*routes, Route("/tts", tts, methods=["POST"]), Route("/health", tell_health), Route("/ready", ready)],
        exception_handlers={
            kind: told(status) for kind, status in ({BadSpeech: 400, UnknownVoice: 404} | (errors or {})).items()
        },
        lifespan=lifespan,
    )


def told(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def tell(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": {"message": str(error)}}, status)

    return tell
