"""Jobs with priorities under semaphores and limits (source system S4).

Every request becomes a job in a priority queue: urgent, high, normal, low, and inside a level first come first served.
A job starts when there is a place among JOBS (3) and, for its speech, among TTS_PLACES (2), and while CPU and memory
are below their limits: above them it waits. VISUAL_PLACES (4) bound the pictures of the system it comes from; here that
is the making of the WAV. A job that breaks is retried RETRIES times with a back-off. A monitor looks every 30 s, and at
once when a job cannot start.

Try: uvicorn bench.layered.resource_managed:app --timeout-graceful-shutdown 5
"""

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.layered.front import cores_for, front, parse, share_cores, spoken, wav
from speech.request import BadSpeech, Speech, UnknownVoice
from tts_core import TTS

LEVELS = {"urgent": 0, "high": 1, "normal": 2, "low": 3}
AGEING_SECONDS = 60
"""A job that waited so long counts one level higher: none starves."""
JOBS, TTS_PLACES, VISUAL_PLACES = (
    int(os.environ.get(name, default)) for name, default in (("JOBS", 3), ("TTS_PLACES", 2), ("VISUAL_PLACES", 4))
)
CPU_LIMIT, MEMORY_LIMIT = (
    float(os.environ.get(name, default)) for name, default in (("CPU_LIMIT", 80), ("MEMORY_LIMIT", 85))
)
MONITOR_SECONDS, HELD_SECONDS = 30, 0.25
RETRIES, BACK_OFF_SECONDS = 2, 0.2

log = logging.getLogger("uvicorn.tts")


@dataclass
class Job:
    speech: Speech
    level: int
    number: int
    done: asyncio.Future[bytes]
    created: float = field(default_factory=time.monotonic)
    state: str = "queued"
    attempts: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        return self.level - (time.monotonic() - self.created) // AGEING_SECONDS, self.number


class Resources:
    """What the machine gives, measured by a loop of its own."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        psutil.cpu_percent()
        self._own.cpu_percent()
        self.measure()

    def measure(self) -> None:
        """CPU of the others: a limit that counted our own work would hold every second job back."""
        cores = os.cpu_count() or 1
        self.cpu = max(0.0, psutil.cpu_percent() - self._own.cpu_percent() / cores)
        self.memory = psutil.virtual_memory().percent

    @property
    def room(self) -> bool:
        return bool(self.cpu < CPU_LIMIT and self.memory < MEMORY_LIMIT)

    async def monitor(self) -> None:
        while True:
            await asyncio.sleep(MONITOR_SECONDS)
            self.measure()
            log.info("cpu %.0f %%, memory %.0f %%", self.cpu, self.memory)


class Server:
    def __init__(self) -> None:
        self._waiting: list[Job] = []
        self._wake = asyncio.Event()
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self.finished: list[str] = []
        """Texts in the order in which they were finished, the last hundred."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._tts = TTS()
        share_cores(cores_for(TTS_PLACES))
        self.resources = Resources()
        self._jobs, self._speaking, self._drawing = (
            asyncio.Semaphore(places) for places in (JOBS, TTS_PLACES, VISUAL_PLACES)
        )
        self._executor = ThreadPoolExecutor(TTS_PLACES)
        loops = [asyncio.create_task(self._schedule()), asyncio.create_task(self.resources.monitor())]
        yield
        for job in self._waiting:
            job.done.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        self._executor.shutdown()

    async def speak(self, speech: Speech, priority: str = "normal") -> bytes:
        job = Job(speech, LEVELS[priority], next(self._numbers), asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._wake.set()
        try:
            return await job.done
        finally:
            if job in self._waiting:  # its caller left
                self._waiting.remove(job)

    async def _schedule(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._jobs.acquire()
                while self._waiting and not self.resources.room:
                    await asyncio.sleep(HELD_SECONDS)
                    self.resources.measure()
                if not self._waiting:
                    self._jobs.release()
                    break
                job = min(self._waiting, key=lambda job: job.rank)
                self._waiting.remove(job)
                task = asyncio.create_task(self._run(job))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        try:
            while True:
                job.state, job.attempts = "processing", job.attempts + 1
                try:
                    body = await self._make(job.speech)
                    break
                except (BadSpeech, UnknownVoice):
                    raise
                except Exception as error:
                    if job.attempts > RETRIES:
                        raise
                    log.warning("job %d: %s; again", job.number, error)
                    await asyncio.sleep(BACK_OFF_SECONDS * 2 ** (job.attempts - 1))
            job.state = "completed"
            self.finished = [*self.finished[-99:], job.speech.text]
            if not job.done.done():
                job.done.set_result(body)
        except Exception as error:  # its caller is told
            job.state = "failed"
            if not job.done.done():
                job.done.set_exception(error)
        finally:
            self._jobs.release()

    async def _make(self, speech: Speech) -> bytes:
        loop = asyncio.get_running_loop()
        async with self._speaking:
            samples = await loop.run_in_executor(self._executor, spoken, self._tts, speech)
        async with self._drawing:
            return wav(samples)

    async def tts(self, request: Request) -> Response:
        speech, rest = parse(await request.body())
        priority = str(rest.get("priority", "normal")).lower()
        if priority not in LEVELS:
            raise BadSpeech(f"priority must be one of {', '.join(LEVELS)}", "priority")
        return Response(await self.speak(speech, priority), media_type="audio/wav")

    async def status(self, request: Request) -> Response:
        return JSONResponse(self.health())

    def health(self) -> dict[str, Any]:
        return {
            "cpu": self.resources.cpu,
            "memory": self.resources.memory,
            "queue_size": len(self._waiting),
            "running": len(self._tasks),
            "finished": self.finished,
        }


server = Server()
app = front(
    server.speak,
    server.running,
    server.health,
    Route("/tts", server.tts, methods=["POST"]),
    Route("/status", server.status),
)
