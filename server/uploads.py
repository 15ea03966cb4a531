"""A new voice kept, one removed: recordings over HTTP. Knows files and forms, nothing of models."""

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.access import may_change
from server.errors import MAX_ECHO
from server.forms import Form
from server.scheduler import BackgroundTask, PlaybackDeadline
from server.voices import SLOT_SECONDS, described, refresh
from speech.reference import Reference, check_said, reference_of
from speech.request import BadSpeech, UnknownVoice
from speech.voice_files import BadVoice, VoiceFolder, check_name

if TYPE_CHECKING:
    from tts_core import TTS, Voice

FIELDS = NAME, TEXT, SOUND = "name", "text", "audio"
log = logging.getLogger("uvicorn.tts")


async def keep_voice(request: Request) -> Response:
    """From the next request on it is a voice, in every process of the folder."""
    state = request.state
    may_change(request.scope, state.settings)
    folder = VoiceFolder(state.settings.voices)
    async with state.forms.one(request) as form:
        _check_fields(form)
        name = form.field(NAME)
        check_name(name)
        await asyncio.to_thread(folder.check_free, name)
        reference, said = await referenced(request, form, SOUND, TEXT)
    voice = await prepared(request, reference, said, TEXT, BackgroundTask(slot_seconds=SLOT_SECONDS))
    await asyncio.to_thread(folder.keep, name, said, reference.wav)
    await refresh(state.scheduler, state.tts)
    log.info("voice %s is kept", name)
    used = {"start": round(reference.start, 2), "end": round(reference.end, 2)}
    return JSONResponse(described(voice) | {"name": name, "used": used}, 201)


async def delete_voice(request: Request) -> Response:
    state, name = request.state, request.path_params["name"]
    may_change(request.scope, state.settings)
    if not await asyncio.to_thread(VoiceFolder(state.settings.voices).remove, name):
        raise UnknownVoice(f"no voice {name[:MAX_ECHO]!r}; have: {', '.join(state.tts.voices)}")
    await refresh(state.scheduler, state.tts)
    log.info("voice %s is deleted", ascii(name))
    return JSONResponse({"name": name, "status": "removed"})


async def referenced(request: Request, form: Form, sound: str, text: str) -> tuple[Reference, str]:
    """What is used of the recording in the field `sound`, and what is said in it. Raises BadSpeech, BadVoice."""
    recording, said, limits = form.file(sound), form.field(text), request.state.tts.reference_seconds

    def read() -> tuple[Reference, str]:
        reference = reference_of(recording, sound, *limits)
        return reference, check_said(said, text, reference)

    async with request.state.forms.decoding:
        return await asyncio.to_thread(read)


async def prepared(
    request: Request, reference: Reference, said: str, field: str, who: PlaybackDeadline | BackgroundTask
) -> "Voice":
    """Raises BadVoice, which names `field`, where the model has no sounds for what is said."""
    tts: TTS = request.state.tts
    voice: Voice = await request.state.scheduler.result(tts.referencing(reference.wav, said), who)
    if unspoken := voice.prompt.unspoken(said):
        raise BadVoice(f"{field} has words that {tts.model} cannot read: {', '.join(unspoken)[:MAX_ECHO]}", field)
    return voice


def _check_fields(form: Form) -> None:
    unknown = next((name for name in (*form.fields, *form.files) if name not in FIELDS), None)
    if unknown is not None:
        raise BadSpeech(f"unknown field {unknown[:MAX_ECHO]!r}; known are: {', '.join(FIELDS)}", unknown[:MAX_ECHO])
