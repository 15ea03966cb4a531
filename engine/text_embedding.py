"""Tokens to one vector a frame: F5's text embedding and its ConvNeXt blocks. Knows nothing of the flow model."""

import torch
import torch.nn.functional as F

from engine.arch import TEXT_KERNEL, Arch
from engine.device import round_up_frames


class TextEmbedding:
    """`weights`: upstream's by name, its own among them."""

    def __init__(self, arch: Arch, weights: dict[str, torch.Tensor], device: torch.device):
        self._arch, self._w, self._device = arch, weights, device

    def __call__(self, tokens: torch.Tensor, frames: int, drop: bool) -> torch.Tensor:
        """(padded, text_dim), as many as round_up_frames says."""
        return self.embedded(*self.places(tokens, frames), slice(frames, None), drop)

    def places(self, tokens: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """For each of the padded frames: the row of the embedding's table, 0 for the filler; and, with average
        upsampling, which token's share it is in, -1 beyond all, else nothing. Both (padded,) int64."""
        padded, tokens = round_up_frames(frames), tokens[:frames]
        ids = F.pad(tokens + 1, (0, max(0, padded - len(tokens))))
        shares = ids[:0]
        if self._arch.text_embedding_average_upsampling:
            shares = torch.full_like(ids, -1)
            if count := len(tokens):
                repeats = torch.full((count,), frames // count, device=ids.device)
                repeats[count - frames % count :] += 1  # what does not divide evenly goes to the last ones
                numbers = torch.arange(count, device=ids.device)
                shares[:frames] = numbers.repeat_interleave(repeats, output_size=frames)
        return ids, shares

    def embedded(
        self, ids: torch.Tensor, shares: torch.Tensor, beyond: slice | torch.Tensor, drop: bool
    ) -> torch.Tensor:
        """(padded, text_dim) of what `places` returns. `beyond`: the rows that are not there; for a CUDA graph, which
        knows no numbers, as a mask (padded, 1).

        They touch nothing before them, GRN's norm over all frames least of all."""
        filler = (ids == 0)[:, None] if self._arch.text_mask_padding else None
        h = F.embedding(torch.zeros_like(ids) if drop else ids, self._w["text_embed.text_embed.weight"])
        if self._arch.conv_layers:
            h = self._blocks(h, beyond, filler)
        if len(shares):
            h = h[shares.clamp(min=0)].masked_fill_((shares < 0)[:, None], 0)
        return h

    def _blocks(self, h: torch.Tensor, beyond: slice | torch.Tensor, filler: torch.Tensor | None) -> torch.Tensor:
        """Positions added, and the ConvNeXt blocks; rows of `filler` stay zero."""
        arch, w, padded = self._arch, self._w, len(h)
        h = h + _sinusoids(padded, arch.text_dim, self._device).to(h.dtype)
        _clear(h, beyond)
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
            _clear(y, beyond)
            spread = y.norm(dim=0, keepdim=True)
            spread = spread / (spread.mean(dim=-1, keepdim=True) + 1e-6)
            y = w[at + "grn.gamma"][0] * (y * spread) + w[at + "grn.beta"][0] + y
            h = h + F.linear(y, w[at + "pwconv2.weight"], w[at + "pwconv2.bias"])
            _clear(h, beyond)
            if filler is not None:
                h = h.masked_fill(filler, 0)
        return h


def _clear(rows: torch.Tensor, beyond: slice | torch.Tensor) -> None:
    if isinstance(beyond, slice):
        rows[beyond] = 0
    else:
        rows.masked_fill_(beyond, 0)


def _sinusoids(frames: int, dim: int, device: torch.device) -> torch.Tensor:
    """(frames, dim): cosines, then sines, of position over 10000^(2i/dim)."""
    freq = 1.0 / (10_000 ** (torch.arange(0, dim, 2, device=device)[: dim // 2].float() / dim))
    angle = torch.outer(torch.arange(frames, device=device).float(), freq)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
