"""Chunks that wait for a CUDA device, several in one forward: batches as long as somebody waits, waiting for nobody.

One batch is under way at a time, its steps queued two ahead, and whoever has a turn moves it on; who comes meanwhile is
in the next one, in order of coming. Knows no event loop and no weights.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator

import torch

from engine.step_inputs import JOINED_ROWS, StepInputs, Tables, joined, room

log = logging.getLogger(__name__)
FRAMES_PER_PROCESSOR = 31
"""A device's multiprocessors are busy with so many in one forward: 4 092 of an H200, a fifteenth of a second with the
base model."""


class Waiting:
    """A chunk: what its steps read, its frames that are there, and the tables of all its steps."""

    def __init__(self, inputs: StepInputs, frames: int, schedule: list[Tables]):
        self.inputs, self.frames, self.schedule = inputs, frames, schedule
        self.mel = inputs.x[:frames]
        """(frames, 100) float32; that of its end when `made` is reached."""
        self.made: torch.cuda.Event | None = None
        self.failed: str | None = None
        self.left = False


class Batches:
    """`step`, of StepInputs' parts, moves the state on by one step and waits for nothing. `most_frames`: of several
    chunks in one forward."""

    def __init__(self, step: Callable[..., None], most_frames: int):
        self._step, self._most_frames = step, most_frames
        self._waiting: list[Waiting] = []
        self._under_way: list[Waiting] = []
        self._steps: Iterator[StepInputs] = iter(())
        """Those that are not yet queued, of what is under way."""
        self._queued: deque[torch.cuda.Event] = deque(maxlen=2)
        """Ends of the last two steps: the device is never idle, and who leaves costs two steps at most."""

    def solve(self, chunk: Waiting) -> Generator[None, None, torch.Tensor]:
        """Yields until its mel is made. RuntimeError where its batch failed."""
        self._waiting.append(chunk)
        try:
            while not (chunk.made and chunk.made.query()):  # type: ignore[no-untyped-call]
                self._move_on()
                if chunk.failed:
                    raise RuntimeError(chunk.failed)
                yield
        finally:
            self._leave(chunk)
        return chunk.mel

    def _leave(self, chunk: Waiting) -> None:
        chunk.left = True
        if chunk in self._waiting:
            self._waiting.remove(chunk)
        if all(one.left for one in self._under_way):
            self._under_way, self._steps = [], iter(())

    def _move_on(self) -> None:
        """Queues a step where the device has room for one."""
        if len(self._queued) == 2 and not self._queued[0].query():  # type: ignore[no-untyped-call]
            return
        if not self._under_way:
            self._begin()
        if not self._under_way:  # all steps of all who are here are queued
            return
        try:
            inputs = next(self._steps, None)
            if inputs:
                self._step(*inputs)
                self._queued.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
                self._queued[-1].record()
                return
        except Exception as error:  # of all of them, not of whose turn it is
            log.exception("a batch of %d chunks failed", len(self._under_way))
            for chunk in self._under_way:
                chunk.failed = f"a batch of {len(self._under_way)} chunks failed: {error}"
        else:
            for chunk in self._under_way:
                chunk.made = self._queued[-1]
        self._under_way, self._steps = [], iter(())

    def _begin(self) -> None:
        """The first who waits, and who may go with it."""
        frames = 0
        for chunk in self._waiting:
            first = self._under_way[0] if self._under_way else chunk
            alike = chunk.schedule is first.schedule and len(chunk.inputs.conditions) == len(first.inputs.conditions)
            if alike and (chunk is first or frames + room(chunk.frames) <= self._most_frames):
                self._under_way.append(chunk)
                frames += room(chunk.frames)
            if len(self._under_way) == JOINED_ROWS:
                break
        self._waiting = [chunk for chunk in self._waiting if chunk not in self._under_way]
        self._steps = _steps(self._under_way)


def most_frames(device: torch.device) -> int:
    """More would not be quicker, and a batch cannot be interrupted."""
    return FRAMES_PER_PROCESSOR * int(torch.cuda.get_device_properties(device).multi_processor_count)


def _steps(chunks: list[Waiting]) -> Iterator[StepInputs]:
    """Of all of them at once; in the end each has its part of the state."""
    inputs = chunks[0].inputs
    if len(chunks) > 1:
        inputs, begins = joined([chunk.inputs for chunk in chunks], [chunk.frames for chunk in chunks])
        for chunk, begin in zip(chunks, begins, strict=True):
            chunk.mel = inputs.x[begin : begin + chunk.frames]
    for dt, adaln, last_adaln in chunks[0].schedule:
        yield inputs._replace(dt=dt, adaln=adaln, last_adaln=last_adaln)
