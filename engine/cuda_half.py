"""What a solver step does otherwise in half precision on a CUDA device: kernels of our own, attention without a bias.
Knows tensors and a model's shape, nothing of its steps.

Each way is taken where the model and the device allow it; the sampler does what is left the plain way.
"""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from engine.arch import HEAD_DIM, Arch

log = logging.getLogger(__name__)
Kernel = Callable[..., None]
"""Called with grid, block and arguments."""


class CudaHalf:
    """`dtype` is that of the products, `stream_dtype` that of what they are added to."""

    def __init__(self, arch: Arch, device: torch.device, dtype: torch.dtype, stream_dtype: torch.dtype):
        self._heads, self._turned = arch.heads, arch.pe_attn_head or arch.heads
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
