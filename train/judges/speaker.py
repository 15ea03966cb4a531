"""Who seems to speak: resemblyzer's encoder (Apache-2.0). Cosines between its vectors."""

import functools
import warnings
from typing import Any

import numpy as np

from train.judges.sound import RATE, needs, prepared

REFERENCE_SECONDS = 3.0


@functools.cache
def _encoder() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from resemblyzer import VoiceEncoder
        except ModuleNotFoundError as error:
            raise needs(error.name or "resemblyzer") from None
        return VoiceEncoder("cpu", verbose=False)


def vector(samples: np.ndarray) -> np.ndarray:
    """(256,) of length 1."""
    heard = prepared(samples)
    found: np.ndarray = _encoder().embed_utterance(np.pad(heard, (0, max(0, RATE - len(heard)))))
    return found


def ranks(speeches: np.ndarray, speakers: list[int], references: np.ndarray) -> list[int]:
    """Of each speech (its vector, its speaker's number): where its own reference stands among all, 1 is first."""
    cosines = speeches @ references.T
    return [1 + int((row > row[speaker]).sum()) for row, speaker in zip(cosines, speakers, strict=True)]
