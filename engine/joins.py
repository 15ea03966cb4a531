"""Waves made one sound: each fades into the next. Knows nothing of models."""

from collections.abc import Callable, Generator, Iterator

import numpy as np

from engine.chunking import CROSS_FADE_SAMPLES
from engine.plan import Plan
from engine.tokenizers import Chunk

WaveMaker = Callable[[Chunk], Generator[None, None, np.ndarray]]
"""float32 samples of a chunk; yields at each yield point."""
_FADE_IN = np.linspace(0, 1, CROSS_FADE_SAMPLES, dtype=np.float32)


class CrossFade:
    """Holds back the end of a wave until the next one is there."""

    def __init__(self) -> None:
        self._held = np.zeros(0, np.float32)

    @property
    def held(self) -> int:
        """Samples that are held back."""
        return len(self._held)

    def add(self, wave: np.ndarray, goes_on: bool) -> np.ndarray:
        """The samples that are final with this wave. `goes_on`: another will fade into its end."""
        if len(self._held):
            wave[:CROSS_FADE_SAMPLES] = self._held * (1 - _FADE_IN) + wave[:CROSS_FADE_SAMPLES] * _FADE_IN
        final = len(wave) - CROSS_FADE_SAMPLES if goes_on else len(wave)
        self._held = wave[final:]
        return wave[:final]

    def rest(self) -> np.ndarray:
        """What is still held, because nothing fades into it."""
        held, self._held = self._held, self._held[:0]
        return held


def joined_waves(plan: Plan, make_wave: WaveMaker) -> Iterator[np.ndarray | None]:
    """None at each yield point; float32 samples as they become final, plan.samples in all."""
    fade = CrossFade()
    left = plan.samples - plan.tail
    for chunk, after in zip(plan.chunks, [*plan.chunks[1:], None], strict=True):
        if chunk.pause:
            yield np.zeros(chunk.pause, np.float32)
            left -= chunk.pause
        wave = yield from make_wave(chunk)
        final = fade.add(wave, goes_on=after is not None and not after.pause)
        if len(final):
            yield final[:left]
            left -= len(final)
    if plan.tail:
        yield np.zeros(plan.tail, np.float32)
