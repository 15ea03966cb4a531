"""How many threads a matrix product uses: as many as there are processors that no other program keeps busy.

Every product ends at a barrier, and one thread without a processor holds up all the others there for a time slice of
the scheduler: beside one busy program two threads on two processors take 50 times as long as one thread alone. Changing
their number changes no bit of a result: rows are shared out, and a sum that would be cut has one_thread().
"""

import contextlib
import functools
import math
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import torch

MIN_WINDOW_SECONDS, MAX_WINDOW_SECONDS = 0.1, 0.5
"""What others use is a mean over at least so long, ten ticks of the system's clock; older news are none."""
CGROUP = Path("/sys/fs/cgroup")

Result = TypeVar("Result")


def most_threads() -> tuple[int, str]:
    """How many may be used here, and why not more."""
    cores = _physical_cores()
    quota = _cgroup_cpus()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted), "OMP_NUM_THREADS"
    if quota is not None and quota < cores:
        return max(1, math.floor(quota)), f"a CPU quota of {quota:g}"
    return cores, "one for each core"


class CpuThreads:
    """torch's number of threads, kept at what is free of `most`."""

    def __init__(self, most: int):
        self._most = most
        self._allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        self._checked, self._used, self._own = 0.0, 0.0, 0.0
        torch.set_num_threads(most)

    def following(self, work: Generator[None, None, Result]) -> Generator[None, None, Result]:
        """`work`, its threads as many as are free at each of its yield points."""
        with contextlib.closing(work):
            while True:
                self._follow()
                try:
                    next(work)
                except StopIteration as end:
                    result: Result = end.value
                    return result
                yield

    def _follow(self) -> None:
        """Costs a look at the clock, and ten times a second 0.25 ms."""
        passed = time.monotonic() - self._checked
        if self._most == 1 or passed < MIN_WINDOW_SECONDS:
            return
        used, own = self._seconds()
        if passed < MAX_WINDOW_SECONDS:
            others = (used - self._used - (own - self._own)) / passed
            # A quota may be lowered while we run: a container is resized, a process is moved.
            most = min(self._most, most_threads()[0])
            torch.set_num_threads(max(1, min(most, self._most - round(others))))
        self._checked, self._used, self._own = time.monotonic(), used, own

    def _seconds(self) -> tuple[float, float]:
        """CPU seconds spent so far on the allowed processors, by all and by this process.

        What a program of lower priority uses is left out: it gives way."""
        times = psutil.cpu_times(percpu=True)
        some = times if self._allowed is None else [times[cpu] for cpu in self._allowed if cpu < len(times)]
        spent = sum(t.user + t.system + getattr(t, "irq", 0.0) + getattr(t, "steal", 0.0) for t in some)
        return spent + (sum(t.nice for t in some) if os.nice(0) > 0 else 0.0), time.process_time()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For products whose bits depend on how many threads made them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def _physical_cores() -> int:
    """Of those this process may use: two hyper-threads share a core's multipliers and only get in each other's way."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                cores.add(file.read().strip())
        except OSError:
            return len(list(allowed))
    return max(1, len(cores))


def _cgroup_cpus() -> float | None:
    """The smallest quota of this process's control group and those around it, in processors."""
    return min((quota for folder in _cgroup_folders() if (quota := _quota(folder)) is not None), default=None)


def _cgroup_folders() -> Iterator[Path]:
    """Where quotas of this process may stand, of either version; within a container its own is the root."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                root = CGROUP / "cpu" if controllers else CGROUP
                own = root / path.lstrip("/")
                yield from (own, *(parent for parent in own.parents if parent.is_relative_to(root)))


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
