"""The sampler with its solver step done in other ways, for one speech or several at once, all steps one graph: what
engine/sampler.py could become on a GPU. Checkpoints without qk_norm."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from bench.engine_variants.step_parts import banded, banded_conv, gated_norm, gelu_of_linear, packed_attention, rope_
from engine.arch import HEAD_DIM, POSITION_GROUPS, POSITION_KERNEL, Arch
from engine.blocks import Block
from engine.device import round_up_frames
from engine.linear import linear, linear_gelu
from engine.sampler import Sampler, _apply_rope, time_grid
from engine.stepping import run_to_end, works_behind
from engine.weights import Read


@dataclass(frozen=True)
class Ways:
    """What a step does otherwise; as it stands it does what the sampler's does."""

    rope_kernel: bool = False
    gelu_in_product: bool = False
    packed_attention: bool = False
    norm_kernel: bool = False
    band: int = 0
    """Position convolutions as products that make so many frames each."""

    def __str__(self) -> str:
        on = [name + (f" {value}" if name == "band" else "") for name, value in vars(self).items() if value]
        return ", ".join(on) or "one graph of all steps"


class Asked(NamedTuple):
    """One speech, as Sampler.solve takes it."""

    reference: torch.Tensor
    tokens: torch.Tensor
    noise: torch.Tensor
    guidance: float


class Rows(NamedTuple):
    """What all steps read, and the state: `count` speeches in 1 or 2 passes, those with text and reference first."""

    x: torch.Tensor  # (count, padded, 100) float32, the state
    conditions: torch.Tensor  # (passes * count, padded, dim)
    frame_mask: torch.Tensor  # (count, padded)
    attn_bias: torch.Tensor  # (passes * count, 1, 1, padded)
    cos: torch.Tensor  # (padded, HEAD_DIM / 2) float32
    sin: torch.Tensor
    guidance: torch.Tensor  # (count, 1, 1)
    starts: torch.Tensor  # (passes * count + 1,) int32: each row's first frame among all
    lengths: torch.Tensor  # (passes * count,) int32


