"""Speech for later: accepted jobs, kept in one SQLite file beside their audio, and spoken when nobody listens.

Knows turns and files, nothing of HTTP. What is accepted is on disk first, so a kill -9 at any moment loses nothing; several processes
may share the folder: a job is claimed in one SQL statement, and a claim is worth as much as the lock that its process holds.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import secrets
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from server.scheduler import BackgroundTask, Scheduler
from server.stats import Stats
from server.system_load import SystemLoad
from speech.audio import SAMPLE_RATE, pcm16, wav_header
from speech.request import BadSpeech, Speech, UnknownVoice

if TYPE_CHECKING:
    from tts_core import TTS

PATIENCE_SECONDS = {"urgent": 0, "high": 10 * 60, "normal": 60 * 60, "low": 4 * 60 * 60}
"""A job is due so long after it was accepted, and the earliest due goes first: so priorities age, and each is finished some day."""
BACK_OFF_SECONDS = 2, 8, 32
"""Before each retry. As many retries as there are pauses."""
LOOK_SECONDS = 1.0
"""How often to look for jobs that other processes accepted, for pauses that are over and for room on the machine."""
TIDY_SECONDS = 60
STATES = "queued", "processing", "completed", "failed", "cancelled"

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, speech TEXT NOT NULL, priority TEXT NOT NULL, state TEXT NOT NULL, owner TEXT,
    created REAL NOT NULL, due REAL NOT NULL, not_before REAL NOT NULL DEFAULT 0, finished REAL,
    samples INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0, processing_time REAL, failures INTEGER NOT NULL DEFAULT 0, error TEXT
);
CREATE INDEX IF NOT EXISTS jobs_in_order ON jobs (state, due, created, id);
"""
NEXT = "FROM jobs WHERE state = 'queued' AND not_before <= ? ORDER BY due, created, id LIMIT 1"

log = logging.getLogger("uvicorn.tts")


class UnknownJob(LookupError):
    """No job of that id, or no longer."""


class NotFinished(Exception):
    """The audio is still to come."""


class NotKept(Exception):
    """The disk did not take the job: it was not accepted."""


