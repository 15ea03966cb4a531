"""HTTP in, WAV bytes out: requests become Speech, the model's samples become a stream. Knows nothing of how speech is made.

Try: uvicorn app:app, then  curl localhost:8000/tts -d '{"text": "Hello there."}' -o hello.wav
"""

import contextlib
import json
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

from starlette.applications import Starlette
from starlette.config import Config
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from server.errors import TooLarge, handlers
from server.jobs.download import AudioDownload
from server.jobs.runner import Jobs
from server.jobs.store import PRIORITY_DUE_SECONDS
from server.scheduler import Scheduler
from server.shutdown import GracefulShutdown
from server.stats import Stats
from server.streaming import SpeechResponse
from server.system_load import SystemLoad
from speech.request import BadSpeech, Speech
from tts_core import EMBEDDED_MODEL, TTS, VOICES, ModelUnavailable

settings = Config()
MODEL = settings("TTS_MODEL", default=str(EMBEDDED_MODEL))
VOICES_FOLDER = settings("TTS_VOICES", cast=Path, default=VOICES)
DEVICE = settings("TTS_DEVICE", default="auto")
MAX_CHARS = settings("TTS_MAX_CHARS", cast=int, default=20_000)
MAX_WAITING = settings("TTS_MAX_WAITING", cast=int, default=32)
GRACE = settings("TTS_GRACE", cast=float, default=30)
OUTPUTS = settings("TTS_OUTPUTS", cast=Path, default=Path("outputs"))
KEEP_HOURS = settings("TTS_KEEP_HOURS", cast=float, default=24)
CPU_LIMIT = settings("TTS_CPU_LIMIT", cast=float, default=80)
MEMORY_LIMIT = settings("TTS_MEMORY_LIMIT", cast=float, default=85)

MAX_BODY_BYTES = 12 * MAX_CHARS + 4096
"""JSON spends at most 12 bytes on a character; the rest is for the other fields."""
NUMBERS = {"speed": float, "duration": float, "seed": int, "steps": int, "cfg_strength": float}
"""Fields that a query string carries as text."""


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict]:
    logging.getLogger("uvicorn.access").addFilter(without_texts)
    try:
        tts, stats, load = TTS(MODEL, VOICES_FOLDER, DEVICE), Stats(), SystemLoad()
        scheduler = Scheduler(stats)
        jobs = Jobs(OUTPUTS, tts, scheduler, stats, load, CPU_LIMIT, MEMORY_LIMIT, KEEP_HOURS)
    except (ModelUnavailable, ValueError, OSError, sqlite3.Error) as error:
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # raising would bury the sentence in the server's own traceback
    shutdown = GracefulShutdown(GRACE)
    with shutdown.on_signal(jobs.pause_jobs):
        yield {"tts": tts, "scheduler": scheduler, "stats": stats, "load": load, "jobs": jobs, "shutdown": shutdown}
        await jobs.close()


def without_texts(record: logging.LogRecord) -> bool:
    """The server's own access lines: no query strings, which have texts in them, and none for a speech, which has a line of ours."""
    client, method, target, version, status = record.args  # type: ignore[misc]
    path = str(target).split("?", 1)[0]
    record.args = client, method, path, version, status
    return (path, status) != ("/tts", 200)


async def speak(request: Request) -> ASGIApp:
    return SpeechResponse(request, read_speech, MAX_WAITING)


async def read_speech(request: Request) -> tuple[Speech, str | None]:
    """What to say, and a priority if it is for later."""
    return parse_json(await read_body(request)) if request.method == "POST" else (parse_query(request), None)


async def status(request: Request) -> Response:
    return JSONResponse(await request.state.jobs.status(request.path_params["id"]))


async def result(request: Request) -> Response:
    return AudioDownload(await request.state.jobs.result(request.path_params["id"]))


async def cancel(request: Request) -> Response:
    return JSONResponse(await request.state.jobs.cancel(request.path_params["id"]))


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(
                f"the body is over {MAX_BODY_BYTES} bytes; send the text in parts of at most {MAX_CHARS} characters"
            )
    return bytes(body)


