"""Two servers on one folder and a run of bad luck: what they accepted is there in the end, once, with the promised bytes."""

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import FIGURES, Server
from disks import fill, small_disk

DISK_KILOBYTES = 64 * 1024


class Chaos:
    """Rounds of accidents while jobs are asked for, downloaded and removed."""

    def __init__(self, disk: Path, logs: Path, seed: int, can_be_full: bool):
        self._draw, self._disk, self._outputs = random.Random(seed), disk, disk / "outputs"
        self._servers = [Server(logs / f"log{n}", TTS_OUTPUTS=str(self._outputs)) for n in range(2)]
        self._accidents = [self.kill, self.take_away, self.lock, self.remove] + [self.fill_up] * can_be_full
        self._accepted: dict[str, int] = {}
        """Seeds of the jobs that were accepted and not removed."""
        self.counts: dict[str, int] = {}

    def run(self, rounds: int) -> None:
        for server in self._servers:
            server.start()
        try:
            for _ in range(rounds):
                for _ in range(self._draw.randint(1, 3)):
                    self.ask()
                accident = self._draw.choice(self._accidents)
                accident()
                self._count(accident.__name__)
            self.all_are_spoken()
            self.nothing_half_written_is_left()
        finally:
            codes = [server.stop() for server in self._servers]
        assert codes == [0, 0] and not any("Traceback" in server.log for server in self._servers)
        left = sorted(path.name for path in self._outputs.glob("*.wav*"))
        assert left == sorted(f"{job}.wav" for job in self._accepted)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    @contextlib.contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self._draw.choice(self._servers).address, timeout=60) as client:
            yield client

    def ask(self) -> None:
        seed = self._draw.randrange(1000)
        with self._client() as client:
            reply = client.post("/tts", json=self._speech(seed) | {"async": True})
        if reply.status_code == 202:
            self._accepted[reply.json()["request_id"]] = seed
            self._count("accepted")
        else:
            assert reply.json()["error"]["code"] == "not_kept", reply.text
            self._count("refused")

    def _speech(self, seed: int) -> dict[str, object]:
        return {"text": f"Number {seed}.", "seed": seed, "steps": 1}

    # Accidents

    def kill(self) -> None:
        self._sleep(0.4)
        server = self._draw.choice(self._servers)
        server.kill()
        server.start()

    def take_away(self) -> None:
        away = self._disk / "away"
        self._sleep(0.1)
        self._outputs.rename(away)
        self._sleep(0.3)
        self.ask()
        away.rename(self._outputs)

    def lock(self) -> None:
        with contextlib.closing(sqlite3.connect(self._outputs / "jobs.db", isolation_level=None)) as table:
            table.execute("BEGIN EXCLUSIVE")
            self._sleep(0.5)
            if self._draw.random() < 0.2:
                self.ask()

    def fill_up(self) -> None:
        ballast = fill(self._disk)
        self._sleep(0.3)
        self.ask()
        ballast.unlink()

    def remove(self) -> None:
        """While it is downloaded: it comes whole."""
        finished = [job for job in self._accepted if (self._outputs / f"{job}.wav").exists()]
        if not finished:
            return
        job = self._draw.choice(finished)
        with self._client() as client, client.stream("GET", f"/tts/result/{job}") as download:
            with self._client() as other:
                answer = other.delete(f"/tts/{job}")
            if download.status_code == 200:
                assert len(download.read()) == int(download.headers["content-length"])
        if answer.status_code == 200:
            del self._accepted[job]

    def _sleep(self, seconds: float) -> None:
        time.sleep(self._draw.uniform(0, seconds))

    def all_are_spoken(self) -> None:
        with self._client() as client:
            for job, seed in self._accepted.items():
                end = time.monotonic() + 60
                while (reply := client.get(f"/tts/status/{job}")).json().get("status") != "completed":
                    assert reply.status_code in (200, 503) and time.monotonic() < end, reply.text
                    assert reply.json().get("status") not in ("failed", "cancelled"), reply.text
                    time.sleep(0.02)
                promised = client.post("/tts", json=self._speech(seed)).content
                assert client.get(f"/tts/result/{job}").content == promised, f"job {job} was changed"
            assert client.get("/health").json()["stats"]["queue_size"] == 0

    def nothing_half_written_is_left(self) -> None:
        """What kills have left is cleared by whoever starts next."""
        self.kill()
        end = time.monotonic() + 10
        while parts := list(self._outputs.glob("*.part")):
            assert time.monotonic() < end, parts
            time.sleep(0.05)


def chaos(tmp_path: Path, rounds: int, seed: int) -> Chaos:
    disk = tmp_path / "disk"
    with contextlib.ExitStack() as stack:
        can_be_full = True
        try:
            stack.enter_context(small_disk(disk, DISK_KILOBYTES))
        except pytest.skip.Exception:  # without root no disk gets full
            can_be_full = False
        (disk / "outputs").mkdir(parents=True)
        run = Chaos(disk, tmp_path, seed, can_be_full)
        run.run(rounds)
    return run


def test_no_accepted_job_is_lost_or_changed_by_a_few_accidents(tmp_path: Path) -> None:
    chaos(tmp_path, rounds=8, seed=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_accepted_job_is_lost_or_changed_by_two_hundred_accidents(tmp_path: Path) -> None:
    counts = chaos(tmp_path, rounds=200, seed=5).counts
    FIGURES["jobs complete and unchanged after 200 accidents"] = counts
