"""Many listeners, one model: who waits for whom, what is refused, what stays behind. In full with `make soak`."""

import concurrent.futures
import contextlib
import json
import random
import re
import socket
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import FIGURES, serving

LONG = (
    "The ship reached the island early in the morning. "
    "Two men were standing in front of the hotel, and nobody knew why. "
)
SHORT = "Good evening to you."


def first_sound(client: httpx.Client, text: str = SHORT) -> float:
    began = time.perf_counter()
    with client.stream("POST", "/tts", json={"text": text, "seed": 1}) as reply:
        next(reply.iter_raw())
        return time.perf_counter() - began


def metric(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def settles(client: httpx.Client, running: int) -> None:
    """Who left is found out at its next turn, which is a newcomer's first."""
    end = time.monotonic() + 1
    while (
        seen := metric(client, 'tts_listeners{state="running"}') + metric(client, 'tts_listeners{state="waiting"}')
    ) != running:
        assert time.monotonic() < end, f"{seen} listeners are left"


def beside_a_job(client: httpx.Client, rounds: int) -> tuple[float, float]:
    """Median seconds to the first sound of a short text: alone, and while a job of ten minutes runs. Alternating, so
    that drift hits both."""
    alone, beside = [], []
    first_sound(client)
    for _ in range(rounds):
        alone.append(first_sound(client))
        job = client.post("/tts", json={"text": LONG * 85, "async": True}).json()["request_id"]
        while client.get(f"/tts/status/{job}").json()["progress"] == 0:  # its long chunks come after its first ones
            time.sleep(0.05)
        for number in range(3):
            time.sleep(0.037 * (number + 1))  # unsynchronised with the steps
            beside.append(first_sound(client))
        client.delete(f"/tts/{job}")
    return statistics.median(alone), statistics.median(beside)


@pytest.mark.timing
def test_a_job_hardly_delays_a_listener(client: httpx.Client) -> None:
    alone, beside = beside_a_job(client, 2)
    assert beside < 1.3 * alone + 0.05, f"first sound after {beside:.3f} s, {alone:.3f} s without the job"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.timing
def test_a_job_hardly_delays_a_listener_where_chunk_turns_do(tmp_path: Path) -> None:
    ratios = {}
    for name, app in (("steps", "app:app"), ("chunks", "tests.chunk_turns_app:app")):
        (tmp_path / name).mkdir()
        with serving(tmp_path / name / "log", app=app) as address, httpx.Client(base_url=address, timeout=60) as client:
            alone, beside = beside_a_job(client, 10)
        ratios[name] = round(beside / alone, 2)
    FIGURES["first audio beside a job over idle"], FIGURES["the same with turns of a chunk"] = (
        ratios["steps"],
        ratios["chunks"],
    )
    assert ratios["steps"] <= 1.3


@pytest.mark.timing
@pytest.mark.parametrize("count", [10, 32])
def test_all_at_once_are_spoken_in_order_of_arrival_and_the_next_is_refused(tmp_path: Path, count: int) -> None:
    with (
        serving(tmp_path / "log", TTS_MAX_WAITING=str(count)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        contextlib.ExitStack() as open_ones,
    ):
        first_sound(client)
        alone = statistics.median(first_sound(client) for _ in range(3))
        host = urlsplit(address)
        waiting = []
        for number in range(count):
            body = json.dumps({"text": f"Number {number}, said aloud.", "steps": 4, "seed": number}).encode()
            connection = socket.create_connection((host.hostname, host.port))
            connection.sendall(
                b"POST /tts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            waiting.append(open_ones.enter_context(connection))
            time.sleep(0.005)  # arrival order is the point
        began = time.monotonic()
        refused = client.post("/tts", json={"text": "One too many."})
        took = time.monotonic() - began
        assert took < 2 * alone + 0.1, f"refused after {took:.3f} s, one alone is heard after {alone:.3f} s"
        assert (
            refused.status_code == 503
            and int(refused.headers["retry-after"]) >= 1
            and refused.json()["error"]["code"] == "full"
        )

        def heard(connection: socket.socket) -> tuple[float, bool]:
            with connection, connection.makefile("rb") as reply:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += reply.readline()
                first = time.monotonic()
                length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
                return first, head.startswith(b"HTTP/1.1 200") and len(reply.read()) == length

        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            replies = list(pool.map(heard, waiting))
        firsts = [first for first, _ in replies]
        assert all(complete for _, complete in replies)
        assert firsts == sorted(firsts)


def test_a_slow_reader_holds_little_and_delays_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address, httpx.Client(base_url=address, timeout=60) as client:
        idle = statistics.median(first_sound(client) for _ in range(3))
        host = urlsplit(address)
        body = json.dumps({"text": LONG * 100, "steps": 1}).encode()
        with socket.create_connection((host.hostname, host.port)) as slow:
            slow.sendall(b"POST /tts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            slow.recv(100)
            made = -1.0
            while made != (made := metric(client, "tts_audio_seconds_total")):
                time.sleep(0.3)
            memory = metric(client, "process_resident_memory_bytes")
            beside = statistics.median(first_sound(client) for _ in range(5))
            stalled = metric(client, "tts_audio_seconds_total")
            assert beside < 1.2 * idle + 0.05, f"first sound after {beside:.3f} s, {idle:.3f} s when idle"
            # What the two kernels' buffers, the server's own and a piece or two take.
            assert stalled < 240, f"{stalled:.0f} s made for somebody who does not read"
            assert metric(client, "process_resident_memory_bytes") - memory < 30e6
            settles(client, 1)


def leave_again_and_again(address: str, client: httpx.Client, times: int, seed: int) -> tuple[float, float]:
    """Growth of memory over the second half, and the median of the first sounds after each."""
    draw, host, next_ones = random.Random(seed), urlsplit(address), []
    body = json.dumps({"text": LONG * 5}).encode()
    sizes = []
    for _ in range(times):
        with socket.create_connection((host.hostname, host.port)) as connection:
            connection.sendall(b"POST /tts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(draw.uniform(0, 0.8))
        next_ones.append(first_sound(client))
        settles(client, 0)
        sizes.append(metric(client, "process_resident_memory_bytes"))
    return max(sizes[times // 2 :]) / max(sizes[: times // 2]) - 1, statistics.median(next_ones)


def test_whoever_leaves_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address, httpx.Client(base_url=address, timeout=60) as client:
        idle = statistics.median(first_sound(client) for _ in range(5))
        growth, after = leave_again_and_again(address, client, 10, seed=1)
    assert growth < 0.05, f"memory grew by {growth:.1%}"
    assert after < 1.2 * idle + 0.05, f"the next first sound came after {after:.3f} s, {idle:.3f} s when idle"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_who_leave_leave_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address, httpx.Client(base_url=address, timeout=60) as client:
        idle = statistics.median(first_sound(client) for _ in range(20))
        growth, after = leave_again_and_again(address, client, 200, seed=2)
    FIGURES["memory growth over 200 disconnects, %"] = round(100 * growth, 2)
    FIGURES["first audio after a disconnect over idle"] = round(after / idle, 2)
    assert growth < 0.05 and after < 1.3 * idle


def grown(address: str, requests: int, settled: int, texts: int) -> tuple[float, float]:
    """Growth of memory after the first `settled` short requests, as a share, and of open files. Settled is who has
    spoken each of so many texts once: the products' library keeps kernels for each length."""
    with httpx.Client(base_url=address, timeout=60) as client:
        sizes, files = [], []
        for number in range(requests):
            reply = client.post("/tts", json={"text": f"Request {number % texts} of many.", "steps": 1, "seed": number})
            assert len(reply.content) == int(reply.headers["content-length"])
            if number >= settled - 20:
                sizes.append(metric(client, "process_resident_memory_bytes"))
                files.append(metric(client, "process_open_fds"))
    return statistics.median(sizes[-20:]) / statistics.median(sizes[:20]) - 1, files[-1] - files[0]


def test_requests_leave_no_memory_and_no_files(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address:
        growth, files = grown(address, 90, 50, texts=25)
    assert growth < 0.02 and files <= 0, f"memory grew by {growth:.1%}, files by {files}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_requests_leave_no_memory_and_no_files(tmp_path: Path) -> None:
    # One thread: a busy neighbour would bring a second number of them in the midst, with kernels of its own.
    with serving(tmp_path / "log", OMP_NUM_THREADS="1") as address:
        growth, files = grown(address, 2000, 200, texts=97)
    FIGURES["memory growth over 1800 requests, %"], FIGURES["open files more"] = round(100 * growth, 2), files
    assert growth < 0.02 and files <= 0


def long_speech(address: str, copies: int) -> tuple[float, float]:
    """Seconds of a long speech, and the most memory it took above idle, in MB."""
    with httpx.Client(base_url=address, timeout=300) as client, httpx.Client(base_url=address, timeout=60) as watch:
        for _ in range(2):  # buffers of all sizes, and the voice's
            client.post("/tts", json={"text": LONG * 4, "steps": 1})
        idle, most, got = metric(watch, "process_resident_memory_bytes"), 0.0, 0
        with client.stream("POST", "/tts", json={"text": LONG * copies, "steps": 1}) as reply:
            length, looked = int(reply.headers["content-length"]), 0.0
            for part in reply.iter_raw():
                got += len(part)
                if time.monotonic() - looked > 0.5:
                    looked = time.monotonic()
                    most = max(most, metric(watch, "process_resident_memory_bytes"))
        assert got == length
        return float(reply.headers["x-audio-duration"]), (most - idle) / 1e6


def test_a_long_text_streams_in_flat_memory(tmp_path: Path) -> None:
    with serving(tmp_path / "log", TTS_MAX_CHARS="1000000") as address:
        seconds, megabytes = long_speech(address, 42)
    assert seconds > 250 and megabytes < 60, f"{megabytes:.0f} MB for {seconds:.0f} s"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_hour_streams_in_flat_memory(tmp_path: Path) -> None:
    with serving(tmp_path / "log", TTS_MAX_CHARS="1000000") as address:
        seconds, megabytes = long_speech(address, 620)
    FIGURES["hour of text: seconds of sound"], FIGURES["hour of text: MB above idle"] = (
        round(seconds),
        round(megabytes, 1),
    )
    assert seconds > 3600 and megabytes < 60


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.timing
def test_health_never_waits_longer_than_a_step(server: str) -> None:
    """Among four listeners, a job and plans of 20 000 characters."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool, httpx.Client(base_url=server, timeout=120) as client:
        job = client.post("/tts", json={"text": LONG * 100, "async": True}).json()["request_id"]
        listeners = [
            pool.submit(httpx.post, f"{server}/tts", json={"text": LONG * 6, "seed": n}, timeout=120) for n in range(4)
        ]
        waits: list[float] = []
        while not all(listener.done() for listener in listeners):
            if len(waits) % 50 == 0:
                pool.submit(
                    httpx.post, f"{server}/tts", json={"text": LONG * 172, "duration": 1}, timeout=120
                )  # planned and refused
            began = time.perf_counter()
            client.get("/health").raise_for_status()
            waits.append(time.perf_counter() - began)
            time.sleep(0.003)
        client.delete(f"/tts/{job}")
    FIGURES["/health under load, ms: median"], FIGURES["/health under load, ms: worst"] = (
        round(1000 * statistics.median(waits)),
        round(1000 * max(waits)),
    )
    assert max(waits) < 0.1


def test_the_log_has_a_line_for_each_speech_and_no_texts(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address, httpx.Client(base_url=address) as client:
        spoken = client.get("/tts", params={"text": "Tell nobody, please.", "steps": 1})
        client.get("/tts", params={"text": "Tell nobody, please.", "speed": 99})
        client.post("/tts", json={"text": "Tell nobody, please.", "async": True, "steps": 1})
    log = (tmp_path / "log").read_text()
    assert "nobody" not in log
    line = rf"{spoken.headers['x-request-id']} completed voice=default characters=20 "
    line += r"audio=\d+\.\d\ds first=\d+ms rtf=\d+\.\d+"
    assert len(re.findall(line, log)) == 1
    assert log.count("/tts HTTP/1.1") == 2  # the refused one, and the accepted job


def test_metrics_say_what_happened(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as address, httpx.Client(base_url=address) as client:
        client.post("/tts", json={"text": "Counted.", "steps": 1})
        client.post("/tts", json={"text": ""})
        with client.stream("POST", "/tts", json={"text": LONG * 20, "steps": 7}) as reply:
            next(reply.iter_raw())
        end = time.monotonic() + 5
        while metric(client, 'tts_requests_total{outcome="disconnected"}') != 1:
            assert time.monotonic() < end
        assert metric(client, 'tts_requests_total{outcome="completed"}') == 1
        assert metric(client, 'tts_requests_total{outcome="refused"}') == 1
        assert (
            metric(client, "tts_first_audio_seconds_count") == 2 and metric(client, "tts_real_time_factor_count") == 1
        )
        assert metric(client, "tts_cancelled_steps_total") > 100
        assert metric(client, "tts_audio_seconds_total") > 1