class VariantSampler(Sampler):
    """Sampler, with steps in `ways`, which may be changed at any time."""

    def __init__(self, arch: Arch, read: Read, device: torch.device, dtype: torch.dtype):
        super().__init__(arch, read, device, dtype)
        self.ways = Ways()
        self._bands: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def rows(self, asked: Sequence[Asked]) -> Rows:
        """All speeches padded to the longest; guided are all of them or none."""
        padded = max(round_up_frames(len(one.noise)) for one in asked)
        inputs = [self._step_inputs(*one) for one in asked]
        passes = len(inputs[0].conditions)
        lengths = torch.tensor([len(one.noise) for one in asked], dtype=torch.int32, device=self.device)

        def pad(values: torch.Tensor) -> torch.Tensor:
            return F.pad(values, (0, 0, 0, padded - len(values)))

        mask = torch.stack([F.pad(one.frame_mask, (0, padded - len(one.frame_mask))) for one in inputs])
        angle = torch.arange(padded, device=self.device).float()[:, None] * self._inverse_freq
        return Rows(
            x=torch.stack([pad(one.x) for one in inputs]),
            conditions=torch.stack([pad(one.conditions[number]) for number in range(passes) for one in inputs]),
            frame_mask=mask,
            attn_bias=torch.zeros_like(mask).masked_fill(mask == 0, -math.inf).repeat(passes, 1)[:, None, None],
            cos=angle.cos(),
            sin=angle.sin(),
            guidance=torch.tensor([one.guidance for one in asked], device=self.device)[:, None, None],
            starts=torch.arange(passes * len(asked) + 1, dtype=torch.int32, device=self.device) * padded,
            lengths=lengths.repeat(passes),
        )

    def solving(self, like: Rows, steps: int) -> Callable[[Rows], torch.Tensor]:
        """What solves rows of the same shapes: the mels (count, padded, 100). On a CUDA device one graph, captured
        here, whose result the next call overwrites."""
        sizes = time_grid(steps).diff().to(self.device)
        tables = list(zip(sizes, run_to_end(self._schedule(steps)), strict=True))

        def all_steps(rows: Rows) -> torch.Tensor:
            for dt, (adaln, last) in tables:
                self._step(rows, dt, adaln, last)
            return rows.x

        if not works_behind(self.device):
            return all_steps
        own = Rows(*(one.clone() for one in like))
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # compiles kernels, makes workspaces
            self._step(own, sizes[0], *tables[0][1])
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            all_steps(own)

        def replayed(rows: Rows) -> torch.Tensor:
            for one, place in zip(rows, own, strict=True):
                place.copy_(one)
            graph.replay()
            return own.x

        return replayed

    def _step(self, rows: Rows, dt: torch.Tensor, adaln: torch.Tensor, last: torch.Tensor) -> None:
        """All states move on by dt."""
        count, padded, _ = rows.x.shape
        passes = len(rows.conditions) // count
        h = rows.conditions + F.linear(rows.x.to(self._stream_dtype), self._from_x).repeat(passes, 1, 1)
        h = h + self._positions(h.to(self.dtype), rows.frame_mask.repeat(passes, 1)[..., None])
        n = F.layer_norm(h, (self.arch.dim,), adaln[0][1], adaln[0][0], 1e-6)
        for i, (block, (_, _, gate, ff_shift, ff_scale, ff_gate)) in enumerate(zip(self._blocks, adaln, strict=True)):
            y = linear(self._attention(n.to(self.dtype), block, rows), block.out, block.out_bias)
            h, n = self._gated(h, y, gate, ff_scale, ff_shift)
            y = linear(self._up(n.to(self.dtype), block), block.down, block.down_bias)
            scale, shift = (adaln[i + 1][1], adaln[i + 1][0]) if i + 1 < len(self._blocks) else last
            h, n = self._gated(h, y, ff_gate, scale, shift)
        flow = F.linear(n, self._w["proj_out.weight"], self._w["proj_out.bias"]).float().view(passes, count, padded, -1)
        guided = flow[0] + (flow[0] - flow[1]) * rows.guidance if passes == 2 else flow[0]
        rows.x.add_(dt * rows.frame_mask[..., None] * guided)

    def _gated(
        self, h: torch.Tensor, y: torch.Tensor, gate: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.ways.norm_kernel and self._stream_dtype == self.dtype:
            return gated_norm(h, y, gate, scale, shift)
        h = torch.addcmul(h, gate, y.to(h.dtype))
        return h, F.layer_norm(h, (self.arch.dim,), scale, shift, 1e-6)

    def _up(self, n: torch.Tensor, block: Block) -> torch.Tensor:
        if self.ways.gelu_in_product:
            return gelu_of_linear(n, block.up, block.up_bias)
        return linear_gelu(n, block.up, block.up_bias, "tanh")

    def _attention(self, n: torch.Tensor, block: Block, rows: Rows) -> torch.Tensor:
        """(passes * count, padded, dim)"""
        count, padded, _ = n.shape
        heads = self.arch.heads
        turned = self.arch.pe_attn_head or heads
        fused = linear(n, block.qkv, block.qkv_bias)
        if self.ways.rope_kernel:
            rope_(fused, rows.cos, rows.sin, heads, turned)
        q, k, v = fused.view(count, padded, 3, heads, HEAD_DIM).permute(2, 0, 3, 1, 4)
        if not self.ways.rope_kernel:
            cos, sin = rows.cos.to(q.dtype), rows.sin.to(q.dtype)
            q, k = _apply_rope(q, cos, sin, turned), _apply_rope(k, cos, sin, turned)
        if self.ways.packed_attention and n.is_cuda:
            q, k, v = (one.transpose(1, 2) for one in (q, k, v))
            return packed_attention(q, k, v, rows.starts, rows.lengths).flatten(2)
        bias = rows.attn_bias.expand(-1, 1, padded, -1)
        return F.scaled_dot_product_attention(q, k, v, bias, scale=1.0).transpose(1, 2).flatten(2)

    def _positions(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x and the result (rows, padded, dim), mask (rows, padded, 1)"""
        band = self.ways.band
        for number, (weight, bias) in enumerate((self._position[:2], self._position[2:])):
            x = x * mask
            if band:
                if (number, band) not in self._bands:
                    self._bands[number, band] = banded(weight, bias, band)
                x = banded_conv(x, *self._bands[number, band], band)
            else:
                x = F.conv1d(
                    x.transpose(1, 2), weight, bias, padding=POSITION_KERNEL // 2, groups=POSITION_GROUPS
                ).transpose(1, 2)
            x = F.mish(x)
        return x
