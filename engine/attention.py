"""Rope, and attention where torch's own is not the quickest. Knows tensors, no model."""

import math

import torch

MAX_ATTENTION_SCORES = 4_000_000
"""Held at once: 8 MB in bfloat16."""


def plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, frames: int) -> torch.Tensor:
    """(count, heads, padded, HEAD_DIM) each, q scaled; so many heads at once as the cache holds scores of."""
    heads = max(1, MAX_ATTENTION_SCORES // q.shape[-2] ** 2)
    values = []
    for qs, ks, vs in zip(*(torch.split(x.flatten(0, 1), heads) for x in (q, k, v)), strict=True):
        scores = qs @ ks.transpose(1, 2)
        scores[..., frames:] = -math.inf
        values.append(torch.softmax(scores, dim=-1) @ vs)
    return torch.cat(values).view(q.shape)


def apply_rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int | None) -> torch.Tensor:
    """(…, heads, padded, HEAD_DIM), in that order in memory: the first `heads`, or all, turned by their positions'
    angles."""
    turned = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    plain = slice(x.shape[-3] if heads is None else heads, None)
    turned[..., plain, :, :] = x[..., plain, :, :]
    a, b = x[..., :heads, :, :].chunk(2, dim=-1)
    turned_a, turned_b = turned[..., :heads, :, :].chunk(2, dim=-1)
    torch.mul(a, cos, out=turned_a).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=turned_b).addcmul_(a, sin)
    return turned


def packed_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Flash attention over the frames that are there. q (scaled), k, v and the result (count, padded, heads, HEAD_DIM);
    starts (rows + 1,): each row's first frame among all count * padded, and lengths (rows,), int32."""
    padded, flat = q.shape[1], [one.flatten(0, 1) for one in (q, k, v)]
    values: torch.Tensor = torch.ops.aten._flash_attention_forward(
        *flat, starts, starts, padded, padded, 0.0, False, False, scale=1.0, seqused_k=lengths
    )[0]
    return values.view(q.shape)
