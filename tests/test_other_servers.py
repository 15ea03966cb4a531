"""Under a server that is not uvicorn alone, and behind proxies: the state, who left, the request's id."""

import contextlib
import functools
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import ROOT, Server, wait_until

from bench.rivals import WEIGHTLESS

TEXT = {"text": "One after another. " * 40, "seed": 1}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("other") / "log"
    paths: dict[str, Any] = {"PYTHONPATH": str(ROOT)}
    server = Server(log, "tests.other_server_app:app", folder=WEIGHTLESS, SLEEP_MS="10", TTS_CPU_LIMIT="0", **paths)
    server.start()
    yield server
    assert server.stop() == 0 and "Traceback" not in server.log, server.log


@pytest.fixture
def client(running: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.address, timeout=60) as client:
        yield client


def outcomes(client: httpx.Client) -> dict[str, float]:
    """Once nobody is served any more."""
    end = time.monotonic() + 10
    while client.get("/health").json()["stats"]["queue_size"]:
        assert time.monotonic() < end, "somebody who left is still served"
    counters = r'^tts_(?:requests_total{outcome="(?P<outcome>\w+)"}|cancelled_steps_total) (?P<value>\S+)$'
    found = re.finditer(counters, client.get("/metrics").text, re.MULTILINE)
    return {one["outcome"] or "spared steps": float(one["value"]) for one in found}


def ask(port: int, wanted: dict[str, Any], read: int | None, method: str = "POST") -> None:
    """Ask, read `read` bytes of the reply's body, all without a number, and hang up."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, "/tts", json.dumps(wanted))
        if read == 0:
            time.sleep(0.1)
        else:
            connection.getresponse().read(read)


@pytest.mark.parametrize(
    "wanted,read,outcome,spares",
    [
        (TEXT | {"steps": 64}, 0, "disconnected", True),
        (TEXT, 60_000, "disconnected", True),
        (TEXT | {"text": "One."}, None, "completed", False),
        (TEXT | {"async": True}, None, "queued", False),
        (TEXT | {"voice": "nobody"}, None, "refused", False),
    ],
    ids=["before the first byte", "while it plays", "at the last byte", "a job", "refused"],
)
def test_who_leaves_is_counted_by_what_was_owed(
    running: Server, client: httpx.Client, wanted: dict[str, Any], read: int | None, outcome: str, spares: bool
) -> None:
    """They cancel whom the client has left: that was counted as a failure of ours, a whole reply too."""
    before = outcomes(client)
    for _ in range(4):
        ask(running.port, wanted, read)
    after = outcomes(client)
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    spared = changed.pop("spared steps", 0)
    assert changed == {outcome: 4}, running.log
    assert (spared > 0) == spares


def logged(running: Server, line: str) -> bool:
    return line in running.log


def test_an_id_from_outside_is_ours_where_it_is_fit_to_be_logged(running: Server, client: httpx.Client) -> None:
    for given in ("6f1c-a.b:c/9=", "x" * 128):
        reply = client.post("/tts", json={"text": "One."}, headers={"x-request-id": given})
        assert reply.headers.get_list("x-request-id") == [given]
        wait_until(functools.partial(logged, running, f"{given} completed"))
    for odd in ("x" * 129, "two words", "a\tb", "é", ""):
        reply = client.post("/tts", json={"text": "One."}, headers={b"x-request-id": odd.encode()})
        (own,) = reply.headers.get_list("x-request-id")
        assert re.fullmatch("[0-9a-f]{12}", own)
        wait_until(functools.partial(logged, running, f"{own} completed"))
    assert "x" * 129 not in running.log


SPIN_OR_LOOK = """
import os, psutil, sys, time
from server.system_load import SystemLoad
pid = int(sys.argv[1])
while not pid:
    pass
load, copy = SystemLoad(), psutil.Process(pid)
for look in (False, True):
    if look:
        load.look_for_copies()
    began, before = time.monotonic(), copy.cpu_times().user
    time.sleep(1.5)
    now = load.load()
    share = (copy.cpu_times().user - before) / (time.monotonic() - began) / os.cpu_count()
    print((now.cpu - now.other_processes_cpu) / (100 * share))
"""


def test_other_copies_of_the_server_are_not_other_programs() -> None:
    """Two copies on a machine took each other for others, above TTS_CPU_LIMIT, and no job began."""
    command = [sys.executable, "-c", SPIN_OR_LOOK]
    copy = subprocess.Popen([*command, "0"], cwd=ROOT)
    stranger = subprocess.Popen([sys.executable, "-c", "while True: pass"], cwd=ROOT)
    try:
        look = [*command, str(copy.pid)]
        seen = subprocess.run(look, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    finally:
        for process in (copy, stranger):
            process.kill()
            process.wait()
    before, after = map(float, seen.stdout.split())
    assert before < 0.2 and 0.8 < after < 1.3, f"of what the copy used {before}, {after} were left out"
