"""Speech for later: nothing accepted is lost, nothing is made twice, and whoever listens goes first."""

import contextlib
import io
import random
import sqlite3
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import FIGURES, Server, serving


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs") / "outputs"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest) -> str:
    """Its address; empty: jobs are kept in the folder."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres").new())


@pytest.fixture(scope="module")
def server(outputs: Path, database: str) -> Iterator[str]:
    """As everywhere, in a folder that is known here."""
    with serving(outputs.parent / "log", TTS_JOBS=database) as address:
        yield address


LONG = (
    "The ship reached the island early in the morning. Two men were standing in front of the hotel, and nobody "
    "knew why. "
)


def ask_later(client: httpx.Client, text: str, **fields: object) -> str:
    reply = client.post("/tts", json={"text": text, "async": True, **fields})
    assert reply.status_code == 202, reply.text
    job: dict[str, Any] = reply.json()
    assert job["status"] == "queued" and job["queue_position"] >= 1
    assert reply.headers["location"] == f"/tts/status/{job['request_id']}"
    return str(job["request_id"])


def finished(client: httpx.Client, job: str, seconds: float = 60) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while (status := client.get(f"/tts/status/{job}").json())["status"] in ("queued", "processing"):
        assert time.monotonic() < end, status
        time.sleep(0.02)
    return dict(status)


def test_a_job_is_spoken_as_a_listener_would_hear_it(client: httpx.Client, outputs: Path, database: str) -> None:
    text = "One for later, please. It has two sentences, to be sure."
    job = ask_later(client, text, priority="HIGH")
    status = finished(client, job)
    assert status["status"] == "completed" and status["progress"] == 1 and status["priority"] == "high"
    result = status["result"]
    assert result["output_path"] == f"{job}.wav", "relative: where the server keeps it is its own affair"
    assert set(result) == {"output_path", "format", "url", "sample_rate", "duration", "processing_time"}
    audio = client.get(result["url"])
    assert audio.headers["content-type"] == "audio/wav"
    assert audio.content == client.post("/tts", json={"text": text, "seed": status["seed"]}).content
    assert database or audio.content == (outputs / f"{job}.wav").read_bytes()
    with wave.open(io.BytesIO(audio.content)) as file:
        assert (file.getframerate(), round(file.getnframes() / 24000, 3)) == (result["sample_rate"], result["duration"])
    part = client.get(result["url"], headers={"range": "bytes=1000-1999"})
    assert part.status_code == 206 and part.content == audio.content[1000:2000]
    assert client.delete(f"/tts/{job}").json() == {"request_id": job, "status": "removed"}
    assert not (outputs / result["output_path"]).exists()
    for gone in (client.get(f"/tts/status/{job}"), client.get(result["url"]), client.delete(f"/tts/{job}")):
        assert gone.status_code == 404 and gone.json()["error"]["code"] == "job_not_found"


@pytest.mark.parametrize(
    "wanted,status,param",
    [
        ({"text": "a", "async": "yes"}, 400, "async"),
        ({"text": "a", "async": True, "priority": "soon"}, 400, "priority"),
        ({"text": "a", "async": True, "priority": 1}, 400, "priority"),
        ({"text": "a", "priority": "high"}, 400, "priority"),
        ({"text": "a", "async": True, "voice": "nobody"}, 404, "voice"),
        ({"text": "", "async": True}, 400, "text"),
        ({"text": "hello there everyone", "async": True, "duration": 60}, 400, "duration"),
    ],
)
def test_a_bad_job_is_refused_and_not_accepted(
    client: httpx.Client, wanted: dict[str, object], status: int, param: str
) -> None:
    before = client.get("/health").json()["jobs"]
    reply = client.post("/tts", json=wanted)
    assert reply.status_code == status and reply.json()["error"]["param"] == param
    assert client.get("/health").json()["jobs"] == before
    assert (
        client.post("/tts", json={"text": "a", "async": False, "steps": 1}).status_code == 200
    )  # as older clients send it


def test_a_cancelled_job_stops_and_leaves_nothing(client: httpx.Client, outputs: Path) -> None:
    job = ask_later(client, LONG * 20)
    while client.get(f"/tts/status/{job}").json()["status"] == "queued":
        time.sleep(0.01)
    unfinished = client.get(f"/tts/result/{job}")
    assert unfinished.status_code == 409 and unfinished.headers["retry-after"]
    assert client.delete(f"/tts/{job}").json()["status"] == "cancelled"
    began = time.monotonic()
    finished(client, ask_later(client, "Next, please.", steps=1))
    assert time.monotonic() - began < 2, "the cancelled job went on"
    assert not list(outputs.glob(f"{job}*"))
    assert client.get(f"/tts/status/{job}").json()["status"] == "cancelled"
    assert client.get(f"/tts/result/{job}").status_code == 404


def test_jobs_wait_for_listeners_and_go_by_priority_and_age(tmp_path: Path) -> None:
    """Held by a memory limit that no machine meets, so that all are there when the first starts; they wait and do not
    fail."""
    server = Server(tmp_path / "log")
    server.start(TTS_MEMORY_LIMIT="0")
    with httpx.Client(base_url=server.address, timeout=60) as client:
        by_priority = {
            name: ask_later(client, f"This one is {name}.", priority=name, steps=1)
            for name in ("low", "normal", "high", "urgent")
        }
        old = ask_later(client, "Low, and old.", priority="low", steps=1)
        assert client.get(f"/tts/status/{by_priority['normal']}").json()["queue_position"] == 3
        while "memory" not in client.get("/health").json()["message"]:
            time.sleep(0.05)
        assert client.get("/health").json()["jobs"] == {
            "queued": 5,
            "processing": 0,
            "completed": 0,
            "failed": 0,
            "cancelled": 0,
        }
    assert server.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "outputs" / "jobs.db", isolation_level=None)) as db:
        db.execute("UPDATE jobs SET created = created - 18000, due = due - 18000 WHERE id = ?", [old])
    server.start()
    with httpx.Client(base_url=server.address, timeout=60) as client:
        for job in [*by_priority.values(), old]:
            assert finished(client, job)["status"] == "completed"
    assert server.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "outputs" / "jobs.db")) as db:
        order = [row[0] for row in db.execute("SELECT id FROM jobs ORDER BY finished")]
    assert order == [old, *(by_priority[name] for name in ("urgent", "high", "normal", "low"))]


@pytest.mark.timing
def test_an_urgent_job_overtakes_one_under_way_and_a_listener_both(client: httpx.Client) -> None:
    slow = ask_later(client, LONG * 30, priority="low")
    while client.get(f"/tts/status/{slow}").json()["status"] == "queued":
        time.sleep(0.01)
    urgent = ask_later(client, "At once, please.", priority="urgent")
    began = time.monotonic()
    assert finished(client, urgent)["status"] == "completed"
    assert time.monotonic() - began < 5
    assert client.get(f"/tts/status/{slow}").json()["status"] == "processing"
    with client.stream("POST", "/tts", json={"text": LONG * 3, "seed": 1}) as reply:
        before = client.get(f"/tts/status/{slow}").json()["progress"]
        reply.read()
        after = client.get(f"/tts/status/{slow}").json()["progress"]
    assert after - before < 0.05, "the job went on while somebody listened"
    client.delete(f"/tts/{slow}")


def test_faults_are_retried_a_few_times_and_mistakes_never(tmp_path: Path, own_database: str) -> None:
    with (
        serving(tmp_path / "log", app="tests.flaky_app:app", clean=False, TTS_JOBS=own_database) as address,
        httpx.Client(base_url=address) as client,
    ):
        twice, often, bug = (ask_later(client, "Hello.", seed=seed, steps=1) for seed in (1, 2, 3))
        assert finished(client, twice)["status"] == "completed"
        failed = finished(client, often)
        assert (failed["status"], failed["error"]) == ("failed", "out of memory")
        assert client.get(f"/tts/result/{often}").status_code == 404
        assert finished(client, bug)["status"] == "failed"
        log = (tmp_path / "log").read_text()
        assert log.count(f"{often} failed (out of memory); again") == 3 and f"{bug} failed (" not in log
        assert finished(client, ask_later(client, "Still there?", steps=1))["status"] == "completed"


def test_without_a_place_to_keep_jobs_none_is_accepted_and_speech_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        serving(tmp_path / "log", TTS_OUTPUTS=str(tmp_path / "file" / "outputs")) as address,
        httpx.Client(base_url=address) as client,
    ):
        refused = client.post("/tts", json={"text": "Later.", "async": True})
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "not_kept"
        assert client.post("/tts", json={"text": "Now.", "steps": 1}).status_code == 200


def test_a_stopping_server_finishes_listeners_parks_jobs_and_ends_with_0(tmp_path: Path, own_database: str) -> None:
    server = Server(tmp_path / "log", TTS_JOBS=own_database)
    server.start(TTS_GRACE="20")
    with httpx.Client(base_url=server.address, timeout=60) as client:
        job = ask_later(client, LONG * 3, seed=2, steps=2)
        with client.stream("POST", "/tts", json={"text": LONG * 4, "steps": 2}) as reply:
            server.process.terminate()
            assert len(reply.read()) == int(reply.headers["content-length"])
    assert server.process.wait(10) == 0
    server.start(TTS_GRACE="0.2", TTS_KEEP_HOURS="24")
    with httpx.Client(base_url=server.address, timeout=60) as client:
        assert finished(client, job)["status"] == "completed"
        with client.stream("POST", "/tts", json={"text": LONG * 40}) as reply:
            server.process.terminate()
            with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
                reply.read()
    assert server.process.wait(10) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    server.start(TTS_KEEP_HOURS="0")
    with httpx.Client(base_url=server.address) as client:
        end = time.monotonic() + 10
        while client.get(f"/tts/status/{job}").status_code != 404:
            assert time.monotonic() < end
    assert server.stop() == 0
    assert not list((tmp_path / "outputs").glob("*.wav*"))


def test_several_processes_share_the_table(tmp_path: Path, own_database: str) -> None:
    with (
        serving(tmp_path / "log", options=("--workers", "2"), TTS_JOBS=own_database) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        jobs = [ask_later(client, f"Job number {number}.", steps=1) for number in range(12)]
        for job in jobs:
            assert finished(client, job)["status"] == "completed"
    log = (tmp_path / "log").read_text()
    assert [log.count(f"job {job} completed") for job in jobs] == [1] * 12


def killed_at_random(folder: Path, kills: int, count: int, seed: int) -> None:
    """Accepted jobs, a server killed again and again; then each is there once, with the bytes of an undisturbed run."""
    draw = random.Random(seed)
    texts = [f"Job number {number} says: {LONG[: draw.randint(10, 110)]}" for number in range(count)]

    def run(name: str, kills: int) -> dict[str, bytes]:
        (folder / name).mkdir()
        server = Server(folder / name / "log")
        server.start()
        with httpx.Client(base_url=server.address, timeout=60) as client:
            jobs = [ask_later(client, text, seed=number, steps=2) for number, text in enumerate(texts)]
        for _ in range(kills):
            time.sleep(draw.uniform(0, 0.4))
            server.kill()
            server.start()
        with httpx.Client(base_url=server.address, timeout=60) as client:
            for job in jobs:
                status = finished(client, job, 120)
                assert status["status"] == "completed", status
            audio = {text: client.get(f"/tts/result/{job}").content for text, job in zip(texts, jobs, strict=True)}
            assert client.get("/health").json()["jobs"]["completed"] == count
        assert server.stop() == 0
        files = sorted(path.name for path in (folder / name / "outputs").glob("*.wav*"))
        assert files == sorted(f"{job}.wav" for job in jobs)
        return audio

    assert run("killed", kills) == run("undisturbed", 0)


def test_no_accepted_job_is_lost_or_changed_by_kills(tmp_path: Path) -> None:
    killed_at_random(tmp_path, kills=3, count=5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_accepted_job_is_lost_or_changed_by_thirty_kills(tmp_path: Path) -> None:
    killed_at_random(tmp_path, kills=30, count=20, seed=2)
    FIGURES["jobs complete and unchanged after 30 kills"] = 20


def test_a_request_that_is_sent_again_with_its_key_is_one_job(client: httpx.Client) -> None:
    def ask(key: str, **fields: object) -> httpx.Response:
        wanted = {"text": "Once.", "async": True, "steps": 1} | fields
        return client.post("/tts", json=wanted, headers={"Idempotency-Key": key})

    first = ask("8e03978e-40d5-43dd-bc93-6894a57f9324")
    job = first.json()["request_id"]
    assert first.status_code == 202 and ask("8e03978e-40d5-43dd-bc93-6894a57f9324").json()["request_id"] == job
    finished(client, job)
    again = ask("8e03978e-40d5-43dd-bc93-6894a57f9324")
    assert again.status_code == 202 and again.headers["location"] == f"/tts/status/{job}"
    assert again.json()["status"] == "completed" and again.json()["seed"] == first.json()["seed"]
    assert ask("another").json()["request_id"] != job
    for other in ({"text": "Twice."}, {"priority": "low"}, {"seed": 1}):
        refused = ask("8e03978e-40d5-43dd-bc93-6894a57f9324", **other)
        assert refused.status_code == 422, "another job may not be lost behind a key that is used twice"
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
    for bad in ("", "x" * 256, "a key", "caf\xe9"):
        refused = client.post(
            "/tts", json={"text": "a", "async": True}, headers={b"Idempotency-Key": bad.encode("latin-1")}
        )
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "Idempotency-Key"
    client.delete(f"/tts/{job}")
    assert ask("8e03978e-40d5-43dd-bc93-6894a57f9324").json()["request_id"] != job, "a key is known as long as its job"


def test_many_jobs_at_once_are_all_accepted(client: httpx.Client) -> None:
    jobs: list[str] = []

    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            jobs.extend(ask_later(own, "Quick.", steps=1) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(jobs)) == 20
    assert all(finished(client, job)["status"] == "completed" for job in jobs)
