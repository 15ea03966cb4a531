"""One layer: the direct server, but every step of the model runs in an executor's thread. Nothing else differs.

With ALL=1 the model is also loaded, and plans, in that thread. It matters on CPUs: each thread that has computed in
parallel, if only once, has an OpenMP team of its own, and as soon as the teams together are more than the cores, none
of them spins at its barriers any more.

Try: uvicorn bench.layered.executor:app
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import app as direct
from app import app
from server.scheduler import BackgroundTask, Item, PlaybackDeadline, Result, Scheduler

__all__ = ["app"]

_executor = ThreadPoolExecutor(1, thread_name_prefix="model")
_drive, _result = Scheduler.drive, Scheduler.result


async def drive(
    self: Scheduler, generator: Iterator[Item | None], who: PlaybackDeadline | BackgroundTask
) -> AsyncGenerator[Item | None]:
    """As Scheduler.drive, a thread further away."""
    loop = asyncio.get_running_loop()
    while True:
        async with self.slot(who):
            step = await loop.run_in_executor(_executor, partial(_next, generator))
        if step is None:
            return
        yield step[0]


async def result(
    self: Scheduler, generator: Generator[None, None, Result], who: PlaybackDeadline | BackgroundTask
) -> Result:
    """As Scheduler.result, planning, where it was: in the loop's own thread."""
    return await _result(SimpleNamespace(drive=partial(_drive, self)), generator, who)  # type: ignore[arg-type]


def _next(generator: Iterator[Item | None]) -> tuple[Item | None] | None:
    """A step's result in a tuple; None at the end, because StopIteration does not pass through a future."""
    return next(((item,) for item in generator), None)


Scheduler.drive = drive  # type: ignore[method-assign]
if os.environ.get("ALL"):
    load = vars(direct)["TTS"]
    vars(direct)["TTS"] = lambda *where: _executor.submit(load, *where).result()
else:
    Scheduler.result = result  # type: ignore[method-assign]
