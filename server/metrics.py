"""The server's figures in Prometheus' words. Each process answers for itself: of several workers a scrape meets one."""

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

if TYPE_CHECKING:
    from server.stats import Histogram, Stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_registry = CollectorRegistry()
ProcessCollector(registry=_registry)  # memory, CPU seconds, open files


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
        requests = CounterMetricFamily(
            "tts_requests", "Requests for speech, by what became of them.", labels=["outcome"]
        )
        for outcome, count in stats.outcomes.items():
            requests.add_metric([outcome], count)
        listeners = GaugeMetricFamily(
            "tts_listeners", "Requests being served: waiting for their first sound, or running.", labels=["state"]
        )
        listeners.add_metric(["waiting"], stats.waiting)
        listeners.add_metric(["running"], stats.running)
        jobs = GaugeMetricFamily("tts_jobs", "Jobs kept, by state.", labels=["state"])
        for state, count in self._jobs.items():
            jobs.add_metric([state], count)
        yield from (requests, listeners, jobs)
        yield _histogram("tts_first_audio_seconds", "From the request's arrival to its first sound.", stats.first_audio)
        yield _histogram(
            "tts_real_time_factor",
            "Seconds from arrival per second of sound, without those in which the client was reading.",
            stats.real_time_factor,
        )
        yield CounterMetricFamily("tts_audio_seconds", "Sound made.", value=stats.audio_seconds)
        yield CounterMetricFamily(
            "tts_model_seconds", "Time in the model, planning included.", value=stats.model_seconds
        )
        yield CounterMetricFamily(
            "tts_underruns", "Pieces of sound sent after the ones before had run out.", value=stats.underruns
        )
        yield CounterMetricFamily(
            "tts_cancelled_steps",
            "Solver steps that were planned for listeners who left.",
            value=round(stats.cancelled_steps),
        )


def _histogram(name: str, what: str, histogram: "Histogram") -> Metric:
    counts = zip([*map(str, histogram.limits), "+Inf"], accumulate(histogram.counts), strict=True)
    return HistogramMetricFamily(name, what, buckets=list(counts), sum_value=histogram.total)
