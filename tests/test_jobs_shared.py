"""Servers that share nothing but a database: each answers for every job, and what one accepted another finishes."""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import FIGURES, Server
from databases import Database, execute
from test_jobs import LONG, ask_later, finished
from test_jobs_kept import is_accepted_again, is_refused

HASTY = "tests.hasty_app:app"
"""It waits 2 s for a server that says nothing."""


@contextlib.contextmanager
def sharing(folder: Path, url: str, app: str = HASTY) -> Iterator[list[Server]]:
    """Two servers, each with a folder of its own that neither makes."""
    servers = [Server(folder / f"log{n}", app, TTS_JOBS=url, TTS_OUTPUTS=str(folder / f"outputs{n}")) for n in range(2)]
    for server in servers:
        server.start()
    try:
        yield servers
    finally:
        codes = [server.stop() for server in servers]
    assert codes == [0, 0] and not any("Traceback" in server.log for server in servers)
    assert not list(folder.glob("outputs*"))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres: Database) -> Iterator[list[Server]]:
    with sharing(tmp_path_factory.mktemp("shared"), postgres.new()) as servers:
        yield servers


@pytest.fixture
def clients(servers: list[Server]) -> Iterator[list[httpx.Client]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(httpx.Client(base_url=server.address, timeout=60)) for server in servers]


def test_each_server_answers_for_every_job(clients: list[httpx.Client]) -> None:
    one, two = clients
    text = "One for later, please."
    jobs = [ask_later(one, text, seed=seed, steps=2) for seed in range(4)]
    for seed, job in enumerate(jobs):
        status = finished(two, job)
        assert status["status"] == "completed" and status["result"]["url"] == f"/tts/result/{job}"
        sound = two.get(f"/tts/result/{job}").content
        assert sound == one.get(f"/tts/result/{job}").content
        assert sound == one.post("/tts", json={"text": text, "seed": seed, "steps": 2}).content
    part = two.get(f"/tts/result/{jobs[0]}", headers={"range": "bytes=1000-1999"})
    assert part.status_code == 206 and part.content == one.get(f"/tts/result/{jobs[0]}").content[1000:2000]
    assert two.delete(f"/tts/{jobs[0]}").json()["status"] == "removed"
    assert one.get(f"/tts/result/{jobs[0]}").status_code == 404
    listed = {job["request_id"]: job for job in two.get("/tts/jobs").json()["jobs"]}
    assert set(jobs[1:]) <= set(listed) and all("text" not in job for job in listed.values())


def test_a_job_is_cancelled_by_whichever_server_is_asked(clients: list[httpx.Client]) -> None:
    one, two = clients
    job = ask_later(one, LONG * 30)
    while one.get(f"/tts/status/{job}").json()["status"] == "queued":
        time.sleep(0.02)
    assert one.get(f"/tts/result/{job}").status_code == 409
    for client in clients:
        assert client.delete(f"/tts/{job}").status_code == 200
    assert two.get(f"/tts/status/{job}").status_code in (200, 404)
    assert finished(two, ask_later(two, "Next, please.", steps=1))["status"] == "completed"


def test_a_request_that_is_sent_again_is_one_job_on_any_server(clients: list[httpx.Client]) -> None:
    wanted = {"text": "Once, whoever asks.", "async": True, "steps": 1}
    replies: list[httpx.Response] = []

    def ask(client: httpx.Client) -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            replies.append(own.post("/tts", json=wanted, headers={"Idempotency-Key": "once"}))

    threads = [threading.Thread(target=ask, args=[clients[number % 2]]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in replies] == [202] * 6, replies
    assert len({reply.json()["request_id"] for reply in replies}) == 1


def test_a_database_that_is_away_or_halted_is_told_and_found_again(
    clients: list[httpx.Client], postgres: Database
) -> None:
    one, two = clients
    kept = is_accepted_again(one)
    postgres.kill()
    try:
        is_refused(one, "the database is away")
        assert two.get(f"/tts/result/{kept}").json()["error"]["code"] == "not_kept"
    finally:
        postgres.start()
    is_accepted_again(one)
    assert two.get(f"/tts/result/{kept}").status_code == 200
    worst = 0.0
    with postgres.halted():
        asked = threading.Thread(target=lambda: is_refused(two, "the database"))
        asked.start()
        while asked.is_alive():
            began = time.monotonic()
            one.get("/health").raise_for_status()
            worst = max(worst, time.monotonic() - began)
    assert worst < 1.5, f"/health took {worst:.2f} s; who asks the database waits for 2 s"
    is_accepted_again(one, 10)
    is_accepted_again(two, 10)


def killed_at_random(folder: Path, url: str, app: str, kills: int, count: int, seed: int) -> None:
    """Jobs accepted by two servers that are killed again and again: each is complete once, with its seed's bytes."""
    draw = random.Random(seed)
    with sharing(folder, url, app) as servers:
        jobs: dict[str, dict[str, object]] = {}
        for number in range(count):
            with httpx.Client(base_url=draw.choice(servers).address, timeout=60) as client:
                text = f"Number {number}. {LONG[: draw.randint(10, 110)]}"
                job = ask_later(client, text, seed=number, steps=2)
                jobs[job] = {"text": text, "seed": number, "steps": 2}
        for _ in range(kills):
            time.sleep(draw.uniform(0, 0.4))
            server = draw.choice(servers)
            server.kill()
            server.start()
        with httpx.Client(base_url=servers[0].address, timeout=60) as client:
            for job, speech in jobs.items():
                assert finished(client, job, 120)["status"] == "completed"
                assert client.get(f"/tts/result/{job}").content == client.post("/tts", json=speech).content
            assert client.get("/health").json()["jobs"] == {
                "queued": 0, "processing": 0, "completed": count, "failed": 0, "cancelled": 0
            }  # fmt: skip
        said = "".join(server.log for server in servers)
        assert [job for job in jobs if said.count(f"job {job} completed") > 1] == [], "made twice"


def test_no_accepted_job_is_lost_or_changed_by_kills_of_one_of_two(tmp_path: Path, postgres: Database) -> None:
    killed_at_random(tmp_path, postgres.new(), HASTY, kills=2, count=5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_accepted_job_is_lost_or_changed_by_thirty_kills_of_one_of_two(tmp_path: Path, postgres: Database) -> None:
    killed_at_random(tmp_path, postgres.new(), "app:app", kills=30, count=20, seed=2)
    FIGURES["jobs in PostgreSQL complete and unchanged after 30 kills"] = 20


@pytest.mark.slow
def test_the_job_of_a_server_that_died_goes_on_within_30_s(tmp_path: Path, postgres: Database) -> None:
    url = postgres.new()
    one, two = (Server(tmp_path / f"log{n}", TTS_JOBS=url) for n in range(2))
    one.start()
    with httpx.Client(base_url=one.address, timeout=60) as client:
        job = ask_later(client, LONG * 40, seed=1)
        while client.get(f"/tts/status/{job}").json()["status"] == "queued":
            time.sleep(0.05)
    two.start()
    with httpx.Client(base_url=two.address, timeout=60) as client:
        assert client.get(f"/tts/status/{job}").json()["status"] == "processing"
        one.kill()
        began = time.monotonic()
        before = execute(url, "SELECT owner FROM tts_jobs")
        while execute(url, "SELECT owner FROM tts_jobs WHERE state = 'processing'") in ([], before):
            assert time.monotonic() - began < 30
            time.sleep(0.05)
        FIGURES["seconds until a dead server's job goes on"] = round(time.monotonic() - began, 1)
        assert finished(client, job, 200)["status"] == "completed"
    assert two.stop() == 0
