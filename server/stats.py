"""What this process has done since it started, and for whom it works now. Knows not HTTP, models or Prometheus."""

import contextlib
import math
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_RECENT = 1000
"""Of a histogram's values, so many of the last are kept one by one."""


@dataclass(slots=True)
class Histogram:
    """How many values came up to each limit."""

    limits: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_RECENT))
    """The last values, each with its time (monotonic seconds): what just happened is lost in counts since the start."""

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.limits) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value
        self.recent.append((time.monotonic(), value))


@dataclass(slots=True, eq=False)
class Listener:
    """What one who listens has been sent, and what is planned for them and still to be made."""

    id: str = ""
    """As in X-Request-Id."""
    sent_seconds: float = 0.0
    pending_seconds: float = 0.0
    plays_until: float | None = None
    """When what was sent runs out (monotonic seconds); None before the first sound."""


@dataclass(slots=True)
class Stats:
    """Counters only grow. Gauges are read off the listeners there are, so that none can drift or fall below 0."""

    outcomes: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("completed", "planned", "queued", "disconnected", "failed", "refused"), 0
        )
    )
    """`planned`: only lengths or times were asked for."""
    audio_seconds: float = 0.0
    model_seconds: float = 0.0
    """Time in slots: planning, solver steps, vocoder."""
    underruns: int = 0
    """Pieces of sound that came after what was sent before had run out."""
    cancelled_steps: float = 0.0
    """Solver steps planned for listeners who left before them."""
    first_audio: Histogram = field(
        default_factory=lambda: Histogram((0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2, 4, 8, 16))
    )
    """Seconds from a request's arrival to its first sound."""
    real_time_factor: Histogram = field(
        default_factory=lambda: Histogram((0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5))
    )
    """Seconds from arrival per second of sound, without those in which the client was reading."""
    _listeners: set[Listener] = field(default_factory=set)

    @contextlib.contextmanager
    def listener(self, request_id: str) -> Iterator[Listener]:
        """One more is served while the body runs: the only place that enters and leaves."""
        one = Listener(request_id)
        self._listeners.add(one)
        try:
            yield one
        finally:
            self._listeners.remove(one)

    @property
    def listeners(self) -> list[Listener]:
        return list(self._listeners)

    @property
    def listening(self) -> int:
        return len(self._listeners)

    @property
    def running(self) -> int:
        return sum(one.sent_seconds > 0 for one in self._listeners)

    @property
    def waiting(self) -> int:
        """Listeners whose first sound is still to come."""
        return self.listening - self.running

    @property
    def pending_audio_seconds(self) -> float:
        return sum(one.pending_seconds for one in self._listeners)

    def seconds_to_a_free_place(self) -> int:
        """From what is pending and the speed measured so far: when the next listener is likely to be done."""
        factor = self.model_seconds / self.audio_seconds if self.audio_seconds else 1.0
        return max(1, math.ceil(self.pending_audio_seconds * factor / max(1, self.listening)))
