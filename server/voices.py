"""Voices over HTTP: which there are, a new one kept, one removed. Knows nothing of what makes a voice of a sound."""

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.access import may_change
from server.errors import MAX_ECHO
from server.forms import Form
from server.scheduler import BackgroundTask, Scheduler
from speech.reference import Reference, check_said, reference_of
from speech.request import BadSpeech, UnknownVoice
from speech.voice_files import BadVoice, VoiceFolder, check_name

if TYPE_CHECKING:
    from tts_core import TTS, Voice

FIELDS = "name", "text", "audio"
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
    return JSONResponse({"voices": list(map(_told, tts.voices.values())), "unusable": unusable})


async def keep_voice(request: Request) -> Response:
    """From the next request on it is a voice, in every process of the folder."""
    state, settings = request.state, request.state.settings
    if denied := may_change(request.scope, settings):
        raise denied
    folder = VoiceFolder(settings.voices)
    async with state.forms.one(request) as form:
        _check_fields(form)
        name, text, recording = form.field("name"), form.field("text"), form.file("audio")
        check_name(name)
        folder.check_free(name)
        reference, said = await asyncio.to_thread(_reference, recording, text, state.tts.reference_seconds)
    voice = await prepared(state.scheduler, state.tts, reference, said, "text")
    await asyncio.to_thread(folder.keep, name, said, reference.wav)
    await refresh(state.scheduler, state.tts)
    log.info("voice %s is kept", name)
    used = {"start": round(reference.start, 2), "end": round(reference.end, 2)}
    return JSONResponse(_told(voice) | {"name": name, "used": used}, 201)


async def delete_voice(request: Request) -> Response:
    state, settings, name = request.state, request.state.settings, request.path_params["name"]
    if denied := may_change(request.scope, settings):
        raise denied
    if not await asyncio.to_thread(VoiceFolder(settings.voices).remove, name):
        raise UnknownVoice(f"no voice {name[:MAX_ECHO]!r}; have: {', '.join(state.tts.voices)}")
    await refresh(state.scheduler, state.tts)
    log.info("voice %s is deleted", ascii(name))
    return JSONResponse({"name": name, "status": "removed"})


async def prepared(scheduler: Scheduler, tts: "TTS", reference: Reference, said: str, field: str) -> "Voice":
    """Raises BadVoice, which names `field`, where the model has no sounds for what is said."""
    work = tts.referencing(reference.wav, said)
    voice = await scheduler.result(work, BackgroundTask(slot_seconds=SLOT_SECONDS))
    if unspoken := voice.prompt.unspoken(said):
        raise BadVoice(f"{field} has words that {tts.model} cannot read: {', '.join(unspoken)[:MAX_ECHO]}", field)
    return voice


def _reference(recording: bytes, text: str, limits: tuple[float, float]) -> tuple[Reference, str]:
    reference = reference_of(recording, "audio", *limits)
    return reference, check_said(text, "text", reference)


def _check_fields(form: Form) -> None:
    unknown = next((name for name in (*form.fields, *form.files) if name not in FIELDS), None)
    if unknown is not None:
        raise BadSpeech(f"unknown field {unknown[:MAX_ECHO]!r}; known are: {', '.join(FIELDS)}", unknown[:MAX_ECHO])


def _told(voice: "Voice") -> dict[str, object]:
    return {"name": voice.name, "language": voice.language, "seconds": round(voice.seconds, 2)}
