"""SIGTERM and Ctrl+C: finish what is listened to, within limits, and exit with 0. Knows signals and tasks only."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

log = logging.getLogger("uvicorn.tts")


class ShuttingDown(Exception):
    """The server ends, and the time for finishing is over."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; ask again when it is back")


class GracefulShutdown:
    """At the signal jobs pause; `grace` seconds later, or at a second signal, what still runs is cancelled."""

    def __init__(self, grace: float, abort_connections: Callable[[], None]):
        self._grace, self._abort_connections = grace, abort_connections
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun = False
        self.over = False
        """The grace is: whoever is cancelled is cancelled because of it."""

    @contextlib.contextmanager
    def cancels_after_grace(self, task: asyncio.Task[Any] | None) -> Iterator[None]:
        """ShuttingDown is raised in the body, which `task` runs, when the grace is over."""
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self.over:
                raise
            task.uncancel()
            raise ShuttingDown from None
        finally:
            self._tasks.discard(task)

    @contextlib.contextmanager
    def on_signal(self, pause_jobs: Callable[[], None]) -> Iterator[None]:
        """While the body runs, the server's own signal handlers also call `pause_jobs` and start the grace."""
        if threading.current_thread() is not threading.main_thread():
            yield  # a server inside another program has no signals of its own
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def handle(number: int, frame: FrameType | None) -> None:
            if self._begun:  # a second one: do not wait any longer, but end in order
                loop.call_soon_threadsafe(self._end)
                return
            self._begun = True
            loop.call_soon_threadsafe(self._begin, pause_jobs)
            server = before[signal.Signals(number)]
            if callable(server):
                server(number, frame)

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            # The server raises the signal once more at its very end, to die of it; left pending, it ends with 0.
            if self._begun and hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            for number, handler in before.items():
                signal.signal(number, handler)

    def _begin(self, pause_jobs: Callable[[], None]) -> None:
        pause_jobs()
        asyncio.get_running_loop().call_later(self._grace, self._end)

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        if self._tasks:
            log.warning("%d requests cancelled: TTS_GRACE is %g s", len(self._tasks), self._grace)
        for task in self._tasks:
            task.cancel()
        # Whoever takes nothing would keep its connection, and so the process, for ever.
        asyncio.get_running_loop().call_later(ABORT_SECONDS, self._abort_connections)


ABORT_SECONDS = 0.3
"""Between the end of the grace and the end of the connections: for the last errors to leave."""
