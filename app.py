"""HTTP in, WAV bytes out: requests become Speech, the model's samples become a stream. Knows nothing of how speech is made.

Try: uvicorn app:app, then  curl localhost:8000/tts -d '{"text": "Hello there."}' -o hello.wav
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from pathlib import Path

from starlette.applications import Starlette
from starlette.config import Config
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from audio import SAMPLE_RATE, WAV_HEADER_BYTES, pcm16, wav_header
from checkpoint import ModelUnavailable
from tts_core import EMBEDDED_MODEL, TTS, VOICES, BadSpeech, Plan, Speech, UnknownVoice
from turns import Listener, Turns

settings = Config()
MODEL = settings("TTS_MODEL", default=str(EMBEDDED_MODEL))
VOICES_FOLDER = settings("TTS_VOICES", cast=Path, default=VOICES)
DEVICE = settings("TTS_DEVICE", default="auto")
MAX_CHARS = settings("TTS_MAX_CHARS", cast=int, default=20_000)
MAX_WAITING = settings("TTS_MAX_WAITING", cast=int, default=32)

MAX_BODY_BYTES = 12 * MAX_CHARS + 4096
"""JSON spends at most 12 bytes on a character; the rest is for the other fields."""
NUMBERS = {"speed": float, "duration": float, "seed": int, "steps": int, "cfg_strength": float}
"""Fields that a query string carries as text."""


class TooLarge(ValueError):
    """A text or body over its limit."""


class Full(Exception):
    """As many listeners as this server takes."""

    def __init__(self, seconds: int):
        super().__init__(f"{MAX_WAITING} listeners are being served, and more would only wait; try again in {seconds} s")
        self.seconds = seconds


@dataclass(slots=True)
class Stats:
    total_requests: int = 0
    completed_requests: int = 0
    failed_requests: int = 0
    waiting: int = 0
    """Listeners whose first solver step is still to come."""
    running: int = 0
    owed_seconds: float = 0.0
    """Of sound, planned and not yet made."""
    made_seconds: float = 0.0
    model_seconds: float = 0.0

    def seconds_to_a_free_place(self) -> int:
        """From what is owed and the speed measured so far: when the next listener is likely to be done."""
        factor = self.model_seconds / self.made_seconds if self.made_seconds else 1.0
        return max(1, math.ceil(self.owed_seconds * factor / max(1, self.waiting + self.running)))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict]:
    try:
        tts = TTS(MODEL, VOICES_FOLDER, DEVICE)
    except (ModelUnavailable, ValueError) as error:
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # raising would bury the sentence in the server's own traceback
    yield {"tts": tts, "turns": Turns(), "stats": Stats()}


async def speak(request: Request) -> Response:
    speech = parse_query(request) if request.method in ("GET", "HEAD") else parse_json(await read_body(request))
    stats = request.state.stats
    if stats.waiting + stats.running >= MAX_WAITING:
        raise Full(stats.seconds_to_a_free_place())
    plan = request.state.tts.plan(speech)
    headers = {
        "content-type": "audio/wav",
        "content-length": str(WAV_HEADER_BYTES + 2 * plan.samples),
        "x-seed": str(plan.seed),
        "x-audio-duration": f"{plan.seconds:.3f}",
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    audio = stream(request, plan)
    first = await anext(audio)  # until here an error still has a status code
    return StreamingResponse(wav(plan, first, audio), headers=headers)


async def wav(plan: Plan, first: bytes, audio: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield wav_header(plan.samples) + first
    async for pcm in audio:
        yield pcm


async def stream(request: Request, plan: Plan) -> AsyncIterator[bytes]:
    """16-bit samples as they become final. A turn lasts one solver step and is never held while a client reads."""
    stats, listener = request.state.stats, Listener()
    stats.total_requests += 1
    stage, outcome, owed = "waiting", "failed_requests", plan.seconds
    stats.waiting += 1
    stats.owed_seconds += owed
    speech = request.state.tts.speak(plan)
    try:
        while True:
            await request.state.turns.take(listener)
            began = time.perf_counter()
            try:
                samples = next(speech)
            except StopIteration:
                break
            finally:
                stats.model_seconds += time.perf_counter() - began
                request.state.turns.give()
            if stage == "waiting":
                stage = "running"
                stats.waiting -= 1
                stats.running += 1
            if samples is not None:
                seconds = len(samples) / SAMPLE_RATE
                listener.sent(seconds)
                owed -= seconds
                stats.owed_seconds -= seconds
                stats.made_seconds += seconds
                yield pcm16(samples)
            elif await request.is_disconnected():
                raise ClientDisconnect
        outcome = "completed_requests"
    finally:
        speech.close()
        stats.owed_seconds -= owed
        setattr(stats, stage, getattr(stats, stage) - 1)
        setattr(stats, outcome, getattr(stats, outcome) + 1)


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body is over {MAX_BODY_BYTES} bytes; send the text in parts of at most {MAX_CHARS} characters")
    return bytes(body)


def parse_json(body: bytes) -> Speech:
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadSpeech(f"the body is not JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadSpeech('the body must be a JSON object such as {"text": "Hello there."}')
    return make_speech(wanted)


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
        raise TooLarge(f"text has {len(wanted['text'])} characters, at most {MAX_CHARS} are spoken at once; send it in parts")
    return Speech(**wanted)


async def list_voices(request: Request) -> Response:
    tts = request.state.tts
    return JSONResponse({"voices": [{"name": v.name, "language": v.language, "seconds": round(v.seconds, 2)} for v in tts.voices.values()]})


async def health(request: Request) -> Response:
    tts, stats = request.state.tts, request.state.stats
    busy = stats.waiting + stats.running
    return JSONResponse({
        "status": "healthy",
        "model": tts.model,
        "message": f"{stats.running} running, {stats.waiting} waiting" if busy else "ready",
        "stats": {
            "total_requests": stats.total_requests,
            "completed_requests": stats.completed_requests,
            "failed_requests": stats.failed_requests,
            "queue_size": busy,
            "processing": stats.running > 0,
            "waiting": stats.waiting,
            "running": stats.running,
        },
        "device": str(tts.device.place),
        "device_reason": tts.device.reason,
        "voices": list(tts.voices),
    })  # fmt: skip


async def ready(request: Request) -> Response:
    return JSONResponse({"status": "ready"})  # the socket opens after start-up: before that, connections are refused


async def index(request: Request) -> Response:
    return PlainTextResponse(
        "F5-TTS, served directly.\n\n"
        'curl localhost:8000/tts -d \'{"text": "Hello there."}\' -o hello.wav\n\n'
        f"voices: {', '.join(request.state.tts.voices)}\nroutes: POST /tts, GET /tts?text=, /voices, /health, /ready\n"
    )


def refusal(status: int, message: str, kind: str, param: str | None = None, code: str | None = None, headers: dict | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status, headers=headers)


async def bad_request(request: Request, error: Exception) -> Response:
    param = error.field if isinstance(error, BadSpeech) else None
    return refusal(400, str(error), "invalid_request_error", param and ascii(param)[1:-1])


async def not_found(request: Request, error: Exception) -> Response:
    return refusal(404, str(error), "invalid_request_error", "voice", "voice_not_found")


async def too_large(request: Request, error: Exception) -> Response:
    # The rest of the body is not read: the connection cannot be used again.
    return refusal(413, str(error), "invalid_request_error", "text", headers={"connection": "close"})


async def full(request: Request, error: Exception) -> Response:
    assert isinstance(error, Full)
    return refusal(503, str(error), "server_error", code="full", headers={"retry-after": str(error.seconds)})


async def http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {404: f"there is no {request.url.path}", 405: f"{request.method} is not allowed on {request.url.path}"}
    return refusal(error.status_code, messages.get(error.status_code, error.detail), "invalid_request_error", headers=dict(error.headers or {}))


async def client_left(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def bug(request: Request, error: Exception) -> Response:
    return refusal(500, "the server made a mistake; its log has the details", "server_error")


app = Starlette(
    routes=[
        Route("/", index),
        Route("/tts", speak, methods=["GET", "POST"]),
        Route("/voices", list_voices),
        Route("/v1/voices", list_voices),
        Route("/health", health),
        Route("/ready", ready),
    ],
    exception_handlers={
        BadSpeech: bad_request,
        UnknownVoice: not_found,
        TooLarge: too_large,
        Full: full,
        HTTPException: http_error,
        ClientDisconnect: client_left,
        Exception: bug,
    },
    lifespan=lifespan,
)
