"""Who may use the model next: earliest deadline first. Knows not of speech, HTTP or threads: one event loop, one model.

Work is a generator with yield points (a solver step or part of one). It is advanced in slots; between two the loop goes
round, so that whoever arrived meanwhile is considered too. Listeners go before background tasks, the one whose sound
runs out first before the others; with `rounds` each of them once before any of them again.
"""

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from server.stats import Stats

LOOP_ROUNDS = 8
"""Between two slots the event loop goes round so often: enough to accept a connection, read, answer, ask for a slot."""
FIRST_SOUND_SECONDS = 0.25
"""How long a newcomer is thought to wait patiently: it goes before a listener who has more than this still to play."""
SLOT_SECONDS = 0.003
"""A slot goes on past yield points while it is shorter than this: passing it on costs a tenth of a millisecond."""

BACKGROUND_SHARE = 0.1
"""A background task that is due waits at most so long that its slots come to this share: 0.3 s after one of 30 ms."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class PlaybackDeadline:
    """Of somebody who plays while we make: when the sound sent so far runs out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self.deadline = clock() + FIRST_SOUND_SECONDS
        self._playing = False

    def sent(self, seconds: float) -> bool:
        """So much more sound is on its way. The first of it starts the playing, and so does the first after a gap.

        True for an underrun: it came too late, and somebody who plays at once has heard a gap."""
        now = self._clock()
        underrun = self._playing and now > self.deadline
        self.deadline = (max(self.deadline, now) if self._playing else now) + seconds
        self._playing = True
        return underrun

    def ask_again(self) -> bool:
        """More is asked for. Whether it is a newcomer who asks: somebody who has nothing left to play."""
        now = self._clock()
        if newcomer := not self._playing or self.deadline < now:
            self.deadline, self._playing = now + FIRST_SOUND_SECONDS, False
        return newcomer

    @property
    def seconds_left(self) -> float:
        """Of sound to play."""
        return max(0.0, self.deadline - self._clock()) if self._playing else 0.0

    @property
    def priority(self) -> tuple[int, float]:
        return 0, self.deadline


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """Work that nobody listens to: it has the slots that no listener asks for, the earliest due first.

    Once it is due it has BACKGROUND_SHARE of the model's time even beside listeners who never stop."""

    due: float = 0.0
    """Seconds since the epoch, as a job has it; 0: at once, what somebody waits for without listening."""
    slot_seconds: float = SLOT_SECONDS
    """As SLOT_SECONDS; longer for many small steps, of which else a few would be made between two solver steps."""

    @property
    def priority(self) -> tuple[int, float]:
        return 1, self.due


class Scheduler:
    """One slot at a time, to the lowest priority among those who ask; equal ones in order of asking."""

    def __init__(self, stats: Stats, rounds: bool = False) -> None:
        """`rounds`: where a slot mostly finds a device busy with everybody's work, as a batch: all prepare theirs, and
        pass the slot on at each yield point."""
        self._stats, self._rounds = stats, rounds
        self._had: weakref.WeakSet[PlaybackDeadline] = weakref.WeakSet()
        """Who has had a slot of this round: listeners alone, background tasks go by when they are due."""
        self._asking: dict[asyncio.Future[None], PlaybackDeadline | BackgroundTask] = {}
        self._busy = False
        self._background_from = 0.0
        """When a due background task may go before listeners again (event loop's clock)."""

    async def drive(
        self, generator: Iterator[Item | None], who: PlaybackDeadline | BackgroundTask
    ) -> AsyncGenerator[Item | None]:
        """What `generator` yields, advanced slot by slot; None after a slot that ended at a yield point."""
        enough = who.slot_seconds if isinstance(who, BackgroundTask) else SLOT_SECONDS
        polls = self._rounds and enough <= SLOT_SECONDS
        while True:
            async with self.slot(who):
                began = time.perf_counter()
                try:
                    item = next(generator)
                    while item is None and time.perf_counter() - began < enough and not (polls and self._asking):
                        item = next(generator)
                except StopIteration:
                    return
                finally:
                    self._stats.model_seconds += time.perf_counter() - began
            yield item

    async def result(self, generator: Generator[None, None, Result], who: PlaybackDeadline | BackgroundTask) -> Result:
        """What `generator` returns, driven to its end."""
        results: list[Result] = []

        def kept() -> Generator[None, None, None]:
            results.append((yield from generator))

        async for _ in self.drive(kept(), who):
            pass
        return results[0]

    @asynccontextmanager
    async def slot(self, who: PlaybackDeadline | BackgroundTask) -> AsyncIterator[None]:
        """The body has the model to itself. It must not wait for anything."""
        await self._acquire(who)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            if isinstance(who, BackgroundTask):
                self._background_from = loop.time() + (loop.time() - began) * (1 / BACKGROUND_SHARE - 1)
            self._release(LOOP_ROUNDS)

    async def _acquire(self, who: PlaybackDeadline | BackgroundTask) -> None:
        if not self._busy:  # and so nobody asks
            self._busy = True
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking[granted] = who
        try:
            await granted
        except asyncio.CancelledError:
            if self._asking.pop(granted, None) is None:  # it was granted just before the caller went away
                self._release(LOOP_ROUNDS)
            raise

    def _release(self, rounds: int) -> None:
        """The slot is over: the loop goes round, then the next one is chosen, possibly the same caller."""
        if rounds:
            asyncio.get_running_loop().call_soon(self._release, rounds - 1)
        elif (granted := self._next()) is not None:
            del self._asking[granted]
            granted.set_result(None)
        else:
            self._busy = False

    def _next(self) -> asyncio.Future[None] | None:
        # Who was cancelled in this round of the loop is still among them.
        asking = {future: who for future, who in self._asking.items() if not future.done()}
        due = []
        if asyncio.get_running_loop().time() >= self._background_from:
            now = time.time()
            due = [future for future, who in asking.items() if isinstance(who, BackgroundTask) and who.due <= now]
        chosen = min(due or asking, key=lambda future: self._place(asking[future]), default=None)
        if self._rounds and chosen and isinstance(who := asking[chosen], PlaybackDeadline):
            if who in self._had:
                self._had.clear()
            self._had.add(who)
        return chosen

    def _place(self, who: PlaybackDeadline | BackgroundTask) -> tuple[int, bool, float]:
        kind, when = who.priority
        return kind, who in self._had, when
