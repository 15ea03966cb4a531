"""Sound files back to samples, by FFmpeg's libraries: not by those that made them."""

import io

import av
import numpy as np

CONTAINERS = {"wav": "wav", "flac": "flac", "mp3": "mp3", "opus": "ogg", "aac": "aac"}


def decoded(sound: bytes, format: str) -> np.ndarray:
    """int16 samples at 24 kHz. A file that breaks off gives what it has."""
    if format == "pcm":
        return np.frombuffer(sound, "<i2")
    resampler = av.AudioResampler("s16", "mono", 24_000)
    with av.open(io.BytesIO(sound), "r", CONTAINERS[format]) as file:
        parts = [part for frame in [*file.decode(audio=0), None] for part in resampler.resample(frame)]
    samples: np.ndarray = np.concatenate([part.to_ndarray()[0] for part in parts] or [np.zeros(0, np.int16)])
    return samples


def likeness(heard: np.ndarray, said: np.ndarray) -> float:
    """1 where `heard` ends as `said`, sample by sample; 0 where they have nothing in common."""
    both = heard[-len(said) :].astype(float), said.astype(float)
    return float(np.dot(*both) / np.sqrt(np.dot(both[0], both[0]) * np.dot(both[1], both[1])))
