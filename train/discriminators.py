"""Discriminators of waveforms: they hear what spectral losses do not punish. Only training knows them.

Periods fold the wave into rows of so many samples (HiFi-GAN, arXiv 2010.05646); resolutions look at complex spectra
(EnCodec, arXiv 2210.13438)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (2048, 1024, 512)
PERIOD_CHANNELS = (32, 128, 256, 512, 512)
SPECTRUM_CHANNELS = 32
SLOPE = 0.1

Heard = tuple[torch.Tensor, list[torch.Tensor]]
"""Scores, higher where it sounds real, and what every layer saw."""


def _through(layers: nn.ModuleList, last: nn.Module, x: torch.Tensor) -> Heard:
    seen = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        seen.append(x)
    return last(x), seen


class Period(nn.Module):
    def __init__(self, period: int):
        super().__init__()
        self.period = period
        sizes = (1, *PERIOD_CHANNELS)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3 if i < len(sizes) - 2 else 1, 1), (2, 0)))
            for i, (a, b) in enumerate(pairwise(sizes))
        )
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, wave: torch.Tensor) -> Heard:
        """(b, samples)."""
        wave = F.pad(wave, (0, -wave.shape[1] % self.period))
        return _through(self.layers, self.last, wave.view(len(wave), 1, -1, self.period))


class Spectrum(nn.Module):
    window: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        wide = SPECTRUM_CHANNELS
        self.layers = nn.ModuleList(
            [
                weight_norm(nn.Conv2d(2, wide, (3, 9), padding=(1, 4))),
                *(
                    weight_norm(nn.Conv2d(wide, wide, (3, 9), (1, 2), (dilation, 4), (dilation, 1)))
                    for dilation in (1, 2, 4)
                ),
                weight_norm(nn.Conv2d(wide, wide, (3, 3), padding=(1, 1))),
            ]
        )
        self.last = weight_norm(nn.Conv2d(wide, 1, (3, 3), padding=(1, 1)))
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: torch.Tensor) -> Heard:
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.stft(
                wave.float(), self.size, self.size // 4, window=self.window, normalized=True, return_complex=True
            )
            x = torch.view_as_real(spectrum).permute(0, 3, 2, 1).contiguous()  # (b, 2, frames, bins)
        return _through(self.layers, self.last, x)


class Discriminators(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ModuleList([*(Period(p) for p in PERIODS), *(Spectrum(s) for s in RESOLUTIONS)])

    def forward(self, wave: torch.Tensor) -> list[Heard]:
        return [one(wave) for one in self.each]


def their_loss(real: list[Heard], made: list[Heard]) -> torch.Tensor:
    """Hinge: real scores to be above 1, made ones below −1."""
    parts = [
        F.relu(1 - a.float()).mean() + F.relu(1 + b.float()).mean() for (a, _), (b, _) in zip(real, made, strict=True)
    ]
    return torch.stack(parts).mean()


def our_loss(real: list[Heard], made: list[Heard]) -> tuple[torch.Tensor, torch.Tensor]:
    """(how real the made ones sound, less is better; how far their layers see them apart)."""
    fooled = torch.stack([F.relu(1 - b.float()).mean() for b, _ in made]).mean()
    apart = torch.stack(
        [
            torch.stack(
                [
                    (x.float() - y.float().detach()).abs().mean() / y.float().detach().abs().mean().clamp(min=1e-3)
                    for x, y in zip(ours, theirs, strict=True)
                ]
            ).mean()
            for (_, theirs), (_, ours) in zip(real, made, strict=True)
        ]
    ).mean()
    return fooled, apart
