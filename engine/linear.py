"""x Wᵀ + b, by the kernel that is quickest where the weights lie. Knows no model."""

import torch
import torch.nn.functional as F

_onednn = torch.ops.mkldnn


def packed(weight: torch.Tensor) -> torch.Tensor:
    """A bfloat16 weight of a CPU in the layout that oneDNN's kernels read, which else is made anew in every product.

    Others stay as they are. Only `linear` and `linear_gelu` can read it."""
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or not _onednn._is_mkldnn_bf16_supported():
        return weight
    layout: torch.Tensor = _onednn._reorder_linear_weight(weight)
    return layout


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(…, in) → (…, out)."""
    if not weight.is_mkldnn:
        return F.linear(x, weight, bias)
    y: torch.Tensor = _onednn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def linear_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """GELU of `linear`; in oneDNN's kernel and cuBLAS's it is taken before the sums are rounded."""
    if weight.is_cuda and approximate == "tanh" and x.dtype != torch.float32:
        flat: torch.Tensor = torch._addmm_activation(bias, x.reshape(-1, x.shape[-1]), weight.t(), use_gelu=True)
        return flat.view(*x.shape[:-1], -1)
    if not weight.is_mkldnn:
        return F.gelu(F.linear(x, weight, bias), approximate=approximate)
    y: torch.Tensor = _onednn._linear_pointwise(x, weight, bias, "gelu", [], approximate)
    return y
