"""How busy this machine is, beside this server's own work. Knows nothing of jobs or speech."""

import os
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
    """The part of it that is not this process's."""
    memory: float
    """Percent of the machine's memory that cannot be had."""


class SystemLoad:
    """Measured when asked, at most once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._process = clock, psutil.Process()
        self._at, self._used, self._own = clock(), *self._seconds()
        self._load = Load(0.0, 0.0, psutil.virtual_memory().percent)

    def _seconds(self) -> tuple[float, float]:
        """CPU seconds spent since the machine started: by all, by this process."""
        times, own = psutil.cpu_times(), self._process.cpu_times()
        return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(
            times, "guest", 0.0
        ), own.user + own.system

    def load(self) -> Load:
        now = self._clock()
        passed = now - self._at
        if passed >= SAMPLE_SECONDS:
            used, own = self._seconds()
            share = 100 / (passed * (os.cpu_count() or 1))
            cpu = min(100.0, max(0.0, (used - self._used) * share))
            others = max(0.0, cpu - (own - self._own) * share)
            self._load = Load(round(cpu, 1), round(others, 1), psutil.virtual_memory().percent)
            self._at, self._used, self._own = now, used, own
        return self._load
