"""The bench's rivals keep one contract, so that what is compared is comparable; what each is known for really happens.
No timings here."""

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tts_core
from bench import report
from bench.client import Client, Heard, ask, at_once
from bench.launcher import ROOT
from bench.layered import resource_managed
from bench.rivals import BY_NAME, RIVALS, Running, environment, serving
from speech.request import Speech

TEXT = "Good evening. The river is quiet tonight, and the old mill stands in the mist."
_spec = importlib.util.spec_from_file_location("weightless_core", ROOT / "bench" / "weightless" / "tts_core.py")
assert _spec and _spec.loader
weightless = importlib.util.module_from_spec(_spec)
sys.modules["weightless_core"] = weightless  # its dataclasses look themselves up
_spec.loader.exec_module(weightless)


def expected(wanted: dict[str, Any]) -> np.ndarray:
    """int16 samples that the weightless engine speaks."""
    tts = weightless.TTS()
    samples = np.concatenate(list(tts.samples(tts.plan(Speech(**wanted)))))
    return (samples * 32767).round().astype(np.int16)


def samples_of(heard: Heard) -> np.ndarray:
    with wave.open(io.BytesIO(heard.body)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(heard.body) == 44 + 2 * len(samples)
    return samples


def assert_spoken(heard: Heard, wanted: dict[str, Any]) -> None:
    """libsndfile rounds another way: one step of 65536 is allowed."""
    mine, theirs = samples_of(heard), expected(wanted)
    assert len(mine) == len(theirs)
    off = int(np.abs(mine.astype(int) - theirs).max())
    assert off <= 1, f"off by {off}"


@contextlib.contextmanager
def started(name: str, **more: str) -> Iterator[Running]:
    if BY_NAME[name].missing:
        pytest.skip(str(BY_NAME[name].missing))
    with serving(BY_NAME[name], "weightless", **more) as server:
        yield server


@pytest.mark.parametrize("name", [rival.name for rival in RIVALS if "weightless" in rival.engines])
def test_a_rival_speaks_what_it_is_asked_and_ten_at_once(name: str) -> None:
    texts = [f"{TEXT} {' '.join(['Again.'] * number)}" for number in range(10)]
    wanted = [{"text": text, "seed": number, "speed": 1.5} for number, text in enumerate(texts)]
    with started(name) as server:
        client = Client(server.port)
        assert client.get(server.rival.health)[0] == 200
        assert_spoken(client.speak(wanted[0]), wanted[0])
        for heard, one in zip(at_once(server.port, wanted), wanted, strict=True):
            assert_spoken(heard, one)
        client.close()
        torch = [
            process.pid for process in server.tree() if "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()
        ]
        assert not torch, "the weightless engine runs without torch"
        assert server.stop(), f"did not stop cleanly:\n{server.log[-2000:]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [rival.name for rival in RIVALS])
def test_with_the_embedded_model_all_speak_equally_long(name: str, tts: tts_core.TTS) -> None:
    rival = BY_NAME[name]
    if rival.missing:
        pytest.skip(rival.missing)
    plan = tts.plan(Speech(TEXT, seed=3))
    joins = 3600 * (len(plan.chunks) - 1) if name == "upstream, streamed" else 0  # no cross-fades there
    with serving(rival, "embedded") as server:
        client = Client(server.port)
        assert len(samples_of(client.speak({"text": TEXT, "seed": 3}))) == plan.samples + joins
        for heard in at_once(server.port, [{"text": TEXT, "seed": seed} for seed in range(10)]):
            assert len(samples_of(heard)) == plan.samples + joins
        client.close()


WHERE_STEPS_ARE_MADE = """
import threading
from starlette.testclient import TestClient
from bench.layered import executor
from engine.sampler import Sampler

threads, step = set(), Sampler._euler_step

def seen(*inputs):
    threads.add(threading.current_thread().name)
    return (yield from step(*inputs))

Sampler._euler_step = seen
with TestClient(executor.app) as client:
    client.get("/tts", params={"text": "Hello."}).raise_for_status()
print(threads)
"""


@pytest.mark.parametrize("all_in_it", ["", "1"])
def test_the_executors_steps_are_made_in_its_thread(all_in_it: str) -> None:
    """They were told by a generator's name, and once it had another one the variant was the direct server itself."""
    done = subprocess.run(
        [sys.executable, "-c", WHERE_STEPS_ARE_MADE], cwd=ROOT, env=os.environ | {"ALL": all_in_it}, capture_output=True
    )
    assert done.stdout.decode().strip() == "{'model_0'}", done.stderr.decode()


def test_what_a_gap_is() -> None:
    second = 48_000
    assert Heard(first=1.0, arrivals=[(1.0, second), (1.9, 2 * second), (2.9, 3 * second)]).gap_free
    assert not Heard(first=1.0, arrivals=[(1.0, second), (2.1, 2 * second)]).gap_free, "0.1 s of silence"
    assert not Heard(first=2.1, arrivals=[(2.1, 9 * second)]).gap_free, "the whole file, too late"


def test_a_killed_worker_is_replaced_and_its_line_spoken() -> None:
    wanted = {"text": TEXT, "seed": 1}
    with started("process workers", SLEEP_MS="80") as server, concurrent.futures.ThreadPoolExecutor(8) as pool:
        asking, health = pool.submit(ask, server.port, wanted), Client(server.port)
        victim = busy_worker(health)
        os.kill(victim, signal.SIGKILL)
        assert_spoken(asking.result(30), wanted)
        told = health.read("/health")
        assert told["stats"]["replaced"] == told["stats"]["redone"] == 1
        end = time.monotonic() + 10
        while len(told["workers"]) < 2:
            assert time.monotonic() < end, told
            told = health.read("/health")
        assert victim not in [worker["pid"] for worker in told["workers"]]
        health.close()


def test_a_worker_that_hangs_is_replaced_and_its_line_spoken() -> None:
    wanted = {"text": TEXT, "seed": 1}
    with (
        started("process workers", SLEEP_MS="30", LINE_SECONDS="2") as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        asking, health = pool.submit(ask, server.port, wanted), Client(server.port)
        os.kill(busy_worker(health), signal.SIGSTOP)
        assert_spoken(asking.result(30), wanted)
        assert health.read("/health")["stats"]["replaced"] == 1
        health.close()


def busy_worker(health: Client) -> int:
    end = time.monotonic() + 10
    while True:
        busy: list[int] = [worker["pid"] for worker in health.read("/health")["workers"] if worker["busy"]]
        if busy:
            return busy[0]
        assert time.monotonic() < end


def test_a_worker_answers_each_line_under_its_id(tmp_path: Path) -> None:
    file = tmp_path / "said.wav"
    asked = [
        {"id": 1, "command": "generate", "speech": {"text": TEXT}, "file": str(file)},
        {"id": 2, "command": "load_model"},
        {"id": 3, "command": "generate", "speech": {"text": TEXT, "seed": 4}, "file": str(file)},
        {"id": 4, "command": "generate", "speech": {"text": ""}, "file": str(file)},
        {"id": 5, "command": "sing"},
        {"id": 6, "command": "ping"},
        {"id": 7, "command": "shutdown"},
        {"id": 8, "command": "ping"},
    ]
    variables, home = environment("weightless", str(tmp_path))
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    done = subprocess.run(
        [sys.executable, "-m", "bench.layered.worker"],
        cwd=home,
        env=variables,
        input=lines,
        text=True,
        capture_output=True,
        timeout=30,
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(reply["id"], reply["ok"]) for reply in replies] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
        (6, True),
        (7, True),
    ]
    assert replies[3]["kind"] == "BadSpeech" and replies[5]["generated"] == 1 and done.returncode == 0
    assert_spoken(Heard(body=file.read_bytes()), {"text": TEXT, "seed": 4})


def test_priorities_reorder_what_waits() -> None:
    with (
        started("resource-managed", SLEEP_MS="30", JOBS="1", TTS_PLACES="1") as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        health = Client(server.port)
        first = pool.submit(ask, server.port, {"text": "The first one is under way when the others come. " * 20})
        while not health.read("/status")["running"]:
            assert not first.done()
            time.sleep(0.005)
        asking = []
        for number, level in enumerate(("low", "normal", "urgent", "high", "normal", "urgent")):
            asking.append(pool.submit(ask, server.port, {"text": f"{level} {number}", "priority": level}))
            while health.read("/status")["queue_size"] < number + 1:
                assert not first.done(), "it did not last until all the others waited"
                time.sleep(0.005)
        for one in asking:
            one.result(30)
        assert health.read("/status")["finished"][1:] == [
            "urgent 2",
            "urgent 5",
            "high 3",
            "normal 1",
            "normal 4",
            "low 0",
        ]
        health.close()


def test_above_a_limit_jobs_wait_and_do_not_fail() -> None:
    with started("resource-managed", MEMORY_LIMIT="0") as server, concurrent.futures.ThreadPoolExecutor(8) as pool:
        asking, health = pool.submit(ask, server.port, {"text": TEXT}), Client(server.port)
        with pytest.raises(TimeoutError):
            asking.result(1)
        told = health.read("/status")
        assert (told["queue_size"], told["running"]) == (1, 0)
        health.close()
        server.stop()
        assert asking.exception(10) is not None


def test_a_broken_job_is_tried_again_and_a_mistake_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def broken_twice(tts: object, speech: Speech) -> np.ndarray:
        tries.append(speech.text)
        if len(tries) < 3:
            raise RuntimeError("out of memory")
        return np.zeros(100, np.float32)

    async def main() -> None:
        server = resource_managed.Server()
        async with server.running():
            assert len(await server.speak(Speech(TEXT))) == 44 + 200
            tries.clear()
            monkeypatch.setattr(resource_managed, "RETRIES", 1)
            with pytest.raises(RuntimeError, match="out of memory"):
                await server.speak(Speech(TEXT))
            assert len(tries) == 2

    monkeypatch.setattr(resource_managed, "spoken", broken_twice)
    monkeypatch.setattr(resource_managed, "TTS", lambda: None)
    monkeypatch.setattr(resource_managed, "share_cores", lambda threads: None)
    monkeypatch.setattr(resource_managed, "BACK_OFF_SECONDS", 0.001)
    asyncio.run(main())


def test_a_queued_request_has_a_status_and_then_a_result() -> None:
    with started("queue + thread", SLEEP_MS="5") as server:
        client = Client(server.port)
        accepted = [client.post({"text": f"{TEXT} {number}", "seed": 1, "async": True}) for number in range(4)]
        assert [status for status, _ in accepted] == [202] * 4 and {job["status"] for _, job in accepted} == {"queued"}
        for _, job in accepted:
            end = time.monotonic() + 10
            while (told := client.read(f"/tts/status/{job['request_id']}"))["status"] in ("queued", "processing"):
                assert time.monotonic() < end
            assert told["status"] == "completed" and set(told["result"]) == {
                "output_path",
                "sample_rate",
                "duration",
                "processing_time",
            }
            assert client.get(f"/tts/result/{job['request_id']}")[0] == 200
        assert client.get("/tts/status/nobody")[0] == 404
        client.close()


def test_the_bench_runs_and_makes_its_section_anew(tmp_path: Path) -> None:
    page, results = tmp_path / "docs" / "benchmarks.md", tmp_path / "results" / "results.json"
    page.parent.mkdir()
    page.write_text(f"# Before\n{report.BEGIN}\nthe last one\n{report.END}\nafter\n")
    command = [sys.executable, "-m", "bench", "--smoke", "--engines", "weightless"]
    command += ["--rivals", "executor,whole file,+ service", "--results", str(results), "--page", str(page)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    kept = json.loads(results.read_text())
    rows = kept["engines"]["weightless"]["rivals"]
    assert set(rows) == {"direct", "executor", "whole file", "+ service"}
    assert not [row["failed"] for row in rows.values() if row["failed"]]
    assert rows["direct"]["first"]["8"]["n"] == 16 and kept["machine"]["cores"] >= 1 and kept["versions"]["starlette"]
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("\nafter\n") and "the last one" not in text
    assert "A smoke run" in text and "| service " in text
    assert "](../results/results.svg)" in text, "the picture is named from where the page lies"
    assert results.with_suffix(".svg").read_text().startswith("<?xml")


def test_nothing_is_published_from_a_tree_with_changes(tmp_path: Path) -> None:
    page, elsewhere = tmp_path / "benchmarks.md", tmp_path / "tree"
    page.write_text(f"{report.BEGIN}\nthe last one\n{report.END}\n")
    elsewhere.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(elsewhere)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "empty"], check=True)
    (elsewhere / "changed").write_text("not committed")
    where = {"GIT_DIR": str(elsewhere / ".git"), "GIT_WORK_TREE": str(elsewhere)}
    command = [sys.executable, "-m", "bench", "--page", str(page), "--results", str(tmp_path / "results.json")]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | where, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "commit or stash" in run.stderr and run.stderr.count("\n") == 1, run.stderr
    assert "the last one" in page.read_text() and not (tmp_path / "results.json").exists()
