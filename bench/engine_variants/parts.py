"""Parts of a solver step alone, of the base model's sizes, guided: microseconds, and what they reach. Knows tensors,
nothing of models."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.engine_variants.step_parts import banded, banded_conv, gated_norm, gelu_of_linear, packed_attention, rope_
from bench.engine_variants.subject import Figures, Subject, Tasks
from bench.engine_ways import seconds_of
from engine.arch import HEAD_DIM, POSITION_GROUPS, POSITION_KERNEL

ROWS, HEADS, DIM = 2, 16, 1024
PADDED = (1024, 2016)
FILLER = 20
"""Frames of these that are not there."""


def microseconds(work: Callable[[], object], place: torch.device, calls: int = 20) -> float:
    """A call's: on a CUDA device, in a graph of so many."""
    work()
    if place.type != "cuda":
        return round(1e6 * min(seconds_of(work, place) for _ in range(3)), 1)
    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    graph.replay()
    return round(1e6 * min(seconds_of(graph.replay, place) for _ in range(3)) / calls, 1)


class Parts:
    """Random tensors of one length."""

    def __init__(self, padded: int, place: torch.device, dtype: torch.dtype):
        self.padded, self.place, self._dtype = padded, place, dtype

    def drawn(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=self.place, dtype=self._dtype)

    def measured(
        self, work: Callable[[], torch.Tensor], exact: torch.Tensor | None = None, flops: float = 0
    ) -> Figures:
        """`exact`: what the result should be, in fp32."""
        figures: Figures = {}
        if exact is not None:
            figures["difference"] = round(float((work().float() - exact).abs().max()), 5)
        took = microseconds(work, self.place)
        return {"us": took} | ({"TFLOP/s": round(flops / took / 1e6, 1)} if flops else {}) | figures

    def attention(self) -> Tasks:
        """Ways to leave out the frames that are not there; those that do not show what it would cost without."""
        padded = self.padded
        q, k, v = (self.drawn(ROWS, padded, HEADS, HEAD_DIM) for _ in "qkv")
        q = q * HEAD_DIM**-0.5
        there = torch.arange(padded, device=self.place) < padded - FILLER
        bias = torch.zeros(padded, device=self.place, dtype=self._dtype).masked_fill(~there, -torch.inf)
        bias = bias.expand(ROWS, 1, padded, padded)
        starts = torch.arange(ROWS + 1, dtype=torch.int32, device=self.place) * padded
        lengths = torch.full((ROWS,), padded - FILLER, dtype=torch.int32, device=self.place)

        def plain(mask: torch.Tensor | None, dtype: torch.dtype = self._dtype) -> torch.Tensor:
            heads = [one.transpose(1, 2).to(dtype) for one in (q, k, v)]
            return F.scaled_dot_product_attention(heads[0], heads[1], heads[2], mask, scale=1.0).transpose(1, 2)

        def torchs(backend: SDPBackend, mask: torch.Tensor | None) -> torch.Tensor:
            with sdpa_kernel(backend):
                return plain(mask)

        exact = plain(bias.float(), torch.float32)
        ways: dict[str, tuple[Callable[[], torch.Tensor], torch.Tensor | None]] = {
            "as it is": (partial(plain, bias), exact)
        }
        if self.place.type == "cuda":
            ways |= {
                "efficient, bias": (partial(torchs, SDPBackend.EFFICIENT_ATTENTION, bias), exact),
                "cuDNN, bias": (partial(torchs, SDPBackend.CUDNN_ATTENTION, bias), exact),
                "cuDNN, no bias": (partial(torchs, SDPBackend.CUDNN_ATTENTION, None), None),
                "flash, no bias": (partial(torchs, SDPBackend.FLASH_ATTENTION, None), None),
                "packed": (partial(packed_attention, q, k, v, starts, lengths), exact),
            }
        flops = 4 * ROWS * HEADS * padded**2 * HEAD_DIM
        for name, (work, right) in ways.items():
            yield f"attention {name}", partial(self.measured, work, right, flops)

    def products(self) -> Tasks:
        tokens = ROWS * self.padded
        for name, into, out in (("qkv", DIM, 3 * DIM), ("out", DIM, DIM), ("up", DIM, 2 * DIM), ("down", 2 * DIM, DIM)):
            x, weight, bias = self.drawn(tokens, into), self.drawn(out, into) / 30, self.drawn(out)
            work = partial(F.linear, x, weight, bias)
            yield f"product {name}", partial(self.measured, work, flops=2 * tokens * into * out)
        x, weight, bias = self.drawn(tokens, DIM), self.drawn(2 * DIM, DIM) / 30, self.drawn(2 * DIM)
        exact = F.gelu(F.linear(x.float(), weight.float(), bias.float()), approximate="tanh")
        plain = partial(lambda *of: F.gelu(F.linear(*of), approximate="tanh"), x, weight, bias)
        yield "product up, then gelu", partial(self.measured, plain, exact)
        yield "product up, gelu in it", partial(self.measured, partial(gelu_of_linear, x, weight, bias), exact)

    def positions(self) -> Tasks:
        x = self.drawn(ROWS, self.padded, DIM)
        weight, bias = self.drawn(DIM, DIM // POSITION_GROUPS, POSITION_KERNEL) / 40, self.drawn(DIM)

        def conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            padding = POSITION_KERNEL // 2
            return F.conv1d(x.transpose(1, 2), weight, bias, padding=padding, groups=POSITION_GROUPS).transpose(1, 2)

        exact = conv(x.float(), weight.float(), bias.float())
        yield "positions conv1d", partial(self.measured, partial(conv, x, weight, bias), exact)
        for band in (4, 8, 16):
            work = partial(banded_conv, x, *banded(weight, bias, band), band)
            yield f"positions band {band}", partial(self.measured, work, exact)

    def kernels(self) -> Tasks:
        """Ours, compared with what the processor makes of the same in fp32."""
        fused = self.drawn(ROWS, self.padded, 3 * DIM)
        angle = torch.randn(self.padded, HEAD_DIM // 2, device=self.place)
        turned = fused.float().cpu()
        rope_(turned, angle.cos().cpu(), angle.sin().cpu(), HEADS, HEADS)

        def rope() -> torch.Tensor:
            own = fused.clone()
            rope_(own, angle.cos(), angle.sin(), HEADS, HEADS)
            return own

        yield "rope kernel, with three small ones", partial(self.measured, rope, turned.to(self.place))
        h, y = self.drawn(ROWS, self.padded, DIM), self.drawn(ROWS, self.padded, DIM)
        vectors = [self.drawn(DIM) for _ in range(3)]
        exact = gated_norm(*(one.float().cpu() for one in (h, y, *vectors)))[1].to(self.place)

        def plain() -> torch.Tensor:
            gate, scale, shift = vectors
            return F.layer_norm(torch.addcmul(h, gate, y), (DIM,), scale, shift, 1e-6)

        yield "gate and norm", partial(self.measured, plain, exact)
        yield (
            "gate and norm kernel, with a copy",
            partial(self.measured, lambda: gated_norm(h.clone(), y, *vectors)[1], exact),
        )


def parts(on: Subject) -> Tasks:
    """The kernels of all lengths last."""
    lengths = [Parts(padded, on.place, on.dtype) for padded in (PADDED if on.cuda else (64,))]
    for kinds in (Parts.attention, Parts.products, Parts.positions, Parts.kernels):
        for length in lengths:
            for name, work in kinds(length):
                yield f"{name}, {ROWS} x {length.padded}", work
