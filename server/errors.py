"""Every error that a reply can tell: the status, type, code and Retry-After of an exception. Knows none who raises."""

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from server.access import NotAllowed
from server.jobs.accepted import KeyReused
from server.jobs.store import JobStorageError, NotFinished, UnknownJob
from server.shutdown import ShuttingDown
from speech.request import BadSpeech, UnknownVoice
from speech.voice_files import BadVoice, NoRoom, VoiceExists, VoiceNeeded, VoiceStorageError

MAX_ECHO = 80
"""Of what a client sent, so many characters at most are told back to it."""


class TooLarge(ValueError):
    """A text or body over its limit; `field` names the text."""

    def __init__(self, message: str, field: str = "text"):
        super().__init__(message)
        self.field = field


class TooSlow(Exception):
    """A body that does not come."""


class NotJSON(ValueError):
    """A body from a browser in a type that pages of any origin may send."""


class TooManyForms(Exception):
    """As many as are held in memory at once."""


class ForeignPage(Exception):
    """A browser asks on behalf of a page that is not this server's."""


class UnknownHost(Exception):
    """The request is for another server, going by its Host."""


class Unauthorized(Exception):
    """The key is missing or wrong."""


class UnknownModel(LookupError):
    """No model of that name; the message lists those there are."""


class ServerBusy(Exception):
    """As many listeners as this server takes."""

    def __init__(self, listeners: int, seconds: int):
        super().__init__(f"{listeners} listeners are being served, and more would only wait; try again in {seconds} s")
        self.retry_after = seconds


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an exception is told. Its message is the message, its `field` and `retry_after`, if it has them, go first."""

    status: int
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    retry_after: int | None = None
    close: bool = False
    """The rest of the body is not read: the connection cannot be used again."""
    challenge: str | None = None
    """How to ask instead, as `WWW-Authenticate`."""


REFUSALS: dict[type[Exception], Refusal] = {
    BadSpeech: Refusal(400),
    BadVoice: Refusal(400),
    Unauthorized: Refusal(401, code="invalid_api_key", challenge='Bearer realm="direct-tts"'),
    ForeignPage: Refusal(403, code="foreign_origin"),
    UnknownHost: Refusal(403, code="unknown_host"),
    NotAllowed: Refusal(403, code="not_allowed", close=True),
    UnknownVoice: Refusal(404, code="voice_not_found", param="voice"),
    UnknownModel: Refusal(404, code="model_not_found", param="model"),
    UnknownJob: Refusal(404, code="job_not_found", param="id"),
    TooSlow: Refusal(408, close=True),
    NotFinished: Refusal(409, code="not_finished", param="id", retry_after=1),
    VoiceExists: Refusal(409, code="voice_exists", param="name"),
    VoiceNeeded: Refusal(409, code="voice_needed", param="name"),
    NoRoom: Refusal(409, code="too_many_voices"),
    TooLarge: Refusal(413, close=True),
    NotJSON: Refusal(415, close=True),
    KeyReused: Refusal(422, code="idempotency_key_reused", param="Idempotency-Key"),
    ServerBusy: Refusal(503, "server_error", code="full"),
    TooManyForms: Refusal(503, "server_error", code="full", retry_after=1, close=True),
    ShuttingDown: Refusal(503, "server_error", code="stopping", retry_after=10),
    JobStorageError: Refusal(503, "server_error", code="not_kept", retry_after=60),
    VoiceStorageError: Refusal(503, "server_error", code="not_kept", retry_after=60),
}
"""Whatever is not here is a bug: 500, and its traceback is in the log."""


def handlers() -> dict[type[Exception], ExceptionHandler]:
    known: dict[type[Exception], ExceptionHandler] = dict.fromkeys(REFUSALS, refused)
    return known | {HTTPException: _http_error, ClientDisconnect: _left}


async def refused(request: Request, error: Exception) -> Response:
    return refusal_of(error)


def refusal_of(error: Exception) -> Response:
    """Of one in REFUSALS."""
    refusal = REFUSALS[type(error)]
    field = getattr(error, "field", None)
    headers = {
        "connection": "close" if refusal.close else None,
        "retry-after": getattr(error, "retry_after", refusal.retry_after),
        "www-authenticate": refusal.challenge,
    }
    return _reply(
        refusal.status,
        str(error),
        refusal.type,
        refusal.param if field is None else ascii(field)[1:-1],
        refusal.code,
        {name: str(value) for name, value in headers.items() if value is not None},
    )


def mistake() -> Response:
    """Of the server's own: what is not in REFUSALS."""
    return _reply(500, "the server made a mistake; its log has the details", "server_error")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:MAX_ECHO]
    messages = {404: f"there is no {path}", 405: f"{request.method} is not allowed on {path}"}
    message = messages.get(error.status_code, error.detail)
    return _reply(error.status_code, message, headers=dict(error.headers or {}))


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def _reply(
    status: int,
    message: str,
    type: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    error = {"message": message, "type": type, "param": param, "code": code}
    return JSONResponse({"error": error}, status, headers=headers)


class JSONErrors:
    """What the framework itself answers in plain text (a bad Range, for one) is told in the shape of all errors."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain: Message | None = None
        said = bytearray()

        async def send_json(message: Message) -> None:
            nonlocal plain
            if message["type"] == "http.response.start" and _is_plain_error(message):
                plain = message
            elif plain is None:
                await send(message)
            else:
                said.extend(message.get("body", b""))
                if not message.get("more_body"):
                    kept = dict(Headers(raw=plain["headers"]))  # of the reply, not of its body
                    kept.pop("content-type", None)
                    kept.pop("content-length", None)
                    text = said.decode(errors="replace")[:MAX_ECHO] or HTTPException(plain["status"]).detail
                    await _reply(plain["status"], text, headers=kept)(scope, receive, send)

        await self._app(scope, receive, send_json if scope["type"] == "http" else send)


def _is_plain_error(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "")
    return message["status"] >= 400 and not kind.startswith("application/json")