def parse_json(body: bytes) -> tuple[Speech, str | None]:
    """What to say, and a priority if it is for later."""
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadSpeech(f"the body is not JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadSpeech('the body must be a JSON object such as {"text": "Hello there."}')
    later, priority = wanted.pop("async", False), wanted.pop("priority", None)
    if not isinstance(later, bool):
        raise BadSpeech("async must be true or false", "async")
    if priority is not None and (not isinstance(priority, str) or priority.lower() not in PRIORITY_DUE_SECONDS):
        raise BadSpeech(f"priority must be one of {', '.join(PRIORITY_DUE_SECONDS)}", "priority")
    if priority is not None and not later:
        raise BadSpeech('priority orders speech that is made later: send "async": true with it', "priority")
    return make_speech(wanted), (priority or "normal").lower() if later else None


def parse_query(request: Request) -> Speech:
    wanted: dict[str, object] = dict(request.query_params)
    for name, number in NUMBERS.items():
        if name in wanted:
            try:
                wanted[name] = number(str(wanted[name]))
            except ValueError:
                raise BadSpeech(f"{name} must be a number", name) from None
    return make_speech(wanted)


def make_speech(wanted: dict) -> Speech:
    known = [field.name for field in fields(Speech)]
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        raise BadSpeech(f"unknown field {unknown[:80]!r}; known are: {', '.join(known)}", unknown[:80])
    if "text" not in wanted:
        raise BadSpeech("text is missing", "text")
    if isinstance(wanted["text"], str) and len(wanted["text"]) > MAX_CHARS:
        raise TooLarge(
            f"text has {len(wanted['text'])} characters, at most {MAX_CHARS} are spoken at once; send it in parts"
        )
    return Speech(**wanted)


async def list_voices(request: Request) -> Response:
    tts = request.state.tts
    return JSONResponse(
        {
            "voices": [
                {"name": v.name, "language": v.language, "seconds": round(v.seconds, 2)} for v in tts.voices.values()
            ]
        }
    )


async def health(request: Request) -> Response:
    state = request.state
    tts, stats, load = state.tts, state.stats, state.load.load()
    completed, failed = stats.outcomes["completed"], stats.outcomes["failed"] + stats.outcomes["disconnected"]
    doing = f"{stats.running} running, {stats.waiting} waiting" if stats.listening else "ready"
    return JSONResponse(
        {
            "status": "healthy",
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

    return Response(render(request.state.stats, request.state.jobs.counts()), headers={"content-type": CONTENT_TYPE})


async def describe(request: Request) -> Response:
    from server.openapi import description

    return JSONResponse(description(MAX_CHARS))


async def ready(request: Request) -> Response:
    # The socket opens after start-up: before that, connections are refused. Without a place for jobs speech goes on.
    problem = request.state.jobs.storage_problem
    return JSONResponse({"status": "ready"} | ({"jobs": f"not accepted: {problem}"} if problem else {}))


async def index(request: Request) -> Response:
    return PlainTextResponse(
        "F5-TTS, served directly.\n\n"
        'curl localhost:8000/tts -d \'{"text": "Hello there."}\' -o hello.wav\n\n'
        f"voices: {', '.join(request.state.tts.voices)}\n"
        "routes: POST /tts, GET /tts?text=, /tts/status/ID, /tts/result/ID, /voices, /health, /ready, /metrics, /openapi.json\n"
    )


app = Starlette(
    routes=[
        Route("/", index),
        Route("/tts", speak, methods=["GET", "POST"]),
        Route("/tts/status/{id}", status),
        Route("/tts/result/{id}", result),
        Route("/tts/{id}", cancel, methods=["DELETE"]),
        Route("/voices", list_voices),
        Route("/v1/voices", list_voices),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/openapi.json", describe),
    ],
    exception_handlers=handlers(),
    lifespan=lifespan,
)
