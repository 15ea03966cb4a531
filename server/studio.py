"""The model and those who share it: planning and speaking in turns, and the figures of it. Knows nothing of HTTP."""

import math
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import numpy as np

from server.scheduler import Errand, Listener, Turns
from speech.audio import SAMPLE_RATE
from speech.request import Speech
from tts_core import TTS, Plan

TURN_SECONDS = 0.003
"""A turn goes on with the next breath while it is shorter than this: passing it on costs a tenth of a millisecond."""


@dataclass(slots=True)
class Spread:
    """How many values came up to each limit."""

    limits: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.limits) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value


@dataclass(slots=True)
class Stats:
    """What this process has done since it started."""

    outcomes: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("completed", "left", "failed", "refused"), 0)
    )
    waiting: int = 0
    """Listeners whose first sound is still to come."""
    running: int = 0
    owed_seconds: float = 0.0
    """Of sound, planned for listeners and not yet made."""
    made_seconds: float = 0.0
    model_seconds: float = 0.0
    late: int = 0
    """Pieces of sound that came after what was sent before had run out."""
    spared_steps: float = 0.0
    """Solver steps planned for listeners who left before them."""
    first_audio: Spread = field(
        default_factory=lambda: Spread((0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2, 4, 8, 16))
    )
    """Seconds from a request's arrival to its first sound."""
    real_time_factor: Spread = field(
        default_factory=lambda: Spread((0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5))
    )
    """Seconds from arrival per second of sound, without those in which the client was reading."""

    @property
    def listening(self) -> int:
        return self.waiting + self.running

    def seconds_to_a_free_place(self) -> int:
        """From what is owed and the speed measured so far: when the next listener is likely to be done."""
        factor = self.model_seconds / self.made_seconds if self.made_seconds else 1.0
        return max(1, math.ceil(self.owed_seconds * factor / max(1, self.listening)))


@dataclass(slots=True)
class Studio:
    """The model, and what those who use it share."""

    tts: TTS
    turns: Turns = field(default_factory=Turns)
    stats: Stats = field(default_factory=Stats)

    async def plan(self, speech: Speech, who: Listener | Errand) -> Plan:
        """`TTS.plan`, in turns. Raises UnknownVoice and BadSpeech."""
        planning = self.tts.planning(speech)
        while True:
            async with self.turns.turn(who):
                enough = time.perf_counter() + TURN_SECONDS
                while time.perf_counter() < enough:
                    try:
                        next(planning)
                    except StopIteration as end:
                        return end.value

    async def speak(self, plan: Plan, who: Listener | Errand) -> AsyncGenerator[np.ndarray | None]:
        """`TTS.speak`, a breath or a few short ones in a turn: None, or samples as they become final."""
        speech = self.tts.speak(plan)
        while True:
            async with self.turns.turn(who):
                began = time.perf_counter()
                try:
                    samples = next(speech)
                    while samples is None and time.perf_counter() - began < TURN_SECONDS:
                        samples = next(speech)
                except StopIteration:
                    return
                finally:
                    self.stats.model_seconds += time.perf_counter() - began
            if samples is not None:
                self.stats.made_seconds += len(samples) / SAMPLE_RATE
            yield samples
