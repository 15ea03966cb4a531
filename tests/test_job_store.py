"""What is accepted is kept, and claimed by one process at a time: shown without a model, by processes that die."""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FIGURES, ROOT
from disks import damage, fill, small_disk, write_protected
from store_worker import sound

from server.jobs.store import Job, JobStorageError, JobStore, UnknownJob

ANNA = "anna's fingerprint"


def new_job(number: int, voice: str = ANNA, due: float = 0) -> Job:
    return Job(f"{number:032x}", json.dumps({"text": f"Number {number}."}), voice, "normal", time.time(), due, 100)


def keep(store: JobStore, job: Job) -> int:
    return store.accept(job, threading.Event())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    with contextlib.closing(JobStore(tmp_path / "outputs", 3600)) as store:
        yield store


class Worker:
    """A process that works on jobs until it is killed."""

    def __init__(self, folder: Path, log: Path, *voices: str):
        with log.open("a") as out:
            command = [sys.executable, "-m", "tests.store_worker", str(folder), *voices]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def all_done(store: JobStore, count: int, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while store.counts()["completed"] < count:
        assert time.monotonic() < end, store.counts()
        time.sleep(0.02)


def audio(store: JobStore, job: Job) -> bytes:
    with store.open_audio(job.id)[0] as file:
        return file.read()


def test_the_store_knows_no_model_no_loop_and_no_http() -> None:
    unwanted = ("torch", "asyncio", "starlette", "numpy", "tts_core")
    code = f"import sys, server.jobs.store; sys.exit(str([name for name in {unwanted} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def killed_rounds(tmp_path: Path, rounds: int, workers: int, seed: int) -> tuple[int, int]:
    """Workers killed at random moments, jobs accepted meanwhile; how many were accepted, how many kills there were."""
    draw, folder, log = random.Random(seed), tmp_path / "outputs", tmp_path / "log"
    log.touch()
    jobs: list[Job] = []
    with contextlib.closing(JobStore(folder, 3600)) as store:
        running = [Worker(folder, log, ANNA) for _ in range(workers)]
        for _ in range(rounds):
            for _ in range(draw.randint(1, 3)):
                jobs.append(new_job(len(jobs)))
                keep(store, jobs[-1])
            time.sleep(draw.uniform(0, 0.08))
            victim = draw.randrange(workers)
            running[victim].kill()
            running[victim] = Worker(folder, log, ANNA)
        all_done(store, len(jobs), 60)
        for worker in running:
            worker.kill()
        assert store.counts()["completed"] == len(jobs) and [audio(store, job) for job in jobs] == list(
            map(sound, jobs)
        )
        store.tidy()
    assert sorted(path.name for path in folder.glob("*.wav*")) == sorted(f"{job.id}.wav" for job in jobs)
    finished = log.read_text().split()
    assert len(finished) == len(set(finished)), "finished twice"
    return len(jobs), rounds


def test_workers_that_are_killed_lose_and_change_nothing(tmp_path: Path) -> None:
    killed_rounds(tmp_path, rounds=12, workers=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_of_three_workers_lose_and_change_nothing(tmp_path: Path) -> None:
    jobs, kills = killed_rounds(tmp_path, rounds=200, workers=3, seed=2)
    FIGURES["jobs kept without a model"], FIGURES["kills of their workers"] = jobs, kills


def test_a_job_is_claimed_once_and_by_one_that_can_speak_it(store: JobStore, tmp_path: Path) -> None:
    for number in range(40):
        keep(store, new_job(number, voice=f"voice {number % 2}"))
    other = JobStore(store.folder, 3600)
    claimed: list[tuple[str, str]] = []

    def claim(who: JobStore, voice: str) -> None:
        while job := who.claim([voice]):
            claimed.append((voice, job.id))

    threads = [threading.Thread(target=claim, args=[who, f"voice {n}"]) for who in (store, other) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted((f"voice {number % 2}", f"{number:032x}") for number in range(40))
    assert store.claim(["voice 2"]) is None
    other.close()


def test_claims_go_by_due_time_and_wait_for_their_pause(store: JobStore) -> None:
    for number, due in enumerate([30, 10, 20]):
        keep(store, new_job(number, due=due))
    assert store.next_due([ANNA]) == 10 and store.next_due(["nobody"]) is None
    first = store.claim([ANNA])
    assert first and first.due == 10 and store.place(store.find(new_job(2).id)) == 1
    assert store.requeue(first, 1, "no luck", pause=100)
    again = store.claim([ANNA])
    assert again and again.due == 20
    assert not store.complete(first, 1), "it was no longer claimed"
    assert store.fail(again, 1, "broken") and store.find(again.id).error == "broken"


def test_claims_of_a_process_that_ended_are_free_and_those_of_a_living_one_are_not(store: JobStore) -> None:
    keep(store, new_job(1))
    other = JobStore(store.folder, 3600)
    taken = other.claim([ANNA])
    assert taken
    store.release_lost([])
    assert store.claim([ANNA]) is None
    other.close()
    store.release_lost([])
    assert store.claim([ANNA]) and not other.complete(taken, 1)


def test_what_no_living_process_can_speak_is_known(store: JobStore) -> None:
    keep(store, new_job(1, voice="a"))
    keep(store, new_job(2, voice="b"))
    other = JobStore(store.folder, 3600)
    other.claim(["b"])
    keep(store, new_job(3, voice="b"))
    assert store.unspeakable(["c"]) == {"a"}
    other.close()
    assert store.unspeakable(["c"]) == {"a", "b"}
    store.fail_unspeakable("a", "nobody can")
    assert store.find(new_job(1).id).state == "failed" and store.find(new_job(3).id).state == "queued"


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
    with contextlib.closing(JobStore(folder, 3600)) as store:
        job = store.claim([ANNA])
        assert job and (job.id, job.voice, job.samples) == ("old", None, 3)


def test_many_threads_are_accepted_together(store: JobStore) -> None:
    threads = [threading.Thread(target=keep, args=[store, new_job(number)]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts()["queued"] == 32


def test_nobody_who_gave_up_waiting_is_accepted(store: JobStore) -> None:
    gone = threading.Event()
    gone.set()
    store.accept(new_job(1), gone)
    with pytest.raises(UnknownJob):
        store.find(new_job(1).id)


def refuses_everything(store: JobStore, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(JobStorageError, match=reason) as refused:
        keep(store, new_job(77))
    assert str(store.folder) not in str(refused.value)
    assert time.monotonic() - began < 2.5
    with pytest.raises(JobStorageError):
        store.check(thorough=True)


def works_again(store: JobStore, kept: Job | None) -> None:
    store.check(thorough=True)
    keep(store, new_job(88))
    if kept:
        assert store.find(kept.id).speech == kept.speech


def test_a_folder_that_goes_is_missed_at_once_and_found_again(store: JobStore, tmp_path: Path) -> None:
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


def test_a_claim_is_lost_with_the_folder_that_it_was_made_in(store: JobStore, tmp_path: Path) -> None:
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
def test_a_damaged_table_is_known_at_once_and_its_repair_too(store: JobStore, how: str) -> None:
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


def test_a_locked_table_is_waited_for_so_long_and_no_longer(store: JobStore) -> None:
    keep(store, new_job(1))
    with contextlib.closing(sqlite3.connect(store.folder / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        refuses_everything(store, "locked")
        other.execute("ROLLBACK")
    works_again(store, new_job(1))


def test_a_full_disk_and_one_that_is_not_to_be_written_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512), contextlib.closing(JobStore(tmp_path / "disk" / "outputs", 3600)) as store:
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


def test_audio_that_is_removed_while_it_is_read_is_read_to_its_end(store: JobStore) -> None:
    keep(store, new_job(1))
    job = store.claim([ANNA])
    assert job
    file = store.begin_audio(job)
    file.write(b"sound")
    file.keep()
    assert store.complete(job, 1)
    with store.open_audio(job.id)[0] as whole:
        assert not store.cancel(job.id)
        assert whole.read() == b"sound"
    with pytest.raises(UnknownJob):
        store.open_audio(job.id)
