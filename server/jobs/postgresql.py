"""Accepted jobs and their sound in PostgreSQL, for servers on several machines.

Knows SQL and what becomes of a job; nothing of models, HTTP or the event loop. A claim is one statement, and a lease:
its owner renews it each second, whoever finds one that ran out queues the job again. The database's clock says when,
since those of the servers differ. Sound is in rows of pieces, so that no statement is long.
"""

import contextlib
import itertools
import secrets
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import BinaryIO

from server.jobs.database import Cursor, Database
from server.jobs.store import (
    COLUMNS,
    MAX_LISTED,
    STATES,
    Job,
    JobStorageError,
    UnknownJob,
    require_audio,
    unknown_job,
)

LEASE_SECONDS = 20
"""A job whose server died goes on elsewhere after so long; one that cannot reach the database for so long has lost its
jobs, and learns it."""
PIECE_BYTES = 256 * 1024
REMOVED_TOGETHER = 3
"""Jobs a statement: their sound goes with them, and may be of hours."""
TIDY_SECONDS = 1.0
"""What cannot be removed in so long is left for the next time."""
SCHEMA_LOCK = 0x7474735F

# Made where tts_jobs is missing. A later version adds its columns there.
SCHEMA = """
CREATE TABLE IF NOT EXISTS tts_jobs (
    id text PRIMARY KEY, speech text NOT NULL, voice text NOT NULL, priority text NOT NULL, created float8 NOT NULL,
    due float8 NOT NULL, samples bigint NOT NULL, state text NOT NULL, made bigint NOT NULL, not_before float8 NOT NULL,
    finished float8, processing_time float8, failures integer NOT NULL, error text, owner text, format text NOT NULL,
    idempotency_key text UNIQUE, asked text, lease float8
);
CREATE INDEX IF NOT EXISTS tts_jobs_in_order ON tts_jobs (state, due, created, id);
CREATE INDEX IF NOT EXISTS tts_jobs_finished ON tts_jobs (finished);
CREATE TABLE IF NOT EXISTS tts_sound (
    job text REFERENCES tts_jobs ON DELETE CASCADE, owner text, place integer, data bytea NOT NULL,
    PRIMARY KEY (job, owner, place)
);
ALTER TABLE tts_sound ALTER data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS tts_servers (owner text PRIMARY KEY, voices text[] NOT NULL, seen float8 NOT NULL)"""

NOW = "extract(epoch FROM now())::float8"
EVERY = f"SELECT {COLUMNS} FROM tts_jobs"
AHEAD = "SELECT count(*) AS ahead FROM tts_jobs WHERE state = 'queued' AND (due, created, id) < (%s, %s, %s)"
NEXT = f"""FROM tts_jobs WHERE state = 'queued' AND not_before <= {NOW} AND voice = ANY(%s)
    ORDER BY due, created, id LIMIT 1"""
MINE = "id = %s AND owner = %s AND state = 'processing'"
AGAIN = "state = 'queued', owner = NULL, lease = NULL, made = 0"
SEEN = f"""INSERT INTO tts_servers VALUES (%s, %s, {NOW})
    ON CONFLICT (owner) DO UPDATE SET voices = excluded.voices, seen = excluded.seen"""


def make_tables(cursor: Cursor) -> None:
    if cursor.execute("SELECT to_regclass('tts_jobs') AS there").fetchall()[0]["there"] is None:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SCHEMA_LOCK])  # two at once would meet in the catalogue
        cursor.execute(SCHEMA)


