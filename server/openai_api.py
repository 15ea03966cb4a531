"""OpenAI's routes, for programs that were written for them: what they ask for becomes a Speech like any other.

What such a program may send beyond this is passed over. Knows their words and numbers, not how speech is made.
"""

import base64
import json
import math
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from server.errors import MAX_ECHO, TooLarge, UnknownModel
from server.requests import Asked, Framing, json_object
from server.streaming import SpeechResponse
from server.voices import refresh
from speech.audio import HOP_SAMPLES
from speech.request import DEFAULT_VOICE, BadSpeech, Speech

if TYPE_CHECKING:
    from tts_core import TTS

MAX_INPUT_CHARS = 4096
OTHER_FIELDS_BYTES = 64 * 1024
"""Of a body: `instructions` may be as long as the text."""
MODELS = "tts-1", "tts-1-hd", "gpt-4o-mini-tts"
"""All speak with the model there is. So does a dated one, as tts-1-1106."""
VOICES = frozenset("alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split())
"""All are the default voice, unless a voice has that name."""
CREATED = 1_795_219_200
"""Of every model, in seconds since the epoch: clients want a number, and the day of version 0.2.0 is one."""
NAMES = {"text": "input", "format": "response_format"}
"""Fields of a Speech that have other names here."""


class OpenAISpeech:
    """`POST /v1/audio/speech` as an ASGI reply."""

    def __init__(self, request: Request):
        self._reply = SpeechResponse(request, read_speech)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._reply(scope, receive, send)
        except (BadSpeech, TooLarge) as error:
            if error.field not in NAMES:
                raise
            name, message = NAMES[error.field], str(error)
            if message.startswith(error.field):
                message = name + message.removeprefix(error.field)
            raise type(error)(message, name) from None


async def read_speech(request: Request) -> Asked:
    """Raises as server.requests.read_speech, and UnknownModel."""
    tts: TTS = request.state.tts
    body = await json_object(request, MAX_INPUT_CHARS, other_bytes=OTHER_FIELDS_BYTES)
    wanted = {name: value for name, value in body.items() if value is not None}
    _check_model(wanted.get("model", tts.model), tts)
    text = wanted.get("input")
    if text is None:
        raise BadSpeech("input is missing", "input")
    most = min(MAX_INPUT_CHARS, request.state.settings.max_chars)
    if isinstance(text, str) and len(text) > most:
        raise TooLarge(
            f"input has {len(text)} characters, at most {most} are spoken at once; send it in parts", "input"
        )
    speech = Speech(
        text,
        _voice(wanted.get("voice", DEFAULT_VOICE), tts),
        wanted.get("speed", 1.0),
        format=wanted.get("response_format", "mp3"),
    )
    delivery = wanted.get("stream_format", "audio")
    if delivery not in ("audio", "sse"):
        raise BadSpeech("stream_format must be audio or sse", "stream_format")
    return Asked(speech, framing=_events(text) if delivery == "sse" else None)


def _check_model(model: object, tts: "TTS") -> None:
    if not isinstance(model, str):
        raise BadSpeech("model must be a string", "model")
    if model != tts.model and not any(model == name or model.startswith(f"{name}-") for name in MODELS):
        raise UnknownModel(f"no model {model[:MAX_ECHO]!r}; have: {', '.join((tts.model, *MODELS))}")


def _voice(voice: Any, tts: "TTS") -> Any:
    """Its name, if it is one; a Speech says of what kind it must be."""
    if isinstance(voice, dict):
        voice = voice.get("id")
    return DEFAULT_VOICE if isinstance(voice, str) and voice in VOICES and voice not in tts.voices else voice


def _events(text: str) -> Framing:
    """Server-sent events. Tokens: characters of the text, and mel frames of the speech, 93.75 a second."""

    def delta(data: bytes) -> bytes:
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})

    def done(samples: int) -> bytes:
        given, made = len(text), math.ceil(samples / HOP_SAMPLES)
        usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
        return _event({"type": "speech.audio.done", "usage": usage})

    return Framing("text/event-stream", delta, done)


def _event(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()


def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": list(_models(request.state.tts).values())})


def show_model(request: Request) -> Response:
    models, wanted = _models(request.state.tts), request.path_params["id"]
    if wanted not in models:
        raise UnknownModel(f"no model {wanted[:MAX_ECHO]!r}; have: {', '.join(models)}")
    return JSONResponse(models[wanted])


def _models(tts: "TTS") -> dict[str, dict[str, object]]:
    return {
        name: {"id": name, "object": "model", "created": CREATED, "owned_by": "direct-tts"}
        for name in (tts.model, *MODELS)
    }


def list_audio_models(request: Request) -> Response:
    return JSONResponse({"models": [{"id": name} for name in _models(request.state.tts)]})


async def list_audio_voices(request: Request) -> Response:
    await refresh(request.state.scheduler, request.state.tts)
    return JSONResponse({"voices": [{"id": name, "name": name} for name in request.state.tts.voices]})
