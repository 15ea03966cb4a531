"""Chunks that wait for a CUDA device, several in one forward: batches as long as somebody waits, waiting for nobody.

One batch is under way at a time, its steps queued two ahead, and whoever has a turn moves it on; who comes meanwhile is
in the next one, in order of coming. Knows no event loop and no weights.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator

import torch

from engine.step_inputs import JOINED_ROWS, StepInputs, Tables, joined, room

JOINED_FRAMES = 4096
"""Of a batch, at most: it cannot be interrupted, and lasts a fifteenth of a second of an H200 with the base model."""


class Waiting:
    """A chunk: what its steps read, its frames that are there, and the tables of all its steps."""

    def __init__(self, inputs: StepInputs, frames: int, schedule: list[Tables]):
        self.inputs, self.frames, self.schedule = inputs, frames, schedule
        self.mel = inputs.x[:frames]
        """(frames, 100) float32; that of its end when `made` is reached."""
        self.made: torch.cuda.Event | None = None
        self.failed: Exception | None = None
        self.left = False


class Batches:
    """`step`, of StepInputs' parts, moves the state on by one step and waits for nothing."""

    def __init__(self, step: Callable[..., None]):
        self._step = step
        self._waiting: list[Waiting] = []
        self._under_way: list[Waiting] = []
        self._steps: Iterator[StepInputs] = iter(())
        """Those that are not yet queued, of what is under way."""
        self._queued: deque[torch.cuda.Event] = deque(maxlen=2)
        """Ends of the last two steps: the device is never idle, and who leaves costs two steps at most."""

    def solve(self, chunk: Waiting) -> Generator[None, None, torch.Tensor]:
        """Yields until its mel is made. Raises what the device raised."""
        self._waiting.append(chunk)
        try:
            while not (chunk.made and chunk.made.query()):  # type: ignore[no-untyped-call]
                self._move_on()
                if chunk.failed:
                    raise chunk.failed
                yield
        finally:
            chunk.left = True
        return chunk.mel

    def _move_on(self) -> None:
        """Queues a step where the device has room for one."""
        if all(chunk.left for chunk in self._under_way):
            self._begin()
        behind = len(self._queued) == 2 and not self._queued[0].query()  # type: ignore[no-untyped-call]
        if not self._under_way or behind:
            return
        try:
            inputs = next(self._steps, None)
            if inputs:
                self._step(*inputs)
                self._queued.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
                self._queued[-1].record()
        except Exception as error:  # of all of them, not of whose turn it is
            for chunk in self._under_way:
                chunk.failed = error
            self._under_way = []
            return
        if not inputs:
            for chunk in self._under_way:
                chunk.made = self._queued[-1]
            self._begin()

    def _begin(self) -> None:
        """The first who waits, and who may go with it."""
        self._waiting = [chunk for chunk in self._waiting if not chunk.left]
        self._under_way = self._company()
        self._waiting = [chunk for chunk in self._waiting if chunk not in self._under_way]
        self._steps = _steps(self._under_way)

    def _company(self) -> list[Waiting]:
        company: list[Waiting] = []
        frames = 0
        for chunk in self._waiting:
            first = company[0] if company else chunk
            alike = chunk.schedule is first.schedule and len(chunk.inputs.conditions) == len(first.inputs.conditions)
            if alike and (not company or frames + room(chunk.frames) <= JOINED_FRAMES):
                company.append(chunk)
                frames += room(chunk.frames)
            if len(company) == JOINED_ROWS:
                break
        return company


def _steps(chunks: list[Waiting]) -> Iterator[StepInputs]:
    """Of all of them at once; in the end each has its part of the state."""
    if not chunks:
        return
    inputs = chunks[0].inputs
    if len(chunks) > 1:
        inputs, begins = joined([chunk.inputs for chunk in chunks], [chunk.frames for chunk in chunks])
        for chunk, begin in zip(chunks, begins, strict=True):
            chunk.mel = inputs.x[begin : begin + chunk.frames]
    for dt, adaln, last_adaln in chunks[0].schedule:
        yield inputs._replace(dt=dt, adaln=adaln, last_adaln=last_adaln)