class Jobs:
    """The jobs of one folder, and the work on them. Nothing is created before the first job is accepted."""

    def __init__(
        self,
        folder: Path,
        tts: "TTS",
        scheduler: Scheduler,
        stats: Stats,
        machine: SystemLoad,
        cpu_limit: float,
        memory_limit: float,
        keep_hours: float,
    ):
        self._folder, self._tts, self._scheduler, self._stats, self._machine = folder, tts, scheduler, stats, machine
        self._cpu_limit, self._memory_limit, self._keep_seconds = cpu_limit, memory_limit, 3600 * keep_hours
        self._me = secrets.token_hex(8)
        self._lock = contextlib.ExitStack()
        self._writing = threading.Lock()
        self._wake = asyncio.Event()
        self._work: dict[str, tuple[BackgroundTask, asyncio.Task]] = {}
        self._worker: asyncio.Task | None = None
        self.held_by: str | None = None
        """Why no job starts although some wait."""
        if (folder / "jobs.db").exists():
            self._open()

    def _open(self) -> None:
        """Raises OSError and sqlite3.Error where the folder cannot be used."""
        if self._worker is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.enter_context(_locked(self._lock_file(self._me)))
            # Two connections: a read must not wait for the disk that a write is waiting for.
            self._writer, self._reader = self._connect(), self._connect()
            self._worker = asyncio.create_task(self._run())

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._folder / "jobs.db", timeout=10, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.executescript(SCHEMA)
        return connection

    def _read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self._reader.execute(sql, values).fetchall() if self._worker else []

    async def _write(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """One statement, on disk when this returns. In a thread, because a disk may take longer than a solver step."""
        return await asyncio.to_thread(self._write_now, sql, *values)

    def _write_now(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._writing:
            return self._writer.execute(sql, values).fetchall()

    # What clients ask for

    async def accept(self, speech: Speech, priority: str) -> dict:
        """On disk when this returns. Raises what `TTS.plan` raises, and NotKept."""
        plan = await self._scheduler.result(self._tts.planning(speech), BackgroundTask())
        fixed = json.dumps(
            asdict(replace(speech, seed=plan.seed))
        )  # whoever speaks it, and however often: the same bytes
        name, now = uuid.uuid4().hex, time.time()
        try:
            self._open()
            await self._write(
                "INSERT INTO jobs (id, speech, priority, state, created, due, samples) VALUES (?, ?, ?, 'queued', ?, ?, ?)",
                name,
                fixed,
                priority,
                now,
                now + PATIENCE_SECONDS[priority],
                plan.samples,
            )
        except (OSError, sqlite3.Error) as error:
            raise NotKept(f"the job cannot be kept in {self._folder}, and was not accepted: {error}") from error
        self._wake.set()
        now_known = self.status(name)  # another process may have begun it by now; what was accepted was queued
        return {"queue_position": 1} | now_known | {"status": "queued", "progress": 0.0}

    def status(self, name: str) -> dict:
        """Raises UnknownJob."""
        job = self._row(name)
        state = {
            "request_id": name,
            "status": job["state"],
            "priority": job["priority"],
            "created": job["created"],
            "seed": json.loads(job["speech"])["seed"],
            "progress": round(job["made"] / job["samples"], 3),
        }
        if job["state"] == "queued":
            ahead = self._read(
                "SELECT count(*) FROM jobs WHERE state = 'queued' AND (due, created, id) < (?, ?, ?)",
                job["due"],
                job["created"],
                name,
            )
            state["queue_position"] = ahead[0][0] + 1
        if job["error"]:
            state["error"] = job["error"]
        if job["state"] == "completed":
            state["result"] = {
                "output_path": str(self._audio(name)),
                "url": f"/tts/result/{name}",
                "sample_rate": SAMPLE_RATE,
                "duration": round(job["samples"] / SAMPLE_RATE, 3),
                "processing_time": round(job["processing_time"], 3),
            }
        return state

    def result(self, name: str) -> Path:
        """The audio file. Raises UnknownJob, NotFinished."""
        job = self._row(name)
        if job["state"] in ("queued", "processing"):
            raise NotFinished(f"job {name} is {job['state']}; ask /tts/status/{name}")
        if job["state"] != "completed":
            raise UnknownJob(
                f"job {name} has no audio: it is {job['state']}{': ' + job['error'] if job['error'] else ''}"
            )
        if not self._audio(name).is_file():
            raise UnknownJob(f"the audio of job {name} was removed")
        return self._audio(name)

    async def cancel(self, name: str) -> dict:
        """An unfinished job is cancelled, a finished one is removed with its audio. Raises UnknownJob."""
        self._row(name)
        cancelled = await self._write(
            "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state IN ('queued', 'processing') RETURNING id",
            time.time(),
            name,
        )
        if cancelled:
            if name in self._work:
                self._work[name][1].cancel()
            return self.status(name)
        await self._remove(name)
        return {"request_id": name, "status": "removed"}

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        return dict.fromkeys(STATES, 0) | dict(
            map(tuple, self._read("SELECT state, count(*) FROM jobs GROUP BY state"))
        )

    def _row(self, name: str) -> sqlite3.Row:
        found = self._read("SELECT * FROM jobs WHERE id = ?", name)
        if not found:
            raise UnknownJob(
                f"there is no job {name[:40]!r}; finished ones are kept for {self._keep_seconds / 3600:g} hours"
            )
        return found[0]

    def _audio(self, name: str) -> Path:
        return self._folder / f"{name}.wav"

    def _part(self, name: str) -> Path:
        return self._folder / f"{name}.wav.part"

    def _lock_file(self, owner: str) -> Path:
        return self._folder / f"worker-{owner}.lock"

    # The work

    async def _run(self) -> None:
        tidied = -math.inf
        while True:
            try:
                if time.monotonic() - tidied > TIDY_SECONDS:
                    await self._tidy()
                    tidied = time.monotonic()
                await self._start_next()
            except (sqlite3.Error, OSError) as error:
                self.held_by = f"{self._folder} cannot be used: {error}"
                log.error("no job starts: %s", self.held_by)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)

    async def _start_next(self) -> None:
        """The next job starts when none is under way, or when it is due before all that are: turns then go to it."""
        self.held_by = None
        head = self._read(f"SELECT due {NEXT}", time.time())
        if not head or any(errand.due <= head[0]["due"] for errand, _ in self._work.values()):
            return
        load = self._machine.load()
        if load.memory > self._memory_limit or load.other_processes_cpu > self._cpu_limit:
            self.held_by = f"memory {load.memory} % (limit {self._memory_limit:g}), cpu of other programs {load.other_processes_cpu} % (limit {self._cpu_limit:g})"
            return
        claim = f"UPDATE jobs SET state = 'processing', owner = ?, made = 0 WHERE id = (SELECT id {NEXT}) RETURNING *"
        for job in await self._write(claim, self._me, time.time()):
            errand = BackgroundTask(job["due"])
            self._work[job["id"]] = errand, asyncio.create_task(self._make(job, errand))

    async def _make(self, job: sqlite3.Row, errand: BackgroundTask) -> None:
        name = job["id"]
        try:
            await self._finish(name, await self._speak(job, errand))
        except asyncio.CancelledError:
            # Cancelled, or parked because the server stops: then whoever looks next finds it queued.
            self._write_now(
                "UPDATE jobs SET state = 'queued', owner = NULL, made = 0 WHERE id = ? AND owner = ? AND state = 'processing'",
                name,
                self._me,
            )
            self._clear(name)
        except (BadSpeech, UnknownVoice) as error:
            await self._failed(job, str(error), again=False)
        except (MemoryError, OSError, RuntimeError) as error:  # memory, disk, device: it may pass
            await self._failed(job, getattr(error, "strerror", None) or str(error) or type(error).__name__, again=True)
        except sqlite3.Error as error:
            log.error("job %s is spoken again later: %s", name, error)
        except Exception:
            log.exception("job %s met a mistake in the server", name)
            await self._failed(job, "the server made a mistake; its log has the details", again=False)
        finally:
            del self._work[name]
            self._wake.set()

    async def _speak(self, job: sqlite3.Row, errand: BackgroundTask) -> float:
        """The temporary file, complete and on disk; seconds it took."""
        began = told = time.monotonic()
        plan = await self._scheduler.result(self._tts.planning(Speech(**json.loads(job["speech"]))), errand)
        made = 0
        with self._part(job["id"]).open("wb") as file:
            file.write(wav_header(plan.samples))
            async with contextlib.aclosing(self._scheduler.drive(self._tts.speak(plan), errand)) as sound:
                async for samples in sound:
                    if samples is not None:
                        file.write(pcm16(samples))
                        made += len(samples)
                        self._stats.audio_seconds += len(samples) / SAMPLE_RATE
                    if time.monotonic() - told > LOOK_SECONDS:
                        told = time.monotonic()
                        if not await self._mine(job["id"], "made = ?", made):
                            raise asyncio.CancelledError  # through another process
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        return time.monotonic() - began

    async def _finish(self, name: str, seconds: float) -> None:
        os.replace(self._part(name), self._audio(name))
        done = "state = 'completed', finished = ?, made = samples, processing_time = ?, error = NULL"
        if await self._mine(name, done, time.time(), seconds):
            log.info("job %s completed in %.1f s", name, seconds)
        else:
            self._clear(name)

    async def _mine(self, name: str, change: str, *values: object) -> bool:
        """Changes a job that this process works on; False when it is no longer to be worked on."""
        return bool(
            await self._write(
                f"UPDATE jobs SET {change} WHERE id = ? AND owner = ? AND state = 'processing' RETURNING id",
                *values,
                name,
                self._me,
            )
        )

    async def _failed(self, job: sqlite3.Row, reason: str, again: bool) -> None:
        self._clear(job["id"])
        failures, now = job["failures"] + 1, time.time()
        if again and failures <= len(BACK_OFF_SECONDS):
            pause = BACK_OFF_SECONDS[failures - 1]
            log.warning("job %s failed (%s); again in %d s", job["id"], reason, pause)
            change = (
                "state = 'queued', owner = NULL, made = 0, failures = ?, error = ?, not_before = ?",
                failures,
                reason,
                now + pause,
            )
        else:
            log.error("job %s failed: %s", job["id"], reason)
            change = "state = 'failed', made = 0, failures = ?, error = ?, finished = ?", failures, reason, now
        with contextlib.suppress(sqlite3.Error):  # then it stays in processing, and tidying finds it
            await self._mine(job["id"], *change)

    async def _tidy(self) -> None:
        """Jobs that nobody works on are queued again, old ones go, and so does what a kill left half written."""
        mine = list(self._work)
        lost = f"owner = ? AND id NOT IN ({', '.join('?' * len(mine))})"
        await self._queue_again(lost, self._me, *mine)
        owners = {row["owner"] for row in self._read("SELECT DISTINCT owner FROM jobs WHERE state = 'processing'")}
        for owner in (owners | {lock.stem.removeprefix("worker-") for lock in self._folder.glob("worker-*.lock")}) - {
            self._me
        }:
            try:
                with _locked(self._lock_file(owner)):
                    await self._queue_again("owner = ?", owner)
            except TimeoutError:
                continue  # alive
            # A new one may belong to a process that is just about to lock it.
            with contextlib.suppress(FileNotFoundError):
                if time.time() - self._lock_file(owner).stat().st_mtime > TIDY_SECONDS:
                    self._lock_file(owner).unlink()
        for row in self._read("SELECT id FROM jobs WHERE finished < ?", time.time() - self._keep_seconds):
            await self._remove(row["id"])
        for part in self._folder.glob("*.wav.part"):
            if not self._read(
                "SELECT 1 FROM jobs WHERE id = ? AND state = 'processing'", part.name.removesuffix(".wav.part")
            ):
                part.unlink(missing_ok=True)

    async def _queue_again(self, which: str, *values: object) -> None:
        await self._write(
            f"UPDATE jobs SET state = 'queued', owner = NULL, made = 0 WHERE state = 'processing' AND {which}", *values
        )

    async def _remove(self, name: str) -> None:
        self._audio(name).unlink(missing_ok=True)
        await self._write("DELETE FROM jobs WHERE id = ? AND state IN ('completed', 'failed', 'cancelled')", name)

    def _clear(self, name: str) -> None:
        """No audio of a job that is not completed."""
        self._part(name).unlink(missing_ok=True)
        if not self._read("SELECT 1 FROM jobs WHERE id = ? AND state = 'completed'", name):
            self._audio(name).unlink(missing_ok=True)

    def park(self) -> None:
        """No new job starts, those under way are queued again: for the next server."""
        for task in [self._worker, *(task for _, task in self._work.values())]:
            if task:
                task.cancel()

    async def close(self) -> None:
        self.park()
        if self._worker:
            await asyncio.gather(self._worker, *(task for _, task in self._work.values()), return_exceptions=True)
            self._worker = None
            for connection in (self._reader, self._writer):
                connection.close()
            self._lock.close()
            self._lock_file(self._me).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Raises TimeoutError when another process has it."""
    from filelock import FileLock  # here: start-up does not wait for it

    with FileLock(file).acquire(timeout=0):
        yield
