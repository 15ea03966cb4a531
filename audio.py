"""Samples, mel frames and WAV bytes: every conversion between them. Knows nothing of models, voices or HTTP."""

import functools
import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

SAMPLE_RATE = 24_000
HOP_SAMPLES = 256
FFT_SAMPLES = 1024
MEL_BANDS = 100
REFERENCE_RMS = 0.1
"""Quieter references are raised to this before they condition the model, and the speech is lowered back after."""
WAV_HEADER_BYTES = 44


class UnreadableAudio(ValueError):
    """Not a sound file that libsndfile decodes."""


def read_mono(file: Path | str) -> tuple[np.ndarray, int]:
    """float32 samples, the mean of the channels, and their rate. Raises UnreadableAudio."""
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UnreadableAudio(f"cannot read {file}: {error}") from None
    return samples.mean(axis=1), rate


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """The same sound at SAMPLE_RATE."""
    return samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)


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


def pcm16(samples: np.ndarray) -> bytes:
    """float samples in -1..1 → signed 16-bit little-endian. The one place where float becomes int16."""
    return (samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes()


def wav_header(samples: int) -> bytes:
    """The 44 bytes before `samples` 16-bit mono samples; RIFF and data sizes are true."""
    data = 2 * samples
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + data, b"WAVE", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16, b"data", data)
