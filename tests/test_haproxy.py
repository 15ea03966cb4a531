"""Two servers behind deploy/haproxy.cfg, one of which is killed, stopped or full. Without a model."""

import collections
import concurrent.futures
import contextlib
import json
import re
import shutil
import signal
import socketserver
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from conftest import ROOT, Server, wait_until

from bench.launcher import Command
from bench.rivals import WEIGHTLESS

pytestmark = pytest.mark.skipif(
    not shutil.which("haproxy"), reason="haproxy is not installed (apt-get install haproxy)"
)
PLACES = 16
SHORT: dict[str, Any] = {"text": "A word or two.", "seed": 1}
WAITING: dict[str, Any] = {"text": "Long awaited, and then said.", "seed": 2, "steps": 40}
"""Its first sound is a fifth of a second of work away, and several wait for each other."""
LONG: dict[str, Any] = {"text": "The ship reached the island. " * 30, "seed": 3, "steps": 12}


class Pair:
    """Two servers and the proxy in front of them."""

    def __init__(self, folder: Path, **environment: Any):
        paths: dict[str, Any] = {"PYTHONPATH": str(ROOT), "TTS_OUTPUTS": str(folder / "outputs")}
        self.servers = [
            Server(folder / f"log{n}", folder=WEIGHTLESS, TTS_MAX_WAITING=str(PLACES), **paths, **environment)
            for n in (1, 2)
        ]
        self.proxy = Server(folder / "haproxy.log", command=haproxy(folder, [one.port for one in self.servers]))
        self.address = self.proxy.address

    def start(self) -> None:
        for server in self.servers:
            server.start()
        self.proxy.start()

    def end(self) -> None:
        for one in (self.proxy, *self.servers):
            one.kill()

    def revive(self, server: Server) -> None:
        """And wait until the proxy knows."""
        server.kill()
        server.start()
        asked = server.log.count("GET /ready")
        wait_until(lambda: server.log.count("GET /ready") > asked + 1)


def haproxy(folder: Path, ports: list[int]) -> Command:
    def command(port: int) -> list[str]:
        text = (ROOT / "deploy" / "haproxy.cfg").read_text()
        for written, real in (("bind :8000", f"bind :{port}"), (":8001", f":{ports[0]}"), (":8002", f":{ports[1]}")):
            assert written in text
            text = text.replace(written, real)
        (folder / "haproxy.cfg").write_text(text)
        return ["haproxy", "-f", str(folder / "haproxy.cfg")]

    return command


