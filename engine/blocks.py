"""A transformer block's weights, read and fused for inference. Knows nothing of what is computed with them."""

from dataclasses import dataclass

import torch

from engine.arch import HEAD_DIM, Arch
from engine.linear import packed
from engine.weights import Read


def is_adaln(name: str) -> bool:
    """AdaLN and the time embedding: 42 % of the base model's weights. Depending on time alone, they become tables."""
    return name.startswith(("time_embed", "norm_out")) or "attn_norm" in name


@dataclass(frozen=True, slots=True)
class Block:
    """A transformer block's weights, fused: q's rows scaled, both q's and k's in the order that rope wants; matrices as
    `linear` reads them."""

    qkv: torch.Tensor  # (3 * dim, dim)
    qkv_bias: torch.Tensor
    out: torch.Tensor  # (dim, dim)
    out_bias: torch.Tensor
    up: torch.Tensor  # (ff_mult * dim, dim)
    up_bias: torch.Tensor
    down: torch.Tensor  # (dim, ff_mult * dim)
    down_bias: torch.Tensor
    q_norm: torch.Tensor | None  # (HEAD_DIM,), with qk_norm
    k_norm: torch.Tensor | None


def read_block(arch: Arch, read: Read, number: int, device: torch.device, dtype: torch.dtype) -> Block:
    at = f"transformer_blocks.{number}."
    w = read(lambda name: name.startswith(at) and not is_adaln(name))
    # Rope pairs (0,1), (2,3)… become (0,32), (1,33)…: q·k does not change, and the rotation needs no interleaving.
    order = torch.arange(HEAD_DIM).view(-1, 2).t().reshape(-1)
    rows = (torch.arange(arch.heads)[:, None] * HEAD_DIM + order).reshape(-1)
    scale = HEAD_DIM**-0.5  # attention's own: a power of two, exact in any format
    norm = arch.qk_norm

    def taken(name: str) -> torch.Tensor:
        return w.pop(at + name).to(device, dtype, copy=True)

    def joined(kind: str) -> torch.Tensor:
        q, k, v = (taken(f"attn.to_{name}.{kind}") for name in "qkv")
        return torch.cat([q[rows] if norm else q[rows] * scale, k[rows], v])

    return Block(
        qkv=packed(joined("weight")),
        qkv_bias=joined("bias"),
        out=packed(taken("attn.to_out.0.weight")),
        out_bias=taken("attn.to_out.0.bias"),
        up=packed(taken("ff.ff.0.0.weight")),
        up_bias=taken("ff.ff.0.0.bias"),
        down=packed(taken("ff.ff.2.weight")),
        down_bias=taken("ff.ff.2.bias"),
        q_norm=taken("attn.q_norm.weight")[order] * scale if norm else None,
        k_norm=taken("attn.k_norm.weight")[order] if norm else None,
    )
