"""The server with a model that breaks where the text says so: after its first samples, or before."""

from collections.abc import Iterator

import numpy as np

from app import app
from tts_core import TTS, Plan

__all__ = ["app"]

speak = TTS.speak


def breaking(self: TTS, plan: Plan) -> Iterator[np.ndarray | None]:
    if len(plan.chunks) == 1:
        raise RuntimeError("the model broke before the first sample")
    sound = 0
    for samples in speak(self, plan):
        yield samples
        sound += samples is not None
        if sound:
            raise RuntimeError("the model broke in the middle")


TTS.speak = breaking  # type: ignore[method-assign]
