"""The voices there are, over HTTP, and as their folder is now. Knows nothing of what makes a voice of a sound."""

import logging
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.scheduler import BackgroundTask, Scheduler

if TYPE_CHECKING:
    from tts_core import TTS, Voice

SLOT_SECONDS = 0.02
"""Of the model's time at once, about a solver step, to prepare a voice."""
log = logging.getLogger("uvicorn.tts")


async def refresh(scheduler: Scheduler, tts: "TTS") -> None:
    """The voices are as their folder is now."""
    if tts.voices_changed():
        before = dict(tts.unusable)
        await scheduler.result(tts.reading_voices(), BackgroundTask(slot_seconds=SLOT_SECONDS))
        report({name: problem for name, problem in tts.unusable.items() if before.get(name) != problem})


def report(unusable: dict[str, str]) -> None:
    for name, problem in unusable.items():
        log.warning("voice %s cannot be used: %s", ascii(name), ascii(problem)[1:-1])


async def list_voices(request: Request) -> Response:
    tts: TTS = request.state.tts
    await refresh(request.state.scheduler, tts)
    unusable = [{"name": name, "problem": problem} for name, problem in tts.unusable.items()]
    return JSONResponse({"voices": list(map(described, tts.voices.values())), "unusable": unusable})


def described(voice: "Voice") -> dict[str, object]:
    return {"name": voice.name, "language": voice.language, "seconds": round(voice.seconds, 2)}
