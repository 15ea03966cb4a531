"""A spectrum's samples again. Knows no models."""

import torch

from engine.stepping import works_behind
from speech.audio import FFT_SAMPLES, HOP_SAMPLES


def istft(spectrum: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """(…, bins, frames) → (…, (frames − 1) · 256): the centred inverse of an STFT of FFT_SAMPLES every HOP_SAMPLES."""
    if works_behind(spectrum.device):
        return overlap_added(spectrum, window)
    samples: torch.Tensor = torch.istft(spectrum, FFT_SAMPLES, HOP_SAMPLES, window=window, center=True)
    return samples


def overlap_added(spectrum: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """The same without a question to the device: torch's asks for the least of the windows' sum, and so waits for all
    that is queued there, the steps of others too."""
    parts = torch.fft.irfft(spectrum, dim=-2).transpose(-1, -2) * window
    return _added(parts) / _added((window * window).expand(spectrum.shape[-1], -1))


def _added(rows: torch.Tensor) -> torch.Tensor:
    """(…, frames, FFT_SAMPLES), each row HOP_SAMPLES behind the one before → their sum without half a row at both
    ends."""
    frames, hops = rows.shape[-2], FFT_SAMPLES // HOP_SAMPLES
    whole = rows.new_zeros(*rows.shape[:-2], frames + hops - 1, HOP_SAMPLES)
    for i, part in enumerate(torch.split(rows, HOP_SAMPLES, dim=-1)):
        whole[..., i : i + frames, :] += part
    return whole.flatten(-2)[..., FFT_SAMPLES // 2 : -FFT_SAMPLES // 2]
