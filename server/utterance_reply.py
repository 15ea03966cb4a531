"""An utterance as it is spoken to one who writes it meanwhile, and what became of it. Knows no models."""

import asyncio
import contextlib
import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.errors import REFUSALS, ServerBusy, refusal_of
from server.requests import request_id
from server.scheduler import FIRST_SOUND_SECONDS, PlaybackDeadline, Scheduler
from server.settings import Settings
from server.stats import Listener, Stats
from server.text_messages import Pieces
from speech.audio import SAMPLE_RATE, pcm16, wav_header
from speech.request import Speech

if TYPE_CHECKING:
    from engine.utterance import Clause
    from tts_core import TTS

HURRY_SECONDS = 1.5
"""Clauses that have ended wait for more to go with them, as in a whole text, while more sound than this is left to
play."""
FRAME_SAMPLES = SAMPLE_RATE
"""In a binary message: clients refuse ones of over a megabyte, and who cancels has less to throw away."""

log = logging.getLogger("uvicorn.tts")


class UtteranceReply:
    """Text until `end`; then everything is said, `done` is sent, and `speak` returns. Raises UnknownVoice."""

    def __init__(self, websocket: WebSocket, speech: Speech, format: str, playback: PlaybackDeadline):
        state = websocket.state
        tts: TTS = state.tts
        self._settings: Settings = state.settings
        self._scheduler: Scheduler = state.scheduler
        self._stats: Stats = state.stats
        self._plan, self._utterance = tts.utterance(speech)
        self._websocket, self._format, self._playback = websocket, format, playback
        self._voice, self._id = speech.voice, request_id(websocket.headers)
        self._pieces, self._changed = Pieces(), asyncio.Event()
        self._characters, self._chunks = 0, 0
        self._began = self._arrived = 0.0
        self._first_audio, self._making_seconds = math.nan, 0.0
        self.sent_seconds = 0.0
        self.begun = False
        self._refused = False

    def add(self, piece: str) -> None:
        """Raises BadSpeech; then nothing was added."""
        text = self._pieces.whole(piece)
        self._arrived = time.perf_counter()
        if not self._characters:
            self._began = self._arrived
        self._characters += len(text)
        if not self._refused:
            self._utterance.add(text)
        self._changed.set()

    def end(self) -> None:
        self._utterance.end()
        self._changed.set()

    @property
    def unplanned_characters(self) -> int:
        return 0 if self._refused else self._utterance.unplanned_characters

    async def speak(self) -> None:
        """Raises WebSocketDisconnect, ClientDisconnect when the client has gone."""
        outcome, self.begun = "failed", True
        try:
            await self._tell({"started": self._description()})
            try:
                while (clause := await self._next_clause()) is not None:
                    await self._say(clause)
                await self._send_sound(self._utterance.rest())
                outcome = "completed"
            except tuple(REFUSALS) as error:
                outcome, self._refused = "refused", True
                await self._websocket.send_text(bytes(refusal_of(error).body).decode())
                await self._end_of_text()
            await self._tell({"done": {"seconds": round(self.sent_seconds, 3), "chunks": self._chunks}})
        except (WebSocketDisconnect, ClientDisconnect, asyncio.CancelledError):
            outcome = "disconnected" if outcome == "failed" else outcome
            raise
        finally:
            self.count(outcome)

    def count(self, outcome: str) -> None:
        """What became of it; of one without text, nothing."""
        if not self._characters:
            return
        self._stats.outcomes[outcome] += 1
        factor = self._making_seconds / self.sent_seconds if self.sent_seconds else math.nan
        if outcome == "completed" and self.sent_seconds:
            self._stats.real_time_factor.add(factor)
        log.info(
            "%s %s voice=%s characters=%d audio=%.2fs first=%.0fms rtf=%.3f",
            self._id,
            outcome,
            ascii(self._voice[:40])[1:-1],
            self._characters,
            self.sent_seconds,
            1000 * self._first_audio,
            factor,
        )

    def _description(self) -> dict[str, Any]:
        return {
            "request_id": self._id,
            "voice": self._voice,
            "seed": self._plan.seed,
            "format": self._format,
            "sample_rate": SAMPLE_RATE,
        }

    async def _next_clause(self) -> "Clause | None":
        """As soon as it has surely ended; None when all is said."""
        while True:
            self._changed.clear()
            ended, arrived = self._utterance.ended, self._arrived
            self._playback.ask_again()
            patience = self._patience()
            began = time.perf_counter()
            clause = await self._scheduler.result(self._utterance.planning(patience <= 0), self._playback)
            if clause is not None and not self.sent_seconds:
                self._began = arrived
            self._making_seconds += (time.perf_counter() - began) * (clause is not None)
            if clause is not None or ended:
                return clause
            waits = patience > 0 and self._utterance.unplanned_characters > 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience if waits else None):
                    await self._changed.wait()

    def _patience(self) -> float:
        """How long clauses that have ended wait for more that would go with them."""
        if not self.sent_seconds:
            return self._began + FIRST_SOUND_SECONDS - time.perf_counter()
        return self._playback.seconds_left - HURRY_SECONDS

    async def _end_of_text(self) -> None:
        while not self._utterance.ended:
            self._changed.clear()
            await self._changed.wait()

    async def _say(self, clause: "Clause") -> None:
        """Raises ServerBusy where all places are taken and nothing of it plays."""
        stats, most = self._stats, self._settings.max_waiting
        if self._playback.ask_again() and stats.listening >= most:
            raise ServerBusy(most, stats.seconds_to_a_free_place())
        with stats.listener(self._id) as served:
            served.sent_seconds, served.pending_seconds = self.sent_seconds, clause.seconds
            served.plays_until = self._playback.deadline if self.sent_seconds else None
            try:
                await self._make(clause, served)
            except (WebSocketDisconnect, ClientDisconnect, asyncio.CancelledError):
                stats.cancelled_steps += self._plan.steps * max(0.0, served.pending_seconds) / clause.seconds
                raise
        self._chunks += 1

    async def _make(self, clause: "Clause", served: Listener) -> None:
        told = {"text": clause.words, "start": round(clause.start, 4), "end": round(clause.start + clause.seconds, 4)}
        pieces = self._scheduler.drive(self._utterance.speak(clause), self._playback)
        async with contextlib.aclosing(pieces):
            began = time.perf_counter()
            async for samples in pieces:
                if samples is None:
                    continue
                self._making_seconds += time.perf_counter() - began
                if told:
                    await self._tell({"chunk": told | ({"unspoken": clause.unspoken} if clause.unspoken else {})})
                    told = {}
                await self._send_sound(samples)
                served.sent_seconds, served.plays_until = self.sent_seconds, self._playback.deadline
                served.pending_seconds -= len(samples) / SAMPLE_RATE
                began = time.perf_counter()

    async def _send_sound(self, samples: np.ndarray) -> None:
        """Waits until the client has room for it: a slow reader asks for no slot meanwhile, and holds one piece."""
        for at in range(0, len(samples), FRAME_SAMPLES):
            frame = samples[at : at + FRAME_SAMPLES]
            seconds = len(frame) / SAMPLE_RATE
            if not self.sent_seconds:
                self._first_audio = time.perf_counter() - self._began
                self._stats.first_audio.add(self._first_audio)
            self.sent_seconds += seconds
            self._stats.audio_seconds += seconds
            self._stats.underruns += self._playback.sent(seconds)
            header = wav_header(len(frame)) if self._format == "wav" else b""
            await self._websocket.send_bytes(header + pcm16(frame))

    async def _tell(self, event: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps(event, ensure_ascii=False))
