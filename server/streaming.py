"""A request for speech as a reply, made while its client plays it, and what became of it. Knows no models."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from server.errors import REFUSALS, ServerBusy
from server.jobs.status import from_outside
from server.planning import planned, told
from server.requests import Asked, read_speech, request_id
from server.scheduler import BackgroundTask, PlaybackDeadline, Scheduler
from server.settings import Settings
from server.stats import Listener, Stats
from speech.audio import SAMPLE_RATE
from speech.formats import FORMATS, encoded
from speech.request import Speech

if TYPE_CHECKING:
    from tts_core import TTS, Plan

log = logging.getLogger("uvicorn.tts")
MAX_UNSPOKEN_CHARS = 100
"""Of the words a reply's header says are not in it; percent-encoded they are up to 1.2 kB."""


class SpeechResponse:
    """A speech as an ASGI reply: read, planned, begun, and only then answered with 200; or accepted as a job.

    Whatever becomes of it is counted here, once. One line in the log for a speech, without the text."""

    def __init__(
        self,
        request: Request,
        read: Callable[[Request], Awaitable[Asked]] = read_speech,
        plan_alone: bool = False,
    ):
        """`read`: what the request asks for, in the route's own words. `plan_alone`: what would be spoken is told, and
        when each word of it; a job's is that of a listener."""
        self._request, self._read, self._plan_alone = request, read, plan_alone
        self._settings: Settings = request.state.settings
        self._tts: TTS = request.state.tts
        self._scheduler: Scheduler = request.state.scheduler
        self._stats: Stats = request.state.stats
        self._playback = PlaybackDeadline()
        self._id = request_id(request.headers)
        self._began = time.perf_counter()
        self._sending_seconds = 0.0
        self._first_audio = math.nan
        self._owes_nothing = False
        self._served = Listener()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome, speech = "failed", None
        try:
            asked = await self._read(self._request)
            speech = asked.speech
            if asked.priority is None or self._plan_alone:
                outcome = await self._serve(asked, receive, send)
            else:
                async with _while_connected(receive):
                    job = await self._request.state.jobs.accept(speech, asked.priority, asked.idempotency_key)
                outcome = "queued"  # it is on disk, whoever still hears so
                root = scope.get("root_path", "")
                location = f"{root}/tts/status/{job['request_id']}"
                accepted = JSONResponse(from_outside(job, root), 202, {"location": location})
                await accepted(scope, receive, send)
        except ClientDisconnect:
            outcome = self._left(outcome)
        except tuple(REFUSALS):
            outcome = "refused"
            raise
        except asyncio.CancelledError:  # the grace is over; or the server under us (Ray's) says so that the client left
            if not self._request.state.shutdown.over or self._owes_nothing:
                outcome = self._left(outcome)
            elif not self._served.sent_seconds:
                outcome = "refused"
            raise
        finally:
            self._stats.outcomes[outcome] += 1
            if self._owes_nothing and self._served.sent_seconds:
                self._stats.real_time_factor.add(self._real_time_factor)
            if speech and outcome not in ("refused", "queued"):  # those have a line of the server's own
                self._report(speech, outcome)

    def _left(self, outcome: str) -> str:
        """Who hangs up at the last byte, as curl does, has had it all; a job is kept, whoever asked for it."""
        if outcome == "queued":
            return outcome
        done = "completed" if self._served.sent_seconds else "planned"
        return done if self._owes_nothing else "disconnected"

    async def _serve(self, asked: Asked, receive: Receive, send: Send) -> str:
        """What became of it. Raises ClientDisconnect as soon as the client has left, and ServerBusy."""
        most = self._settings.max_waiting
        if self._stats.listening >= most:
            raise ServerBusy(most, self._stats.seconds_to_a_free_place())
        head = self._request.method == "HEAD"
        with self._stats.listener(self._id) as self._served:
            async with _while_connected(receive):
                who = BackgroundTask() if head or self._plan_alone else self._playback
                plan = await planned(self._scheduler, self._tts, asked.speech, who, asked.voice)
                if self._plan_alone:
                    timing = await self._scheduler.result(self._tts.timing(plan, asked.speech.text), who)
                    await JSONResponse(told(plan, timing))(self._request.scope, receive, send)
                    return "planned"
                if head:
                    await send(self._start(plan, asked))
                    self._owes_nothing = True
                    await send({"type": "http.response.body", "body": b""})
                    return "planned"
                self._served.pending_seconds = plan.seconds
                try:
                    return await self._play(plan, asked, send)
                except (ClientDisconnect, asyncio.CancelledError):
                    share = self._served.pending_seconds / plan.seconds
                    self._stats.cancelled_steps += share * len(plan.chunks) * plan.steps
                    raise

    async def _play(self, plan: "Plan", asked: Asked, send: Send) -> str:
        framing, unsent, unheard = asked.framing, plan.samples, 0
        pieces = encoded(self._tts.speak(plan), FORMATS[asked.speech.format], plan.samples)
        async with contextlib.aclosing(self._scheduler.drive(pieces, self._playback)) as parts:
            async for part in parts:
                unheard += part.samples if part else 0
                if not part or not part.data:  # an encoder may keep the first samples back
                    continue
                if not self._served.sent_seconds:
                    self._first_audio = time.perf_counter() - self._began
                    self._stats.first_audio.add(self._first_audio)
                    await send(self._start(plan, asked))
                seconds = unheard / SAMPLE_RATE
                self._served.sent_seconds += seconds
                self._served.pending_seconds -= seconds
                self._stats.audio_seconds += seconds
                self._stats.underruns += self._playback.sent(seconds)
                self._served.plays_until = self._playback.deadline
                await self._hand_over(send, framing.part(part.data) if framing else part.data)
                unsent, unheard = unsent - unheard, 0
                self._owes_nothing = not unsent
        end = framing.end(plan.samples) if framing else b""
        await send({"type": "http.response.body", "body": end, "more_body": False})
        return "completed"

    def _start(self, plan: "Plan", asked: Asked) -> Message:
        format = FORMATS[asked.speech.format]
        headers = {
            "content-type": format.content_type,
            "x-seed": str(plan.seed),
            "x-audio-duration": f"{plan.seconds:.3f}",
            "x-request-id": self._id,
        }
        if asked.framing:
            headers["content-type"] = asked.framing.content_type
        elif format.size:
            headers["content-length"] = str(format.size(plan.samples))
        if plan.unspoken:
            headers["x-unspoken"] = quote(" ".join(plan.unspoken)[:MAX_UNSPOKEN_CHARS])
        return {"type": "http.response.start", "status": 200, "headers": Headers(headers).raw}

    async def _hand_over(self, send: Send, body: bytes) -> None:
        """Waits until the client has room for it: a slow reader asks for no slot meanwhile, and holds one piece."""
        began = time.perf_counter()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        self._sending_seconds += time.perf_counter() - began

    @property
    def _real_time_factor(self) -> float:
        """Seconds from arrival per second of sound, without those in which the client was taking it."""
        sent = self._served.sent_seconds
        return (time.perf_counter() - self._began - self._sending_seconds) / sent if sent else math.nan

    def _report(self, speech: Speech, outcome: str) -> None:
        log.info(
            "%s %s voice=%s characters=%d audio=%.2fs first=%.0fms rtf=%.3f",
            self._id,
            outcome,
            ascii(speech.voice[:40])[1:-1],
            len(speech.text),
            self._served.sent_seconds,
            1000 * self._first_audio,
            self._real_time_factor,
        )


@contextlib.asynccontextmanager
async def _while_connected(receive: Receive) -> AsyncIterator[None]:
    """The body is cancelled when the client leaves, whatever it waits for; then ClientDisconnect is raised."""
    body, left = asyncio.current_task(), False
    assert body is not None

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        body.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not left or body.uncancel():  # the server ends too
            raise
        raise ClientDisconnect from None
    finally:
        watching.cancel()
