"""Parts of a solver step done otherwise than engine/sampler.py does them. Knows tensors, nothing of models or clocks.

Where there is no CUDA device each is what the sampler does, but for the banded convolution, which runs anywhere."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from engine.arch import HEAD_DIM, POSITION_GROUPS, POSITION_KERNEL
from engine.sampler import _apply_rope

HALF = POSITION_KERNEL // 2


@cache
def kernel(name: str, dtype: torch.dtype) -> Any:
    """One of kernels.cu, compiled: a quarter of a second. Call it with grid, block and arguments."""
    source = Path(__file__).with_name("kernels.cu").read_text()
    define = "#define BF16\n" if dtype == torch.bfloat16 else ""
    return torch.cuda._compile_kernel(define + source, name)


def rope_(fused: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, turned: int) -> None:
    """fused (rows, padded, 3 * heads * HEAD_DIM), qkv: the first `turned` heads of q and of k, in place; cos and sin
    (padded, HEAD_DIM / 2) float32."""
    rows, padded, width = fused.shape
    if fused.is_cuda:
        threads = rows * padded * 2 * turned * HEAD_DIM // 4
        kernel("rope", fused.dtype)(
            ((threads + 255) // 256, 1, 1),
            (256, 1, 1),
            (fused, cos, sin, rows * padded, padded, turned, heads * HEAD_DIM, width),
        )
        return
    q, k, _ = fused.view(rows, padded, 3, heads, HEAD_DIM).permute(2, 0, 3, 1, 4)
    for part in (q, k):
        part.copy_(_apply_rope(part, cos.to(part.dtype), sin.to(part.dtype), turned))


def gated_norm(
    h: torch.Tensor, y: torch.Tensor, gate: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """h + gate * y, in place on a device, and its norm, scaled and shifted. h and y (rows, padded, dim), the rest
    (dim,), all of one dtype."""
    dim = h.shape[-1]
    if not h.is_cuda:
        h = torch.addcmul(h, gate, y)
        return h, F.layer_norm(h, (dim,), scale, shift, 1e-6)
    out = torch.empty_like(h)
    grid, block = (h.numel() // dim, 1, 1), (dim // 4, 1, 1)
    kernel("gated_norm", h.dtype)(grid, block, (h, y, gate, scale, shift, out, dim))
    return h, out


def packed_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Flash attention over the frames that are there, without a bias. q (scaled), k, v and the result
    (rows, padded, heads, HEAD_DIM); starts (rows + 1,) and lengths (rows,) int32. CUDA alone, in half precision."""
    padded, flat = q.shape[1], [one.flatten(0, 1) for one in (q, k, v)]
    values: torch.Tensor = torch.ops.aten._flash_attention_forward(
        *flat, starts, starts, padded, padded, 0.0, False, False, scale=1.0, seqused_k=lengths
    )[0]
    return values.view(q.shape)


def gelu_of_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The product's own epilogue, where the library has one."""
    flat: torch.Tensor = torch._addmm_activation(bias, x.reshape(-1, x.shape[-1]), weight.t(), use_gelu=True)
    return flat.view(*x.shape[:-1], -1)


def banded(weight: torch.Tensor, bias: torch.Tensor, band: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A grouped convolution's weights (out, in / groups, kernel) as one product a group, of a window to `band` frames:
    (groups, window * in / groups, band * out / groups), and its bias."""
    out, into, width = weight.shape
    per, window = out // POSITION_GROUPS, band + width - 1
    taps = weight.view(POSITION_GROUPS, per, into, width).permute(0, 3, 2, 1)
    product = weight.new_zeros(POSITION_GROUPS, window, into, band, per)
    for i in range(band):
        product[:, i : i + width, :, i, :] = taps
    bias = bias.view(POSITION_GROUPS, 1, per).repeat(1, 1, band)
    return product.view(POSITION_GROUPS, window * into, band * per), bias


def banded_conv(x: torch.Tensor, product: torch.Tensor, bias: torch.Tensor, band: int) -> torch.Tensor:
    """x (rows, padded, dim) to the same shape, `padded` a multiple of `band`."""
    rows, padded, dim = x.shape
    per, count, window = dim // POSITION_GROUPS, padded // band, band + 2 * HALF
    grouped = x.new_zeros(POSITION_GROUPS, rows, padded + 2 * HALF, per)
    grouped[:, :, HALF : HALF + padded] = x.view(rows, padded, POSITION_GROUPS, per).permute(2, 0, 1, 3)
    strides = grouped.stride()
    windows = grouped.as_strided(
        (POSITION_GROUPS, rows, count, window * per), (strides[0], strides[1], band * per, 1)
    ).reshape(POSITION_GROUPS, rows * count, window * per)
    y = torch.baddbmm(bias, windows, product)
    return y.view(POSITION_GROUPS, rows, padded, per).permute(1, 2, 0, 3).reshape(rows, padded, dim)
