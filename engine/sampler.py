"""The flow model: an Euler solver over F5's DiT weights, one solver step at a time. Knows nothing of text or voices.

Formulas: F5-TTS and sway sampling (arXiv 2410.06885), pruned steps (arXiv 2505.19931), DiT (arXiv 2212.09748).
Upstream's CFM.sample is what tests compare with; what it computes once per step is computed here once per schedule
(time embedding, AdaLN) or per chunk (text, reference, rope).
"""

import math
import time
from collections.abc import Generator

import torch
import torch.nn.functional as F

from engine.arch import HEAD_DIM, TIME_FREQUENCIES, Arch
from engine.attention import apply_rope, packed_attention, plain_attention
from engine.batches import Batches, Waiting, most_frames
from engine.blocks import Block, is_adaln, read_block
from engine.cpu_threads import one_thread
from engine.cuda_graphs import Graphs
from engine.cuda_half import CudaHalf
from engine.device import round_up_frames
from engine.linear import linear, linear_gelu
from engine.position_convs import PositionConvs
from engine.step_inputs import StepInputs, Tables
from engine.stepping import run_to_end, wait_for_event, works_behind
from engine.text_embedding import TextEmbedding
from engine.weights import Read
from speech.audio import MEL_BANDS

PRUNED_STEPS = {
    5: [0, 2, 4, 8, 16, 32],
    6: [0, 2, 4, 6, 8, 16, 32],
    7: [0, 2, 4, 6, 8, 16, 24, 32],
    10: [0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32],
    12: [0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32],
    16: [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32],
}
"""Solver steps → the grid, in 32nds, that loses least against 32 even steps."""
SWAY = -1.0
YIELD_SECONDS = 0.02
"""A solver step that has taken so long yields after its next block: a big model on a small machine lets others in."""


def time_grid(steps: int) -> torch.Tensor:
    """(steps + 1,) float32 from 0 to 1, swayed towards 0."""
    pruned = PRUNED_STEPS.get(steps)
    t = torch.tensor(pruned, dtype=torch.float32) / 32 if pruned else torch.linspace(0, 1, steps + 1)
    return t + SWAY * (torch.cos(torch.pi / 2 * t) - 1 + t)


