"""Samples and bytes: sound files in, WAV out. Knows nothing of models, voices or HTTP."""

import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 24_000
HOP_SAMPLES = 256
FFT_SAMPLES = 1024
MEL_BANDS = 100
REFERENCE_RMS = 0.1
"""Quieter references are raised to this before they condition the model, and the speech is lowered back after."""
WAV_HEADER_BYTES = 44
MAX_WAV_SAMPLES = (2**32 - 1 - (WAV_HEADER_BYTES - 8)) // 2
"""Its sizes are 32 bits: 24.8 hours."""


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


def pcm16(samples: np.ndarray) -> bytes:
    """float samples in -1..1 → signed 16-bit little-endian. The one place where float becomes int16."""
    return (samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes()


def wav_header(samples: int) -> bytes:
    """The 44 bytes before `samples` 16-bit mono samples; RIFF and data sizes are true."""
    data = 2 * samples
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + data,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        SAMPLE_RATE,
        2 * SAMPLE_RATE,
        2,
        16,
        b"data",
        data,
    )
