"""A server beside busy programs: real-time factors with 0 to 4 neighbours that only spin, beside another checkout's.

Try: python -m bench.noisy --beside ../before        (three minutes; nothing else should be running)
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from bench.launcher import ROOT, Server
from speech import audio

TEXT = "The library opens at nine and closes late on Friday. Two men were standing in front of the hotel, waiting."
NEIGHBOURS = 0, 1, 2, 4
SETTLE_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
QUOTA = Path("/sys/fs/cgroup/cpu")


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many other programs, each of which wants a whole processor."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def real_time_factor(server: Server) -> float:
    """Of one request, as its client sees it; infinite when there is no end after PATIENCE_SECONDS."""
    began = time.perf_counter()
    with contextlib.suppress(httpx.HTTPError):
        reply = httpx.post(f"{server.address}/tts", json={"text": TEXT, "seed": 1}, timeout=PATIENCE_SECONDS)
        reply.raise_for_status()
        seconds = (len(reply.content) - audio.WAV_HEADER_BYTES) / 2 / audio.SAMPLE_RATE
        return (time.perf_counter() - began) / seconds
    return float("inf")


def together(servers: list[Server]) -> float:
    """Seconds of sound a second of several servers that all speak."""
    with ThreadPoolExecutor(len(servers)) as pool:
        return sum(1 / factor for factor in pool.map(real_time_factor, servers))


@contextmanager
def one_processor(server: Server) -> Iterator[bool]:
    """The server in a control group with a quota of one processor; False where none can be made."""
    group = QUOTA / f"noisy-{os.getpid()}"
    home = QUOTA / next(
        (
            line.split(":", 2)[2].lstrip("/")
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if ":cpu:" in line
        ),
        "",
    )
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("100000")
        (group / "cgroup.procs").write_text(str(server.process.pid))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        (home / "cgroup.procs").write_text(str(server.process.pid))
        group.rmdir()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--beside", type=Path, help="another checkout of this project")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", type=Path, help="write every figure there")
    chosen = options.parse_args()
    trees = {"this": ROOT} | ({"beside": chosen.beside.resolve()} if chosen.beside else {})
    figures: dict[str, dict[str, list[float]]] = {tree: {} for tree in trees}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for tree, root in trees.items():
            servers[tree] = [
                Server(folder / f"{tree}{n}", "app:app", "--log-level", "warning", folder=root) for n in "12"
            ]
            for server in servers[tree]:
                server.start()
                stack.callback(server.kill)
                real_time_factor(server)
        for number in range(chosen.rounds):
            for count in NEIGHBOURS:
                for tree in list(trees) if number % 2 else list(trees)[::-1]:
                    with spinning(count):
                        figure = real_time_factor(servers[tree][0])
                    figures[tree].setdefault(f"{count} neighbours", []).append(figure)
                    print(f"round {number + 1}: {tree}, {count} neighbours: {figure:.3f}", flush=True)
            for tree in trees:
                figures[tree].setdefault("two servers at once", []).append(1 / together(servers[tree]))
                with one_processor(servers[tree][0]) as limited:
                    if limited:
                        figures[tree].setdefault("a quota of 1", []).append(real_time_factor(servers[tree][0]))
    show(figures)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1))


def show(figures: dict[str, dict[str, list[float]]]) -> None:
    table = Table("", *(f"{tree}: {what}" for tree in figures for what in ("real-time factor", "worst", "÷ quiet")))
    for row in next(iter(figures.values())):
        cells = []
        for of_tree in figures.values():
            quiet, of_row = statistics.median(of_tree["0 neighbours"]), of_tree[row]
            median = statistics.median(of_row)
            cells += [f"{median:.3f}", f"{max(of_row):.3f}", f"{median / quiet:.2f}"]
        table.add_row(row, *cells)
    Console(width=120).print(table)
    print("two servers at once: 1 ÷ the seconds of sound that both make in a second")


if __name__ == "__main__":
    main()
