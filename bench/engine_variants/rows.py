"""The sampler for several speeches in one forward, all steps one graph: what it could become on a GPU."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from engine.device import round_up_frames
from engine.sampler import Sampler, StepInputs
from engine.stepping import run_to_end, works_behind


class Asked(NamedTuple):
    """One speech, as Sampler.solve takes it."""

    reference: torch.Tensor
    tokens: torch.Tensor
    noise: torch.Tensor
    guidance: float


class RowsSampler(Sampler):
    """Sampler, whose StepInputs are those of `count` speeches in 1 or 2 passes, those with text and reference first:
    x (count, padded, 100), conditions (passes * count, padded, dim), frame_mask (passes * count, padded),
    attn_bias (passes * count, 1, 1, padded), starts and lengths of passes * count rows, guidance (count, 1, 1)."""

    def rows(self, asked: Sequence[Asked]) -> StepInputs:
        """All speeches padded to the longest; guided are all of them or none."""
        padded = max(round_up_frames(len(one.noise)) for one in asked)
        each = [self._step_inputs(*one) for one in asked]
        longest, passes = max(each, key=lambda one: len(one.x)), len(each[0].conditions)
        count = passes * len(asked)

        def stacked(rows: list[torch.Tensor]) -> torch.Tensor:
            return torch.stack([F.pad(one, (0, 0, 0, padded - len(one))) for one in rows])

        mask = stacked([one.frame_mask[:, None] for one in each])[..., 0].repeat(passes, 1)
        packed = len(longest.lengths)
        bias = torch.zeros_like(mask).masked_fill(mask == 0, -math.inf)[:, None, None]
        return longest._replace(
            x=stacked([one.x for one in each]),
            conditions=stacked([one.conditions[number] for number in range(passes) for one in each]),
            frame_mask=mask,
            attn_bias=longest.attn_bias if packed else bias,
            starts=torch.arange(count + 1, device=self.device, dtype=torch.int32) * padded
            if packed
            else longest.starts,
            lengths=torch.cat([one.lengths[:1] for one in each]).repeat(passes),
            guidance=torch.stack([one.guidance for one in each])[:, None, None],
        )

    def solving(self, like: StepInputs, steps: int) -> Callable[[StepInputs], torch.Tensor]:
        """What solves rows of the same shapes: the mels (count, padded, 100). On a CUDA device one graph, captured
        here, whose result the next call overwrites. A graph reads memory, not tensors: what it reads is `own`, the
        schedule and the weights, which it or the sampler keeps."""
        tables = run_to_end(self._schedule(steps))

        def all_steps(rows: StepInputs) -> torch.Tensor:
            for dt, adaln, last in tables:
                self._rows_step(rows._replace(dt=dt, adaln=adaln, last_adaln=last))
            return rows.x

        if not works_behind(self.device):
            return all_steps
        own = StepInputs(*(one.clone() for one in like))
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries make their workspaces in a first call
            all_steps(own)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            all_steps(own)

        def replayed(rows: StepInputs) -> torch.Tensor:
            for one, place in zip(rows, own, strict=True):
                place.copy_(one)
            graph.replay()
            return own.x

        return replayed

    def _rows_step(self, rows: StepInputs) -> None:
        """All states move on by dt."""
        count = len(rows.x)
        passes = len(rows.conditions) // count
        flow = run_to_end(self._flow(rows, None)).view(passes, *rows.x.shape)
        guided = flow[0] + (flow[0] - flow[1]) * rows.guidance if passes == 2 else flow[0]
        rows.x.add_(rows.dt * rows.frame_mask[:count, :, None] * guided)

    def _input_embedding(self, inputs: StepInputs) -> torch.Tensor:
        passes = len(inputs.conditions) // len(inputs.x)
        x = F.linear(inputs.x.to(self._stream_dtype), self._from_x).repeat(passes, 1, 1)
        return self._with_positions(inputs.conditions + x, inputs.frame_mask)
