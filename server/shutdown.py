"""SIGTERM and Ctrl+C: finish what is being listened to, within limits, and exit with 0. Knows signals and tasks, nothing of speech."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger("uvicorn.tts")


class ShuttingDown(Exception):
    """The server ends, and the time for finishing is over."""


class GracefulShutdown:
    """From the signal on nothing new is begun; after `grace` seconds what still runs is cut."""

    def __init__(self, grace: float):
        self._grace = grace
        self._over = False
        self._tasks: set[asyncio.Task] = set()

    @contextlib.contextmanager
    def cancels_after_grace(self, task: asyncio.Task | None) -> Iterator[None]:
        """ShuttingDown is raised in the body, which `task` runs, when the grace is over."""
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._over:
                raise
            raise ShuttingDown("the server is stopping; ask again when it is back") from None
        finally:
            self._tasks.discard(task)

    @contextlib.contextmanager
    def on_signal(self, pause_jobs: Callable[[], None]) -> Iterator[None]:
        """While the body runs, the server's own signal handlers also call `pause_jobs` and start the grace."""
        if (
            threading.current_thread() is not threading.main_thread()
        ):  # a server inside another program has no signals of its own
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def begin() -> None:
            pause_jobs()
            loop.call_later(self._grace, self._end)

        def handle(number: int, frame) -> None:
            loop.call_soon_threadsafe(begin)
            server = before[signal.Signals(number)]
            if callable(server):
                server(number, frame)

        for number in before:
            signal.signal(number, handle)
        yield
        # The server raises the signal once more at its very end, to die of it; left pending, the process ends by itself, with 0.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _end(self) -> None:
        self._over = True
        if self._tasks:
            log.warning("%d listeners cut: TTS_GRACE is %g s", len(self._tasks), self._grace)
        for task in self._tasks:
            task.cancel()
