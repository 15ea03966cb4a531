"""HTTP in, sound out: the routes, what is open while the server runs. Knows nothing of how speech is made.

Try: uvicorn app:app, then  curl localhost:8000/tts -d '{"text": "Hello there."}' -o hello.wav
"""

import asyncio
import contextlib
import gc
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from server.access_log import without_texts
from server.connections import Connections
from server.errors import JSONErrors, handlers
from server.forms import Forms
from server.guard import Guard
from server.jobs.download import AudioDownload
from server.jobs.runner import Jobs
from server.jobs.status import from_outside
from server.lifespan_state import LifespanState
from server.reply_headers import CrossOrigin, NoSniff
from server.scheduler import Scheduler
from server.settings import Settings
from server.shutdown import GracefulShutdown
from server.stats import Stats
from server.streaming import SpeechResponse
from server.system_load import SystemLoad
from server.version import VERSION
from server.voices import list_voices, report
from tts_core import TTS, ModelUnavailable

STARTUP_FAILURE = 3
"""uvicorn's own: with several workers its supervisor gives up on this status alone, others start again for ever."""

SOCKET_SECONDS = 0.05
"""After the lifespan's start, until the socket listens and whoever waited for it has been answered."""

connections = Connections()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    try:
        settings = Settings.read()
        tts, stats, load = (
            TTS(settings.model, settings.voices, settings.device, settings.normalize),
            Stats(),
            SystemLoad(),
        )
        scheduler = Scheduler(stats, rounds=tts.batches)
        jobs = Jobs(settings, tts, scheduler, stats, load)
    except (ModelUnavailable, ValueError, OSError, sqlite3.Error) as error:
        if threading.current_thread() is not threading.main_thread():
            raise  # inside another program, which may live on
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        os._exit(STARTUP_FAILURE)  # raising would bury the sentence in the server's own traceback
    # A full collection among torch's 200 000 objects takes longer than a solver step, and would come in one's midst.
    gc.freeze()
    report(tts.unusable)
    reader = asyncio.create_task(load_behind_the_socket(tts))
    shutdown = GracefulShutdown(settings.grace, connections.abort)
    with without_texts(), shutdown.on_signal(jobs.pause_jobs):
        yield {
            "settings": settings,
            "tts": tts,
            "scheduler": scheduler,
            "stats": stats,
            "forms": Forms(),
            "load": load,
            "jobs": jobs,
            "shutdown": shutdown,
            "connections": connections,
        }
        reader.cancel()
        await jobs.close()


async def load_behind_the_socket(tts: TTS) -> None:
    """Lexicons, which no start waits for; who speaks at once waits for them with their first text."""
    await asyncio.sleep(SOCKET_SECONDS)
    await asyncio.to_thread(tts.load_reader)
    gc.freeze()


async def speak(request: Request) -> ASGIApp:
    return SpeechResponse(request)


async def plan(request: Request) -> ASGIApp:
    return SpeechResponse(request, plan_alone=True)


async def status(request: Request) -> Response:
    return JSONResponse(_from_outside(request, await request.state.jobs.status(request.path_params["id"])))


async def result(request: Request) -> Response:
    return AudioDownload(*await request.state.jobs.result(request.path_params["id"]))


async def cancel(request: Request) -> Response:
    return JSONResponse(_from_outside(request, await request.state.jobs.cancel(request.path_params["id"])))


def _from_outside(request: Request, job: dict[str, Any]) -> dict[str, Any]:
    return from_outside(job, request.scope.get("root_path", ""))


async def list_jobs(request: Request) -> Response:
    jobs = await request.state.jobs.listed()
    return JSONResponse({"jobs": [_from_outside(request, job) for job in jobs]})


async def read_cues(request: Request) -> Response:
    from server.cues import cues

    return JSONResponse(await cues(request))


async def stream(websocket: WebSocket) -> None:
    from server.text_stream import TextStream  # here: whoever starts should not wait for what few ask for

    await TextStream(websocket).run()


async def no_stream(request: Request) -> Response:
    raise HTTPException(
        426, "/tts/stream is a WebSocket; POST /tts speaks a text that is complete", {"upgrade": "websocket"}
    )


async def health(request: Request) -> Response:
    state = request.state
    tts, stats, load = state.tts, state.stats, state.load.load()
    completed, failed = stats.outcomes["completed"], stats.outcomes["failed"] + stats.outcomes["disconnected"]
    doing = f"{stats.running} running, {stats.waiting} waiting" if stats.listening else "ready"
    return JSONResponse(
        {
            "status": "healthy",
            "version": VERSION,
            "model": tts.model,
            "message": "; ".join(filter(None, (doing, state.jobs.trouble))),
            "stats": {
                "total_requests": completed + failed + stats.listening,
                "completed_requests": completed,
                "failed_requests": failed,
                "queue_size": stats.listening,
                "processing": stats.running > 0,
                "waiting": stats.waiting,
                "running": stats.running,
            },
            "jobs": state.jobs.counts(),
            "cpu": load.cpu,
            "memory": load.memory,
            "device": str(tts.device.place),
            "device_reason": tts.device.reason,
            "voices": list(tts.voices),
        }
    )


