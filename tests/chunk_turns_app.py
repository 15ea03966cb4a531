"""The server with slots as other servers take them: a chunk at a time."""

import contextlib

from app import app
from server.scheduler import Scheduler

__all__ = ["app"]


async def drive(self, generator, who):
    with contextlib.suppress(StopIteration):
        while True:
            async with self.slot(who):
                while (item := next(generator)) is None:
                    pass
            yield None
            yield item


Scheduler.drive = drive  # type: ignore[method-assign,assignment]
