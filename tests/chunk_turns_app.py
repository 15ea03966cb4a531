"""The server with slots as other servers take them: a chunk at a time."""

import contextlib
from collections.abc import AsyncGenerator, Iterator

from app import app
from server.scheduler import BackgroundTask, Item, PlaybackDeadline, Scheduler

__all__ = ["app"]


async def drive(
    self: Scheduler, generator: Iterator[Item | None], who: PlaybackDeadline | BackgroundTask
) -> AsyncGenerator[Item | None]:
    with contextlib.suppress(StopIteration):
        while True:
            async with self.slot(who):
                while (item := next(generator)) is None:
                    pass
            yield None
            yield item


Scheduler.drive = drive  # type: ignore[method-assign]
