"""Lists of seconds to figures: quantiles, medians with the interval they are known to, paired ratios. Knows no
servers."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.measure import Tally


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    p50, p95, p99 = np.quantile(values, [0.5, 0.95, 0.99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "n": len(values)}


def median(values: Sequence[float]) -> dict[str, float] | None:
    """The median, the 95 % interval it lies in (order statistics, no assumption about the distribution), and the middle
    90 % of the values."""
    if not values:
        return None
    ordered = sorted(values)
    reach = 0.98 * len(ordered) ** 0.5
    low, high = max(0, int(len(ordered) / 2 - reach)), min(len(ordered) - 1, int(len(ordered) / 2 + reach))
    p5, p95 = np.quantile(ordered, [0.05, 0.95]).tolist()
    return {
        "median": statistics.median(ordered),
        "low": ordered[low],
        "high": ordered[high],
        "p5": p5,
        "p95": p95,
        "n": len(ordered),
    }


def paired(mine: dict[int, float], theirs: dict[int, float]) -> list[float]:
    """Ratios of what was measured in the same visit."""
    return [mine[visit] / theirs[visit] for visit in mine if visit in theirs]


def summary(tally: Tally, direct: Tally) -> dict[str, Any]:
    """One rival's row: seconds, MB, and ratios of this rival over direct."""
    rounds = tally.rounds
    return {
        "failed": tally.failed or None,
        "visits": len(tally.ready),
        "audio_seconds": tally.audio_seconds,
        "ready": median(list(tally.ready.values())),
        "rss_mb": median(list(tally.rss.values())),
        "pss_mb": median(list(tally.pss.values())),
        "cold_first": median(tally.cold_first),
        "cold_last": median(tally.cold_last),
        "first": {"1": quantiles([r["first"] for r in rounds])}
        | {str(n): quantiles(wave["first"]) for n, wave in tally.waves.items()},
        "last": {"1": quantiles([r["last"] for r in rounds])}
        | {str(n): quantiles(wave["last"]) for n, wave in tally.waves.items()},
        "inprocess": quantiles([r["inprocess"] for r in rounds]),
        "overhead": median([r["last"] - r["inprocess"] for r in rounds]),
        "overhead_p99": float(np.quantile([r["last"] - r["inprocess"] for r in rounds], 0.99)) if rounds else None,
        "over_inprocess": median([r["last"] / r["inprocess"] for r in rounds]),
        "more_than_direct": median([r["last"] - r["direct_last"] for r in rounds]),
        "health": quantiles(tally.health),
        "health_worst": max(tally.health, default=None),
        "listeners": max(tally.listeners, default=None),
        "cpu_per_request": tally.cpu_seconds / tally.cpu_requests if tally.cpu_requests else None,
        "clean_stops": f"{sum(tally.clean_stops)}/{len(tally.clean_stops)}",
        "over_direct": {
            "first": median([r["first"] / r["direct_first"] for r in rounds]),
            "last": median([r["last"] / r["direct_last"] for r in rounds]),
            "ready": median(paired(tally.ready, direct.ready)),
            "rss": median(paired(tally.rss, direct.rss)),
        },
    }


def everyone(tallies: dict[str, Tally]) -> dict[str, dict[str, Any]]:
    return {name: summary(tally, tallies["direct"]) for name, tally in tallies.items()}


def standing(tallies: dict[str, Tally]) -> dict[str, Any]:
    """The direct server that stood beside all rivals, against the engine in process: the most pairs of all."""
    rounds = [r for tally in tallies.values() for r in tally.rounds]
    over = [r["direct_last"] - r["inprocess"] for r in rounds]
    return {
        "inprocess": quantiles([r["inprocess"] for r in rounds]),
        "first": quantiles([r["direct_first"] for r in rounds]),
        "last": quantiles([r["direct_last"] for r in rounds]),
        "overhead": median(over),
        "overhead_p99": float(np.quantile(over, 0.99)) if over else None,
        "over_inprocess": median([r["direct_last"] / r["inprocess"] for r in rounds]),
    }
