"""Two copies under Ray Serve, with the real model, one of which is killed. `make scale-test` runs it."""

import concurrent.futures
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import ROOT, Server
from test_haproxy import LONG, SHORT, WAITING, ask, wait_until

RAY = ROOT / "build" / "ray" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not RAY.exists(), reason="Ray is not installed (make scale-test)"),
]
PLACES = 12


class Cluster:
    """Ray, its proxy and two copies."""

    def __init__(self, log: Path):
        def command(port: int) -> list[str]:
            return [str(RAY), "deploy/ray_serve.py", "--copies", "2", "--port", str(port)]

        patience = {f"RAY_SERVE_PROXY_{what}_CHECK_TIMEOUT_S": "60" for what in ("READY", "HEALTH")}
        places = {"TTS_MAX_WAITING": str(PLACES), "TTS_CPU_LIMIT": "100"}
        self.server = Server(log, command=command, own_session=True, **places, **patience)  # type: ignore[arg-type]
        self.address = self.server.address

    def copies(self) -> list[psutil.Process]:
        processes = psutil.Process(self.server.process.pid).children(recursive=True)
        return [one for one in processes if "ServeReplica:tts" in "".join(one.cmdline())]

    def ports(self) -> list[int]:
        """Of the copies' own servers."""
        return sorted(
            {
                s.laddr.port
                for one in self.copies()
                for s in one.net_connections()
                if 30000 <= s.laddr.port < 31000 and s.status == "LISTEN"
            }
        )

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
    with concurrent.futures.ThreadPoolExecutor(2 * PLACES) as pool:
        asked = [pool.submit(ask, cluster.address, WAITING) for _ in range(2 * PLACES)]
        wait_until(lambda: sum(queue(port) for port in cluster.ports()) == 2 * PLACES, 30)
        refused = ask(cluster.address, SHORT)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1, refused.text
        assert refused.json()["error"]["code"] == "full"
        assert [reply.result().status_code for reply in asked] == [200] * 2 * PLACES


def queue(port: int) -> int:
    return int(httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).json()["stats"]["queue_size"])


def test_whoever_has_no_sound_yet_is_served_whole_when_a_copy_is_killed(cluster: Cluster) -> None:
    whole = {str(wanted): ask(cluster.address, wanted).content for wanted in (SHORT, WAITING)}
    over = threading.Event()

    def keep_asking(method: str) -> list[httpx.Response]:
        replies = []
        while not over.is_set():
            replies.append(ask(cluster.address, SHORT, method))
        return replies

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        try:
            short = [pool.submit(keep_asking, method) for method in ("GET", "POST")]
            waiting = [pool.submit(ask, cluster.address, WAITING) for _ in range(6)]
            wait_until(lambda: min(map(queue, cluster.ports())) >= 3, 30)
            cluster.copies()[0].kill()
            for reply in waiting:
                assert (reply.result().status_code, reply.result().content == whole[str(WAITING)]) == (200, True)
            wait_until(lambda: len(cluster.ports()) == 2, 120)
        finally:
            over.set()
        for replies in short:
            assert len(replies.result()) > 10
            for one in replies.result():
                assert (one.status_code, one.content == whole[str(SHORT)]) == (200, True), one.text
