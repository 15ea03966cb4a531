"""Long-lived worker processes behind a manager, JSON lines over their pipes (source system S2); and its ancestor, a
process per line.

WORKERS (2) processes load the model once each. A worker that dies, answers no ping in time or takes too long over a
line is killed and replaced, and its line is spoken by the next one, at most ATTEMPTS times. WORKERS=per-line starts a
process for each request instead.

Try: uvicorn bench.layered.process_workers:app
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.layered.front import cores_for, front
from speech.request import BadSpeech, Speech, UnknownVoice

PER_LINE = os.environ.get("WORKERS") == "per-line"
WORKERS = 2 if PER_LINE else int(os.environ.get("WORKERS", 2))
LINE_SECONDS = float(os.environ.get("LINE_SECONDS", 120))
LOAD_SECONDS = 60
PING_SECONDS, PING_EVERY_SECONDS = 5, 10
ATTEMPTS = 3
MISTAKES = {"BadSpeech": BadSpeech, "UnknownVoice": UnknownVoice}

log = logging.getLogger("uvicorn.tts")


class WorkerLost(Exception):
    """It died, or said nothing in time."""


class Worker:
    """One process, asked one thing at a time."""

    _ids = itertools.count(1)

    def __init__(self, process: Process):
        self.process = process
        self.load_seconds = 0.0

    @classmethod
    async def started(cls) -> "Worker":
        """The process with its share of the cores, not yet loaded."""
        shared = os.environ | {"WORKER_THREADS": str(cores_for(WORKERS))}
        command = [sys.executable, "-m", "bench.layered.worker"]
        return cls(
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=shared, start_new_session=True)
        )

    async def ask(self, command: str, seconds: float, **fields: object) -> dict[str, Any]:
        """The reply. Raises WorkerLost, and the caller's mistake."""
        name = next(self._ids)
        assert self.process.stdin and self.process.stdout
        try:
            async with asyncio.timeout(seconds):
                self.process.stdin.write(json.dumps({"id": name, "command": command, **fields}).encode() + b"\n")
                await self.process.stdin.drain()
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise WorkerLost(f"worker {self.process.pid} said nothing for {seconds} s") from None
        except OSError as error:
            raise WorkerLost(f"worker {self.process.pid}: {error}") from None
        if not line:
            raise WorkerLost(f"worker {self.process.pid} is gone")
        reply: dict[str, Any] = json.loads(line)
        if reply["id"] != name:
            raise WorkerLost(f"worker {self.process.pid} answered {reply['id']} instead of {name}")
        if not reply["ok"]:
            raise MISTAKES.get(reply["kind"], RuntimeError)(reply["error"])
        return reply

    async def load(self) -> None:
        began = time.perf_counter()
        await self.ask("load_model", LOAD_SECONDS)
        self.load_seconds = time.perf_counter() - began

    async def kill(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        with contextlib.suppress(WorkerLost):
            await self.ask("shutdown", PING_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), PING_SECONDS)
        await self.kill()


class Manager:
    """Whoever is free takes the next line; the rest wait in order."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        self.workers: list[Worker] = []
        self._busy: set[Worker] = set()
        self._slots = asyncio.Semaphore(WORKERS)
        self.stats = {"requests": 0, "pending": 0, "replaced": 0, "redone": 0}
        self._background: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            if PER_LINE:
                yield
                return
            await asyncio.gather(*(self._hire() for _ in range(WORKERS)))
            watch = asyncio.create_task(self._watch())
            yield
            watch.cancel()
            await asyncio.gather(watch, *self._background, return_exceptions=True)
            await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def _hire(self) -> None:
        worker = await Worker.started()
        self.workers.append(worker)
        try:
            await worker.load()
        except (WorkerLost, RuntimeError):
            self.workers.remove(worker)
            await worker.kill()
            raise
        self._free.put_nowait(worker)

    async def _replace(self, worker: Worker, why: Exception) -> None:
        log.warning("%s; another one is started", why)
        self.workers.remove(worker)
        self.stats["replaced"] += 1
        await worker.kill()
        task = asyncio.create_task(self._hire())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _watch(self) -> None:
        """Pings those who have nothing to do: a busy one is watched by its line's own time limit."""
        while True:
            await asyncio.sleep(PING_EVERY_SECONDS)
            for _ in range(self._free.qsize()):
                worker = self._free.get_nowait()
                try:
                    await worker.ask("ping", PING_SECONDS)
                    self._free.put_nowait(worker)
                except WorkerLost as lost:
                    await self._replace(worker, lost)

    async def speak(self, speech: Speech) -> bytes:
        self.stats["requests"] += 1
        self.stats["pending"] += 1
        try:
            return await (self._speak_in_a_new_process(speech) if PER_LINE else self._speak(speech))
        finally:
            self.stats["pending"] -= 1

    async def _speak(self, speech: Speech) -> bytes:
        for attempt in range(ATTEMPTS):
            worker = await self._free.get()
            self._busy.add(worker)
            try:
                body = await self._generate(worker, speech)
            except WorkerLost as lost:
                await self._replace(worker, lost)
                self.stats["redone"] += attempt + 1 < ATTEMPTS
                continue
            except asyncio.CancelledError:  # it still answers a question that nobody asks any more
                await self._replace(worker, WorkerLost("its caller left"))
                raise
            except Exception:
                self._free.put_nowait(worker)
                raise
            finally:
                self._busy.discard(worker)
            self._free.put_nowait(worker)
            return body
        raise WorkerLost(f"{ATTEMPTS} workers were lost over one text")

    async def _speak_in_a_new_process(self, speech: Speech) -> bytes:
        async with self._slots:
            worker = await Worker.started()
            try:
                await worker.load()
                body = await self._generate(worker, speech)
                await worker.stop()
                return body
            finally:
                await worker.kill()

    async def _generate(self, worker: Worker, speech: Speech) -> bytes:
        file = self._folder / f"{time.monotonic_ns()}-{worker.process.pid}.wav"
        try:
            await worker.ask("generate", LINE_SECONDS, speech=asdict(speech), file=str(file))
            return await asyncio.to_thread(file.read_bytes)
        finally:
            file.unlink(missing_ok=True)

    def health(self) -> dict[str, Any]:
        workers = [
            {"pid": w.process.pid, "busy": w in self._busy, "load_seconds": w.load_seconds} for w in self.workers
        ]
        return {"workers": workers, "stats": self.stats}


server = Manager()
app = front(server.speak, server.running, server.health, errors={WorkerLost: 503})
