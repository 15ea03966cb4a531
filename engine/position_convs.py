"""F5's position convolutions: two grouped ones of 31 taps with Mish. In half precision as one product a group, which
few channels make far quicker than a convolution. Knows tensors, nothing of steps."""

import math

import torch
import torch.nn.functional as F

from engine.arch import POSITION_GROUPS, POSITION_KERNEL

BANDS = {"cpu": 4, "cuda": 8}
"""Frames that one product makes: of 2, 4, 8, 16 and 32 the quickest on an AMD EPYC, of 4, 8 and 16 on an H100."""
HALF_KERNEL = POSITION_KERNEL // 2


class PositionConvs:
    """`layers`: weight and bias of both, on the device that they are to run on."""

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]]):
        weight = layers[0][0]
        self._band = BANDS.get(weight.device.type) if weight.dtype.itemsize == 2 else None
        self._layers = [banded(*layer, self._band) for layer in layers] if self._band else layers

    def __call__(self, x: torch.Tensor, frame_mask: torch.Tensor) -> torch.Tensor:
        """x and the result (count, frames, dim). What is not there is zero, and not multiplied by it: a chunk that
        overflows would take its neighbour in a batch along."""
        beyond = (frame_mask == 0)[..., None]
        for weight, bias in self._layers:
            x = x.masked_fill(beyond, 0)
            x = F.mish(banded_conv(x, weight, bias, self._band) if self._band else _conv(x, weight, bias))
        return x


def _conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.conv1d(x.transpose(1, 2), weight, bias, padding=HALF_KERNEL, groups=POSITION_GROUPS).transpose(1, 2)


def banded(weight: torch.Tensor, bias: torch.Tensor, band: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A grouped convolution's weights (out, in / groups, kernel) as one product a group, of a window to `band` frames:
    (groups, window * in / groups, band * out / groups), and its bias (groups, 1, band * out / groups)."""
    out, into, width = weight.shape
    per, window = out // POSITION_GROUPS, band + width - 1
    taps = weight.view(POSITION_GROUPS, per, into, width).permute(0, 3, 2, 1)
    product = weight.new_zeros(POSITION_GROUPS, window, into, band, per)
    for i in range(band):
        product[:, i : i + width, :, i, :] = taps
    bias = bias.view(POSITION_GROUPS, 1, per).repeat(1, 1, band)
    return product.view(POSITION_GROUPS, window * into, band * per), bias


def banded_conv(x: torch.Tensor, product: torch.Tensor, bias: torch.Tensor, band: int) -> torch.Tensor:
    """x (count, frames, dim) to the same shape."""
    count, frames, dim = x.shape
    per, bands, window = dim // POSITION_GROUPS, math.ceil(frames / band), band + 2 * HALF_KERNEL
    grouped = x.new_zeros(POSITION_GROUPS, count, bands * band + 2 * HALF_KERNEL, per)
    grouped[:, :, HALF_KERNEL : HALF_KERNEL + frames] = x.view(count, frames, POSITION_GROUPS, per).permute(2, 0, 1, 3)
    strides = grouped.stride()
    windows = grouped.as_strided(
        (POSITION_GROUPS, count, bands, window * per), (strides[0], strides[1], band * per, 1)
    ).reshape(POSITION_GROUPS, count * bands, window * per)
    y = torch.baddbmm(bias, windows, product)
    return y.view(POSITION_GROUPS, count, -1, per)[:, :, :frames].permute(1, 2, 0, 3).reshape(count, frames, dim)
