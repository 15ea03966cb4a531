"""A speech's lengths before its inference, in slots, and what no reply can hold. Knows not how lengths are found."""

from typing import TYPE_CHECKING

from server.scheduler import BackgroundTask, PlaybackDeadline, Scheduler
from speech.audio import MAX_WAV_SAMPLES, SAMPLE_RATE
from speech.request import BadSpeech, Speech

if TYPE_CHECKING:
    from tts_core import TTS, Plan


async def planned(scheduler: Scheduler, tts: "TTS", speech: Speech, who: PlaybackDeadline | BackgroundTask) -> "Plan":
    """Raises UnknownVoice, and BadSpeech for what cannot be spoken so, or not be sent."""
    plan = await scheduler.result(tts.planning(speech), who)
    if plan.samples > MAX_WAV_SAMPLES:
        most = MAX_WAV_SAMPLES / SAMPLE_RATE
        raise BadSpeech(
            f"the speech would last {plan.seconds:.0f} s, and a WAV file holds at most {most:.0f} s; "
            "send the text in parts",
            "text",
        )
    return plan
