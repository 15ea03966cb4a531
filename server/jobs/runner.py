"""Speech for later: jobs are accepted, and spoken when nobody listens.

Knows slots of the model and what delays a job; nothing of SQL or HTTP. All that touches the disk is done in threads and
waited for within limits, so that a table which is locked or damaged, or a disk that hangs, never holds the loop.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from server.errors import ServerBusy
from server.jobs.accepted import digest, new_job, same_request
from server.jobs.promise import VoiceGone, promised
from server.jobs.status import job_status
from server.jobs.store import STATES, Job, JobStorageError, job_store
from server.planning import planned
from server.scheduler import BackgroundTask, Scheduler
from server.settings import Settings
from server.stats import Stats
from server.system_load import SystemLoad
from server.voices import refresh
from speech.audio import SAMPLE_RATE
from speech.formats import FORMATS, encoded
from speech.request import BadSpeech, Speech, UnknownVoice

if TYPE_CHECKING:
    from tts_core import TTS

BACK_OFF_SECONDS = 2, 8, 32
"""Before each retry. As many retries as there are pauses."""
POLL_SECONDS = 1.0
"""How often to look for jobs that other processes accepted, for pauses that are over and for room on the machine."""
TIDY_SECONDS = 60
STORAGE_SECONDS = 3.0
"""No request waits longer for the store."""
ORPHAN_SECONDS = 30
"""A job that no living server of the folder can speak fails after so long: time for one to be started again."""
PLAN_SLOT_SECONDS = 0.02
"""A text is planned in slots of about a solver step, so that the longest is planned in seconds beside listeners."""
PLAN_SECONDS, PLAN_RETRY_SECONDS = 30, 10
"""Who asks for a job while so many listen that it cannot be planned in time is told to come back."""
STORAGE_THREADS = 16
"""Changes that wait at the same time are written together."""

Result = TypeVar("Result")
log = logging.getLogger("uvicorn.tts")


@dataclass(slots=True)
class _Work:
    """A job under way."""

    task: BackgroundTask
    last_slot: float
    running: asyncio.Task[None] | None = None
    speaking: bool = True
    """False while the finished audio goes to disk: the model is free."""


class Jobs:
    """The jobs of one folder, and the work on them. Made and closed in a running event loop."""

    def __init__(self, settings: Settings, tts: "TTS", scheduler: Scheduler, stats: Stats, load: SystemLoad):
        self._tts, self._scheduler, self._stats, self._load = tts, scheduler, stats, load
        self._cpu_limit, self._memory_limit = settings.cpu_limit, settings.memory_limit
        self._store = job_store(settings)
        self._threads = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="jobs")
        self._wake = asyncio.Event()
        self._work: dict[str, _Work] = {}
        self._counts = dict.fromkeys(STATES, 0)
        with contextlib.suppress(JobStorageError):  # nobody is served yet, so nobody waits for it
            self._counts = self._store.counts()
        self._orphans: dict[str, float] = {}
        self.storage_problem: str | None = None
        """Why no job is accepted, in words."""
        self.blocked_reason: str | None = None
        """Why no job is begun although some wait."""
        self._runner = asyncio.create_task(self._run())

    # What clients ask for

    async def accept(self, speech: Speech, priority: str, key: str | None = None) -> dict[str, object]:
        """On disk when this returns; once for each idempotency key. Raises what `TTS.planning` raises, KeyReused and
        JobStorageError."""

        def look() -> Job | None:
            self._store.check()
            return self._store.find_key(key) if key else None

        asked = digest(speech, priority) if key else None
        if known := await self._stored(look):
            return await self.status(same_request(known, asked).id)
        try:
            async with asyncio.timeout(PLAN_SECONDS):
                who = BackgroundTask(slot_seconds=PLAN_SLOT_SECONDS)
                plan = await planned(self._scheduler, self._tts, speech, who)
        except TimeoutError:
            raise ServerBusy(self._stats.listening, PLAN_RETRY_SECONDS) from None
        # Whoever speaks it, whenever and however often: the same sound.
        settled = replace(speech, seed=plan.seed, steps=plan.steps, cfg_strength=plan.cfg_strength)
        job = new_job(settled, plan.voice.fingerprint, plan.samples, priority, key, asked)
        abandoned = threading.Event()
        try:
            kept, place = await self._changed(self._store.accept, job, abandoned)
        except BaseException:
            abandoned.set()
            raise
        if kept.id != job.id:  # another request with this key was quicker
            return await self.status(same_request(kept, asked).id)
        self._wake.set()
        return self._told(job, place)

    async def status(self, job_id: str) -> dict[str, object]:
        """Raises UnknownJob, JobStorageError."""

        def find() -> tuple[Job, int | None]:
            job = self._store.find(job_id)
            return job, self._store.place(job) if job.state == "queued" else None

        return self._told(*await self._stored(find))

    async def listed(self) -> list[dict[str, object]]:
        """As `status`, of the next ones and the last ones. Raises JobStorageError."""
        return [self._told(job, place) for job, place in await self._stored(self._store.listed)]

    async def result(self, job_id: str) -> tuple[BinaryIO, str]:
        """The audio, open to its end whatever becomes of the job, and its format. Raises UnknownJob, NotFinished."""
        return await self._stored(self._store.open_audio, job_id, limit=self._store.download_seconds)

    async def cancel(self, job_id: str) -> dict[str, object]:
        """An unfinished job is cancelled, a finished one is removed with its audio. Raises UnknownJob."""
        if not await self._changed(self._store.cancel, job_id):
            return {"request_id": job_id, "status": "removed"}
        work = self._work.get(job_id)
        if work and work.running:
            work.running.cancel()
        return await self.status(job_id)

    @property
    def trouble(self) -> str | None:
        """Why no job is accepted or begun, for whoever looks after this server."""
        if self.storage_problem:
            return f"no jobs are accepted: {self.storage_problem}"
        return f"jobs wait: {self.blocked_reason}" if self.blocked_reason else None

    def counts(self) -> dict[str, int]:
        """Jobs by state, as of the last look or own change: nobody waits for the disk to be told."""
        return self._counts

    def _told(self, job: Job, place: int | None) -> dict[str, object]:
        return job_status(job, place, self._blocked(job))

    def _blocked(self, job: Job) -> str | None:
        """What an unfinished job waits for, other than its turn."""
        if job.state == "processing":
            work = self._work.get(job.id)
            waits = work and work.speaking and time.monotonic() - work.last_slot > POLL_SECONDS
            return "people are listening, and they go first" if waits else None
        if job.state != "queued":
            return None
        if job.not_before > time.time():
            return f"it is tried again in {math.ceil(job.not_before - time.time())} s"
        if job.voice is not None and job.voice not in self._voices():
            return "no server has begun it that has the model and the voice it was accepted with"
        return self.storage_problem or self.blocked_reason

    def _voices(self) -> list[str]:
        """Fingerprints that can be spoken here."""
        return [voice.fingerprint for voice in self._tts.voices.values()]

    async def _changed(self, call: Callable[..., Result], *values: object) -> Result:
        """`call` as below, and the jobs are counted anew."""

        def change() -> tuple[Result, dict[str, int] | None]:
            result = call(*values)
            with contextlib.suppress(JobStorageError):
                return result, self._store.counts()
            return result, None

        result, counts = await self._stored(change)
        self._counts = counts or self._counts
        return result

    async def _stored(
        self, call: Callable[..., Result], *values: object, limit: float | None = STORAGE_SECONDS
    ) -> Result:
        """`call` in a thread, which goes on alone when `limit` is over. Raises JobStorageError and what `call` does."""
        try:
            async with asyncio.timeout(limit):  # wait_for may swallow a cancellation that comes with the result
                return await asyncio.wrap_future(self._threads.submit(call, *values))
        except TimeoutError:
            error = JobStorageError(f"{self._store.name} did not answer within {limit:g} s")
        except JobStorageError as known:
            error = known
        self._storage_fails(str(error))
        raise error

    def _storage_fails(self, problem: str) -> None:
        if self.storage_problem is None:
            log.error("no jobs are accepted: %s (%s)", problem, self._store.address)
        self.storage_problem = problem

    # The work

    async def _run(self) -> None:
        looked = tidied = -math.inf
        while True:
            with contextlib.suppress(JobStorageError):
                if self.storage_problem is not None or time.monotonic() - looked > POLL_SECONDS:
                    looked = time.monotonic()
                    self._load.load()  # a mean over the last second when a job comes, not over the hours before
                    await refresh(self._scheduler, self._tts)
                    await self._check()
                    await self._changed(self._store.release_lost, list(self._work))
                    await self._fail_orphans()
                if time.monotonic() - tidied > TIDY_SECONDS:
                    await self._changed(self._store.tidy)
                    tidied = time.monotonic()
                await self._start_next()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _check(self) -> None:
        """Where something has failed the folder has to prove that it can be written again."""
        await self._stored(self._store.check, self.storage_problem is not None)
        if self.storage_problem is not None:
            log.info("jobs are accepted again")
            self.storage_problem = None

    async def _start_next(self) -> None:
        """The next job starts when none is under way, or when it is due before all that are: it gets their slots."""
        self.blocked_reason = None
        voices = self._voices()
        due = await self._stored(self._store.next_due, voices)
        if due is None or any(work.task.due <= due for work in self._work.values() if work.speaking):
            return
        load = self._load.load()
        if load.memory > self._memory_limit or load.other_processes_cpu > self._cpu_limit:
            await asyncio.to_thread(self._load.look_for_copies)  # if it is they who compute, the next look knows
            self.blocked_reason = (
                f"memory {load.memory} % (limit {self._memory_limit:g}), "
                f"cpu of other programs {load.other_processes_cpu} % (limit {self._cpu_limit:g})"
            )
            return
        job = await self._changed(self._store.claim, voices)
        if job:
            work = self._work[job.id] = _Work(BackgroundTask(job.due), time.monotonic())
            work.running = asyncio.create_task(self._run_job(job, work))

    async def _fail_orphans(self) -> None:
        """Jobs that were accepted with a model or a voice that no server has any more fail, in words, after a while."""
        lost = await self._stored(self._store.unspeakable, self._voices())
        now = time.monotonic()
        self._orphans = {voice: self._orphans.get(voice, now) for voice in lost}
        for voice, since in self._orphans.items():
            if now - since > ORPHAN_SECONDS:
                reason = "no server has the model and the voice any more that it was accepted with; ask for it again"
                await self._changed(self._store.fail_unspeakable, voice, reason)

    async def _run_job(self, job: Job, work: _Work) -> None:
        try:
            seconds = await self._speak(job, work)
            if await self._changed(self._store.complete, job, seconds):
                log.info("job %s completed in %.1f s", job.id, seconds)
        except asyncio.CancelledError:
            # By a client, or because the server stops: then whoever looks next finds it queued.
            with contextlib.suppress(JobStorageError):
                await self._changed(self._store.requeue, job, job.failures, job.error, 0)
        except VoiceGone:  # just now: it waits for a server that has it, or fails
            with contextlib.suppress(JobStorageError):
                await self._changed(self._store.requeue, job, job.failures, job.error, BACK_OFF_SECONDS[0])
        except (BadSpeech, UnknownVoice) as error:
            await self._failed(job, str(error), again=False)
        except JobStorageError as error:  # the folder's fault, not the job's: it waits for the folder
            log.warning("job %s is spoken again when it can be kept: %s", job.id, error)
            with contextlib.suppress(JobStorageError):
                await self._changed(self._store.requeue, job, job.failures, str(error), BACK_OFF_SECONDS[0])
        except (MemoryError, OSError, RuntimeError) as error:  # memory or device: it may pass
            await self._failed(job, getattr(error, "strerror", None) or str(error) or type(error).__name__, again=True)
        except Exception:
            log.exception("job %s met a mistake in the server", job.id)
            await self._failed(job, "the server made a mistake; its log has the details", again=False)
        finally:
            with contextlib.suppress(JobStorageError):
                await self._stored(self._store.discard_audio, job)
            del self._work[job.id]
            self._wake.set()

    async def _speak(self, job: Job, work: _Work) -> float:
        """The audio, complete and on disk; seconds it took."""
        began = told = time.monotonic()
        speech, voice = promised(job, self._tts.voices.values())
        plan = await self._scheduler.result(self._tts.planning(speech, voice), work.task)
        if plan.samples != job.samples:
            seconds = job.samples / SAMPLE_RATE
            raise BadSpeech(f"this server reads it in {plan.seconds:.3f} s, and {seconds:.3f} s were promised")
        made = 0
        pieces = encoded(self._tts.speak(plan), FORMATS[speech.format], plan.samples)
        file = await self._stored(self._store.begin_audio, job)
        try:
            async with contextlib.aclosing(self._scheduler.drive(pieces, work.task)) as parts:
                async for part in parts:
                    work.last_slot = time.monotonic()
                    if part is not None:
                        await self._stored(file.write, part.data)
                        made += part.samples
                        self._stats.audio_seconds += part.samples / SAMPLE_RATE
                    if time.monotonic() - told > POLL_SECONDS:
                        told = time.monotonic()
                        if not await self._stored(self._store.progress, job, made):
                            raise asyncio.CancelledError  # through another process
            work.speaking = False
            self._wake.set()
            await self._stored(file.keep, limit=None)  # nobody waits for it
        finally:
            file.close()
        return time.monotonic() - began

    async def _failed(self, job: Job, reason: str, again: bool) -> None:
        failures = job.failures + 1
        with contextlib.suppress(JobStorageError):  # then it stays in processing, and is found there
            if again and failures <= len(BACK_OFF_SECONDS):
                pause = BACK_OFF_SECONDS[failures - 1]
                log.warning("job %s failed (%s); again in %g s", job.id, reason, pause)
                await self._changed(self._store.requeue, job, failures, reason, pause)
            else:
                log.error("job %s failed: %s", job.id, reason)
                await self._changed(self._store.fail, job, failures, reason)

    def pause_jobs(self) -> None:
        """No new job starts, those under way are queued again: for the next server."""
        for task in (self._runner, *(work.running for work in self._work.values())):
            if task and not task.cancelling():
                task.cancel()

    async def close(self) -> None:
        self.pause_jobs()
        running = (work.running for work in self._work.values())
        await asyncio.gather(self._runner, *(task for task in running if task), return_exceptions=True)
        await asyncio.to_thread(self._store.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
