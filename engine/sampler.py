"""The flow model's maths: an Euler solver over F5's DiT weights, one solver step at a time. Knows nothing of text or voices.

Formulas: F5-TTS (arXiv 2410.06885), sway sampling there, empirically pruned steps (arXiv 2505.19931), DiT (arXiv 2212.09748).
Upstream's CFM.sample is the reference that tests compare with; what is computed once there per step is computed once here per
schedule (time embedding, AdaLN) or per chunk (text, reference, rope).
"""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F

from engine.cuda_graphs import Graphs
from engine.device import padded, reached
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
TEXT_KERNEL, POSITION_KERNEL, POSITION_GROUPS = 7, 31, 16
HEAD_DIM = 64
SCORES = 4_000_000
"""Of attention, held at once: 8 MB in bfloat16."""
TIME_FREQUENCIES = 256
BREATH_SECONDS = 0.02
"""A solver step that has taken so long yields after its next block: a big model on a small machine still lets others in."""


@dataclass(frozen=True)
class Arch:
    """The `model.arch` part of an upstream config.yaml."""

    dim: int
    depth: int
    heads: int
    ff_mult: int
    text_dim: int
    conv_layers: int
    text_mask_padding: bool = True
    pe_attn_head: int | None = None
    """How many heads get rope; None: all."""
    qk_norm: str | None = None


def time_grid(steps: int) -> torch.Tensor:
    """(steps + 1,) float32 from 0 to 1, swayed towards 0."""
    pruned = PRUNED_STEPS.get(steps)
    t = torch.tensor(pruned, dtype=torch.float32) / 32 if pruned else torch.linspace(0, 1, steps + 1)
    return t + SWAY * (torch.cos(torch.pi / 2 * t) - 1 + t)


Result = TypeVar("Result")
Wanted = Callable[[str], bool]
Read = Callable[[Wanted], dict[str, torch.Tensor]]
"""Reads from a checkpoint the tensors whose names are wanted: upstream's `transformer.…` without that prefix."""


def _adaptive(name: str) -> bool:
    """AdaLN and the time embedding: 42 % of the base model's weights. They depend on the time alone, so tables take their place."""
    return name.startswith(("time_embed", "norm_out")) or "attn_norm" in name


