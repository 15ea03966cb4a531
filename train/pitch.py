"""F0 by praat (autocorrelation), on the mel's frames: for teachers whose own is not known, and as a judge."""

import numpy as np
import parselmouth

from speech import audio

FLOOR_HZ, CEILING_HZ = 60.0, 500.0


def track(samples: np.ndarray) -> np.ndarray:
    """(samples // 256,) Hz around the sample 256 * i of each frame i, 0 where unvoiced."""
    step = audio.HOP_SAMPLES / audio.SAMPLE_RATE
    pitch = parselmouth.Sound(samples.astype(np.float64), audio.SAMPLE_RATE).to_pitch_ac(
        step, FLOOR_HZ, pitch_ceiling=CEILING_HZ
    )
    times, values = pitch.xs(), pitch.selected_array["frequency"]
    wanted = np.arange(len(samples) // audio.HOP_SAMPLES) * step
    nearest = np.clip(np.round((wanted - times[0]) / step).astype(int), 0, len(values) - 1)
    f0: np.ndarray = values[nearest].astype(np.float32)
    return f0


def spread_semitones(f0: np.ndarray) -> float:
    """Standard deviation of the voiced frames' pitch."""
    voiced = f0[f0 > 0]
    return float(12 * np.std(np.log2(voiced))) if len(voiced) > 1 else 0.0
