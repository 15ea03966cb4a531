"""The server with turns as other servers take them: a chunk at a time."""

import contextlib

from app import app
from server.studio import Studio

__all__ = ["app"]


async def speak(self, plan, who):
    speech = self.tts.speak(plan)
    with contextlib.suppress(StopIteration):
        while True:
            async with self.turns.turn(who):
                while (samples := next(speech)) is None:
                    pass
            yield None
            yield samples


Studio.speak = speak  # type: ignore[method-assign,assignment]
