"""What a job is, and what is asked of the place that keeps jobs: a folder with a table (sqlite.py), or PostgreSQL for
servers on several machines (postgresql.py).

Knows what becomes of a job; nothing of SQL, models, HTTP or the event loop.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from server.settings import Settings

PRIORITY_DUE_SECONDS = {"urgent": 0, "high": 10 * 60, "normal": 60 * 60, "low": 4 * 60 * 60}
"""A job is due so long after it was accepted, and the earliest due goes first: so priorities age, and each is finished
some day."""
MAX_LISTED = 100
STATES = "queued", "processing", "completed", "failed", "cancelled"


class JobStorageError(Exception):
    """The store does not take or give what it should; the reason in words, without paths or addresses."""


class UnknownJob(LookupError):
    """No job of that id, or no longer."""


class NotFinished(Exception):
    """The audio is still to come."""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the table."""

    id: str
    speech: str
    """The fields of Speech as JSON, with what was left to chance or to the checkpoint settled."""
    voice: str | None
    """Fingerprint of the model and the reference that it was accepted with; None in tables of the first version."""
    priority: str
    created: float
    due: float
    samples: int
    """Of the whole audio, as planned when it was accepted."""
    state: str = "queued"
    made: int = 0
    """Samples so far."""
    not_before: float = 0.0
    finished: float | None = None
    processing_time: float | None = None
    failures: int = 0
    error: str | None = None
    owner: str | None = None
    format: str = "wav"
    """Of its audio, and the suffix of that file."""
    idempotency_key: str | None = None
    """Of the request; another one with the same key is this job."""
    asked: str | None = None
    """Digest of what was asked with that key, before anything was settled."""

    @property
    def file_name(self) -> str:
        return f"{self.id}.{self.format}"


COLUMNS = ", ".join(field.name for field in fields(Job))


class Sound(Protocol):
    """Audio in the making. Every call blocks, and raises JobStorageError."""

    def write(self, data: bytes) -> None: ...

    def keep(self) -> None:
        """It is complete, and stored when this returns; a job may be completed then."""

    def close(self) -> None:
        """What is not kept is gone."""


class JobStore(Protocol):
    """Any thread may call, several at once; every call blocks for a few seconds at most, and raises JobStorageError
    where the store does not do what is asked."""

    name: str
    """In messages: "the outputs folder"."""
    address: str
    """For the log."""
    download_seconds: float
    """So long `open_audio` may take."""

    def check(self, thorough: bool = False) -> None:
        """That a job could be kept now. A thorough check writes, too."""

    # What clients ask for

    def accept(self, job: Job, abandoned: threading.Event) -> tuple[Job, int | None]:
        """The job, on disk when this returns, and its place in the queue; the one that was accepted before where its
        idempotency key is known. Once `abandoned` is set nobody waits: then a job without a key is not accepted; of
        one with a key somebody else may have been told by now."""

    def find(self, job_id: str) -> Job:
        """Raises UnknownJob."""

    def find_key(self, idempotency_key: str) -> Job | None: ...

    def place(self, job: Job) -> int:
        """In the queue, the next one's is 1."""

    def listed(self) -> list[tuple[Job, int | None]]:
        """Without their texts: unfinished ones in their order, with their place in the queue, then finished ones, the
        last first. At most MAX_LISTED of either."""

    def open_audio(self, job_id: str) -> tuple[BinaryIO, str]:
        """And its format. Once open it can be read to its end, whatever becomes of the job.

        Raises UnknownJob, NotFinished."""

    def cancel(self, job_id: str) -> bool:
        """True where an unfinished job was cancelled; a finished one is removed with its audio. Raises UnknownJob."""

    def counts(self) -> dict[str, int]:
        """Jobs by state."""

    # The work

    def next_due(self, voices: Collection[str]) -> float | None:
        """When the next job is due that can be spoken with these voices."""

    def claim(self, voices: Collection[str]) -> Job | None:
        """The next of them, now this process's: nobody else begins it while this process lives."""

    def progress(self, job: Job, made: int) -> bool:
        """So many samples so far. False where the job is no longer this process's to work on; so do those that
        follow."""

    def complete(self, job: Job, seconds: float) -> bool: ...

    def requeue(self, job: Job, failures: int, error: str | None, pause: float) -> bool:
        """Back in its place, and not to be begun for `pause` seconds."""

    def fail(self, job: Job, failures: int, error: str) -> bool: ...

    def release_lost(self, working: Collection[str]) -> None:
        """Jobs that nobody works on are queued again; `working` are this process's, and stay so. To be called each
        second: that is how others know that this process lives."""

    def unspeakable(self, voices: Collection[str]) -> set[str]:
        """Fingerprints that queued jobs wait for and no living process has; `voices` are this one's."""

    def fail_unspeakable(self, voice: str, error: str) -> None: ...

    def tidy(self) -> None:
        """What was kept long enough goes, and so does what a kill left half written."""

    def begin_audio(self, job: Job) -> Sound: ...

    def discard_audio(self, job: Job) -> None:
        """What is left of a job that this process gives up: nothing, unless it is completed."""

    def close(self) -> None:
        """Jobs still claimed are any other process's from here on."""


def require_audio(job: Job) -> None:
    """Raises UnknownJob, NotFinished."""
    if job.state in ("queued", "processing"):
        raise NotFinished(f"job {job.id} is {job.state}; ask /tts/status/{job.id}")
    if job.state != "completed":
        raise UnknownJob(f"job {job.id} has no audio: it is {job.state}{f': {job.error}' if job.error else ''}")


def unknown_job(job_id: str, keep_seconds: float) -> UnknownJob:
    hours = keep_seconds / 3600
    return UnknownJob(f"there is no job {job_id[:40]!r}; finished ones are kept for {hours:g} hours")


def job_store(settings: "Settings") -> JobStore:
    """The one that TTS_JOBS names. Raises BadSetting where it cannot be used at all."""
    keep_seconds = 3600 * settings.keep_hours
    if not settings.jobs:
        from server.jobs.sqlite import SQLiteStore

        return SQLiteStore(settings.outputs, keep_seconds)
    from server.settings import BadSetting

    try:
        from server.jobs.postgresql import PostgreSQLStore
    except ImportError as error:
        raise BadSetting(f"TTS_JOBS needs psycopg: pip install -r requirements-postgresql.txt ({error})") from None
    return PostgreSQLStore(settings.jobs, keep_seconds)
