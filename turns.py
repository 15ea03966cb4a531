"""Who may use the model for the next solver step. Knows nothing of speech, HTTP or threads: one event loop, one model.

Every generation asks before each step; between two steps the loop goes round, so that whoever arrived meanwhile is considered too.
"""

import asyncio
import time
from collections.abc import Callable

LOOP_TURNS = 8
"""Between two steps the event loop goes round so often: enough to accept a connection, read a request, answer it and ask for a turn."""
FIRST_SOUND_SECONDS = 0.25
"""How long a newcomer is thought to wait patiently: it goes before a listener who has more than this still to play."""


class Listener:
    """Somebody who plays while we make: the deadline is when the sound sent so far runs out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self.deadline = clock() + FIRST_SOUND_SECONDS
        self._playing = False

    def sent(self, seconds: float) -> None:
        """So much more sound is on its way. The first of it starts the playing, and so does the first after a gap."""
        now = self._clock()
        self.deadline = (max(self.deadline, now) if self._playing else now) + seconds
        self._playing = True


class Turns:
    """One turn at a time, to the earliest deadline among those who ask; equal ones in order of asking."""

    def __init__(self) -> None:
        self._asking: dict[asyncio.Future[None], Listener] = {}
        self._taken = False

    async def take(self, listener: Listener) -> None:
        """Returns when the turn is the caller's; `give` must follow, whatever happens in between."""
        if not self._taken and not self._asking:
            self._taken = True
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking[granted] = listener
        try:
            await granted
        except asyncio.CancelledError:
            if self._asking.pop(granted, None) is None:  # it was granted just before the caller went away
                self.give()
            raise

    def give(self) -> None:
        """The step is done; the loop goes round, then the next one is chosen, possibly the same caller."""
        self._round(LOOP_TURNS)

    def _round(self, left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(self._round, left - 1)
        elif self._asking:
            granted = min(self._asking, key=lambda future: self._asking[future].deadline)
            del self._asking[granted]
            granted.set_result(None)
        else:
            self._taken = False
