"""What is asked of each rival, and what is kept of the answers. Knows requests and clocks; rivals are processes,
figures are lists.

Two yardsticks stay beside the rival under measurement: the engine in a process without a server, and a direct server.
Each round asks the three of them in turn, so every figure has its partner of the same moment; the direct server among
the rivals is the control.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.client import Client, at_once, health_waits
from bench.rivals import BY_NAME, Rival, Running, environment, serving

REQUEST = {
    "text": "Good evening. The river is quiet tonight, the boats are back, and the old mill stands in the mist "
    "until the morning.",
    "seed": 1,
}
LISTENING = {
    "text": "The library opens at nine and closes late on Friday. Two men were standing in front of the hotel, "
    "but nobody knew why.",
    "seed": 2,
}
WARM_REQUESTS = 2


@dataclass(frozen=True)
class Scale:
    """How often each thing is done to one engine's rivals."""

    visits: int
    """Starts of each rival."""
    rounds: int
    """In a visit: in-process, direct, rival."""
    slow_visits: int
    slow_rounds: int
    waves: tuple[int, ...] = (2, 4, 8)
    cpu_seconds: float = 0.1
    """How long requests follow each other while CPU time is counted; one at least."""
    listeners: int = 0
    """Tried at most; 0: not tried."""


FULL = {
    "weightless": Scale(visits=30, rounds=4, slow_visits=3, slow_rounds=12),
    "embedded": Scale(visits=2, rounds=3, slow_visits=2, slow_rounds=3, listeners=32),
}
QUICK = {
    "weightless": Scale(visits=6, rounds=6, slow_visits=2, slow_rounds=16),
    "embedded": Scale(visits=1, rounds=3, slow_visits=1, slow_rounds=3, waves=(8,), listeners=8),
}
SMOKE = {
    "weightless": Scale(visits=2, rounds=2, slow_visits=1, slow_rounds=2),
    "embedded": Scale(visits=1, rounds=1, slow_visits=1, slow_rounds=1, waves=(2,), listeners=2),
}


@dataclass
class Tally:
    """All that was measured of one rival behind one engine. Seconds, unless a name says otherwise."""

    ready: dict[int, float] = field(default_factory=dict)  # by visit
    rss: dict[int, float] = field(default_factory=dict)  # MB
    pss: dict[int, float] = field(default_factory=dict)
    cold_first: list[float] = field(default_factory=list)
    cold_last: list[float] = field(default_factory=list)
    rounds: list[dict[str, float]] = field(default_factory=list)  # inprocess, direct_first, direct_last, first, last
    waves: dict[int, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: {"first": [], "last": []})
    )
    health: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    cpu_requests: int = 0
    listeners: list[int] = field(default_factory=list)
    clean_stops: list[bool] = field(default_factory=list)
    audio_seconds: float = 0.0
    failed: str = ""


class InProcess:
    """The engine beside the servers, asked through a pipe."""

    def __init__(self, engine: str, folder: str):
        variables, home = environment(engine, folder)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.inprocess"],
            cwd=home,
            env=variables,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.about = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def seconds(self, wanted: dict[str, Any]) -> float:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


def run(
    engine: str,
    rivals: list[Rival],
    scale: Scale,
    deadline: float,
    began: Callable[[str], None],
    done: Callable[[], None],
) -> dict[str, Tally]:
    """Every rival's tally. Visits that would begin after `deadline` (time.monotonic) are left out; a tally's visits
    tell."""
    tallies = {rival.name: Tally() for rival in rivals}
    with yardsticks(engine) as (inprocess, direct):
        for visit, rival in schedule(rivals, scale):
            tally = tallies[rival.name]
            if time.monotonic() < deadline and not tally.failed:
                began(f"{engine} · {rival.name}")
                try:
                    _visit(visit, rival, engine, scale, tally, inprocess, direct)
                except Exception as error:  # one rival's trouble is a row of the table, not the end of the bench
                    tally.failed = f"{type(error).__name__}: {error}"[:400]
            done()
    return tallies


