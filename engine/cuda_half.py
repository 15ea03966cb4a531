"""What a solver step does otherwise in half precision on a CUDA device: kernels of our own, attention without a bias,
position convolutions as products. Knows tensors and a model's shape, nothing of its steps.

Each way is taken where the model and the device allow it; the sampler does what is left the plain way.
"""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from engine.arch import HEAD_DIM, POSITION_GROUPS, POSITION_KERNEL, Arch

log = logging.getLogger(__name__)
BAND = 8
"""Frames that one product of the position convolutions makes: of 4, 8 and 16 the quickest on an H200."""
HALF_KERNEL = POSITION_KERNEL // 2
Kernel = Callable[..., None]
"""Called with grid, block and arguments."""


class CudaHalf:
    """`dtype` is that of the products, `stream_dtype` that of what they are added to.

    `position`: both position convolutions' weight and bias, one after the other."""

    def __init__(
        self,
        arch: Arch,
        position: list[torch.Tensor],
        device: torch.device,
        dtype: torch.dtype,
        stream_dtype: torch.dtype,
    ):
        self._heads, self._turned = arch.heads, arch.pe_attn_head or arch.heads
        self._bands = [banded(*position[:2]), banded(*position[2:])]
        # Norms of q and k come between their product and rope.
        self._rope = None if arch.qk_norm else compiled("rope", dtype)
        # A block sums a row up by whole warps, four values a thread.
        fits = stream_dtype == dtype and arch.dim % 128 == 0 and arch.dim <= 4096
        self._gated_norm = compiled("gated_norm", dtype) if fits else None
        self.turns, self.norms = self._rope is not None, self._gated_norm is not None
        self.packs = torch.cuda.get_device_capability(device)[0] >= 8
        """Whether there are `rope_` and `gated_norm_`; whether attention can be packed (attention.py)."""

    def rope_(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
        """qkv (count, padded, 3 * heads * HEAD_DIM): the heads of q and k that get rope, in place; cos and sin
        (padded, HEAD_DIM / 2) float32."""
        assert self._rope
        count, padded, width = qkv.shape
        threads = count * padded * 2 * self._turned * HEAD_DIM // 4
        arguments = (qkv, cos, sin, count * padded, padded, self._turned, self._heads * HEAD_DIM, width)
        self._rope(((threads + 255) // 256, 1, 1), (256, 1, 1), arguments)

    def gated_norm_(
        self, h: torch.Tensor, gate: torch.Tensor, y: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        """h += gate * y, and the result's norm, scaled and shifted. h and y (count, padded, dim), the rest (dim,)."""
        assert self._gated_norm
        dim, out = h.shape[-1], torch.empty_like(h)
        arguments = (h, y, gate, scale, shift, out, dim)
        self._gated_norm((h.numel() // dim, 1, 1), (dim // 4, 1, 1), arguments)
        return out

    def positions(self, x: torch.Tensor, frame_mask: torch.Tensor) -> torch.Tensor:
        """x and the result (count, padded, dim). What is not there is zero, and not multiplied by it: a chunk that
        overflows would take its neighbour along."""
        beyond = (frame_mask == 0)[..., None]
        for product, bias in self._bands:
            x = F.mish(banded_conv(x.masked_fill(beyond, 0), product, bias))
        return x


def banded(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A grouped convolution's weights (out, in / groups, kernel) as one product a group, of a window to BAND frames:
    (groups, window * in / groups, BAND * out / groups), and its bias (groups, 1, BAND * out / groups)."""
    out, into, width = weight.shape
    per, window = out // POSITION_GROUPS, BAND + width - 1
    taps = weight.view(POSITION_GROUPS, per, into, width).permute(0, 3, 2, 1)
    product = weight.new_zeros(POSITION_GROUPS, window, into, BAND, per)
    for i in range(BAND):
        product[:, i : i + width, :, i, :] = taps
    bias = bias.view(POSITION_GROUPS, 1, per).repeat(1, 1, BAND)
    return product.view(POSITION_GROUPS, window * into, BAND * per), bias


def banded_conv(x: torch.Tensor, product: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x (count, padded, dim) to the same shape, `padded` a multiple of BAND."""
    count, padded, dim = x.shape
    per, bands, window = dim // POSITION_GROUPS, padded // BAND, BAND + 2 * HALF_KERNEL
    grouped = x.new_zeros(POSITION_GROUPS, count, padded + 2 * HALF_KERNEL, per)
    grouped[:, :, HALF_KERNEL : HALF_KERNEL + padded] = x.view(count, padded, POSITION_GROUPS, per).permute(2, 0, 1, 3)
    strides = grouped.stride()
    windows = grouped.as_strided(
        (POSITION_GROUPS, count, bands, window * per), (strides[0], strides[1], BAND * per, 1)
    ).reshape(POSITION_GROUPS, count * bands, window * per)
    y = torch.baddbmm(bias, windows, product)
    return y.view(POSITION_GROUPS, count, padded, per).permute(1, 2, 0, 3).reshape(count, padded, dim)


@cache
def compiled(name: str, dtype: torch.dtype) -> Kernel | None:
    """One of kernels.cu, in a quarter of a second. None where there is no NVRTC, and the log says why."""
    source = Path(__file__).with_name("kernels.cu").read_text()
    define = "#define BF16\n" if dtype == torch.bfloat16 else ""
    try:
        kernel: Any = torch.cuda._compile_kernel(define + source, name)
    except (ImportError, OSError, RuntimeError) as error:
        log.warning("no kernel %s, torch's own operations instead, which are slower: %s", name, error)
        return None
    return kernel  # type: ignore[no-any-return]