class Sampler:
    """F5's DiT, its weights fused for inference. Raises KeyError where one is missing.

    `dtype` is that of the blocks' matrix products. bfloat16 has too few digits for what is summed up: the residual
    stream, norms and all outside the blocks are float32. Time, its tables and the solver's state are always."""

    def __init__(
        self, arch: Arch, read: Read, device: torch.device, dtype: torch.dtype, blocks: list[Block] | None = None
    ):
        self.arch, self.device, self.dtype, self._read = arch, device, dtype, read
        self._stream_dtype = torch.float32 if dtype == torch.bfloat16 else dtype
        self._blocks = blocks or [read_block(arch, read, i, device, dtype) for i in range(arch.depth)]
        # Mapped from the file, hence the copies: a kept view would keep all of its pages.
        w = read(lambda name: not is_adaln(name) and not name.startswith("transformer_blocks."))
        at = "input_embed.conv_pos_embed.conv1d."
        position = [
            [w.pop(f"{at}{i}.{kind}").to(device, dtype, copy=True) for kind in ("weight", "bias")] for i in (0, 2)
        ]
        self._positions = PositionConvs([(weight, bias) for weight, bias in position])
        self._w = {name: weight.to(device, self._stream_dtype, copy=True) for name, weight in w.items()}
        self._text = TextEmbedding(arch, self._w, device)
        into = self._w["input_embed.proj.weight"]
        self._from_x, self._from_cond, self._from_text = torch.split(into, [MEL_BANDS, MEL_BANDS, arch.text_dim], dim=1)
        self._schedules: dict[int, list[Tables]] = {}
        self._inverse_freq = 1.0 / (10_000 ** (torch.arange(0, HEAD_DIM, 2, device=device).float() / HEAD_DIM))
        # torch's own attention in bfloat16 is slower than in float32 on CPUs, and two plain products many times faster.
        self._plain_attention = dtype == torch.bfloat16 and device.type == "cpu"
        behind = works_behind(device)
        self._graphs = Graphs(self._captured_step) if behind else None
        self._condition_graphs = Graphs(self._captured_conditions) if behind else None
        self._cuda = CudaHalf(arch, device, dtype, self._stream_dtype) if behind and dtype.itemsize == 2 else None
        self.batches = (
            Batches(self._graphs, most_frames(device)) if self._graphs and self._cuda and self._cuda.packs else None
        )
        """Where several chunks go in one forward."""

    @classmethod
    def loading(
        cls, arch: Arch, read: Read, device: torch.device, dtype: torch.dtype
    ) -> Generator[None, None, "Sampler"]:
        """The same, yielding after each block: a big model takes seconds."""
        blocks = []
        for i in range(arch.depth):
            blocks.append(read_block(arch, read, i, device, dtype))
            yield
        return cls(arch, read, device, dtype, blocks)

    def _schedule(self, steps: int) -> Generator[None, None, list[Tables]]:
        """For each solver step: dt, every block's AdaLN vectors (depth, 6, dim), the last norm's scale and shift
        (2, dim).

        Made once for a number of steps: all the AdaLN weights are read for it, in a big model with yields between."""
        if steps not in self._schedules:
            w, dim = self._read(is_adaln), self.arch.dim

            def linear(x: torch.Tensor, name: str) -> torch.Tensor:
                weight, bias = (w[f"{name}.{kind}"].to(self.device, torch.float32) for kind in ("weight", "bias"))
                with one_thread():  # of so few rows the sums are cut by threads, and the tables are kept
                    return F.linear(x, weight, bias)

            grid = time_grid(steps)
            t = grid[:-1].to(self.device)
            half = TIME_FREQUENCIES // 2
            frequencies = torch.exp(torch.arange(half, device=self.device) * -(math.log(10_000) / (half - 1)))
            angle = 1000 * t[:, None] * frequencies
            hidden = F.silu(linear(torch.cat([angle.sin(), angle.cos()], dim=-1), "time_embed.time_mlp.0"))
            hidden = F.silu(linear(hidden, "time_embed.time_mlp.2"))
            norms, began = [], time.perf_counter()
            for i in range(self.arch.depth):
                norms.append(linear(hidden, f"transformer_blocks.{i}.attn_norm.linear"))
                if time.perf_counter() - began > YIELD_SECONDS:
                    yield
                    began = time.perf_counter()
            blocks = torch.stack(norms, dim=1).view(steps, self.arch.depth, 6, dim)
            last = linear(hidden, "norm_out.linear").view(steps, 2, dim)
            blocks[:, :, [1, 4]] += 1  # scales: norm(x) * (1 + scale)
            last[:, 0] += 1
            sizes, blocks, last = (
                grid.diff().to(self.device),
                blocks.to(self._stream_dtype),
                last.to(self._stream_dtype),
            )
            self._schedules[steps] = list(zip(sizes, blocks, last, strict=True))
        return self._schedules[steps]

    def solve(
        self, reference: torch.Tensor, tokens: torch.Tensor, noise: torch.Tensor, steps: int, guidance: float
    ) -> Generator[None, None, torch.Tensor]:
        """Yields after each solver step, in long ones between blocks too; returns the mel (frames, 100) float32.

        The reference's part of it is included.
        reference (ref_frames, 100) and noise (frames, 100) float32; tokens (n,) int64, 0 is the unknown token.
        guidance 0 costs one forward per step, anything else two."""
        frames = len(noise)
        inputs = self._step_inputs(reference, tokens, noise, guidance)
        schedule = yield from self._schedule(steps)
        if self.batches:
            return (yield from self.batches.solve(Waiting(inputs, frames, schedule)))
        previous_step = None
        for dt, adaln, last_adaln in schedule:
            inputs = inputs._replace(dt=dt, adaln=adaln, last_adaln=last_adaln)
            if self._graphs:
                self._graphs(*inputs)
                # One step ahead of what is finished: the device is never idle, and who leaves costs two steps at most.
                yield from wait_for_event(previous_step)
                previous_step = torch.cuda.Event()  # type: ignore[no-untyped-call]
                previous_step.record()
            else:
                yield from self._euler_step(inputs, frames)
            yield
        yield from wait_for_event(previous_step)
        return inputs.x[:frames]

    def _step_inputs(
        self, reference: torch.Tensor, tokens: torch.Tensor, noise: torch.Tensor, guidance: float
    ) -> StepInputs:
        """All that is the same in every step of a chunk, and its state at time 0."""
        frames, padded = len(noise), round_up_frames(len(noise))
        cond = F.pad(reference.to(self._stream_dtype), (0, 0, 0, padded - len(reference)))
        there = torch.arange(padded, device=self.device) < frames
        ids, shares = self._text.places(tokens, frames)
        count = 2 if guidance else 1
        if self._condition_graphs:
            conditions = cond.new_zeros(count, padded, self.arch.dim)
            self._condition_graphs(conditions, cond, ids, shares, ~there[:, None])
        else:
            conditions = self._conditions(count, cond, ids, shares, slice(frames, None))
        angle = torch.arange(padded, device=self.device).float()[:, None] * self._inverse_freq
        rope_dtype = torch.float32 if self._cuda and self._cuda.turns else self.dtype
        later = attn_bias = starts = lengths = torch.empty(0, device=self.device)
        if self._cuda and self._cuda.packs:
            starts = torch.arange(0, padded * (count + 1), padded, device=self.device, dtype=torch.int32)
            lengths = torch.full((count,), frames, device=self.device, dtype=torch.int32)
        else:
            attn_bias = torch.zeros(padded, device=self.device, dtype=self.dtype).masked_fill(~there, -math.inf)
            attn_bias = attn_bias[None, None, None]
        return StepInputs(
            x=F.pad(noise, (0, 0, 0, padded - frames)),
            conditions=conditions,
            frame_mask=there.to(self.dtype),
            attn_bias=attn_bias,
            starts=starts,
            lengths=lengths,
            cos=angle.cos().to(rope_dtype),
            sin=angle.sin().to(rope_dtype),
            guidance=torch.full((), guidance, device=self.device),
            dt=later,
            adaln=later,
            last_adaln=later,
        )

    def _conditions(
        self, count: int, cond: torch.Tensor, ids: torch.Tensor, shares: torch.Tensor, beyond: slice | torch.Tensor
    ) -> torch.Tensor:
        """(count, padded, dim), of the padded reference and what TextEmbedding.embedded takes."""
        bias = self._w["input_embed.proj.bias"]
        text = self._text.embedded(ids, shares, beyond, drop=False)
        passes = [F.linear(cond, self._from_cond, bias) + F.linear(text, self._from_text)]
        if count == 2:
            passes.append(F.linear(self._text.embedded(ids, shares, beyond, drop=True), self._from_text, bias))
        return torch.stack(passes)

    def _captured_conditions(self, conditions: torch.Tensor, *of: torch.Tensor) -> None:
        conditions.copy_(self._conditions(len(conditions), *of))

    def _captured_step(self, *inputs: torch.Tensor) -> None:
        run_to_end(self._euler_step(StepInputs(*inputs), None))

    def _euler_step(self, inputs: StepInputs, frames: int | None) -> Generator[None, None, None]:
        """x moves on by dt. `frames` tells the same as the masks where no graph is captured: those that are there."""
        flow = yield from self._flow(inputs, frames)
        flow = flow[0] + (flow[0] - flow[1]) * inputs.guidance if len(flow) == 2 else flow[0]
        inputs.x.add_(inputs.dt * inputs.frame_mask[:, None] * flow)

    def _flow(self, inputs: StepInputs, frames: int | None) -> Generator[None, None, torch.Tensor]:
        """(count, padded, 100) float32: where each pass would have x go."""
        began = time.perf_counter()
        h = self._input_embedding(inputs)
        # Each block's second gate and the norm that follows it are one, so the first norm stands alone.
        n = F.layer_norm(h, (self.arch.dim,), inputs.adaln[0, 1], inputs.adaln[0, 0], 1e-6)
        following = [
            *((adaln[1], adaln[0]) for adaln in inputs.adaln[1:]),
            (inputs.last_adaln[0], inputs.last_adaln[1]),
        ]
        for block, adaln, then in zip(self._blocks, inputs.adaln, following, strict=True):
            h, n = self._block(h, n, block, adaln, then, inputs, frames)
            if time.perf_counter() - began > YIELD_SECONDS:
                yield
                began = time.perf_counter()
        return F.linear(n, self._w["proj_out.weight"], self._w["proj_out.bias"]).float()

    def _input_embedding(self, inputs: StepInputs) -> torch.Tensor:
        """(count, padded, dim): state and conditions projected, with what the position convolutions add."""
        h = inputs.conditions + F.linear(inputs.x.to(self._stream_dtype), self._from_x)
        return h + self._positions(h.to(self.dtype), inputs.frame_mask)

    def _block(
        self,
        h: torch.Tensor,
        n: torch.Tensor,
        block: Block,
        adaln: torch.Tensor,
        then: tuple[torch.Tensor, torch.Tensor],
        inputs: StepInputs,
        frames: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention and feed-forward, and their gates. n: h's norm, as AdaLN scales and shifts it; after the block
        `then` does, a scale and a shift."""
        _, _, gate, ff_shift, ff_scale, ff_gate = adaln
        y = linear(self._attention(n.to(self.dtype), block, inputs, frames), block.out, block.out_bias)
        h, n = self._gated(h, gate, y, ff_scale, ff_shift)
        y = linear_gelu(n.to(self.dtype), block.up, block.up_bias, "tanh")
        return self._gated(h, ff_gate, linear(y, block.down, block.down_bias), *then)

    def _gated(
        self, h: torch.Tensor, gate: torch.Tensor, y: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """h + gate * y, and its norm, scaled and shifted."""
        if self._cuda and self._cuda.norms:
            return h, self._cuda.gated_norm_(h, gate, y, scale, shift)
        h = torch.addcmul(h, gate, y.to(h.dtype))
        return h, F.layer_norm(h, (self.arch.dim,), scale, shift, 1e-6)

    def _attention(self, n: torch.Tensor, block: Block, inputs: StepInputs, frames: int | None) -> torch.Tensor:
        """(count, padded, heads * HEAD_DIM)"""
        q, k, v = self._qkv(n, block, inputs)
        if frames and self._plain_attention:
            y = plain_attention(q, k, v, frames)
        elif len(inputs.lengths):
            q, k, v = (one.transpose(1, 2) for one in (q, k, v))
            return packed_attention(q, k, v, inputs.starts, inputs.lengths).flatten(2)
        else:
            attn_bias = inputs.attn_bias.expand(len(q), 1, q.shape[-2], -1)
            y = F.scaled_dot_product_attention(q, k, v, attn_bias, scale=1.0)
        return y.transpose(1, 2).flatten(2)

    def _qkv(
        self, n: torch.Tensor, block: Block, inputs: StepInputs
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(count, heads, padded, HEAD_DIM) each, q scaled."""
        count, padded, _ = n.shape
        fused = linear(n, block.qkv, block.qkv_bias)
        qkv = fused.view(count, padded, 3, self.arch.heads, HEAD_DIM).permute(2, 0, 3, 1, 4)
        q, k, v = qkv
        if self._cuda and self._cuda.turns:
            self._cuda.rope_(fused, inputs.cos, inputs.sin)
            return q, k, v
        heads = self.arch.pe_attn_head
        if block.q_norm is None or block.k_norm is None:
            q, k = apply_rope(qkv[:2], inputs.cos, inputs.sin, heads)
            return q, k, v
        q = F.rms_norm(q, (HEAD_DIM,), block.q_norm, 1e-6)
        k = F.rms_norm(k, (HEAD_DIM,), block.k_norm, 1e-6)
        return apply_rope(q, inputs.cos, inputs.sin, heads), apply_rope(k, inputs.cos, inputs.sin, heads), v
