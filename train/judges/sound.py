"""What every judge hears: 16 kHz at one loudness, so that none of them rates the level."""

import numpy as np
import soxr

from speech import audio

RATE = 16_000
RMS = 0.05


def prepared(samples: np.ndarray) -> np.ndarray:
    """24 kHz float → 16 kHz float32 within -1..1."""
    heard = soxr.resample(samples.astype(np.float32), audio.SAMPLE_RATE, RATE)
    quiet: np.ndarray = (heard * (RMS / max(1e-6, float(np.sqrt(np.mean(heard**2)))))).clip(-1, 1).astype(np.float32)
    return quiet


class JudgeMissing(Exception):
    """A package that a judge needs is not here; the message names it."""


def needs(package: str) -> JudgeMissing:
    install = "pip install -r train/requirements.txt, then pip install --no-deps -r train/judges/requirements.txt"
    return JudgeMissing(f"{package} is missing: {install}")
