"""Who may use the model next. Knows nothing of speech, HTTP or threads: one event loop, one model.

Every generation asks before each breath of work (a solver step or part of one); between two the loop goes round, so that whoever
arrived meanwhile is considered too. Listeners go before errands, the one whose sound runs out first before the others.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

LOOP_ROUNDS = 8
"""Between two turns the event loop goes round so often: enough to accept a connection, read a request, answer it and ask for a turn."""
FIRST_SOUND_SECONDS = 0.25
"""How long a newcomer is thought to wait patiently: it goes before a listener who has more than this still to play."""


class Listener:
    """Somebody who plays while we make: the deadline is when the sound sent so far runs out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self.deadline = clock() + FIRST_SOUND_SECONDS
        self._playing = False

    def sent(self, seconds: float) -> bool:
        """So much more sound is on its way. The first of it starts the playing, and so does the first after a gap.

        True when it came too late: somebody who plays at once has heard a gap."""
        now = self._clock()
        late = self._playing and now > self.deadline
        self.deadline = (max(self.deadline, now) if self._playing else now) + seconds
        self._playing = True
        return late

    @property
    def rank(self) -> tuple[int, float]:
        return 0, self.deadline


@dataclass(frozen=True, slots=True)
class Errand:
    """Work that nobody listens to: its turn comes when no listener asks, the earliest due first."""

    due: float

    @property
    def rank(self) -> tuple[int, float]:
        return 1, self.due


class Turns:
    """One turn at a time, to the lowest rank among those who ask; equal ones in order of asking."""

    def __init__(self) -> None:
        self._asking: dict[asyncio.Future[None], Listener | Errand] = {}
        self._taken = False

    @asynccontextmanager
    async def turn(self, who: Listener | Errand) -> AsyncIterator[None]:
        """The body has the model to itself. It must not wait for anything."""
        await self._take(who)
        try:
            yield
        finally:
            self._round(LOOP_ROUNDS)

    async def _take(self, who: Listener | Errand) -> None:
        if not self._taken and not self._asking:
            self._taken = True
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking[granted] = who
        try:
            await granted
        except asyncio.CancelledError:
            if self._asking.pop(granted, None) is None:  # it was granted just before the caller went away
                self._round(LOOP_ROUNDS)
            raise

    def _round(self, left: int) -> None:
        """The turn is over: the loop goes round, then the next one is chosen, possibly the same caller."""
        if left:
            asyncio.get_running_loop().call_soon(self._round, left - 1)
        elif self._asking:
            granted = min(self._asking, key=lambda future: self._asking[future].rank)
            del self._asking[granted]
            granted.set_result(None)
        else:
            self._taken = False
