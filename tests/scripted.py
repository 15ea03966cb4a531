"""A server that speaks as it is told to: a tone per text, delays, truncated and endless replies, JSON errors, downtime.

Not part of the product."""

import asyncio
import hashlib
import io
import json
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

RATE = 24_000
SECONDS_PER_CHARACTER = 0.05
SILENT_SECONDS = 0.12
"""Before the tone, as a real voice has."""

Script = Callable[["Scripted", dict[str, Any]], "Reply | float | None"]


@dataclass
class Reply:
    """What to send instead of speech."""

    status: int = 200
    body: bytes = b""
    kind: str = "audio/wav"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes after which the connection is dropped."""
    endless: bytes = b""
    """Sent again and again behind the body, until the client leaves."""


def natural_seconds(text: str) -> float:
    return round(0.3 + SECONDS_PER_CHARACTER * len(text), 3)


def seconds_of(line: dict[str, Any]) -> float:
    return float(line.get("duration") or natural_seconds(line["text"]) / line.get("speed", 1.0))


def speech(line: dict[str, Any]) -> bytes:
    """A WAV file that differs with everything asked for; its length is the text's, or the duration."""
    seconds = seconds_of(line)
    silence = np.zeros(round(SILENT_SECONDS * RATE))
    pitch = 200 + int(hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()[:6], 16) % 2000
    tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(max(0, round(seconds * RATE) - len(silence))) / RATE)
    samples = np.concatenate([silence, tone])[: round(seconds * RATE)]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()


def plan(line: dict[str, Any]) -> bytes:
    """After the silence the words share the rest by their number."""
    seconds, words = seconds_of(line), line["text"].split()
    each = (seconds - SILENT_SECONDS) / len(words)
    starts = [SILENT_SECONDS + each * number for number in range(len(words))]
    times = [{"word": word, "start": start, "end": start + each} for word, start in zip(words, starts, strict=True)]
    return json.dumps({"seconds": seconds, "words": times}).encode()


class Scripted:
    """`script(self, line)` returns a Reply, or seconds to wait before the speech, or None. Runs in a thread of its
    own."""

    def __init__(
        self,
        script: Script | None = None,
        model: str = "scripted",
        voices: list[str] | None = None,
        tells_lengths: bool = True,
        refuses: str = "",
        natural: Callable[[str], float] = natural_seconds,
        health: Reply | None = None,
        times: Callable[[dict[str, Any]], Reply] | None = None,
    ):
        self.script, self.model, self.voices = script, model, voices or ["default", "michael"]
        self.tells_lengths, self.refuses, self.natural = tells_lengths, refuses, natural
        self.health, self.times = health, times or (lambda line: Reply(body=plan(line), kind="application/json"))
        """Instead of its model and voices."""
        self.sent_bytes = 0
        self.planned: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.spans: list[tuple[float, float]] = []
        """When each cue's request began and ended."""
        self.spoken: list[dict[str, Any]] = []
        """Sent to the last byte."""
        self.heads, self.broken_heads = 0, 0
        self.now, self.most = 0, 0
        self.authorizations: set[str] = set()
        """As requests had them; "" where they had none."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        async def listen() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)

    def down(self) -> None:
        """As kill -9: no more connections, and those there are break."""

        async def close() -> None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split()
                length = next(
                    (int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")), 0
                )
                body = await reader.readexactly(length)
                sent = [line for line in head if line.lower().startswith("authorization:")]
                self.authorizations.add(sent[0].partition(": ")[2] if sent else "")
                if not await self._answer(method, target, body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if target == "/health":
            return await self._send(
                writer,
                self.health
                or Reply(
                    body=json.dumps({"model": self.model, "voices": self.voices}).encode(), kind="application/json"
                ),
            )
        if method == "HEAD":
            self.heads += 1
            if self.heads <= self.broken_heads:
                return False
            asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
            headers = {"x-audio-duration": f"{self.natural(asked['text']):.3f}"}
            return await self._send(writer, Reply(headers=headers) if self.tells_lengths else Reply(405), bodiless=True)
        if (method, target) == ("POST", "/tts/plan"):
            self.planned.append(json.loads(body))
            return await self._send(writer, self.times(self.planned[-1]))
        if (method, target) != ("POST", "/tts"):
            return await self._send(writer, Reply(404, b"Not Found", "text/plain"))
        line = json.loads(body)
        self.asked.append(line)
        if self.refuses in line:
            message = json.dumps({"error": {"message": f"unknown field '{self.refuses}'"}}).encode()
            return await self._send(writer, Reply(400, message, "application/json"))
        told = self.script(self, line) if self.script else None
        if isinstance(told, Reply):
            return await self._send(writer, told)
        began = time.monotonic()
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(told or 0)
            sent = await self._send(writer, Reply(body=speech(line)))
        finally:
            self.now -= 1
            self.spans.append((began, time.monotonic()))
        self.spoken.append(line)
        return sent

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply, bodiless: bool = False) -> bool:
        length = {"connection": "close"} if reply.endless else {"content-length": str(len(reply.body))}
        headers = {"content-type": reply.kind} | length | reply.headers
        fields = [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([f"HTTP/1.1 {reply.status} scripted", *fields, "", ""]).encode())
        writer.write(b"" if bodiless else reply.body[: reply.cut])
        await writer.drain()
        while reply.endless:
            writer.write(reply.endless)
            self.sent_bytes += len(reply.endless)
            await writer.drain()  # ends with ConnectionError
        return reply.cut is None

    def close(self) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def scripted(script: Script | None = None, **behaviour: Any) -> Iterator[Scripted]:
    server = Scripted(script, **behaviour)
    server._thread.start()
    server.up()
    try:
        yield server
    finally:
        server.close()
