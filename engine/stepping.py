"""Work as generators: each yields where others may go on, and returns its result. Knows no models and no event loop."""

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


def works_behind(place: torch.device) -> bool:
    """Whether what is asked of it is queued, and done while the program goes on: then there are graphs and events."""
    return place.type == "cuda"


def wait_for_event(event: torch.cuda.Event | None) -> Generator[None, None, None]:
    """Yields until a CUDA device has come to the event: who waits so holds up nobody else."""
    while event and not event.query():  # type: ignore[no-untyped-call]
        yield


def to_device(values: torch.Tensor, place: torch.device) -> torch.Tensor:
    """The host's values there. A CUDA device copies when it comes to it; from memory that is not pinned it would be
    waited for."""
    return values.pin_memory().to(place, non_blocking=True) if works_behind(place) else values.to(place)


def to_host(*made: torch.Tensor) -> Generator[None, None, list[torch.Tensor]]:
    """The same on the host. Yields until a CUDA device has made them."""
    if not works_behind(made[0].device):
        return [values.cpu() for values in made]
    host = [torch.empty(values.shape, dtype=values.dtype, pin_memory=True) for values in made]
    for there, values in zip(host, made, strict=True):
        there.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()
    yield from wait_for_event(copied)
    return host
