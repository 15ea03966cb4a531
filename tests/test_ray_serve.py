"""Two copies under Ray Serve, with the real model, one of which is killed. `make scale-test` runs it."""

import concurrent.futures
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from conftest import ROOT, Server, wait_until
from test_haproxy import LONG, SHORT, ask

RAY = ROOT / "build" / "ray" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not RAY.exists(), reason="Ray is not installed (make scale-test)"),
]
PLACES = 8
WAITING = {"text": "Long awaited and then said.", "seed": 2, "steps": 16}


def command(port: int) -> list[str]:
    return [str(RAY), "deploy/ray_serve.py", "--copies", "2", "--port", str(port)]


class Cluster:
    """Ray, its proxy and two copies."""

    def __init__(self, log: Path):
        patience = {f"RAY_SERVE_PROXY_{what}_CHECK_TIMEOUT_S": "60" for what in ("READY", "HEALTH")}
        places = {"TTS_MAX_WAITING": str(PLACES), "TTS_CPU_LIMIT": "100"}
        self.settings = places | patience
        self.server = Server(log, command=command, own_session=True, **self.settings)  # type: ignore[arg-type]
        self.address = self.server.address

    def copies(self) -> list[psutil.Process]:
        found = []
        for one in psutil.Process(self.server.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # one that ends just now
                if "ServeReplica:tts" in "".join(one.cmdline()):
                    found.append(one)
        return found

    def ports(self) -> list[int]:
        """Of the copies' own servers."""
        found = set()
        for one in self.copies():
            with contextlib.suppress(psutil.NoSuchProcess):
                ports = {s.laddr.port for s in one.net_connections() if s.status == "LISTEN"}
                found |= ports & set(range(30000, 31000))
        return sorted(found)

    def outcomes(self) -> dict[str, float]:
        """Of all copies together."""
        told: dict[str, float] = {}
        for port in self.ports():
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
            for name, value in re.findall(r'tts_requests_total{outcome="(\w+)"} (\S+)', metrics):
                told[name] = told.get(name, 0) + float(value)
        return told


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("ray") / "log")
    cluster.server.start()
    processes = psutil.Process(cluster.server.process.pid).children(recursive=True)
    try:
        wait_until(lambda: len(cluster.ports()) == 2, 60)
        yield cluster
    finally:
        cluster.server.stop(signal.SIGTERM)
        for process in psutil.wait_procs(processes, 20)[1]:
            process.kill()


def test_each_is_counted_by_what_became_of_it_and_logged_without_its_text(cluster: Cluster) -> None:
    before = cluster.outcomes()
    reply = ask(cluster.address, SHORT, "POST")
    (own,) = reply.headers.get_list("x-request-id")
    with socket.create_connection(("127.0.0.1", cluster.server.port)) as connection:  # as curl: closes at the last byte
        connection.sendall(b"GET /tts?text=A+word+or+two.&seed=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream = connection.makefile("rb")
        head = b"".join(iter(stream.readline, b"\r\n"))
        assert stream.read(len(reply.content)) == reply.content, head
    with httpx.stream("GET", f"{cluster.address}/tts", params=LONG, timeout=60) as long:
        next(long.iter_raw())
    assert ask(cluster.address, SHORT | {"voice": "nobody"}).status_code == 404

    def changed() -> dict[str, float]:
        return {name: count - before[name] for name, count in cluster.outcomes().items() if count != before[name]}

    wait_until(lambda: sum(changed().values()) == 4, 30)
    assert changed() == {"completed": 2, "disconnected": 1, "refused": 1}
    wait_until(lambda: f"{own} completed voice=default" in cluster.server.log, 30)
    assert not re.search("word.or.two|The ship", cluster.server.log)


def test_a_503_is_told_only_when_every_place_is_taken(cluster: Cluster) -> None:
    over = threading.Event()

    def listen() -> int:
        with httpx.stream("GET", f"{cluster.address}/tts", params=LONG | {"steps": 2}, timeout=120) as reply:
            over.wait(60)
            return reply.status_code

    with concurrent.futures.ThreadPoolExecutor(2 * PLACES) as pool:
        try:
            listening = [pool.submit(listen) for _ in range(2 * PLACES)]
            wait_until(lambda: sum(map(queue, cluster.ports())) == 2 * PLACES, 30)
            refused = ask(cluster.address, SHORT)
            assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1, refused.text
            assert refused.json()["error"]["code"] == "full"
        finally:
            over.set()
        assert [one.result() for one in listening] == [200] * 2 * PLACES
    wait_until(lambda: not sum(map(queue, cluster.ports())), 30)


def queue(port: int) -> int:
    return int(httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).json()["stats"]["queue_size"])


class Asking:
    """Two who ask for short speeches, one after the other, until it is left; then every reply was whole."""

    def __init__(self, address: str):
        self._whole = ask(address, SHORT).content
        self._over = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(2)
        self._replies = [self._pool.submit(self._keep_asking, address, method) for method in ("GET", "POST")]

    def _keep_asking(self, address: str, method: str) -> list[httpx.Response]:
        replies = []
        while not self._over.is_set():
            replies.append(ask(address, SHORT, method))
        return replies

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for replies in self._replies:
            assert len(replies.result()) > 1
            for one in replies.result():
                assert (one.status_code, one.content == self._whole) == (200, True), one.text
        print(f"{sum(len(replies.result()) for replies in self._replies)} short requests, none lost")


def ask_slowly(address: str, wanted: dict[str, Any]) -> httpx.Response:
    """The body comes after the head, as from every client that writes them one by one."""
    body = json.dumps(wanted).encode()

    def later() -> Iterator[bytes]:
        time.sleep(0.2)
        yield body

    return httpx.post(f"{address}/tts", content=later(), headers={"content-length": str(len(body))}, timeout=120)


def are_two_others(cluster: Cluster, before: set[int]) -> bool:
    return len(cluster.ports()) == 2 and not before & {one.pid for one in cluster.copies()}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_has_no_sound_yet_is_served_whole_when_a_copy_ends(cluster: Cluster, how: signal.Signals) -> None:
    """And no short request is lost, and soon there are two again."""
    whole = ask(cluster.address, WAITING).content
    with Asking(cluster.address), concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(way, cluster.address, WAITING) for way in (ask, ask_slowly) * 2]
        wait_until(lambda: min(map(queue, cluster.ports())) >= 2, 30)
        doomed = cluster.copies()[0]
        doomed.send_signal(how)
        for reply in waiting:
            assert (reply.result().status_code, reply.result().content == whole) == (200, True)
        doomed.wait(60)
        wait_until(lambda: are_two_others(cluster, {doomed.pid}), 120)


def test_no_request_is_lost_while_all_copies_are_replaced(cluster: Cluster) -> None:
    before = {one.pid for one in cluster.copies()}
    environment = os.environ | cluster.settings | {"RAY_AUTH_MODE": "disabled"}
    with Asking(cluster.address):
        again = [*command(cluster.server.port), "--address", "auto"]
        told = subprocess.run(again, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert told.returncode == 0 and "serving on" in told.stdout, told.stderr
        wait_until(lambda: are_two_others(cluster, before), 60)