async def metrics(request: Request) -> Response:
    from server.metrics import CONTENT_TYPE, render  # here: whoever starts should not wait for what few ask for

    figures = render(request.state.stats, request.state.jobs.counts())
    return Response(figures, headers={"content-type": CONTENT_TYPE})


async def watch(request: Request) -> Response:
    from server.watch import figures

    return JSONResponse(figures(request.state.stats, request.state.load))


async def describe(request: Request) -> Response:
    from server.openapi import description

    settings: Settings = request.state.settings
    return JSONResponse(description(settings.max_chars, bool(settings.api_key)))


# OpenAI's words. Whoever starts does not wait for them either.


async def openai_speech(request: Request) -> ASGIApp:
    from server.openai_api import OpenAISpeech

    return OpenAISpeech(request)


async def openai_models(request: Request) -> Response:
    from server.openai_api import list_models

    return list_models(request)


async def openai_model(request: Request) -> Response:
    from server.openai_api import show_model

    return show_model(request)


async def openai_audio_models(request: Request) -> Response:
    from server.openai_api import list_audio_models

    return list_audio_models(request)


async def openai_audio_voices(request: Request) -> Response:
    from server.openai_api import list_audio_voices

    return await list_audio_voices(request)


async def keep_voice(request: Request) -> Response:
    from server.uploads import keep_voice

    return await keep_voice(request)


async def delete_voice(request: Request) -> Response:
    from server.uploads import delete_voice

    return await delete_voice(request)


async def clone(request: Request) -> ASGIApp:
    from server.cloning import read_form

    return SpeechResponse(request, read_form)


async def ready(request: Request) -> Response:
    # The socket opens after start-up: before that, connections are refused. Without a place for jobs speech goes on.
    problem = request.state.jobs.storage_problem
    return JSONResponse({"status": "ready"} | ({"jobs": f"not accepted: {problem}"} if problem else {}))


async def index(request: Request) -> Response:
    from server.page import page_file, wants_page

    if wants_page(request):
        return page_file(request, "index.html")
    return PlainTextResponse(
        "F5-TTS, served directly.\n\n"
        'curl localhost:8000/tts -d \'{"text": "Hello there."}\' -o hello.wav\n\n'
        f"voices: {', '.join(request.state.tts.voices)}\n"
        "routes: POST /tts, GET /tts?text=, POST /tts/plan, /tts/status/ID, /tts/result/ID, "
        "/voices, POST /v1/tts, /health, /ready, /metrics, /stats, /openapi.json; "
        "OpenAI's: POST /v1/audio/speech, /v1/models; "
        "for browsers: / and /docs\n",
        headers={"vary": "accept"},
    )


async def documentation(request: Request) -> Response:
    from server.page import page_file

    return page_file(request, "docs.html")


async def page_part(request: Request) -> Response:
    from server.page import page_file

    return page_file(request, request.path_params["name"])


app = Starlette(
    routes=[
        Route("/", index),
        Route("/docs", documentation),
        Route("/web/{name}", page_part),
        Route("/tts", speak, methods=["GET", "POST"]),
        Route("/tts/plan", plan, methods=["POST"]),
        WebSocketRoute("/tts/stream", stream),
        Route("/tts/stream", no_stream),
        Route("/tts/status/{id}", status),
        Route("/tts/result/{id}", result),
        Route("/tts/jobs", list_jobs),
        Route("/tts/{id}", cancel, methods=["DELETE"]),
        Route("/cues", read_cues, methods=["POST"]),
        Route("/voices", list_voices),
        Route("/voices", keep_voice, methods=["POST"]),
        Route("/voices/{name}", delete_voice, methods=["DELETE"]),
        Route("/v1/voices", list_voices),
        Route("/v1/tts", clone, methods=["POST"]),
        Route("/v1/audio/speech", openai_speech, methods=["POST"]),
        Route("/v1/audio/voices", openai_audio_voices),
        Route("/v1/audio/models", openai_audio_models),
        Route("/v1/models", openai_models),
        Route("/v1/models/{id}", openai_model),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/stats", watch),
        Route("/openapi.json", describe),
    ],
    middleware=[
        Middleware(LifespanState),
        Middleware(NoSniff),
        Middleware(JSONErrors),
        Middleware(CrossOrigin),
        Middleware(Guard, connections=connections),
    ],
    exception_handlers=handlers(),
    lifespan=lifespan,
)
