"""The server's figures in Prometheus' words. Each process answers for itself: with several workers every scrape meets one of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from studio import Stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_registry = CollectorRegistry()
ProcessCollector(registry=_registry)  # memory, CPU seconds, open files
FIRST_AUDIO = Histogram(
    "tts_first_audio_seconds", "From the request's arrival to its first sound.", registry=_registry,
    buckets=(0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2, 4, 8, 16),
)  # fmt: skip
REAL_TIME_FACTOR = Histogram(
    "tts_real_time_factor", "Seconds from arrival per second of sound, without those in which the client was reading.", registry=_registry,
    buckets=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5),
)  # fmt: skip


def render(stats: "Stats", jobs: dict[str, int]) -> bytes:
    """Prometheus' text format."""
    now = CollectorRegistry()
    now.register(_Now(stats, jobs))
    return generate_latest(_registry) + generate_latest(now)


class _Now:
    """What the server counts itself, read when it is asked for."""

    def __init__(self, stats: "Stats", jobs: dict[str, int]):
        self._stats, self._jobs = stats, jobs

    def collect(self) -> Iterable[Metric]:
        stats = self._stats
        requests = CounterMetricFamily("tts_requests", "Requests for speech, by what became of them.", labels=["outcome"])
        for outcome, count in stats.outcomes.items():
            requests.add_metric([outcome], count)
        listeners = GaugeMetricFamily("tts_listeners", "Requests being served: waiting for their first sound, or running.", labels=["state"])
        listeners.add_metric(["waiting"], stats.waiting)
        listeners.add_metric(["running"], stats.running)
        jobs = GaugeMetricFamily("tts_jobs", "Jobs kept, by state.", labels=["state"])
        for state, count in self._jobs.items():
            jobs.add_metric([state], count)
        yield from (requests, listeners, jobs)
        yield CounterMetricFamily("tts_audio_seconds", "Sound made.", value=stats.made_seconds)
        yield CounterMetricFamily("tts_model_seconds", "Time in the model.", value=stats.model_seconds)
        yield CounterMetricFamily("tts_underruns_risked", "Pieces of sound sent after the ones before had run out.", value=stats.late)
        yield CounterMetricFamily("tts_steps_cancelled", "Solver steps that were planned for listeners who left.", value=round(stats.spared_steps))
