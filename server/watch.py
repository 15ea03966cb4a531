"""What goes on in this process now and went on in the last minutes, for whoever watches. Knows no jobs."""

import time
from typing import Any

from server.stats import Histogram, Stats
from server.system_load import SystemLoad

RECENT_SECONDS = 600


def figures(stats: Stats, load: SystemLoad) -> dict[str, Any]:
    """The body of GET /stats; without texts. Of several workers each answers for itself."""
    now = time.monotonic()
    return {
        "listeners": [
            {
                "request_id": one.id,
                "sent": round(one.sent_seconds, 3),
                "pending": round(one.pending_seconds, 3),
                "lead": None if one.plays_until is None else round(one.plays_until - now, 3),
            }
            for one in sorted(stats.listeners, key=lambda one: one.id)
        ],
        "recent_seconds": RECENT_SECONDS,
        "first_audio": _recent(stats.first_audio, now),
        "real_time_factor": _recent(stats.real_time_factor, now),
        "outcomes": dict(stats.outcomes),
        "underruns": stats.underruns,
        "audio_seconds": round(stats.audio_seconds, 1),
        "memory_bytes": load.own_memory(),
    }


def _recent(histogram: Histogram, now: float) -> list[dict[str, float]]:
    """The values of the last minutes, the newest last."""
    recent = [(now - at, value) for at, value in histogram.recent if now - at <= RECENT_SECONDS]
    return [{"ago": round(ago, 1), "value": round(value, 4)} for ago, value in recent]