class PostgreSQLStore:
    """The jobs of one database. Its tables are made with the first connection."""

    name = "the database"
    download_seconds = 60.0
    """The longest speech is 0.25 GB, and copied from the database before it is sent."""

    def __init__(self, url: str, keep_seconds: float):
        """Waits for nothing. Raises ValueError where `url` is none."""
        self._database, self._keep_seconds = Database(url, make_tables), keep_seconds
        self.address = self._database.address
        self._owner = secrets.token_hex(8)

    def check(self, thorough: bool = False) -> None:
        if thorough:  # a standby reads, and does not write
            self._database.changed("DELETE FROM tts_servers WHERE owner = 'nobody'")
        else:
            self._database.rows("SELECT 1 AS one")

    # What clients ask for

    def accept(self, job: Job, abandoned: threading.Event) -> tuple[Job, int | None]:
        values = [getattr(job, field.name) for field in fields(Job)]
        insert = f"INSERT INTO tts_jobs ({COLUMNS}) VALUES ({', '.join(['%s'] * len(values))}) ON CONFLICT DO NOTHING"
        known = f"{EVERY} WHERE id = %s OR idempotency_key = %s"

        def keep(cursor: Cursor) -> tuple[Job, int | None]:
            found = None
            while not found:  # again where the one of that key has been removed meanwhile
                cursor.execute(insert, values)
                found = cursor.execute(known, [job.id, job.idempotency_key]).fetchall()
            kept = Job(**found[0])
            if kept.id != job.id:
                return kept, None
            ahead = cursor.execute(AHEAD, [job.due, job.created, job.id]).fetchall()[0]["ahead"]
            return kept, int(ahead) + 1

        kept = self._database.use(keep)
        if abandoned.is_set() and job.idempotency_key is None:
            self._database.changed("DELETE FROM tts_jobs WHERE id = %s", job.id)
        return kept

    def find(self, job_id: str) -> Job:
        found = self._database.rows(f"{EVERY} WHERE id = %s", job_id)
        if not found:
            raise unknown_job(job_id, self._keep_seconds)
        return Job(**found[0])

    def find_key(self, idempotency_key: str) -> Job | None:
        found = self._database.rows(f"{EVERY} WHERE idempotency_key = %s", idempotency_key)
        return Job(**found[0]) if found else None

    def place(self, job: Job) -> int:
        return int(self._database.rows(AHEAD, job.due, job.created, job.id)[0]["ahead"]) + 1

    def listed(self) -> list[tuple[Job, int | None]]:
        told = COLUMNS.replace("speech", "(speech::jsonb - 'text')::text AS speech")
        unfinished = "state IN ('processing', 'queued') ORDER BY state, due, created, id"
        finished = "finished IS NOT NULL ORDER BY finished DESC"
        which = (unfinished, finished)
        found = (self._database.rows(f"SELECT {told} FROM tts_jobs WHERE {one} LIMIT {MAX_LISTED}") for one in which)
        places = itertools.count(1)
        jobs = [Job(**row) for rows in found for row in rows]
        return [(job, next(places) if job.state == "queued" else None) for job in jobs]

    def open_audio(self, job_id: str) -> tuple[BinaryIO, str]:
        """A copy without a name: the database may go while it is sent, and the job too."""
        job = self.find(job_id)
        require_audio(job)
        where = "WHERE job = %s AND owner = %s"
        pieces = self._database.rows(f"SELECT count(*) AS n FROM tts_sound {where}", job.id, job.owner)[0]["n"]
        copy = _nameless_file()
        with contextlib.ExitStack() as stack, _file_errors():
            stack.callback(copy.close)
            for place in range(pieces):
                sql = f"SELECT data FROM tts_sound {where} AND place = %s"
                found = self._database.rows(sql, job.id, job.owner, place)
                if not found:
                    break
                copy.write(found[0]["data"])
            else:
                if pieces:
                    copy.seek(0)
                    stack.pop_all()
                    return copy, job.format
        raise UnknownJob(f"the audio of job {job_id} was removed")

    def cancel(self, job_id: str) -> bool:
        self.find(job_id)
        cancelled = f"UPDATE tts_jobs SET state = 'cancelled', finished = {NOW} WHERE id = %s"
        if self._database.changed(f"{cancelled} AND state IN ('queued', 'processing')", job_id):
            return True
        self._database.changed("DELETE FROM tts_jobs WHERE id = %s", job_id)
        return False

    def counts(self) -> dict[str, int]:
        rows = self._database.rows("SELECT state, count(*) AS n FROM tts_jobs GROUP BY state")
        return dict.fromkeys(STATES, 0) | {row["state"]: row["n"] for row in rows}

    # The work

    def next_due(self, voices: Collection[str]) -> float | None:
        found = self._database.rows(f"SELECT due {NEXT}", list(voices))
        return float(found[0]["due"]) if found else None

    def claim(self, voices: Collection[str]) -> Job | None:
        lease = f"state = 'processing', owner = %s, lease = {NOW} + {LEASE_SECONDS}, made = 0"
        claimed = f"""WITH next AS MATERIALIZED (SELECT id {NEXT} FOR UPDATE SKIP LOCKED)
            UPDATE tts_jobs SET {lease} WHERE id = (SELECT id FROM next) RETURNING {COLUMNS}"""

        def take(cursor: Cursor) -> Job | None:
            cursor.execute(SEEN, [self._owner, list(voices)])
            found = cursor.execute(claimed, [list(voices), self._owner]).fetchall()
            return Job(**found[0]) if found else None

        return self._database.use(take)

    def progress(self, job: Job, made: int) -> bool:
        return self._update_if_owner(job, f"made = %s, lease = {NOW} + {LEASE_SECONDS}", made)

    def complete(self, job: Job, seconds: float) -> bool:
        done = f"state = 'completed', finished = {NOW}, made = samples, processing_time = %s, error = NULL"
        return self._update_if_owner(job, done, seconds)

    def requeue(self, job: Job, failures: int, error: str | None, pause: float) -> bool:
        return self._update_if_owner(
            job, f"{AGAIN}, failures = %s, error = %s, not_before = {NOW} + %s", failures, error, pause
        )

    def fail(self, job: Job, failures: int, error: str) -> bool:
        return self._update_if_owner(
            job, f"state = 'failed', made = 0, failures = %s, error = %s, finished = {NOW}", failures, error
        )

    def _update_if_owner(self, job: Job, change: str, *values: object) -> bool:
        return self._database.changed(f"UPDATE tts_jobs SET {change} WHERE {MINE}", *values, job.id, job.owner) > 0

    def release_lost(self, working: Collection[str]) -> None:
        renew = f"UPDATE tts_jobs SET lease = {NOW} + {LEASE_SECONDS}"
        mine = "state = 'processing' AND owner = %s AND id"
        at_work = list(working)

        self._database.changed(f"{renew} WHERE {mine} = ANY(%s)", self._owner, at_work)
        lost = f"({mine} <> ALL(%s)) OR (state = 'processing' AND lease < {NOW})"
        unlocked = f"SELECT id FROM tts_jobs WHERE {lost} FOR UPDATE SKIP LOCKED"
        self._database.changed(f"UPDATE tts_jobs SET {AGAIN} WHERE id IN ({unlocked})", self._owner, at_work)

    def unspeakable(self, voices: Collection[str]) -> set[str]:
        wanted = f"""SELECT DISTINCT voice FROM tts_jobs WHERE state = 'queued' AND voice <> ALL(%s) AND NOT EXISTS
            (SELECT FROM tts_servers WHERE seen > {NOW} - {LEASE_SECONDS} AND tts_jobs.voice = ANY(voices))"""

        def look(cursor: Cursor) -> set[str]:
            cursor.execute(SEEN, [self._owner, list(voices)])
            return {row["voice"] for row in cursor.execute(wanted, [list(voices)])}

        return self._database.use(look)

    def fail_unspeakable(self, voice: str, error: str) -> None:
        change = f"UPDATE tts_jobs SET state = 'failed', error = %s, finished = {NOW}"
        self._database.changed(f"{change} WHERE state = 'queued' AND voice = %s", error, voice)

    def tidy(self) -> None:
        old = f"SELECT id FROM tts_jobs WHERE finished < {NOW} - %s LIMIT {REMOVED_TOGETHER} FOR UPDATE SKIP LOCKED"
        end = time.monotonic() + TIDY_SECONDS
        while time.monotonic() < end:
            if not self._database.changed(f"DELETE FROM tts_jobs WHERE id IN ({old})", self._keep_seconds):
                break
        left = """DELETE FROM tts_sound USING tts_jobs WHERE id = job AND
            (state NOT IN ('processing', 'completed') OR tts_sound.owner <> tts_jobs.owner)"""
        self._database.changed(left)
        self._database.changed(f"DELETE FROM tts_servers WHERE seen < {NOW} - {3 * LEASE_SECONDS}")

    def begin_audio(self, job: Job) -> "PiecesOfSound":
        return PiecesOfSound(self._database, job)

    def discard_audio(self, job: Job) -> None:
        unfinished = "NOT EXISTS (SELECT FROM tts_jobs WHERE id = job AND owner = %s AND state = 'completed')"
        with contextlib.suppress(JobStorageError):
            sql = f"DELETE FROM tts_sound WHERE job = %s AND owner = %s AND {unfinished}"
            self._database.changed(sql, job.id, job.owner, job.owner)

    def close(self) -> None:
        with contextlib.suppress(JobStorageError):
            self.release_lost([])
            self._database.changed("DELETE FROM tts_servers WHERE owner = %s", self._owner)
        self._database.close()


class PiecesOfSound:
    """Audio in the making, in a file without a name; in the database once it is complete."""

    def __init__(self, database: Database, job: Job):
        self._database, self._job = database, job
        self._file = _nameless_file()

    def write(self, data: bytes) -> None:
        with _file_errors():
            self._file.write(data)

    def keep(self) -> None:
        """Piece by piece, each only while the claim is still this process's: who has lost it learns so when it would
        complete the job."""
        piece = f"""INSERT INTO tts_sound SELECT id, owner, %s, %b FROM tts_jobs WHERE {MINE}
            ON CONFLICT (job, owner, place) DO UPDATE SET data = excluded.data"""
        with _file_errors():
            self._file.seek(0)
            for place in itertools.count():
                data = self._file.read(PIECE_BYTES)
                if not data or not self._database.changed(piece, place, data, self._job.id, self._job.owner):
                    break

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JobStorageError(f"the folder for temporary files: {error.strerror or type(error).__name__}") from error


def _nameless_file() -> BinaryIO:
    with _file_errors():
        return tempfile.TemporaryFile()
