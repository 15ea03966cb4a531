"""How busy this machine is, beside this server's own work. Knows nothing of jobs or speech."""

import contextlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

SAMPLE_SECONDS = 1.0
"""CPU use is a mean over at least so long."""


@dataclass(frozen=True, slots=True)
class Load:
    cpu: float
    """Percent of all cores, whoever uses them."""
    other_processes_cpu: float
    """The part of it that is not this process's, nor that of other copies of this server where they are known."""
    memory: float
    """Percent of the machine's memory that cannot be had."""


class SystemLoad:
    """Measured when asked, at most once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._process = clock, psutil.Process()
        self._copies: dict[psutil.Process, float] = {}
        """Other processes of this server, and the CPU seconds that each had spent at the last measurement."""
        self._at, self._used, self._own = clock(), *self._seconds()
        self._load = Load(0.0, 0.0, psutil.virtual_memory().percent)

    def look_for_copies(self) -> None:
        """Those of `--workers`, or of a second unit: the same command, numbers aside, by the same interpreter in the
        same folder. Takes milliseconds; until the measurement after it, a copy counts as another program."""
        command, found = _command(self._process), {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != self._process.pid and _command(process) == command:
                    found[process] = self._copies.get(process, _cpu_seconds(process))
        self._copies = found

    def _seconds(self) -> tuple[float, float]:
        """CPU seconds spent since the machine started: by all, by this process."""
        times, own = psutil.cpu_times(), _cpu_seconds(self._process)
        return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0), own

    def _spent_by_copies(self) -> float:
        """CPU seconds since the last measurement; of one that has ended, none."""
        spent, now = 0.0, {}
        for process, before in self._copies.items():
            with contextlib.suppress(psutil.Error):
                now[process] = _cpu_seconds(process)
                spent += now[process] - before
        self._copies = now
        return spent

    def own_memory(self) -> int:
        """Bytes that this process holds."""
        return int(self._process.memory_info().rss)

    def load(self) -> Load:
        now = self._clock()
        passed = now - self._at
        if passed >= SAMPLE_SECONDS:
            used, own = self._seconds()
            share = 100 / (passed * (os.cpu_count() or 1))
            cpu = min(100.0, max(0.0, (used - self._used) * share))
            others = max(0.0, cpu - (own - self._own + self._spent_by_copies()) * share)
            self._load = Load(round(cpu, 1), round(others, 1), psutil.virtual_memory().percent)
            self._at, self._used, self._own = now, used, own
        return self._load


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _command(process: psutil.Process) -> tuple[str, str, list[str]]:
    """What it runs, where; without numbers: ports and descriptors differ."""
    return process.exe(), process.cwd(), [re.sub(r"\d+", "", word) for word in process.cmdline()]
