"""Whatever becomes of the outputs folder, the servers that share it or their voices: what was accepted is spoken as
promised."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from conftest import ROOT, Server, serving
from disks import damage, fill, small_disk, write_protected
from test_jobs import LONG, ask_later, finished

VOICES = ROOT / "voices"
STATED_SECONDS = 3.0
"""No request waits longer for the outputs folder; the rest of a second is this machine's."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@contextlib.contextmanager
def jobs_in(folder: Path) -> Iterator[httpx.Client]:
    """A server whose log is not on the disk that is tried."""
    with (
        serving(folder.parents[1] / "log", TTS_OUTPUTS=str(folder)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def is_refused(client: httpx.Client, reason: str) -> None:
    """At once, in words, and whoever looks after the server is told; listeners do not notice."""
    began = time.monotonic()
    reply = client.post("/tts", json={"text": "Later.", "async": True})
    assert time.monotonic() - began < STATED_SECONDS + 1
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (503, "not_kept") and reason in error["message"], reply.text
    assert "/" not in error["message"], "a path of the server's"
    for told in (client.get("/ready").json()["jobs"], client.get("/health").json()["message"]):
        assert reason in told
    assert client.post("/tts", json={"text": "Now.", "steps": 1}).status_code == 200


def is_accepted_again(client: httpx.Client, seconds: float = 3) -> str:
    """By itself; and then the job is spoken, and nobody complains any more."""
    end = time.monotonic() + seconds
    while (reply := client.post("/tts", json={"text": "Later.", "async": True, "steps": 1})).status_code != 202:
        assert reply.status_code == 503 and time.monotonic() < end, reply.text
        time.sleep(0.05)
    job: str = reply.json()["request_id"]
    assert finished(client, job)["status"] == "completed"
    while "jobs" in (ready := client.get("/ready").json()):
        assert time.monotonic() < end + 2, ready
    return job


def test_a_folder_that_is_deleted_or_away_is_told_and_found_again(disk: Path) -> None:
    outputs = disk / "outputs"
    with jobs_in(outputs) as client:
        kept = is_accepted_again(client)
        outputs.rename(disk / "away")
        is_refused(client, "gone")
        (disk / "away").rename(outputs)
        is_accepted_again(client)
        assert client.get(f"/tts/result/{kept}").status_code == 200
        shutil.rmtree(outputs)
        is_refused(client, "gone")
        outputs.mkdir()
        is_accepted_again(client)
        assert client.get(f"/tts/status/{kept}").status_code == 404
        shutil.rmtree(outputs)
        outputs.write_text("a file in its place")
        is_refused(client, "not a folder")
        outputs.unlink()
        outputs.mkdir()
        is_accepted_again(client)


def test_a_disk_that_is_full_or_write_protected_is_told_and_jobs_wait_for_room(disk: Path) -> None:
    """A job that was accepted while there was room does not fail for the lack of it."""
    with small_disk(disk, 4096), jobs_in(disk / "outputs") as client:
        is_accepted_again(client)
        job = ask_later(client, LONG * 4, steps=2)
        ballast = fill(disk)
        is_refused(client, "bytes left")
        time.sleep(2)  # for the job to meet the full disk
        assert client.get(f"/tts/status/{job}").json()["status"] in ("queued", "processing")
        ballast.unlink()
        assert finished(client, job)["status"] == "completed"
        is_accepted_again(client)
        write_protected(disk, True)
        is_refused(client, "read-only")
        assert client.get(f"/tts/result/{job}").status_code == 200
        write_protected(disk, False)
        is_accepted_again(client)


def test_a_damaged_table_is_told_and_found_again_when_it_is_repaired(disk: Path) -> None:
    table = disk / "outputs" / "jobs.db"
    with jobs_in(disk / "outputs") as client:
        kept = is_accepted_again(client)
        time.sleep(0.2)
        before = damage(table)
        is_refused(client, "table of jobs")
        assert client.get(f"/tts/status/{kept}").json()["error"]["code"] == "not_kept"
        table.write_bytes(before)
        is_accepted_again(client)
        assert client.get(f"/tts/status/{kept}").json()["status"] == "completed"
        os.truncate(table, 0)
        is_refused(client, "damaged")
        table.unlink()
        is_accepted_again(client)


def test_a_server_starts_beside_a_damaged_table_and_says_so(disk: Path) -> None:
    (disk / "outputs").mkdir()
    table = disk / "outputs" / "jobs.db"
    table.write_bytes(bytes(range(256)) * 64)
    with jobs_in(disk / "outputs") as client:
        is_refused(client, "table of jobs")
        table.unlink()
        is_accepted_again(client)


@pytest.mark.timing
def test_a_locked_table_holds_nobody_longer_than_stated(disk: Path) -> None:
    with jobs_in(disk / "outputs") as client:
        kept = is_accepted_again(client)
        lock = "import sqlite3, sys; t = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=9); "
        lock += "t.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", lock, str(disk / "outputs" / "jobs.db")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout and other.stdout.readline()
            waits: dict[str, float] = {}
            with contextlib.ExitStack() as stack:
                threads = []
                for path in (f"/tts/status/{kept}", f"/tts/result/{kept}"):

                    def ask(path: str = path) -> None:
                        began = time.monotonic()
                        reply = httpx.get(f"{client.base_url}".rstrip("/") + path, timeout=30)
                        waits[path] = time.monotonic() - began
                        assert reply.status_code == 503

                    threads.append(threading.Thread(target=ask))
                    threads[-1].start()
                    stack.callback(threads[-1].join)
                end, worst = time.monotonic() + 2, 0.0
                while time.monotonic() < end:
                    began = time.monotonic()
                    client.get("/health").raise_for_status()
                    worst = max(worst, time.monotonic() - began)
            is_refused(client, "locked")
            assert len(waits) == 2 and max(waits.values()) < STATED_SECONDS + 1, waits
            assert worst < 0.5, f"/health took {worst:.2f} s"
            other.kill()
        is_accepted_again(client)


def test_every_worker_knows_every_job_in_a_fresh_place(tmp_path: Path, own_database: str) -> None:
    with serving(tmp_path / "log", options=("--workers", "2"), TTS_JOBS=own_database) as address:
        for number in range(8):
            with httpx.Client(base_url=address, timeout=60) as client:
                job = ask_later(client, f"Job {number}.", steps=1)
            for _ in range(8):  # a connection each: whichever worker takes it
                assert httpx.get(f"{address}/tts/status/{job}").status_code == 200
            with httpx.Client(base_url=address, timeout=60) as client:
                assert finished(client, job)["status"] == "completed"


def voices_of(folder: Path, **files: str) -> str:
    """A folder in which each name is one of our voices."""
    folder.mkdir()
    for name, voice in files.items():
        for ending in (".wav", ".txt"):
            shutil.copy(VOICES / f"{voice}{ending}", folder / f"{name}{ending}")
    return str(folder)


def test_servers_with_other_voices_share_jobs_and_each_is_spoken_as_accepted(tmp_path: Path, own_database: str) -> None:
    """Twelve jobs for each of two servers, whose default voices are two people's."""
    for name, voice in (("one", "michael"), ("two", "fenrir")):
        voices_of(tmp_path / name, default=voice)
    shared = {"TTS_OUTPUTS": str(tmp_path / "outputs"), "TTS_JOBS": own_database}
    with (
        serving(tmp_path / "log1", "app:app", True, (), TTS_VOICES=str(tmp_path / "one"), **shared) as one,
        serving(tmp_path / "log2", "app:app", True, (), TTS_VOICES=str(tmp_path / "two"), **shared) as two,
    ):
        jobs = []
        for number in range(12):
            for address in (one, two):
                with httpx.Client(base_url=address, timeout=60) as client:
                    jobs.append((address, number, ask_later(client, f"Number {number}.", seed=number, steps=1)))
        for address, number, job in jobs:
            with httpx.Client(base_url=address, timeout=60) as client:
                status = finished(client, job, 120)
                assert status["status"] == "completed", status
                promised = client.post("/tts", json={"text": f"Number {number}.", "seed": number, "steps": 1})
                assert client.get(f"/tts/result/{job}").content == promised.content


def test_after_a_restart_with_another_voice_a_job_is_spoken_as_promised_or_fails_in_words(
    tmp_path: Path, own_database: str
) -> None:
    anna = voices_of(tmp_path / "anna", default="michael", other="fenrir")
    other = voices_of(tmp_path / "other", default="fenrir")
    server = Server(tmp_path / "log", "tests.hasty_app:app", TTS_JOBS=own_database)
    server.start(TTS_MEMORY_LIMIT="0", TTS_VOICES=anna)  # no job begins
    with httpx.Client(base_url=server.address, timeout=60) as client:
        lost = ask_later(client, "In a voice that goes.", seed=1, steps=1)
        renamed = ask_later(client, "In a voice that stays.", voice="other", seed=1, steps=1)
        promised = client.post("/tts", json={"text": "In a voice that stays.", "voice": "other", "seed": 1, "steps": 1})
    assert server.stop() == 0
    server.start(TTS_VOICES=other)
    with httpx.Client(base_url=server.address, timeout=60) as client:
        waits = client.get(f"/tts/status/{lost}").json()
        assert waits["status"] == "failed" or "the voice it was accepted with" in waits["blocked_reason"]
        assert finished(client, renamed)["status"] == "completed"
        assert client.get(f"/tts/result/{renamed}").content == promised.content
        failed = finished(client, lost)
        assert failed["status"] == "failed" and "voice" in failed["error"]
        assert client.get(f"/tts/result/{lost}").status_code == 404
    assert server.stop() == 0


@pytest.mark.parametrize("how", ["deleted", "removed", "expired"])
def test_a_result_that_goes_while_it_is_downloaded_comes_whole(tmp_path: Path, small_folder: Path, how: str) -> None:
    server = Server(tmp_path / "log", TTS_MODEL=str(small_folder))
    server.start()
    with httpx.Client(base_url=server.address, timeout=60) as client:
        job = ask_later(client, LONG * 30, steps=1)
        assert finished(client, job, 120)["status"] == "completed"
        whole = (tmp_path / "outputs" / f"{job}.wav").read_bytes()
        host = urlsplit(server.address)
        with socket.create_connection((host.hostname, host.port)) as slow:
            slow.sendall(b"GET /tts/result/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % job.encode())
            got = slow.recv(1000)
            if how == "deleted":
                assert client.delete(f"/tts/{job}").json()["status"] == "removed"
            elif how == "removed":
                shutil.rmtree(tmp_path / "outputs")
            else:
                (tmp_path / "outputs" / f"{job}.wav").unlink()
            while part := slow.recv(1 << 20):
                got += part
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and body == whole
        assert client.get(f"/tts/result/{job}").status_code in (404, 503)
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.timing
def test_jobs_wait_while_other_programs_need_the_processor_and_say_so(tmp_path: Path) -> None:
    """As many busy neighbours as there are cores, above a limit that a machine with something else to do stays
    under."""
    if psutil.cpu_percent(1) > 50:
        pytest.skip("this machine is busy already")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        with (
            serving(tmp_path / "log", TTS_CPU_LIMIT="70") as address,
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            end = time.monotonic() + 20
            client.get("/health")  # from here on the load is measured
            time.sleep(1.1)
            job = ask_later(client, "When it is quiet.", steps=1)
            while "cpu of other programs" not in client.get("/health").json()["message"]:
                assert time.monotonic() < end, client.get("/health").json()
                time.sleep(0.1)
            status = client.get(f"/tts/status/{job}").json()
            assert status["status"] == "queued" and "cpu of other programs" in status["blocked_reason"]
            assert client.post("/tts", json={"text": "Listeners go on.", "steps": 1}).status_code == 200
            for process in busy:
                process.send_signal(signal.SIGKILL)
            assert finished(client, job)["status"] == "completed"
            assert "cpu" not in client.get("/health").json()["message"]
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.timing
def test_an_urgent_job_is_begun_beside_listeners_who_never_stop_or_says_what_it_waits_for(client: httpx.Client) -> None:
    stop = threading.Event()

    def listen() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            while not stop.is_set():
                own.post("/tts", json={"text": LONG, "steps": 2})

    threads = [threading.Thread(target=listen) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        began = time.monotonic()
        job = ask_later(client, "At once, please.", priority="urgent", steps=4)
        assert time.monotonic() - began < 5, "a job is accepted beside listeners"
        end = time.monotonic() + 8
        while True:
            status = client.get(f"/tts/status/{job}").json()
            if status["status"] == "completed" or status["progress"] or "listening" in status.get("blocked_reason", ""):
                break
            assert time.monotonic() < end, status
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert finished(client, job)["status"] == "completed"
