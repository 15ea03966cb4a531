"""POST /v1/tts, as viet-tts has it: a form with a text and a voice, or a sound to speak like. The sound is not kept."""

from starlette.requests import Request

from server.requests import Asked, speech_of
from server.scheduler import PlaybackDeadline
from server.uploads import prepared, referenced
from speech.request import FIELDS, BadSpeech, parse

SOUND, SAID, ADDRESSES = "audio_file", "ref_text", ("audio_url", "url")


async def read_form(request: Request) -> Asked:
    """What is not known here is passed over, and so is a field that is empty, as forms send what was not filled in."""
    async with request.state.forms.one(request) as form:
        given = {name: text for name, text in form.fields.items() if text}
        address = next((name for name in ADDRESSES if name in given), None)
        if address:
            raise BadSpeech(
                f"no address is fetched here; send the sound itself as {SOUND}, in place of {address}", address
            )
        wanted = {name: parse(name, text) for name, text in given.items() if name in FIELDS}
        sound = form.files.get(SOUND) or given.get(SOUND)
        if sound:
            wanted.pop("voice", None)  # which such forms send too
        speech = speech_of(wanted, request.state.settings.max_chars)
        if not sound:
            return Asked(speech)
        reference, said = await referenced(request, form, SOUND, SAID)
    return Asked(speech, voice=await prepared(request, reference, said, SAID, PlaybackDeadline()))
