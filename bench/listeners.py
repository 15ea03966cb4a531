"""How many hear speech without a gap, beside what the engine's speed would allow: all who ask at once, and those who
come one after another and ask again when they have heard it.

Try: python -m bench.listeners --beside ../before        (three minutes for each; nothing else should be running)
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.client import Client, Heard
from bench.launcher import ROOT, Server
from bench.measure import LISTENING, most_listeners

MOST = 48
TIMES = 3
"""That each of those who come one after another asks."""


def speed(port: int) -> Heard:
    """Of several speeches alone, the one that took the median time."""
    client = Client(port)
    heard = [client.speak(LISTENING) for _ in range(9)][3:]
    client.close()
    return sorted(heard, key=lambda one: one.last)[len(heard) // 2]


def all_served(port: int, many: int, seconds: float) -> bool:
    """`many` whose arrivals are spread evenly over one speech of so many seconds."""
    began = time.monotonic() + 0.2

    def listen(number: int) -> bool:
        client, at, served = Client(port), began + number * seconds / many, True
        for _ in range(TIMES):
            time.sleep(max(0.0, at - time.monotonic()))
            heard = client.speak(LISTENING)
            served &= heard.gap_free
            at = max(time.monotonic(), at + heard.first + seconds)
        client.close()
        return served

    with ThreadPoolExecutor(many) as pool:
        return all(list(pool.map(listen, range(many))))


def most(served: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that is served, halving in between."""
    good, bad = 0, limit + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if served(middle) else (good, middle)
    return good


def measure(tree: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log", folder=tree, TTS_MAX_WAITING="64")
        server.start()
        try:
            alone = speed(server.port)
            allowed = alone.seconds / alone.last
            at_once = most_listeners(server.port, MOST)
            in_turn = most(lambda many: all_served(server.port, many, alone.seconds), min(MOST, round(1.5 * allowed)))
        finally:
            server.stop()
    return (
        f"{tree.name}: {alone.seconds:.1f} s of speech in {alone.last:.2f} s, so at most {allowed:.1f} listeners; "
        f"gap-free: {at_once} at once, {in_turn} one after another"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--beside", type=Path, help="another checkout of this project")
    options.add_argument("--rounds", type=int, default=1)
    chosen = options.parse_args()
    trees = [ROOT] + ([chosen.beside.resolve()] if chosen.beside else [])
    for number in range(chosen.rounds):
        for tree in trees if number % 2 else trees[::-1]:
            print(measure(tree), flush=True)


if __name__ == "__main__":
    main()
