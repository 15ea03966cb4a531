"""Ctrl+C, heard once. Whatever is being saved is saved to its end, however often the key is hit."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupt:
    """Install it once at start. Inside cancels() it cancels the task, elsewhere it raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self._stop: Callable[[], object] | None = None

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # to the very end: Python gives other handlers up before that
        if self._stop is None:
            raise KeyboardInterrupt
        self._stop()

    @contextmanager
    def cancels(self) -> Iterator[None]:
        """While the current task runs."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            yield
        finally:
            self._stop = None
