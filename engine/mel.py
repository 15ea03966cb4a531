"""Samples to log-mel frames, as Vocos and F5 were trained on them. Knows nothing of models or voices."""

import functools

import numpy as np
import torch

from speech.audio import FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS, SAMPLE_RATE


@functools.cache
def _mel_filters() -> torch.Tensor:
    """(bins, bands): triangles on the HTK mel scale, unnormalised, as torchaudio and Vocos use them."""
    bins = torch.linspace(0, SAMPLE_RATE / 2, FFT_SAMPLES // 2 + 1)
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, float(top), MEL_BANDS + 2) / 2595) - 1)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp(min=0)


def log_mel(samples: torch.Tensor) -> torch.Tensor:
    """(..., samples) → (..., samples // HOP_SAMPLES + 1, MEL_BANDS), natural log of magnitudes, floor 1e-5."""
    window = torch.hann_window(FFT_SAMPLES, device=samples.device)
    spectrum = torch.stft(samples, FFT_SAMPLES, HOP_SAMPLES, window=window, center=True, return_complex=True)
    return (spectrum.abs().transpose(-1, -2) @ _mel_filters().to(samples.device)).clamp(min=1e-5).log()
