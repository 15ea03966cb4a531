"""Forms, with or without a file, as `curl -F` and pages send them: held in memory, few at once, nothing on disk.

Knows nothing of what they ask for."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from server.errors import TooLarge, TooManyForms, TooSlow
from server.requests import BODY_SECONDS
from speech.request import BadSpeech

MAX_FORM_BYTES = 10 * 1024 * 1024
"""A minute of stereo as CDs have it."""
MAX_FORMS = 4
MAX_FIELDS = 32
# It warns in the log of each byte that a stranger's form should not have.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
MULTIPART, PLAIN = "multipart/form-data", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """What has the same name is there once, or it is refused."""

    fields: dict[str, str]
    files: dict[str, bytes]

    def field(self, name: str) -> str:
        """Raises BadSpeech."""
        if name not in self.fields:
            raise BadSpeech(f"{name} is a file; send its text" if name in self.files else f"{name} is missing", name)
        return self.fields[name]

    def file(self, name: str) -> bytes:
        """Raises BadSpeech."""
        if name not in self.files:
            as_file = f"{name} must be sent as a file, as curl -F {name}=@sound.wav does"
            raise BadSpeech(as_file if name in self.fields else f"{name} is missing", name)
        return self.files[name]


class Forms:
    """Those that are in memory now."""

    def __init__(self) -> None:
        self._held = 0
        self.decoding = asyncio.Lock()
        """One sound at a time: it takes memory, and time that the model has the processors for."""

    @contextlib.asynccontextmanager
    async def one(self, request: Request) -> AsyncIterator[Form]:
        """It takes one of few places while the body runs. Raises BadSpeech, TooLarge, TooManyForms, TooSlow."""
        if self._held >= MAX_FORMS:
            raise TooManyForms(f"{MAX_FORMS} forms are being read; try again in a second")
        self._held += 1
        try:
            yield await _in_time(request)
        finally:
            self._held -= 1


async def _in_time(request: Request) -> Form:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request)
    except TimeoutError:
        raise TooSlow(f"the body took more than {BODY_SECONDS:g} s") from None


async def _read(request: Request) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        return await _multipart(request)
    if kind == PLAIN:
        return await _plain(request)
    raise BadSpeech(f"the body must be {MULTIPART}, as curl -F sends it")


async def _multipart(request: Request) -> Form:
    parser = MultiPartParser(
        request.headers, _stream(request), max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FORM_BYTES
    )
    parser.spool_max_size = MAX_FORM_BYTES + 1  # nothing goes to disk
    try:
        parsed = await parser.parse()
    except TooLarge:
        raise
    except (MultiPartException, ValueError) as error:  # the second of odd charsets
        raise BadSpeech(f"the body is no form that can be read: {error}") from None
    form = Form({}, {})
    for name, value in parsed.multi_items():
        _add(form, name, value.file.read() if isinstance(value, UploadFile) else value)
    await parsed.close()
    return form


async def _plain(request: Request) -> Form:
    body = b"".join([part async for part in _stream(request)])
    try:
        pairs = parse_qsl(body.decode("ascii"), True, True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadSpeech(f"the body is no form that can be read: {error}") from None
    form = Form({}, {})
    for name, value in pairs:
        _add(form, name, value)
    return form


def _add(form: Form, name: str, value: str | bytes) -> None:
    if name in form.fields or name in form.files:
        raise BadSpeech(f"{name[:40]} is there twice", name[:40])
    if isinstance(value, str):
        form.fields[name] = value
    else:
        form.files[name] = value


async def _stream(request: Request) -> AsyncGenerator[bytes]:
    received = 0
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_FORM_BYTES:
        raise _too_large()
    async for part in request.stream():
        received += len(part)
        if received > MAX_FORM_BYTES:
            raise _too_large()
        yield part


def _too_large() -> TooLarge:
    most = f"{MAX_FORM_BYTES >> 20} MB"
    return TooLarge(f"the form has over {most}; a reference needs some seconds of sound, no more", "audio")
