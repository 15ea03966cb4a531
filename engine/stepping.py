"""Work as generators: each yields where others may go on, and returns its result. Knows nothing of models or event loops."""

from collections.abc import Generator
from typing import TypeVar

import torch

Result = TypeVar("Result")


def run_to_end(work: Generator[None, None, Result]) -> Result:
    """What a generator returns, without its pauses."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


def wait_for_event(event: torch.cuda.Event | None) -> Generator[None, None, None]:
    """Yields until a CUDA device has come to the event: who waits so holds up nobody else."""
    while event and not event.query():
        yield


def to_host(values: torch.Tensor) -> Generator[None, None, torch.Tensor]:
    """The same on the host. Yields until a CUDA device has made them."""
    if values.device.type != "cuda":
        return values.cpu()
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    yield from wait_for_event(copied)
    return host
