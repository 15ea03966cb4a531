"""Accepted jobs on disk: a table and their audio, in a folder that any number of processes share.

Knows what becomes of a job; nothing of models, HTTP or the event loop. What is accepted is on disk first, so a kill -9
at any moment loses nothing. A job is claimed in one transaction, and a claim is worth as much as the lock that its
process holds (see claims.py). Every call blocks, and raises JobStorageError where the folder does not do what is asked
(see table.py).
"""

import contextlib
import itertools
import os
import re
import sqlite3
import threading
import time
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

from server.jobs.claims import Owners
from server.jobs.store import COLUMNS, MAX_LISTED, STATES, Job, JobStorageError, UnknownJob, require_audio, unknown_job
from server.jobs.table import MIN_FREE_BYTES, Table, storage_errors, sync_folder

# A table of the first version (its user_version is 0) has all but the columns that are added.
VERSION, SCHEMA = (
    4,
    """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, speech TEXT NOT NULL, priority TEXT NOT NULL, state TEXT NOT NULL, owner TEXT,
    created REAL NOT NULL, due REAL NOT NULL, not_before REAL NOT NULL DEFAULT 0, finished REAL,
    samples INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0, processing_time REAL,
    failures INTEGER NOT NULL DEFAULT 0, error TEXT
);
CREATE INDEX IF NOT EXISTS jobs_in_order ON jobs (state, due, created, id);
ALTER TABLE jobs ADD COLUMN voice TEXT;
ALTER TABLE jobs ADD COLUMN format TEXT NOT NULL DEFAULT 'wav';
ALTER TABLE jobs ADD COLUMN idempotency_key TEXT;
ALTER TABLE jobs ADD COLUMN asked TEXT;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (idempotency_key)""",
)
SOUND_FILE = re.compile(r"((?P<job>[0-9a-f]{32})(-[0-9a-f]+)?|probe-[0-9a-f]+)\.\w+(?P<part>\.part)?")
"""Our own: whatever else lies in the folder is left alone."""
EVERY = f"SELECT {COLUMNS} FROM jobs"