def waiting_for(server: Server) -> int:
    return int(httpx.get(f"{server.address}/health").json()["stats"]["queue_size"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"), SLEEP_MS="5")
    try:
        pair.start()
        yield pair
    finally:
        pair.end()
    assert "Traceback" not in "".join(server.log for server in pair.servers)
    told = pair.proxy.log
    assert not re.search("ship|island|word or two", told), "a text is in the proxy's log"


def ask(address: str, wanted: dict[str, Any], method: str = "GET") -> httpx.Response:
    """Raises httpx.HTTPError where the reply is cut."""
    if method == "POST":
        return httpx.post(f"{address}/tts", json=wanted, timeout=60)
    return httpx.get(f"{address}/tts", params=wanted, timeout=60)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_has_no_sound_yet_is_served_whole_when_a_copy_ends(pair: Pair, how: signal.Signals) -> None:
    """And no short request is lost. Who has sound already hears a speech to its end, unless it is cut, and says so."""
    whole = {str(wanted): ask(pair.address, wanted).content for wanted in (SHORT, WAITING, LONG)}
    over = threading.Event()

    def keep_asking(method: str) -> list[httpx.Response]:
        replies = []
        while not over.is_set():
            replies.append(ask(pair.address, SHORT, method))
        return replies

    doomed = pair.servers[0]
    with concurrent.futures.ThreadPoolExecutor(16) as pool, contextlib.ExitStack() as stack:
        stack.callback(over.set)
        playing = [
            stack.enter_context(httpx.stream("POST", f"{one.address}/tts", json=LONG, timeout=60))
            for one in (doomed, pair)
        ]
        short = [pool.submit(keep_asking, method) for method in ("GET", "POST")]
        waiting = [pool.submit(ask, pair.address, WAITING, method) for method in ("GET", "POST") * 4]
        wait_until(lambda: min(waiting_for(one) for one in pair.servers) >= 4)
        doomed.process.send_signal(how)
        for reply in waiting:
            assert (reply.result().status_code, reply.result().content == whole[str(WAITING)]) == (200, True)
        over.set()
        for replies in short:
            assert len(replies.result()) > 2
            for one in replies.result():
                assert (one.status_code, one.content == whole[str(SHORT)]) == (200, True), one.text
        if how == signal.SIGTERM:
            assert all(reply.read() == whole[str(LONG)] for reply in playing)
            assert doomed.process.wait(20) == 0
        else:
            with pytest.raises(httpx.HTTPError):
                playing[0].read()
    pair.revive(doomed)


def test_a_503_is_told_only_when_every_place_is_taken(pair: Pair) -> None:
    with concurrent.futures.ThreadPoolExecutor(2 * PLACES) as pool:
        asked = [pool.submit(ask, pair.address, WAITING | {"steps": 16}) for _ in range(2 * PLACES)]
        wait_until(lambda: sum(map(waiting_for, pair.servers)) == 2 * PLACES)
        refused = ask(pair.address, SHORT)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1, refused.text
        assert refused.json()["error"]["code"] == "full"
        assert [reply.result().status_code for reply in asked] == [200] * 2 * PLACES


def test_who_leaves_is_known_through_the_proxy_and_ids_are_the_same(pair: Pair) -> None:
    with httpx.stream("GET", f"{pair.address}/tts", params=LONG, timeout=60) as reply:
        (own,) = reply.headers.get_list("x-request-id")
        next(reply.iter_raw())
    wait_until(lambda: f"{own} disconnected" in "".join(server.log for server in pair.servers))
    wait_until(lambda: own in pair.proxy.log)
    assert not sum(map(waiting_for, pair.servers))


TAKEN: collections.Counter[str] = collections.Counter()


class Dropping(socketserver.BaseRequestHandler):
    """Reads a request and closes: a copy that is killed while it works."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            data: bytes = self.request.recv(65536)
            if b"/ready" in data:
                self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            else:
                TAKEN[data.split(b" ")[0].decode() + (" job" if b"async" in data else "")] += 1


def test_a_job_that_may_be_accepted_is_asked_for_again_only_with_a_key(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(2):
            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dropping))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            ports.append(server.server_address[1])
        proxy = Server(tmp_path / "log", command=haproxy(tmp_path, ports))
        proxy.start()
        stack.callback(proxy.kill)
        TAKEN.clear()
        for body, key in (
            (SHORT, {}),
            (SHORT | {"async": True}, {}),
            (SHORT | {"async": True}, {"idempotency-key": "1"}),
        ):
            refused = httpx.post(f"{proxy.address}/tts", content=json.dumps(body), headers=key, timeout=60)
            assert refused.status_code in (502, 503) and refused.headers["retry-after"]
            assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
        assert TAKEN == {"POST": 4, "POST job": 1 + 4}, "one with a key is the same job wherever it is asked for"


@pytest.mark.slow
@pytest.mark.timing
def test_the_first_byte_comes_a_millisecond_later_at_most(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.start()
    try:
        with httpx.Client() as client:

            def first_byte(address: str) -> float:
                began = time.perf_counter()
                with client.stream("POST", f"{address}/tts", json=SHORT) as reply:
                    next(reply.iter_raw())
                    took = time.perf_counter() - began
                    reply.read() if not reply.is_closed and not reply.is_stream_consumed else None
                return took

            addresses = pair.address, pair.servers[0].address
            proxy = psutil.Process(pair.proxy.process.pid)
            before = sum(proxy.cpu_times()[:2])
            more = [first_byte(addresses[0]) - first_byte(addresses[1]) for _ in range(300)]
            spent = 1000 * (sum(proxy.cpu_times()[:2]) - before) / 300
    finally:
        pair.end()
    found = 1000 * statistics.median(more)
    print(f"first byte through the proxy: {found:+.2f} ms; {spent:.2f} ms of its CPU a request")
    assert found < 1, found
