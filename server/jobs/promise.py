"""What a job was accepted as: the speech, and the very voice, whatever is called so by now."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from server.jobs.store import Job
from speech.request import BadSpeech, Speech

if TYPE_CHECKING:
    from tts_core import Voice


class VoiceGone(Exception):
    """Between a claim and the work on it the voice was deleted or replaced."""


def promised(job: Job, voices: Iterable["Voice"]) -> tuple[Speech, "Voice | None"]:
    """None for a job of the table's first version, which tells a name alone. Raises BadSpeech, VoiceGone."""
    try:
        speech = Speech(**json.loads(job.speech))
    except (TypeError, json.JSONDecodeError) as error:
        raise BadSpeech(f"it was accepted by another version of this server: {error}") from None
    voice = next((one for one in voices if one.fingerprint == job.voice), None)
    if voice is None and job.voice is not None:
        raise VoiceGone
    return speech, voice
