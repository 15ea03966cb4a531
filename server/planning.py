"""A speech's lengths and times before its inference, in slots, and what no reply can hold. Knows not how they are
found."""

from typing import TYPE_CHECKING, Any

from server.scheduler import BackgroundTask, PlaybackDeadline, Scheduler
from speech.audio import MAX_WAV_SAMPLES, SAMPLE_RATE
from speech.request import BadSpeech, Speech

if TYPE_CHECKING:
    from engine.word_times import ChunkTime, Timing, WordTime
    from tts_core import TTS, Plan, Voice


async def planned(
    scheduler: Scheduler,
    tts: "TTS",
    speech: Speech,
    who: PlaybackDeadline | BackgroundTask,
    voice: "Voice | None" = None,
) -> "Plan":
    """`voice`: this one, whatever is named. Raises UnknownVoice, BadSpeech for what cannot be spoken or sent so."""
    plan = await scheduler.result(tts.planning(speech, voice), who)
    if plan.samples > MAX_WAV_SAMPLES:
        most = MAX_WAV_SAMPLES / SAMPLE_RATE
        raise BadSpeech(
            f"the speech would last {plan.seconds:.0f} s, and a WAV file holds at most {most:.0f} s; "
            "send the text in parts",
            "text",
        )
    return plan


def told(plan: "Plan", timing: "Timing") -> dict[str, Any]:
    """The body of POST /tts/plan. Times are seconds from the first sample."""
    words = [[{"word": word.word} | _span(word) for word in chunk.words] for chunk in timing.chunks]
    told_chunks = zip(timing.chunks, words, strict=True)
    return {
        "seconds": plan.seconds,
        "samples": plan.samples,
        "language": plan.language,
        "exact": timing.exact,
        "phonemes": timing.phonemes,
        "unspoken": plan.unspoken,
        "chunks": [{"text": chunk.text, "words": own} | _span(chunk) for chunk, own in told_chunks],
        "words": [word for own in words for word in own],
    }


def _span(timed: "WordTime | ChunkTime") -> dict[str, float]:
    return {"start": round(timed.start, 4), "end": round(timed.end, 4)}
