"""A function of CUDA tensors as one CUDA graph a set of shapes: a thousand launches become one. Knows no models.

A graph is captured when its shapes are first met, and kept. What is captured works on tensors of the graph's own;
each call copies its arguments there and the result back, so calls for many speeches may alternate. What is the very
tensor of the call before lies there already: of a speech's next step three of twelve are copied.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

log = logging.getLogger(__name__)
REPLAY_TOLERANCE = 0.05
"""The first replay may differ from the function itself by so much."""


class Kept(NamedTuple):
    graph: torch.cuda.CUDAGraph
    own: list[torch.Tensor]
    """What it works on."""
    seen: list[torch.Tensor]
    """Whose values lie there."""

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        for i, one in enumerate(tensors):
            if one is not self.seen[i]:
                self.own[i].copy_(one)
                self.seen[i] = one


class Graphs:
    """`work` changes its first argument in place, waits for nothing, and asks no tensor for its value. Nobody else
    changes arguments between two calls with the same ones.

    A graph reads memory, not tensors: what `work` reads beside its arguments must be kept as long as the graphs are."""

    def __init__(self, work: Callable[..., None]):
        self._work, self._pool = work, torch.cuda.graph_pool_handle()
        self._kept: dict[tuple[torch.Size, ...], Kept | None] = {}

    def __call__(self, *now: torch.Tensor) -> None:
        """work(*now). Where it cannot be captured it is called, and the log says why."""
        shapes = tuple(tensor.shape for tensor in now)
        if shapes not in self._kept:
            try:
                self._kept[shapes] = self._captured(now)
            except RuntimeError as error:
                log.warning("no CUDA graph for %s, which will be slower: %s", tuple(shapes[0]), error)
                self._kept[shapes] = None
        kept = self._kept[shapes]
        if kept is None:
            self._work(*now)
        else:
            kept.take(now)
            kept.graph.replay()
            now[0].copy_(kept.own[0])

    def _captured(self, now: tuple[torch.Tensor, ...]) -> Kept:
        """Raises RuntimeError where the replay is not what the function itself computes."""
        own = [tensor.clone() for tensor in now]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries make their workspaces in a first call, which no capture allows
            self._work(*own)
        torch.cuda.current_stream().wait_stream(aside)
        expected = own[0].clone()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._work(*own)
        kept = Kept(graph, own, own[:])
        kept.take(now)
        graph.replay()
        kept.seen[0] = own[0]  # the replay has changed it
        if not torch.allclose(own[0], expected, atol=REPLAY_TOLERANCE, rtol=REPLAY_TOLERANCE, equal_nan=True):
            raise RuntimeError(f"its replay differs by {float((own[0] - expected).abs().max()):.2g}")
        return kept
