"""The layered server that direct is compared with: executor → service → pool → wrapper → model, a whole file at the end
(source system S3).

Each layer is switched on by its name in LAYERS, so that its own cost can be measured; none: one model, one executor
thread, one file.

    service     a class between route and model that owns settings, counts requests, reads fields out and in again
    pool        INSTANCES (2) models behind an asyncio.Queue, each lent to one request at a time
    warmup      one sentence spoken by every model before the server is ready
    wrapper     a class around the model with a lock, its own clock and its own checks of the result
    validation  the text checked, cleaned and measured a second time
    encode      the WAV made by libsndfile in memory

The models share the cores: each is given its part of them. THREADS=all leaves torch's own setting, all cores for each
model.

Try: LAYERS=service,pool,warmup,wrapper,validation,encode uvicorn bench.layered.pool:app
"""

import asyncio
import contextlib
import io
import logging
import os
import re
import threading
import time
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import soundfile

from bench.layered.front import cores_for, front, share_cores, spoken, wav
from speech.audio import SAMPLE_RATE
from speech.request import BadSpeech, Speech
from tts_core import TTS

ALL = ("service", "pool", "warmup", "wrapper", "validation", "encode")
LAYERS = [layer for layer in os.environ.get("LAYERS", ",".join(ALL)).split(",") if layer]
assert set(LAYERS) <= set(ALL), LAYERS
INSTANCES = int(os.environ.get("INSTANCES", 2)) if "pool" in LAYERS else 1
WARM_UP = "The model is warmed up with one sentence of usual length."

log = logging.getLogger("uvicorn.tts")


class Speaker(Protocol):
    def generate(self, speech: Speech) -> np.ndarray: ...


class Bare:
    """The model itself."""

    def __init__(self, tts: TTS):
        self.tts = tts

    def generate(self, speech: Speech) -> np.ndarray:
        return spoken(self.tts, speech)


class Wrapper:
    """A model in a lock, timed, its result checked."""

    def __init__(self, tts: TTS):
        self._bare, self._lock = Bare(tts), threading.Lock()
        self.generated, self.seconds = 0, 0.0

    def generate(self, speech: Speech) -> np.ndarray:
        with self._lock:
            began = time.perf_counter()
            samples = self._bare.generate(speech)
            took = time.perf_counter() - began
        if not samples.size or not np.isfinite(samples).all():
            raise RuntimeError("the model made no sound")
        self.generated, self.seconds = self.generated + 1, self.seconds + took
        log.debug("generated %.2f s in %.3f s", samples.size / SAMPLE_RATE, took)
        return samples


class Pool:
    """Models, each lent to one request at a time; whoever finds none waits in the queue's order."""

    def __init__(self, speakers: list[Speaker]):
        self.speakers = speakers
        self._free: asyncio.Queue[Speaker] = asyncio.Queue()
        for speaker in speakers:
            self._free.put_nowait(speaker)

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Speaker]:
        speaker = await self._free.get()
        try:
            yield speaker
        finally:
            self._free.put_nowait(speaker)


class Single:
    """No pool: the one model, which the executor's one thread gives to one request after the other."""

    def __init__(self, speakers: list[Speaker]):
        self.speakers = speakers

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Speaker]:
        yield self.speakers[0]


class Service:
    """What layered servers put between route and model: a request becomes a call with named arguments, counted and
    timed."""

    def __init__(self, synthesize: Callable[[Speech], Awaitable[bytes]]) -> None:
        self._synthesize = synthesize
        self.stats = {"total": 0, "completed": 0, "failed": 0, "seconds": 0.0}

    async def process(self, **fields: Any) -> bytes:
        self.stats["total"] += 1
        began = time.perf_counter()
        try:
            made = await self._synthesize(Speech(**fields))
        except Exception:
            self.stats["failed"] += 1
            raise
        self.stats["completed"] += 1
        self.stats["seconds"] += time.perf_counter() - began
        return made


def validated(speech: Speech) -> Speech:
    """What has been checked once, checked again: characters one by one, words, length, repeats."""
    text = unicodedata.normalize("NFC", speech.text)
    if any(unicodedata.category(c) == "Cc" and not c.isspace() for c in text):
        raise BadSpeech("text has control characters", "text")
    if not re.search(r"\w", text):
        raise BadSpeech("text has no word", "text")
    if any(len(word) > 200 for word in re.findall(r"\S+", text)):
        raise BadSpeech("text has a word of over 200 characters", "text")
    if re.search(r"(.)\1{49}", text):
        raise BadSpeech("text repeats one character fifty times", "text")
    if len(text.encode()) > 80_000:
        raise BadSpeech("text is too long", "text")
    return Speech(**(asdict(speech) | {"text": re.sub(r"\s+", " ", text).strip()}))


def encoded(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


class Server:
    """The layers in their order."""

    async def speak(self, speech: Speech) -> bytes:
        if "validation" in LAYERS:
            speech = validated(speech)
        if "service" in LAYERS:
            return await self.service.process(**asdict(speech))
        return await self.synthesize(speech)

    async def synthesize(self, speech: Speech) -> bytes:
        loop = asyncio.get_running_loop()
        async with self.pool.lent() as speaker:
            samples = await loop.run_in_executor(self.executor, speaker.generate, speech)
        return encoded(samples) if "encode" in LAYERS else wav(samples)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        models = [TTS() for _ in range(INSTANCES)]
        if INSTANCES > 1 and os.environ.get("THREADS") != "all":
            share_cores(cores_for(INSTANCES))
        speakers: list[Speaker] = [Wrapper(tts) if "wrapper" in LAYERS else Bare(tts) for tts in models]
        self.pool = Pool(speakers) if "pool" in LAYERS else Single(speakers)
        self.executor = ThreadPoolExecutor(INSTANCES, thread_name_prefix="model")
        self.service = Service(self.synthesize)
        if "warmup" in LAYERS:
            for speaker in speakers:
                await asyncio.get_running_loop().run_in_executor(
                    self.executor, speaker.generate, Speech(WARM_UP, seed=0)
                )
        yield
        self.executor.shutdown()

    def health(self) -> dict[str, Any]:
        return {
            "layers": LAYERS,
            "instances": INSTANCES,
            "stats": self.service.stats,
            "model": type(self.pool.speakers[0]).__name__,
        }


server = Server()
app = front(server.speak, server.running, server.health)
