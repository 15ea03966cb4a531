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
        """(padded, text_dim), as many as round_up_frames says.

        What is beyond `frames` touches nothing before it, GRN's norm over all frames least of all."""
        arch, padded = self._arch, round_up_frames(frames)
        ids = F.pad(tokens[:frames] + 1, (0, max(0, padded - len(tokens[:frames]))))
        filler = (ids == 0)[:, None] if arch.text_mask_padding else None
        h = F.embedding(torch.zeros_like(ids) if drop else ids, self._w["text_embed.text_embed.weight"])
        if arch.conv_layers:
            h = self._blocks(h, frames, filler)
        return self._upsampled(h, len(tokens[:frames]), frames) if arch.text_embedding_average_upsampling else h

    def _blocks(self, h: torch.Tensor, frames: int, filler: torch.Tensor | None) -> torch.Tensor:
        """Positions added, and the ConvNeXt blocks; rows of `filler` stay zero."""
        arch, w, padded = self._arch, self._w, len(h)
        h = h + _sinusoids(padded, arch.text_dim, self._device).to(h.dtype)
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

    def _upsampled(self, h: torch.Tensor, tokens: int, frames: int) -> torch.Tensor:
        """The first `tokens` rows, each repeated; what does not divide evenly goes to the last ones."""
        result = torch.zeros_like(h)
        if tokens:
            repeats = torch.full((tokens,), frames // tokens, device=h.device)
            repeats[tokens - frames % tokens :] += 1
            result[:frames] = h[:tokens].repeat_interleave(repeats, dim=0, output_size=frames)
        return result


def _sinusoids(frames: int, dim: int, device: torch.device) -> torch.Tensor:
    """(frames, dim): cosines, then sines, of position over 10000^(2i/dim)."""
    freq = 1.0 / (10_000 ** (torch.arange(0, dim, 2, device=device)[: dim // 2].float() / dim))
    angle = torch.outer(torch.arange(frames, device=device).float(), freq)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
