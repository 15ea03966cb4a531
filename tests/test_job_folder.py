"""What becomes of the folder that jobs are kept in is known at once, and its repair too: shown without a model."""

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import damage, fill, small_disk, write_protected
from test_job_store import ANNA, keep, new_job

from server.jobs.sqlite import SQLiteStore
from server.jobs.store import Job, JobStorageError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with contextlib.closing(SQLiteStore(tmp_path / "outputs", 3600)) as store:
        yield store


def test_a_table_of_the_first_version_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "jobs.db")) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute(
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, speech TEXT NOT NULL, priority TEXT NOT NULL, state TEXT NOT NULL,"
            " owner TEXT, created REAL NOT NULL, due REAL NOT NULL, not_before REAL NOT NULL DEFAULT 0, finished REAL,"
            " samples INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0, processing_time REAL,"
            " failures INTEGER NOT NULL DEFAULT 0, error TEXT)"
        )
        columns = "id, speech, priority, state, created, due, samples"
        row = ["old", "{}", "low", "queued", 1.0, 2.0, 3]
        old.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        old.commit()
    with contextlib.closing(SQLiteStore(folder, 3600)) as store:
        job = store.claim([ANNA])
        assert job and (job.id, job.voice, job.samples) == ("old", None, 3)


def refuses_everything(store: SQLiteStore, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(JobStorageError, match=reason) as refused:
        keep(store, new_job(77))
    assert str(store.folder) not in str(refused.value)
    assert time.monotonic() - began < 2.5
    with pytest.raises(JobStorageError):
        store.check(thorough=True)


def works_again(store: SQLiteStore, kept: Job | None) -> None:
    store.check(thorough=True)
    keep(store, new_job(88))
    if kept:
        assert store.find(kept.id).speech == kept.speech


def test_a_folder_that_goes_is_missed_at_once_and_found_again(store: SQLiteStore, tmp_path: Path) -> None:
    keep(store, new_job(1))
    store.folder.rename(tmp_path / "elsewhere")
    refuses_everything(store, "gone")
    assert not store.folder.exists(), "a disk that is not there is not replaced"
    store.folder.write_text("a file")
    refuses_everything(store, "gone|not a folder")
    store.folder.unlink()
    (tmp_path / "elsewhere").rename(store.folder)
    works_again(store, new_job(1))
    shutil.rmtree(store.folder)
    refuses_everything(store, "gone")
    store.folder.mkdir()
    works_again(store, None)


def test_a_claim_is_lost_with_the_folder_that_it_was_made_in(store: SQLiteStore, tmp_path: Path) -> None:
    keep(store, new_job(1))
    taken = store.claim([ANNA])
    assert taken
    saved = tmp_path / "saved"
    shutil.copytree(store.folder, saved)
    shutil.rmtree(store.folder)
    shutil.copytree(saved, store.folder)  # as from a backup: the lock in it is nobody's
    keep(store, new_job(2, due=-1))
    again = store.claim([ANNA])
    assert again and again.owner != taken.owner
    store.release_lost([again.id])
    assert store.claim([ANNA]) and not store.complete(taken, 1)


@pytest.mark.parametrize("how", ["garbage", "middle", "empty", "journal"])
def test_a_damaged_table_is_known_at_once_and_its_repair_too(store: SQLiteStore, how: str) -> None:
    for number in range(50):
        keep(store, new_job(number))
    table = store.folder / "jobs.db"
    before = table.read_bytes()
    if how == "garbage":
        damage(table)
    elif how == "middle":
        with table.open("r+b") as file:
            file.seek(len(before) // 2)
            file.write(os.urandom(2000))
    elif how == "empty":
        os.truncate(table, 0)
    else:  # a journal of garbage says nothing about the table
        (store.folder / "jobs.db-journal").write_bytes(os.urandom(5000))
        (store.folder / "jobs.db-wal").write_bytes(os.urandom(5000))
        works_again(store, new_job(1))
        return
    refuses_everything(store, "damaged|malformed|not a database")
    table.write_bytes(before)
    works_again(store, new_job(1))


def test_a_locked_table_is_waited_for_so_long_and_no_longer(store: SQLiteStore) -> None:
    keep(store, new_job(1))
    with contextlib.closing(sqlite3.connect(store.folder / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        refuses_everything(store, "locked")
        other.execute("ROLLBACK")
    works_again(store, new_job(1))


def test_a_full_disk_and_one_that_is_not_to_be_written_on(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 512),
        contextlib.closing(SQLiteStore(tmp_path / "disk" / "outputs", 3600)) as store,
    ):
        keep(store, new_job(1))
        ballast = fill(tmp_path / "disk")
        refuses_everything(store, "bytes left")
        assert store.find(new_job(1).id)
        ballast.unlink()
        works_again(store, new_job(1))
        write_protected(tmp_path / "disk", True)
        refuses_everything(store, "read-only")
        write_protected(tmp_path / "disk", False)
        store.check(thorough=True)
        job = store.claim([ANNA])
        assert job
        file = store.begin_audio(job)
        with pytest.raises(JobStorageError, match="No space left"):
            for _ in range(200):
                file.write(bytes(4096))
            file.keep()
        file.close()
        store.discard_audio(job)
        assert store.requeue(job, 0, "full", 0) and not list(store.folder.glob("*.part"))
