"""What a request for speech asks for, from its body or its query. Knows JSON, not what is done with it."""

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import Request

from server.errors import MAX_ECHO, NotJSON, TooLarge, TooSlow
from server.jobs.store import PRIORITY_DUE_SECONDS
from speech.request import FIELDS, BadSpeech, Speech, parse

if TYPE_CHECKING:
    from tts_core import Voice

JSON_BYTES_PER_CHARACTER = 12
OTHER_FIELDS_BYTES = 4096
BODY_SECONDS = 30.0
"""For the whole body: a client that sends half of it does not stay."""
REQUEST_ID = re.compile(r"[\w.:;,+/=@~-]{1,128}", re.ASCII)
"""What is taken from outside into the log and the reply."""
IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_PATTERN = "Idempotency-Key", "[!-~]{1,255}"


def request_id(headers: Headers) -> str:
    """The one that a proxy or the client gave it, so that its log and ours name the same; else one of ours."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class Framing:
    """What a reply puts around the pieces of a sound file, where it is more than their bytes in a row."""

    content_type: str
    part: Callable[[bytes], bytes]
    end: Callable[[int], bytes]
    """What comes last, after so many samples."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request for speech asks for."""

    speech: Speech
    priority: str | None = None
    """Of a job: speech for later."""
    framing: Framing | None = None
    voice: "Voice | None" = None
    """This one, whatever is named: of a sound that came with the request."""
    idempotency_key: str | None = None
    """Of a job: asked for again with the same key it is the same one."""


async def read_speech(request: Request) -> Asked:
    """Raises BadSpeech, TooLarge, TooSlow, NotJSON and ClientDisconnect, as every reader of requests for speech."""
    max_chars = request.state.settings.max_chars
    if request.method != "POST":
        query = request.query_params.items()
        return Asked(
            speech_of({name: parse(name, text) if name in FIELDS else text for name, text in query}, max_chars)
        )
    wanted = await json_object(request, max_chars)
    priority = _priority(wanted.pop("async", False), wanted.pop("priority", None))
    return Asked(speech_of(wanted, max_chars), priority, idempotency_key=_idempotency_key(request.headers))


async def json_object(request: Request, max_chars: int, other_bytes: int = OTHER_FIELDS_BYTES) -> dict[str, Any]:
    """The body, of at most so many characters of text and so many bytes of other fields."""
    _check_browser(request)
    return _json_object(await _body(request, max_chars, JSON_BYTES_PER_CHARACTER * max_chars + other_bytes))


def _check_browser(request: Request) -> None:
    """A page of any origin may send text and forms without asking; JSON is asked for first, and then refused."""
    sent = request.headers
    plain = not sent.get("content-type", "").lower().startswith("application/json")
    if plain and ("origin" in sent or "sec-fetch-site" in sent):
        raise NotJSON("a browser must send content-type: application/json")


async def _body(request: Request, max_chars: int, most: int) -> bytes:
    return await read_body(request, most, f"send the text in parts of at most {max_chars} characters")


async def read_body(request: Request, most: int, instead: str) -> bytes:
    """At most so many bytes; `instead` says what to send for more. Raises TooLarge, TooSlow and ClientDisconnect."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise TooLarge(f"the body is over {most} bytes; {instead}")
    except TimeoutError:
        raise TooSlow(f"the body took more than {BODY_SECONDS:g} s") from None
    return bytes(body)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadSpeech(f"the body is not JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadSpeech('the body must be a JSON object such as {"text": "Hello there."}')
    return wanted


def _idempotency_key(headers: Headers) -> str | None:
    key = headers.get(IDEMPOTENCY_KEY)
    if key is not None and not re.fullmatch(IDEMPOTENCY_KEY_PATTERN, key):
        raise BadSpeech(f"{IDEMPOTENCY_KEY} must be 1 to 255 letters, digits and signs of ASCII", IDEMPOTENCY_KEY)
    return key


def _priority(later: object, priority: object) -> str | None:
    """A job's; None for speech that is listened to."""
    if not isinstance(later, bool):
        raise BadSpeech("async must be true or false", "async")
    if priority is not None and (not isinstance(priority, str) or priority.lower() not in PRIORITY_DUE_SECONDS):
        raise BadSpeech(f"priority must be one of {', '.join(PRIORITY_DUE_SECONDS)}", "priority")
    if priority is not None and not later:
        raise BadSpeech('priority orders speech that is made later: send "async": true with it', "priority")
    return (str(priority or "normal")).lower() if later else None


def speech_of(wanted: dict[str, Any], max_chars: int) -> Speech:
    """Of the fields as they were sent. Raises BadSpeech, TooLarge."""
    unknown = next((name for name in wanted if name not in FIELDS), None)
    if unknown is not None:
        unknown = unknown[:MAX_ECHO]
        raise BadSpeech(f"unknown field {unknown!r}; known are: {', '.join(FIELDS)}", unknown)
    text = wanted.get("text")
    if "text" not in wanted:
        raise BadSpeech("text is missing", "text")
    if isinstance(text, str) and len(text) > max_chars:
        raise TooLarge(f"text has {len(text)} characters, at most {max_chars} are spoken at once; send it in parts")
    return Speech(**wanted)
