"""A subtitle file's cues for the page, as the subtitle client reads them: the one place where the server asks that
room. Nothing is spoken here, and nothing kept."""

import asyncio
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.requests import Request

from server.errors import MAX_ECHO
from server.requests import read_body
from speech.request import BadSpeech
from subtitles.cues import BadSubtitle, parse, rooms

MAX_BYTES = 2_000_000
"""The longest films' subtitles are a tenth of it."""


async def cues(request: Request) -> dict[str, Any]:
    """The body of POST /cues. Raises BadSpeech, which names the line, TooLarge and TooSlow."""
    raw = await read_body(request, MAX_BYTES, "is it the film itself?")
    name = PurePosixPath(request.query_params.get("name", "")).name[:MAX_ECHO] or "the file"
    try:  # in a thread: listeners do not wait for a film to be read
        return await asyncio.to_thread(_read, Path(name), raw)
    except BadSubtitle as error:
        raise BadSpeech(str(error)) from None


def _read(name: Path, raw: bytes) -> dict[str, Any]:
    found, encoding = parse(name, raw)
    room = rooms(found)
    told = [
        {
            "line": cue.line,
            "start": cue.start,
            "end": cue.end,
            "room": round(room[cue.index], 3) if cue.index in room else None,
            "shown": cue.shown,
            "text": cue.text,
            "speaker": cue.speaker,
            "unsaid": list(cue.unsaid),
        }
        for cue in found
    ]
    return {"encoding": encoding, "cues": told}
