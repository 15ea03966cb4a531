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

import numpy as np

import app as direct
from app import app
from server.scheduler import Errand, Listener
from server.studio import Studio
from speech.request import Speech
from tts_core import Plan

__all__ = ["app"]

_executor = ThreadPoolExecutor(1, thread_name_prefix="model")


async def speak(self: Studio, plan: Plan, who: Listener | Errand) -> AsyncGenerator[np.ndarray | None]:
    """As Studio.speak, a thread further away."""
    loop, speech = asyncio.get_running_loop(), self.tts.speak(plan)
    while True:
        async with self.turns.turn(who):
            step = await loop.run_in_executor(_executor, _next, speech)
        if step is None:
            return
        yield step[0]


def _next(speech: Iterator[np.ndarray | None]) -> tuple[np.ndarray | None] | None:
    """A step's result in a tuple; None at the end, because StopIteration does not pass through a future."""
    return next(((samples,) for samples in speech), None)


async def plan(self: Studio, speech: Speech, who: Listener | Errand) -> Plan:
    async with self.turns.turn(who):
        return await asyncio.get_running_loop().run_in_executor(_executor, self.tts.plan, speech)


Studio.speak = speak  # type: ignore[method-assign]
if os.environ.get("ALL"):
    load = direct.TTS
    direct.TTS = lambda *where: _executor.submit(load, *where).result()  # type: ignore[assignment, misc]
    Studio.plan = plan  # type: ignore[method-assign]