class SQLiteStore:
    """The jobs of one folder. Nothing is created before the first is accepted."""

    name = "the outputs folder"
    download_seconds = 3.0

    def __init__(self, folder: Path, keep_seconds: float):
        self.folder, self.address, self._keep_seconds = folder, str(folder), keep_seconds
        self._table, self._owners = Table(folder, SCHEMA, VERSION), Owners(folder)

    def check(self, thorough: bool = False) -> None:
        self._table.check(thorough=thorough)

    # What clients ask for

    def accept(self, job: Job, abandoned: threading.Event) -> tuple[Job, int | None]:
        self._table.check(44 + 2 * job.samples + MIN_FREE_BYTES)
        self._table.create()
        values = [getattr(job, field.name) for field in fields(Job)]

        def insert(table: sqlite3.Connection) -> tuple[Job, int | None]:
            known = table.execute(OF_KEY, [job.idempotency_key]).fetchone()
            if known:
                return Job(**dict(known)), None
            table.execute(f"INSERT INTO jobs ({COLUMNS}) VALUES ({_marks(values)})", values)
            return job, int(table.execute(AHEAD, [job.due, job.created, job.id]).fetchone()[0]) + 1

        kept = self._table.write(insert)
        if abandoned.is_set() and job.idempotency_key is None:
            self._table.write(lambda table: table.execute("DELETE FROM jobs WHERE id = ?", [job.id]))
        return kept

    def find(self, job_id: str) -> Job:
        found = self._table.read(f"{EVERY} WHERE id = ?", job_id)
        if not found:
            raise unknown_job(job_id, self._keep_seconds)
        return Job(**dict(found[0]))

    def find_key(self, idempotency_key: str) -> Job | None:
        found = self._table.read(OF_KEY, idempotency_key)
        return Job(**dict(found[0])) if found else None

    def place(self, job: Job) -> int:
        return int(self._table.read(AHEAD, job.due, job.created, job.id)[0][0]) + 1

    def listed(self) -> list[tuple[Job, int | None]]:
        told = COLUMNS.replace("speech", "json_remove(speech, '$.text') AS speech")
        unfinished = "state IN ('processing', 'queued') ORDER BY state, due, created, id"
        finished = "finished IS NOT NULL ORDER BY finished DESC"
        which = (unfinished, finished)
        found = (self._table.read(f"SELECT {told} FROM jobs WHERE {one} LIMIT {MAX_LISTED}") for one in which)
        places = itertools.count(1)
        jobs = [Job(**dict(row)) for rows in found for row in rows]
        return [(job, next(places) if job.state == "queued" else None) for job in jobs]

    def open_audio(self, job_id: str) -> tuple[BinaryIO, str]:
        job = self.find(job_id)
        require_audio(job)
        with storage_errors():
            try:
                return (self.folder / job.file_name).open("rb"), job.format
            except FileNotFoundError:
                raise UnknownJob(f"the audio of job {job_id} was removed") from None

    def cancel(self, job_id: str) -> bool:
        job = self.find(job_id)
        change = "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state IN ('queued', 'processing')"
        if self._table.write(lambda table: table.execute(change, [time.time(), job_id]).rowcount):
            return True
        self._remove([job])
        return False

    def counts(self) -> dict[str, int]:
        rows = self._table.read("SELECT state, count(*) FROM jobs GROUP BY state")
        return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in rows}

    # The work

    def next_due(self, voices: Collection[str]) -> float | None:
        found = self._table.read(f"SELECT due {_next(voices)}", time.time(), *voices)
        return float(found[0]["due"]) if found else None

    def claim(self, voices: Collection[str]) -> Job | None:
        owner = self._owners.owner_id(voices)
        change = f"UPDATE jobs SET state = 'processing', owner = ?, made = 0 WHERE id = (SELECT id {_next(voices)})"

        def take(table: sqlite3.Connection) -> Job | None:
            row = table.execute(f"{change} RETURNING {COLUMNS}", [owner, time.time(), *voices]).fetchone()
            return Job(**dict(row)) if row else None

        return self._table.write(take)

    def progress(self, job: Job, made: int) -> bool:
        return self._update_if_owner(job, "made = ?", made)

    def complete(self, job: Job, seconds: float) -> bool:
        done = "state = 'completed', finished = ?, made = samples, processing_time = ?, error = NULL"
        return self._update_if_owner(job, done, time.time(), seconds)

    def requeue(self, job: Job, failures: int, error: str | None, pause: float) -> bool:
        again = "state = 'queued', owner = NULL, made = 0, failures = ?, error = ?, not_before = ?"
        return self._update_if_owner(job, again, failures, error, time.time() + pause)

    def fail(self, job: Job, failures: int, error: str) -> bool:
        change = "state = 'failed', made = 0, failures = ?, error = ?, finished = ?"
        return self._update_if_owner(job, change, failures, error, time.time())

    def _update_if_owner(self, job: Job, change: str, *values: object) -> bool:
        sql = f"UPDATE jobs SET {change} WHERE id = ? AND owner = ? AND state = 'processing'"
        return self._table.write(lambda table: table.execute(sql, [*values, job.id, job.owner]).rowcount) > 0

    def release_lost(self, working: Collection[str]) -> None:
        rows = self._table.read("SELECT id, owner FROM jobs WHERE state = 'processing'")
        owners = {row["owner"] for row in rows}
        dead = {owner for owner in owners if self._owners.is_me(owner) or not self._owners.alive(owner)}
        lost = [(row["id"], row["owner"]) for row in rows if row["owner"] in dead and row["id"] not in working]
        if lost:
            again = "UPDATE jobs SET state = 'queued', owner = NULL, made = 0"
            mine = "state = 'processing' AND id = ? AND owner = ?"
            self._table.write(lambda table: table.executemany(f"{again} WHERE {mine}", lost))

    def unspeakable(self, voices: Collection[str]) -> set[str]:
        which = f"state = 'queued' AND voice NOT IN ({_marks(voices)})"
        wanted = {row["voice"] for row in self._table.read(f"SELECT DISTINCT voice FROM jobs WHERE {which}", *voices)}
        return wanted - self._owners.spoken_by_others() if wanted else wanted

    def fail_unspeakable(self, voice: str, error: str) -> None:
        change = "UPDATE jobs SET state = 'failed', error = ?, finished = ? WHERE state = 'queued' AND voice = ?"
        self._table.write(lambda table: table.execute(change, [error, time.time(), voice]))

    def tidy(self) -> None:
        oldest = time.time() - self._keep_seconds
        if not self._table.exists():
            return
        self._remove([Job(**dict(row)) for row in self._table.read(f"{EVERY} WHERE finished < ?", oldest)])
        with storage_errors():
            files = list(self.folder.iterdir())  # before the rows: these are told first
            making = {self._part(Job(**dict(row))) for row in self._table.read(f"{EVERY} WHERE state = 'processing'")}
            known = {row["id"] for row in self._table.read("SELECT id FROM jobs")}
            for file in files:
                ours = SOUND_FILE.fullmatch(file.name)
                if ours and (file not in making if ours["part"] else ours["job"] not in known):
                    with contextlib.suppress(FileNotFoundError):
                        # Sound of an unknown job may be another table's: it is kept as long as any.
                        if ours["part"] or file.stat().st_mtime < oldest:
                            file.unlink()
        self._owners.tidy()

    def _remove(self, jobs: list[Job]) -> None:
        """Finished jobs, the audio first: a kill in between leaves a job without audio, and no audio without a job."""
        with storage_errors():
            for job in jobs:
                (self.folder / job.file_name).unlink(missing_ok=True)
        if jobs:
            sql = "DELETE FROM jobs WHERE id = ? AND state IN ('completed', 'failed', 'cancelled')"
            self._table.write(lambda table: table.executemany(sql, [(job.id,) for job in jobs]))

    def begin_audio(self, job: Job) -> "PartFile":
        return PartFile(self._part(job), self.folder / job.file_name)

    def discard_audio(self, job: Job) -> None:
        with contextlib.suppress(JobStorageError, UnknownJob), storage_errors():
            self._part(job).unlink(missing_ok=True)
            if self.find(job.id).state in ("cancelled", "failed"):
                (self.folder / job.file_name).unlink(missing_ok=True)

    def close(self) -> None:
        self._owners.close()

    def _part(self, job: Job) -> Path:
        """Of its owner alone: who has lost a claim does not write into the next one's file."""
        return self.folder / f"{job.id}-{job.owner}.{job.format}.part"


class PartFile:
    """Audio in the making; under its own name once it is complete and on disk."""

    def __init__(self, part: Path, whole: Path):
        self._part, self._whole = part, whole
        with storage_errors():
            self._file = part.open("wb")

    def write(self, data: bytes) -> None:
        with storage_errors():
            self._file.write(data)

    def keep(self) -> None:
        with storage_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self._whole)
            sync_folder(self._whole.parent)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of a full disk: what is not kept is discarded
            self._file.close()


OF_KEY = f"{EVERY} WHERE idempotency_key = ?"
AHEAD = "SELECT count(*) FROM jobs WHERE state = 'queued' AND (due, created, id) < (?, ?, ?)"


def _next(voices: Collection[str]) -> str:
    """With the time and the voices as its values."""
    speakable = f"(voice IS NULL OR voice IN ({_marks(voices)}))"
    ready = f"state = 'queued' AND not_before <= ? AND {speakable}"
    return f"FROM jobs WHERE {ready} ORDER BY due, created, id LIMIT 1"


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
