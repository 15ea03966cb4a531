"""The WebSocket /tts/stream: text comes in while it is written, sound goes out from the first clause on. Knows no
models.

What is sent and received: docs/http-api.md."""

import asyncio
import contextlib
import time
from collections import deque
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.connections import Connections
from server.errors import REFUSALS, ServerBusy, TooLarge, mistake, refusal_of
from server.guard import KEY_SUBPROTOCOL
from server.scheduler import PlaybackDeadline
from server.settings import Settings
from server.shutdown import ShuttingDown
from server.stats import Stats
from server.text_messages import Said, said, speech_of
from server.utterance_reply import UtteranceReply
from server.voices import refresh
from speech.request import BadSpeech

IDLE_SECONDS = 300.0
"""Who says nothing and hears nothing for so long is not there."""
SOCKETS_PER_PLACE = 8
"""An open socket takes a place among the listeners only while it has something to speak; so many may be open for each
of TTS_MAX_WAITING."""
MAX_UTTERANCES = 100
"""That wait to be spoken."""
GONE = (WebSocketDisconnect, ClientDisconnect)
ENDED, STOPPING, FAILED, IDLE = 1000, 1012, 1011, 1001


class TextStream:
    """One client: what it says is taken as it comes, while its utterances are spoken one after another."""

    def __init__(self, websocket: WebSocket):
        self._websocket = websocket
        self._settings: Settings = websocket.state.settings
        self._stats: Stats = websocket.state.stats
        self._connections: Connections = websocket.state.connections
        self._options: dict[str, Any] = {}
        self._replies: deque[UtteranceReply] = deque()
        """The first is being spoken."""
        self._open: UtteranceReply | None = None
        """The one that text is added to."""
        self._current: asyncio.Task[None] | None = None
        self._playback = PlaybackDeadline()
        self._ended = False
        """Nothing more will be said."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        try:
            self._check()
        except (BadSpeech, ServerBusy) as error:
            self._stats.outcomes["refused"] += 1
            await self._websocket.send_denial_response(refusal_of(error))
            return
        offered = self._websocket.scope.get("subprotocols", [])
        keyless = [name for name in offered if not name.startswith(KEY_SUBPROTOCOL)]
        await self._websocket.accept(next(iter(keyless or offered), None))
        with contextlib.suppress(*GONE):
            await self._serve()

    def _check(self) -> None:
        """Raises BadSpeech, and ServerBusy where a text would find no place anyway."""
        if self._websocket.scope["query_string"]:
            raise BadSpeech('/tts/stream takes no query; send {"voice": …} as the first message')
        most, open = self._settings.max_waiting, len(self._connections.sockets)
        if self._stats.listening >= most or open > SOCKETS_PER_PLACE * most:
            raise ServerBusy(max(self._stats.listening, open), self._stats.seconds_to_a_free_place())

    async def _serve(self) -> None:
        reading, speaking, stopping = (
            asyncio.create_task(work)
            for work in (self._read_all(), self._speak_all(), self._connections.stopping.wait())
        )
        tasks = reading, speaking, stopping
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            code, why = ENDED, ""
            if not reading.done() and not speaking.done():
                code, why = STOPPING, str(ShuttingDown())
                self._end()  # what has arrived is spoken
                await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                code, why = IDLE, f"nothing was said for {IDLE_SECONDS:g} s"
            else:
                speaking.result()
            await self._websocket.close(code, why)
        except asyncio.CancelledError:
            if self._websocket.state.shutdown.over:
                await self._fail(ShuttingDown(), STOPPING)
            raise
        except Exception as error:
            if not isinstance(error, GONE):
                await self._fail(error, FAILED)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._drop()

    async def _fail(self, error: Exception, code: int) -> None:
        """The last that is said."""
        with contextlib.suppress(*GONE):
            await self._refuse(error)
            await self._websocket.close(code, "see the error before")

    async def _refuse(self, error: Exception) -> None:
        reply = refusal_of(error) if type(error) in REFUSALS else mistake()
        await self._websocket.send_text(bytes(reply.body).decode())

    async def _read_all(self) -> None:
        """Until the client has fallen silent. Raises WebSocketDisconnect when it has left."""
        while (event := await self._event()) is not None:
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(event["code"])
            try:
                await self._take(said(event))
            except tuple(REFUSALS) as error:  # then nothing has changed
                await self._refuse(error)

    async def _event(self) -> Message | None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    return await self._websocket.receive()
            if time.monotonic() > self._playback.deadline + IDLE_SECONDS:
                return None

    async def _take(self, message: Said) -> None:
        """Raises what is in REFUSALS; then nothing has changed."""
        if message.command == "cancel":
            await self._cancel()
            return
        if self._ended:
            stops = self._connections.stopping.is_set()
            raise ShuttingDown() if stops else BadSpeech('nothing goes behind {"end": true}; connect again')
        if message.options and self._open is not None:
            first = next(iter(message.options))
            raise BadSpeech(f"{first} goes with the first message of an utterance, not into its middle", first)
        if message.text or message.options or message.command == "flush":
            options = self._options | message.options
            reply = self._open or await self._new_reply(options)
            self._add(reply, message.text or "")
            self._options = options
            if reply is not self._open:
                self._replies.append(reply)
                self._open = reply
        if message.command is not None and self._open is not None:
            self._open.end()
            self._open = None
        self._ended = message.command == "end"
        self._changed.set()

    async def _new_reply(self, options: dict[str, Any]) -> UtteranceReply:
        if len(self._replies) >= MAX_UTTERANCES:
            raise TooLarge(f"{MAX_UTTERANCES} utterances wait to be spoken; send more when some are done")
        await refresh(self._websocket.state.scheduler, self._websocket.state.tts)
        return UtteranceReply(self._websocket, *speech_of(options), self._playback)

    def _add(self, reply: UtteranceReply, text: str) -> None:
        most, waiting = self._settings.max_chars, sum(one.unplanned_characters for one in self._replies)
        if text and waiting + len(text) > most:
            raise TooLarge(
                f"{waiting} characters wait to be spoken, with {len(text)} more; at most {most} may: send them later"
            )
        reply.add(text)

    def _end(self) -> None:
        """What has arrived is all there is to be said."""
        if self._open is not None:
            self._open.end()
        self._open, self._ended = None, True
        self._changed.set()

    async def _cancel(self) -> None:
        """The model is free within a step, and nothing waits to be spoken."""
        spoken = self._replies[0].sent_seconds if self._replies else 0.0
        current, self._playback = self._current, PlaybackDeadline()
        self._drop()
        if current is not None:
            current.cancel()
            await asyncio.wait({current})
        self._changed.set()
        await self._websocket.send_json({"cancelled": {"seconds": round(spoken, 3)}})

    def _drop(self) -> None:
        for reply in self._replies:
            if not reply.begun:
                reply.count("disconnected")
        self._replies.clear()
        self._open = None

    async def _speak_all(self) -> None:
        """Until all is said and nothing more will be. Raises WebSocketDisconnect, ClientDisconnect."""
        while self._replies or not self._ended:
            if not self._replies:
                self._changed.clear()
                await self._changed.wait()
                continue
            reply = self._replies[0]
            self._current = asyncio.create_task(reply.speak())
            try:
                await asyncio.wait({self._current})
                if not self._current.cancelled():
                    self._current.result()
            finally:
                self._current.cancel()
                await asyncio.gather(self._current, return_exceptions=True)
                self._current = None
            if self._replies and self._replies[0] is reply:
                self._replies.popleft()
