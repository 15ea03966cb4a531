"""A database of jobs that is away, halted, locked or read-only is told in words and in time, and found again by itself;
and what a lease is worth. Shown without a model."""

import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from databases import Database, execute
from test_job_store import ANNA, audio, keep, new_job

from server.jobs import postgresql
from server.jobs.postgresql import PostgreSQLStore
from server.jobs.store import JobStorageError, UnknownJob

STATED_SECONDS = 5
"""Of a call: half of it waiting for those before it."""


@pytest.fixture
def where(postgres: Database) -> str:
    return postgres.new()


@pytest.fixture
def store(where: str) -> Iterator[PostgreSQLStore]:
    with contextlib.closing(PostgreSQLStore(where, 3600)) as store:
        yield store


@pytest.fixture
def other(where: str) -> Iterator[PostgreSQLStore]:
    with contextlib.closing(PostgreSQLStore(where, 3600)) as store:
        yield store


def refuses_everything(store: PostgreSQLStore, reason: str) -> None:
    for change in (True, False):
        began = time.monotonic()
        with pytest.raises(JobStorageError, match=f"the database .*{reason}") as refused:
            keep(store, new_job(77)) if change else store.check(thorough=True)
        assert time.monotonic() - began < STATED_SECONDS
        assert "127.0.0.1" not in str(refused.value) and "jobs_" not in str(refused.value)


def works_again(store: PostgreSQLStore, number: int) -> None:
    end = time.monotonic() + 2
    while True:
        try:
            store.check(thorough=True)
            break
        except JobStorageError:
            assert time.monotonic() < end
    keep(store, new_job(number))
    assert store.find(new_job(1).id)


def test_a_database_that_goes_is_missed_at_once_and_found_again(store: PostgreSQLStore, postgres: Database) -> None:
    keep(store, new_job(1))
    postgres.kill()
    try:
        refuses_everything(store, "away")
    finally:
        postgres.start()
    works_again(store, 2)
    postgres.kill()
    postgres.start()
    assert store.counts()["queued"] == 2, "a connection that died unnoticed costs nobody an error"


def test_a_database_that_answers_nothing_is_waited_for_so_long(store: PostgreSQLStore, postgres: Database) -> None:
    keep(store, new_job(1))
    waits: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        with contextlib.suppress(JobStorageError):
            store.counts()
        waits.append(time.monotonic() - began)

    with postgres.halted():
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(waits) == 4 and max(waits) < STATED_SECONDS
    works_again(store, 2)


def test_a_locked_table_is_waited_for_so_long(store: PostgreSQLStore, where: str) -> None:
    keep(store, new_job(1))
    with psycopg.connect(where) as somebody:
        somebody.execute("LOCK TABLE tts_jobs")
        with pytest.raises(JobStorageError, match="did not answer within 2 s"):
            store.counts()
    works_again(store, 2)


def test_a_standby_and_a_database_that_is_not_there_are_named(
    store: PostgreSQLStore, where: str, postgres: Database
) -> None:
    keep(store, new_job(1))
    name = where.rpartition("/")[2]
    execute(postgres.url("postgres"), f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    execute(where, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'direct-tts'")
    refuses_everything(store, "read-only")
    assert store.find(new_job(1).id)
    execute(postgres.url("postgres"), f"ALTER DATABASE {name} RESET default_transaction_read_only")
    works_again(store, 2)
    with contextlib.closing(PostgreSQLStore(postgres.url("jobs_of_nobody"), 1)) as nowhere:
        refuses_everything(nowhere, "refuses the connection")


def test_tables_that_are_dropped_are_made_again(store: PostgreSQLStore, where: str) -> None:
    keep(store, new_job(2))
    execute(where, "DROP TABLE tts_jobs, tts_sound, tts_servers")
    with pytest.raises(JobStorageError, match="does not exist"):
        store.counts()
    keep(store, new_job(1))
    works_again(store, 3)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/y?nothing=1", "postgresql://u:sec ret@h:5x/y"])
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="TTS_JOBS must be") as refused:
        PostgreSQLStore(url, 1)
    assert "secret" not in str(refused.value)


def test_a_claim_is_a_lease_that_its_owner_renews(
    store: PostgreSQLStore, other: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LEASE_SECONDS", 0.5)
    keep(store, new_job(1))
    taken = store.claim([ANNA])
    assert taken
    for _ in range(4):  # twice as long as the lease: while it plans, waits for listeners or stores what it made
        time.sleep(0.25)
        store.release_lost([taken.id])
        other.release_lost([])
        assert other.claim([ANNA]) is None
    assert store.progress(taken, 50)
    time.sleep(0.6)  # its owner is dead, or halted
    other.release_lost([])
    again = other.claim([ANNA])
    assert again and again.id == taken.id and again.owner != taken.owner
    lost, kept = store.begin_audio(taken), other.begin_audio(again)
    lost.write(b"of the one that lost it")
    kept.write(b"of the one that has it")
    assert not store.progress(taken, 60)
    lost.keep()
    kept.keep()
    assert not store.complete(taken, 1) and other.complete(again, 1)
    assert audio(store, again) == b"of the one that has it"
    for sound in (lost, kept):
        sound.close()


def test_sound_goes_with_its_job_and_after_its_time(store: PostgreSQLStore, where: str) -> None:
    for number in (1, 2, 3):
        keep(store, new_job(number))
        job = store.claim([ANNA])
        assert job
        sound = store.begin_audio(job)
        sound.write(bytes(600_000))
        sound.keep()
        sound.close()
        if number < 3:
            assert store.complete(job, 1)
    with store.open_audio(new_job(1).id)[0] as whole:
        assert not store.cancel(new_job(1).id)
        assert whole.read() == bytes(600_000)
    assert execute(where, "SELECT count(DISTINCT job) FROM tts_sound") == [(2,)]
    execute(where, "UPDATE tts_jobs SET finished = finished - 4000 WHERE finished IS NOT NULL")
    store.cancel(new_job(3).id)
    store.tidy()
    with pytest.raises(UnknownJob):
        store.open_audio(new_job(2).id)
    assert execute(where, "SELECT count(*) FROM tts_sound") == [(0,)]
    assert store.counts()["cancelled"] == 1