class Sampler:
    """F5's DiT, its weights fused for inference. Raises KeyError where one is missing.

    `dtype` is that of the blocks' matrix products. bfloat16 has too few digits for what is summed up: there the residual stream, norms
    and everything outside the blocks are float32. Time, its tables and the solver's state are float32 always."""

    def __init__(self, arch: Arch, read: Read, device: torch.device, dtype: torch.dtype):
        self.arch, self.device, self.dtype, self._read = arch, device, dtype, read
        self._stream_dtype = torch.float32 if dtype == torch.bfloat16 else dtype
        w = read(
            lambda name: not _adaptive(name)
        )  # mapped from the file, hence the copies: a kept view would keep all of its pages
        self._blocks = [self._fuse(w, f"transformer_blocks.{i}.") for i in range(arch.depth)]
        position = [
            f"input_embed.conv_pos_embed.conv1d.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
        ]
        self._position = [w.pop(name).to(device, dtype, copy=True) for name in position]
        self._w = {name: weight.to(device, self._stream_dtype, copy=True) for name, weight in w.items()}
        into = self._w["input_embed.proj.weight"]
        self._from_x, self._from_cond, self._from_text = into.split([MEL_BANDS, MEL_BANDS, arch.text_dim], dim=1)
        self._schedules: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self._inverse_freq = 1.0 / (10_000 ** (torch.arange(0, HEAD_DIM, 2, device=device).float() / HEAD_DIM))
        # torch's own attention in bfloat16 is slower than in float32 on CPUs, and two plain products many times faster.
        self._plain_attention = dtype == torch.bfloat16 and device.type == "cpu"
        self._graphs = Graphs(lambda *state: finished(self._advance(None, *state))) if device.type == "cuda" else None

    def _fuse(self, w: dict[str, torch.Tensor], at: str) -> dict[str, torch.Tensor]:
        # Rope pairs (0,1), (2,3)… become (0,32), (1,33)…: q·k does not change, and the rotation needs no interleaving.
        order = torch.arange(HEAD_DIM).view(-1, 2).t().reshape(-1)
        rows = (torch.arange(self.arch.heads)[:, None] * HEAD_DIM + order).reshape(-1)
        scale = HEAD_DIM**-0.5  # attention's own: a power of two, exact in any format
        norm = self.arch.qk_norm

        def taken(name: str) -> torch.Tensor:
            return w.pop(at + name).to(self.device, self.dtype, copy=True)

        def joined(kind: str) -> torch.Tensor:
            q, k, v = (taken(f"attn.to_{name}.{kind}") for name in "qkv")
            return torch.cat([q[rows] if norm else q[rows] * scale, k[rows], v])

        block = {"qkv": joined("weight"), "qkv_bias": joined("bias")}
        names = {"out": "attn.to_out.0", "up": "ff.ff.0.0", "down": "ff.ff.2"}
        for short, name in names.items():
            block[short], block[short + "_bias"] = taken(f"{name}.weight"), taken(f"{name}.bias")
        if norm:
            block["q_norm"], block["k_norm"] = (
                taken("attn.q_norm.weight")[order] * scale,
                taken("attn.k_norm.weight")[order],
            )
        return block

    def _schedule(self, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each solver step: every block's six AdaLN vectors (depth, 6, dim), and the last norm's scale and shift (2, dim)."""
        if steps not in self._schedules:
            w = {name: weight.to(self.device, torch.float32) for name, weight in self._read(_adaptive).items()}
            t = time_grid(steps)[:-1].to(self.device)
            half = TIME_FREQUENCIES // 2
            angle = (
                1000 * t[:, None] * torch.exp(torch.arange(half, device=self.device) * -(math.log(10_000) / (half - 1)))
            )
            hidden = torch.cat([angle.sin(), angle.cos()], dim=-1)
            hidden = F.silu(F.linear(hidden, w["time_embed.time_mlp.0.weight"], w["time_embed.time_mlp.0.bias"]))
            hidden = F.silu(F.linear(hidden, w["time_embed.time_mlp.2.weight"], w["time_embed.time_mlp.2.bias"]))
            norms = [
                F.linear(
                    hidden,
                    w[f"transformer_blocks.{i}.attn_norm.linear.weight"],
                    w[f"transformer_blocks.{i}.attn_norm.linear.bias"],
                )
                for i in range(self.arch.depth)
            ]
            blocks = torch.stack(norms, dim=1).view(steps, self.arch.depth, 6, self.arch.dim)
            last = F.linear(hidden, w["norm_out.linear.weight"], w["norm_out.linear.bias"]).view(
                steps, 2, self.arch.dim
            )
            blocks[:, :, [1, 4]] += 1  # scales: norm(x) * (1 + scale)
            last[:, 0] += 1
            self._schedules[steps] = list(zip(blocks.to(self._stream_dtype), last.to(self._stream_dtype), strict=True))
        return self._schedules[steps]

    def _text(self, tokens: torch.Tensor, frames: int, drop: bool) -> torch.Tensor:
        """(padded(frames), text_dim); what is beyond `frames` touches nothing before it, GRN's norm over all frames least of all."""
        arch, w, room = self.arch, self._w, padded(frames)
        ids = F.pad(tokens[:frames] + 1, (0, max(0, room - len(tokens[:frames]))))
        filler = (ids == 0)[:, None] if arch.text_mask_padding else None
        h = F.embedding(torch.zeros_like(ids) if drop else ids, w["text_embed.text_embed.weight"])
        if not arch.conv_layers:
            return h
        h = h + _sinusoids(room, arch.text_dim, self.device).to(h.dtype)
        h[frames:] = 0
        if filler is not None:
            h = h.masked_fill(filler, 0)
        for i in range(arch.conv_layers):
            at = f"text_embed.text_blocks.{i}."
            y = F.conv1d(
                h.t()[None],
                w[at + "dwconv.weight"],
                w[at + "dwconv.bias"],
                padding=TEXT_KERNEL // 2,
                groups=arch.text_dim,
            )[0].t()
            y = F.layer_norm(y, (arch.text_dim,), w[at + "norm.weight"], w[at + "norm.bias"], 1e-6)
            y = F.gelu(F.linear(y, w[at + "pwconv1.weight"], w[at + "pwconv1.bias"]))
            y[frames:] = 0
            spread = y.norm(dim=0, keepdim=True)
            spread = spread / (spread.mean(dim=-1, keepdim=True) + 1e-6)
            y = w[at + "grn.gamma"][0] * (y * spread) + w[at + "grn.beta"][0] + y
            h = h + F.linear(y, w[at + "pwconv2.weight"], w[at + "pwconv2.bias"])
            h[frames:] = 0
            if filler is not None:
                h = h.masked_fill(filler, 0)
        return h

    def solve(
        self, reference: torch.Tensor, tokens: torch.Tensor, noise: torch.Tensor, steps: int, guidance: float
    ) -> Generator[None, None, torch.Tensor]:
        """Yields after each solver step, in long ones between blocks too; returns the mel (frames, 100) float32, reference part included.

        reference (ref_frames, 100) and noise (frames, 100) float32; tokens (n,) int64, 0 is the unknown token.
        guidance 0 costs one forward per step, anything else two."""
        frames, room = len(noise), padded(len(noise))
        given = F.pad(reference.to(self._stream_dtype), (0, 0, 0, room - len(reference)))
        bias = self._w["input_embed.proj.bias"]
        fixed = [F.linear(given, self._from_cond, bias) + F.linear(self._text(tokens, frames, False), self._from_text)]
        if guidance:
            fixed.append(F.linear(self._text(tokens, frames, True), self._from_text, bias))
        conditions = torch.stack(fixed)  # (1 or 2, room, dim)
        angle = torch.arange(room, device=self.device).float()[:, None] * self._inverse_freq
        here = torch.arange(room, device=self.device) < frames
        unheard = torch.zeros(room, device=self.device, dtype=self.dtype).masked_fill(~here, -math.inf)
        fixtures = (
            conditions,
            here.to(self.dtype),
            unheard,
            angle.cos().to(self.dtype),
            angle.sin().to(self.dtype),
            torch.tensor(guidance, device=self.device),
        )
        x, lengths = F.pad(noise, (0, 0, 0, room - frames)), time_grid(steps).diff().to(self.device)
        before = None
        for dt, (blocks, last) in zip(lengths, self._schedule(steps), strict=True):
            if self._graphs:
                self._graphs(x, *fixtures, dt, blocks, last)
                # One step ahead of what is finished: the device is never idle, and who leaves costs two steps at most.
                yield from reached(before)
                before = torch.cuda.Event()
                before.record()
            else:
                yield from self._advance(frames, x, *fixtures, dt, blocks, last)
            yield
        yield from reached(before)
        return x[:frames]

    def _advance(
        self, frames: int | None, x, conditions, here, unheard, cos, sin, guidance, dt, blocks, last
    ) -> Generator[None, None, None]:
        """A solver step: x (room, 100) moves on by dt. `here` (room,) is 1 for each frame that is there, else 0; `unheard` is added to
        attention's scores, 0 or minus infinity. `frames` tells the same as a number where no graph is captured."""
        w, size = self._w, (self.arch.dim,)
        began = time.perf_counter()
        h = conditions + F.linear(x.to(self._stream_dtype), self._from_x)
        position = h.transpose(1, 2).to(self.dtype)
        for weight, bias in (self._position[:2], self._position[2:]):
            position = F.mish(
                F.conv1d(position * here, weight, bias, padding=POSITION_KERNEL // 2, groups=POSITION_GROUPS)
            )
        h = h + position.transpose(1, 2)
        for block, (shift, scale, gate, ff_shift, ff_scale, ff_gate) in zip(self._blocks, blocks, strict=True):
            q, k, v = self._projected(F.layer_norm(h, size, scale, shift, 1e-6).to(self.dtype), block, (cos, sin))
            if frames and self._plain_attention:
                y = _plain_attention(q, k, v, frames)
            else:
                y = F.scaled_dot_product_attention(q, k, v, unheard.expand(len(q), 1, len(unheard), -1), scale=1.0)
            y = F.linear(y.transpose(1, 2).flatten(2), block["out"], block["out_bias"])
            h = torch.addcmul(h, gate, y.to(h.dtype))
            y = F.layer_norm(h, size, ff_scale, ff_shift, 1e-6).to(self.dtype)
            y = F.gelu(F.linear(y, block["up"], block["up_bias"]), approximate="tanh")
            h = torch.addcmul(h, ff_gate, F.linear(y, block["down"], block["down_bias"]).to(h.dtype))
            if time.perf_counter() - began > BREATH_SECONDS:
                yield
                began = time.perf_counter()
        flow = F.linear(F.layer_norm(h, size, last[0], last[1], 1e-6), w["proj_out.weight"], w["proj_out.bias"]).float()
        flow = flow[0] + (flow[0] - flow[1]) * guidance if len(flow) == 2 else flow[0]
        x += dt * here[:, None] * flow

    def _projected(
        self, y: torch.Tensor, block: dict[str, torch.Tensor], rope: tuple[torch.Tensor, torch.Tensor]
    ) -> list[torch.Tensor]:
        """Attention's q, k and v, (count, heads, room, HEAD_DIM) each, q scaled."""
        count, room, _ = y.shape
        q, k, v = (
            F.linear(y, block["qkv"], block["qkv_bias"])
            .view(count, room, 3, self.arch.heads, HEAD_DIM)
            .permute(2, 0, 3, 1, 4)
        )
        if self.arch.qk_norm:
            q = F.rms_norm(q, (HEAD_DIM,), block["q_norm"], 1e-6)
            k = F.rms_norm(k, (HEAD_DIM,), block["k_norm"], 1e-6)
        roped = self.arch.pe_attn_head
        return [_rotate(q, rope, roped), _rotate(k, rope, roped), v]


def finished(solving: Generator[None, None, Result]) -> Result:
    """What a generator returns, without its pauses."""
    while True:
        try:
            next(solving)
        except StopIteration as end:
            return end.value


def _plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, frames: int) -> torch.Tensor:
    """(count, heads, room, HEAD_DIM) each, q scaled. So many heads at once that their scores stay in the processor's cache."""
    heads = max(1, SCORES // q.shape[-2] ** 2)
    heard = []
    for qs, ks, vs in zip(*(x.flatten(0, 1).split(heads) for x in (q, k, v)), strict=True):
        scores = qs @ ks.transpose(1, 2)
        scores[..., frames:] = -math.inf
        heard.append(torch.softmax(scores, dim=-1) @ vs)
    return torch.cat(heard).view(q.shape)


def _rotate(x: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor], heads: int | None) -> torch.Tensor:
    cos, sin = rope
    turned, plain = (x, None) if heads is None else (x[:, :heads], x[:, heads:])
    a, b = turned.chunk(2, dim=-1)
    turned = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return turned if plain is None else torch.cat([turned, plain], dim=1)


def _sinusoids(frames: int, dim: int, device: torch.device) -> torch.Tensor:
    """(frames, dim): cosines, then sines, of position over 10000^(2i/dim)."""
    freq = 1.0 / (10_000 ** (torch.arange(0, dim, 2, device=device)[: dim // 2].float() / dim))
    angle = torch.outer(torch.arange(frames, device=device).float(), freq)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