def schedule(rivals: list[Rival], scale: Scale) -> Iterator[tuple[int, Rival]]:
    """Round after round, each begun by another rival; who starts slowly is left out of most."""
    every = max(1, scale.visits // scale.slow_visits)
    for visit in range(scale.visits):
        here = [
            rival
            for rival in rivals
            if not rival.slow_start or (visit % every == 0 and visit // every < scale.slow_visits)
        ]
        at = visit % max(1, len(here))
        yield from ((visit, rival) for rival in here[at:] + here[:at])


@contextlib.contextmanager
def yardsticks(engine: str) -> Iterator[tuple[InProcess, Client]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, serving(BY_NAME["direct"], engine) as server:
        inprocess, direct = InProcess(engine, folder), Client(server.port)
        assert (engine == "weightless") != inprocess.about["torch"], inprocess.about
        for _ in range(1 + WARM_REQUESTS):
            inprocess.seconds(REQUEST)
            direct.speak(REQUEST)
        try:
            yield inprocess, direct
        finally:
            direct.close()
            inprocess.close()


def _visit(
    visit: int, rival: Rival, engine: str, scale: Scale, tally: Tally, inprocess: InProcess, direct: Client
) -> None:
    with serving(rival, engine) as server:
        client = Client(server.port)
        cold = client.speak(REQUEST)
        tally.cold_first.append(cold.first)
        tally.cold_last.append(cold.last)
        tally.audio_seconds = cold.seconds
        for _ in range(WARM_REQUESTS):
            client.speak(REQUEST)
        for number in range(scale.slow_rounds if rival.slow_start else scale.rounds):
            tally.rounds.append(_round(visit + number, client, inprocess, direct))
        _count_cpu(server, client, scale.cpu_seconds, tally)
        for many in scale.waves:
            for heard in at_once(server.port, [REQUEST] * many):
                tally.waves[many]["first"].append(heard.first)
                tally.waves[many]["last"].append(heard.last)
        if engine == "embedded":
            tally.health += health_waits(server.port, rival.health, LISTENING)
        with server.watched() as peak:
            at_once(server.port, [REQUEST] * 2)
        tally.rss[visit], tally.pss[visit] = peak["rss"], peak["pss"]
        if scale.listeners and not tally.listeners:
            tally.listeners.append(most_listeners(server.port, scale.listeners))
        client.close()
        tally.ready[visit] = server.ready_seconds
        tally.clean_stops.append(server.stop())


def _round(number: int, client: Client, inprocess: InProcess, direct: Client) -> dict[str, float]:
    figures: dict[str, float] = {}

    def ask_inprocess() -> None:
        figures["inprocess"] = inprocess.seconds(REQUEST)

    def ask_direct() -> None:
        heard = direct.speak(REQUEST)
        figures["direct_first"], figures["direct_last"] = heard.first, heard.last

    def ask_rival() -> None:
        heard = client.speak(REQUEST)
        figures["first"], figures["last"] = heard.first, heard.last

    turns = [ask_inprocess, ask_direct, ask_rival]
    for turn in turns[number % 3 :] + turns[: number % 3]:
        turn()
    return figures


def _count_cpu(server: Running, client: Client, seconds: float, tally: Tally) -> None:
    before, began = server.cpu_seconds(), time.perf_counter()
    while True:
        client.speak(REQUEST)
        tally.cpu_requests += 1
        if time.perf_counter() - began > seconds:
            break
    tally.cpu_seconds += server.cpu_seconds() - before


def most_listeners(port: int, most: int) -> int:
    """The largest number, up to `most`, that all hear a speech without a gap: doubled until one does, then halved in
    between."""

    def all_served(many: int) -> bool:
        return all(heard.gap_free for heard in at_once(port, [LISTENING] * many))

    good, bad = 0, 1
    while bad <= most and all_served(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if all_served(middle) else (good, middle)
    return good
