"""One layer: the direct server, but every step of the model runs in an executor's thread. Nothing else differs.

With ALL=1 the model is also loaded, and plans, in that thread. It matters on CPUs: each thread that has computed in
parallel, if only once, has an OpenMP team of its own, and as soon as the teams together are more than the cores, none
of them spins at its barriers any more.

Try: uvicorn bench.layered.executor:app
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import app as direct
from app import app
from server.scheduler import BackgroundTask, Item, PlaybackDeadline, Scheduler

__all__ = ["app"]

_executor = ThreadPoolExecutor(1, thread_name_prefix="model")
_here = Scheduler.drive


async def drive(
    self: Scheduler, generator: Iterator[Item | None], who: PlaybackDeadline | BackgroundTask
) -> AsyncGenerator[Item | None]:
    """As Scheduler.drive, a thread further away."""
    if not os.environ.get("ALL") and getattr(generator, "__name__", "") != "speak":  # planning
        async for item in _here(self, generator, who):
            yield item
        return
    loop = asyncio.get_running_loop()
    while True:
        async with self.slot(who):
            step = await loop.run_in_executor(_executor, partial(_next, generator))
        if step is None:
            return
        yield step[0]


def _next(generator: Iterator[Item | None]) -> tuple[Item | None] | None:
    """A step's result in a tuple; None at the end, because StopIteration does not pass through a future."""
    return next(((item,) for item in generator), None)


Scheduler.drive = drive  # type: ignore[method-assign]
if os.environ.get("ALL"):
    load = vars(direct)["TTS"]
    vars(direct)["TTS"] = lambda *where: _executor.submit(load, *where).result()
