"""One checkpoint on one device, in all the ways it is solved here; what a stage yields."""

import statistics
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.engine_ways import matmul_peak, seconds_of
from engine import checkpoint
from engine.checkpoint import read_weights
from engine.sampler import Sampler
from speech import audio

REFERENCE_FRAMES = 200
ROUNDS = 5

Figures = dict[str, Any]
Tasks = Iterator[tuple[str, Callable[[], Figures]]]
"""Names of rows, each with what measures it."""


class Asked(NamedTuple):
    """One speech, as Sampler.solve takes it."""

    reference: torch.Tensor
    tokens: torch.Tensor
    noise: torch.Tensor
    steps: int
    guidance: float


class Subject:
    """Each sampler is loaded when it is first asked for."""

    def __init__(self, folder: Path, place: torch.device, dtype: torch.dtype):
        self.folder, self.place, self.dtype = folder, place, dtype
        self.loaded = checkpoint.load(str(folder))
        self._read = partial(read_weights, self.loaded.weights)

    @property
    def cuda(self) -> bool:
        return self.place.type == "cuda"

    @cached_property
    def sampler(self) -> Sampler:
        return Sampler(self.loaded.arch, self._read, self.place, self.dtype)

    @cached_property
    def exact(self) -> Sampler:
        """fp32: its mel is upstream's, as tests hold."""
        return Sampler(self.loaded.arch, self._read, self.place, torch.float32)

    @cached_property
    def peak(self) -> float:
        return matmul_peak(self.place, self.dtype)

    def asked(self, frames: int, steps: int = 7) -> Asked:
        draw = torch.Generator().manual_seed(frames)
        reference = torch.randn(REFERENCE_FRAMES, audio.MEL_BANDS, generator=draw) * 2 - 5
        tokens = torch.randint(1, len(self.loaded.vocab), (frames - 1,), generator=draw)
        noise = torch.randn(frames, audio.MEL_BANDS, generator=draw)
        return Asked(
            reference.to(self.place),
            tokens.to(self.place),
            noise.to(self.place),
            steps,
            float(self.loaded.cfg_strength),
        )

    def milliseconds(self, work: Callable[[], object]) -> float:
        return round(1000 * statistics.median(seconds_of(work, self.place) for _ in range(ROUNDS)), 2)


def likeness(mel: torch.Tensor, expected: torch.Tensor) -> float:
    """Cosine, without the reference's part."""
    a, b = (one[REFERENCE_FRAMES:].flatten().double() for one in (mel, expected))
    return round(torch.cosine_similarity(a, b, dim=0).item(), 6)
