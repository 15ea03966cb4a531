"""What is accepted is kept, and claimed by one process at a time: shown without a model, by processes that die."""

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FIGURES, ROOT
from databases import execute
from store_worker import opened, sound

from server.jobs.store import Job, JobStore, UnknownJob

ANNA = "anna's fingerprint"


def new_job(number: int, voice: str = ANNA, due: float = 0) -> Job:
    return Job(f"{number:032x}", json.dumps({"text": f"Number {number}."}), voice, "normal", time.time(), due, 100)


def keep(store: JobStore, job: Job) -> None:
    store.accept(job, threading.Event())


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store: a folder, or a database's address."""
    if request.param == "sqlite":
        return str(tmp_path / "outputs")
    return str(request.getfixturevalue("postgres").new())


@pytest.fixture
def store(where: str) -> Iterator[JobStore]:
    with contextlib.closing(opened(where)) as store:
        yield store


@pytest.fixture
def other(where: str) -> Iterator[JobStore]:
    """Another process's, as far as the two know."""
    with contextlib.closing(opened(where)) as store:
        yield store


class Worker:
    """A process that works on jobs until it is killed."""

    def __init__(self, where: str, log: Path, *voices: str):
        with log.open("a") as out:
            command = [sys.executable, "-m", "tests.store_worker", where, *voices]
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


@pytest.mark.parametrize("module", ["sqlite", "postgresql"])
def test_the_store_knows_no_model_no_loop_and_no_http(module: str) -> None:
    """psycopg brings a loop for those who want one."""
    unwanted = {"torch", "starlette", "numpy", "tts_core"} | ({"asyncio"} if module == "sqlite" else set())
    code = f"import sys, server.jobs.{module}; sys.exit(str(sorted({unwanted} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def killed_rounds(where: str, log: Path, rounds: int, workers: int, seed: int) -> tuple[int, int]:
    """Workers killed at random moments, jobs accepted meanwhile; how many were accepted, how many kills there were."""
    draw = random.Random(seed)
    log.touch()
    jobs: list[Job] = []
    with contextlib.closing(opened(where)) as store:
        running = [Worker(where, log, ANNA) for _ in range(workers)]
        for _ in range(rounds):
            for _ in range(draw.randint(1, 3)):
                jobs.append(new_job(len(jobs)))
                keep(store, jobs[-1])
            time.sleep(draw.uniform(0, 0.08))
            victim = draw.randrange(workers)
            running[victim].kill()
            running[victim] = Worker(where, log, ANNA)
        all_done(store, len(jobs), 60)
        for worker in running:
            worker.kill()
        assert store.counts()["completed"] == len(jobs) and [audio(store, job) for job in jobs] == list(
            map(sound, jobs)
        )
        store.tidy()
    finished = log.read_text().split()
    assert len(finished) == len(set(finished)), "finished twice"
    return len(jobs), rounds


def nothing_else_is_kept(where: str, jobs: int) -> None:
    """One sound a job; of what was half written, nothing."""
    if "://" in where:
        assert execute(where, "SELECT count(*), count(DISTINCT job) FROM tts_sound") == [(jobs, jobs)]
    else:
        assert len(list(Path(where).glob("*.wav"))) == jobs == len(list(Path(where).glob("*.wav*")))


def test_workers_that_are_killed_lose_and_change_nothing(where: str, tmp_path: Path) -> None:
    jobs, _ = killed_rounds(where, tmp_path / "log", rounds=12, workers=2, seed=1)
    nothing_else_is_kept(where, jobs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_of_three_workers_lose_and_change_nothing(where: str, tmp_path: Path) -> None:
    jobs, kills = killed_rounds(where, tmp_path / "log", rounds=200, workers=3, seed=2)
    nothing_else_is_kept(where, jobs)
    FIGURES["jobs kept without a model"], FIGURES["kills of their workers"] = jobs, kills


def test_a_job_is_claimed_once_and_by_one_that_can_speak_it(store: JobStore, other: JobStore) -> None:
    for number in range(40):
        keep(store, new_job(number, voice=f"voice {number % 2}"))
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


def test_claims_of_a_process_that_ended_are_free_and_those_of_a_living_one_are_not(
    store: JobStore, other: JobStore
) -> None:
    keep(store, new_job(1))
    taken = other.claim([ANNA])
    assert taken
    store.release_lost([])
    assert store.claim([ANNA]) is None
    other.close()
    store.release_lost([])
    assert store.claim([ANNA]) and not other.complete(taken, 1)


def test_what_no_living_process_can_speak_is_known(store: JobStore, other: JobStore) -> None:
    keep(store, new_job(1, voice="a"))
    keep(store, new_job(2, voice="b"))
    other.claim(["b"])
    keep(store, new_job(3, voice="b"))
    assert store.unspeakable(["c"]) == {"a"}
    other.close()
    assert store.unspeakable(["c"]) == {"a", "b"}
    store.fail_unspeakable("a", "nobody can")
    assert store.find(new_job(1).id).state == "failed" and store.find(new_job(3).id).state == "queued"


def test_many_threads_are_accepted_together(store: JobStore) -> None:
    threads = [threading.Thread(target=keep, args=[store, new_job(number)]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts()["queued"] == 32


def test_two_requests_with_one_key_are_one_job(store: JobStore, other: JobStore) -> None:
    kept: list[tuple[Job, int | None]] = []

    def ask(who: JobStore, number: int) -> None:
        job = replace(new_job(number), idempotency_key="a key", asked="the same")
        kept.append(who.accept(job, threading.Event()))

    threads = [threading.Thread(target=ask, args=[(store, other)[number % 2], number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 16 and len({job.id for job, _ in kept}) == 1
    assert [place for _, place in kept if place] == [1], "one of them was new"
    known = other.find_key("a key")
    assert known and known.id == kept[0][0].id and store.find_key("another") is None
    assert store.counts()["queued"] == 1


def test_who_gave_up_has_told_the_key_perhaps_to_another(store: JobStore) -> None:
    """A request that was given up, and whose second try was told that the job is there: it stays."""
    gone = threading.Event()
    gone.set()
    job = replace(new_job(1), idempotency_key="a key", asked="the same")
    store.accept(job, gone)
    assert store.find_key("a key") == store.find(job.id)


def test_nobody_who_gave_up_waiting_is_accepted(store: JobStore) -> None:
    gone = threading.Event()
    gone.set()
    store.accept(new_job(1), gone)
    with pytest.raises(UnknownJob):
        store.find(new_job(1).id)


def test_audio_that_is_removed_while_it_is_read_is_read_to_its_end(store: JobStore) -> None:
    keep(store, new_job(1))
    job = store.claim([ANNA])
    assert job
    file = store.begin_audio(job)
    file.write(b"sound")
    file.keep()
    file.close()
    assert store.complete(job, 1)
    with store.open_audio(job.id)[0] as whole:
        assert not store.cancel(job.id)
        assert whole.read() == b"sound"
    with pytest.raises(UnknownJob):
        store.open_audio(job.id)
