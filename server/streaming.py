"""Who is listening: a speech becomes a reply while its client plays it. Knows replies and turns; nothing of models or routes."""

import asyncio
import contextlib
import logging
import math
import secrets
import time

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from server.scheduler import Listener
from server.shutdown import Stopped
from server.studio import Studio
from speech.audio import SAMPLE_RATE, WAV_HEADER_BYTES, pcm16, wav_header
from speech.request import BadSpeech, Speech, UnknownVoice
from tts_core import Plan

STALL_SECONDS = 300
"""Who takes nothing for so long is not listening: the place is needed."""

log = logging.getLogger("uvicorn.tts")


class Full(Exception):
    """As many listeners as this server takes."""

    def __init__(self, listeners: int, seconds: int):
        super().__init__(f"{listeners} listeners are being served, and more would only wait; try again in {seconds} s")
        self.seconds = seconds


class Listening:
    """A speech as an ASGI reply: planned, begun, and only then answered with 200. One line in the log, without the text."""

    def __init__(self, request: Request, speech: Speech, most: int):
        """At most `most` listeners at once: Full when called as one too many."""
        self._request, self._speech, self._most = request, speech, most
        self._studio: Studio = request.state.studio
        self._listener = Listener()
        self._id = secrets.token_hex(6)
        self._began = time.perf_counter()
        self._sending_seconds = 0.0
        self._sent_seconds = 0.0
        self._owed_seconds = 0.0
        self._first_audio = math.nan
        self._outcome = "failed"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stats = self._studio.stats
        if stats.listening >= self._most:
            raise Full(self._most, stats.seconds_to_a_free_place())
        stats.waiting += 1
        gone = asyncio.create_task(_disconnected(receive))
        try:
            with self._request.state.stopping.cuts(asyncio.current_task()):
                plan = await self._studio.plan(self._speech, self._listener)
                stats.owed_seconds += plan.seconds
                self._owed_seconds = plan.seconds
                self._outcome = await self._play(plan, send, gone)
        except (BadSpeech, UnknownVoice):
            self._outcome = "refused"
            raise
        except Stopped:
            if not self._sent_seconds:
                self._outcome = "refused"
                raise
            # Returning short of the Content-Length: the server under us drops the connection.
        finally:
            gone.cancel()
            stats.owed_seconds -= self._owed_seconds
            if self._sent_seconds:
                stats.running -= 1
            else:
                stats.waiting -= 1
            if self._outcome != "refused":  # then it is an error like others, counted and logged with them
                stats.outcomes[self._outcome] += 1
                self._report()

    async def _play(self, plan: Plan, send: Send, gone: asyncio.Task) -> str:
        """What became of it: completed or left."""
        stats = self._studio.stats
        async with contextlib.aclosing(self._studio.speak(plan, self._listener)) as sound:
            async for samples in sound:
                if samples is None:
                    if gone.done():
                        return self._left(plan)
                    continue
                seconds = len(samples) / SAMPLE_RATE
                body = pcm16(samples)
                if not self._sent_seconds:
                    stats.waiting, stats.running = stats.waiting - 1, stats.running + 1
                    self._first_audio = time.perf_counter() - self._began
                    stats.first_audio.add(self._first_audio)
                    body = wav_header(plan.samples) + body
                    await send(self._start(plan))
                self._sent_seconds += seconds
                self._owed_seconds -= seconds
                stats.owed_seconds -= seconds
                stats.late += self._listener.sent(seconds)
                try:
                    await self._hand_over(send, body)
                except OSError:  # gone, or stalled
                    return self._left(plan)
        stats.real_time_factor.add(self._real_time_factor)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return "completed"

    def _start(self, plan: Plan) -> Message:
        return {
            "type": "http.response.start",
            "status": 200,
            "headers": Headers(reply_headers(plan) | {"x-request-id": self._id}).raw,
        }

    async def _hand_over(self, send: Send, body: bytes) -> None:
        """Waits until the client has room for it: a slow reader asks for no turn meanwhile, and holds one piece of sound."""
        began = time.perf_counter()
        async with asyncio.timeout(STALL_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        self._sending_seconds += time.perf_counter() - began

    def _left(self, plan: Plan) -> str:
        self._studio.stats.spared_steps += self._owed_seconds / plan.seconds * len(plan.chunks) * plan.steps
        return "left"

    @property
    def _real_time_factor(self) -> float:
        """Seconds from arrival per second of sound, without those in which the client was taking it."""
        return (
            (time.perf_counter() - self._began - self._sending_seconds) / self._sent_seconds
            if self._sent_seconds
            else math.nan
        )

    def _report(self) -> None:
        speech = self._speech
        log.info(
            "%s %s voice=%s characters=%d audio=%.2fs first=%.0fms rtf=%.3f",
            self._id,
            self._outcome,
            ascii(speech.voice[:40])[1:-1],
            len(speech.text),
            self._sent_seconds,
            1000 * self._first_audio,
            self._real_time_factor,
        )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def reply_headers(plan: Plan) -> dict[str, str]:
    return {
        "content-type": "audio/wav",
        "content-length": str(WAV_HEADER_BYTES + 2 * plan.samples),
        "x-seed": str(plan.seed),
        "x-audio-duration": f"{plan.seconds:.3f}",
    }
