"""Samples and bytes: sound files in, WAV out. Knows nothing of models, voices or HTTP."""

import math
import struct
from pathlib import Path
from typing import BinaryIO

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


MAX_CHANNELS = 8
RATES = 4_000, 192_000


class UnreadableAudio(ValueError):
    """Not a sound file that libsndfile decodes, or not of speech; why, to be read after its name."""


def read_mono(file: Path | str | BinaryIO, most_seconds: float = math.inf) -> tuple[np.ndarray, int]:
    """float32 samples, the mean of the channels, and their rate; no more memory than those take.

    Raises UnreadableAudio, also for what is longer than `most_seconds`, whatever its header says."""
    try:
        with soundfile.SoundFile(file) as sound, np.errstate(over="ignore", invalid="ignore"):  # told below
            rate, channels = sound.samplerate, sound.channels
            if not RATES[0] <= rate <= RATES[1] or channels > MAX_CHANNELS:
                raise UnreadableAudio(f"has {channels} channels of {rate} Hz, which is no speech")
            blocks, frames = [], 0
            while len(block := sound.read(rate, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))
                frames += len(block)
                if frames > most_seconds * rate:
                    raise UnreadableAudio(f"lasts over {most_seconds:g} s")
    except soundfile.LibsndfileError as error:
        raise UnreadableAudio(f"cannot be read: {error.error_string.strip()}") from None
    except OSError as error:
        raise UnreadableAudio(f"cannot be read: {error.strerror or error}") from None
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not np.isfinite(samples).all():
        raise UnreadableAudio("holds what is no number")
    return samples, rate


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
