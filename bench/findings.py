"""Figures to sentences: whether the bars hold, and where direct loses."""

from typing import Any

from bench.tables import Row, alive, get, ms, ratio


def verdict(met: bool | None) -> str:
    return "not measured" if met is None else "met" if met else "**not met**"


def lowest(rivals: dict[str, Any], which: str) -> tuple[bool | None, str]:
    """Is nobody's paired ratio over direct below one, ties apart?"""
    others = {
        name: row["over_direct"][which]
        for name, row in alive(rivals).items()
        if name != "direct" and row["over_direct"][which]
    }
    if not others:
        return None, ""
    better = [
        f"{name} {ratio(found)}"
        for name, found in sorted(others.items(), key=lambda item: item[1]["median"])
        if found["high"] < 1
    ]
    ties = [name for name, found in others.items() if found["low"] <= 1 <= found["high"]]
    said = f"lower than direct: {', '.join(better) or 'nobody'}" + (f"; ties: {', '.join(ties)}" if ties else "")
    return not better, said


def bars(engines: dict[str, Any]) -> list[str]:
    return [
        *(weightless_bars(**engines["weightless"]) if "weightless" in engines else []),
        *(embedded_bars(**engines["embedded"]) if "embedded" in engines else []),
    ]


def weightless_bars(rivals: dict[str, Row], standing: Row) -> list[str]:
    mine = rivals["direct"]
    p50, p99 = mine["overhead"]["median"], mine["overhead_p99"]
    lines = [
        f"weightless, direct over the in-process call, at most 1.0 ms p50 and 3 ms p99: {ms(p50, 2)} and {ms(p99, 2)} "
        f"ms over {mine['overhead']['n']} pairs: {verdict(p50 <= 1e-3 and p99 <= 3e-3)}; the one that stands beside "
        f"all rivals, asked while they start and stop, {ms(standing['overhead']['median'], 2)} and "
        f"{ms(standing['overhead_p99'], 2)} ms over {standing['overhead']['n']}"
    ]
    for which, words in (("first", "first byte (p50)"), ("ready", "start-up"), ("rss", "memory")):
        met, said = lowest(rivals, which)
        lines.append(f"weightless, direct is the lowest in {words}: {verdict(met)}; {said}")
    return lines


def embedded_bars(rivals: dict[str, Row], standing: Row) -> list[str]:
    over = standing["over_inprocess"]
    middle, low, high = (100 * (over[which] - 1) for which in ("median", "low", "high"))
    lines = [
        f"embedded, direct's total within 3 % of the in-process call: {middle:+.1f} % ({low:+.1f} to {high:+.1f}) "
        f"over {over['n']} pairs: {verdict(middle <= 3)}"
    ]
    mine = get(rivals["direct"], "first", "8", "p95")
    for name in ("layered", "upstream"):
        theirs = get(rivals.get(name, {}), "first", "8", "p95")
        if mine and theirs:
            lines.append(
                f"embedded, 8 at once, direct's p95 to first audio at most half of {name}'s: "
                f"{mine:.2f} s against {theirs:.2f} s: {verdict(mine <= theirs / 2)}"
            )
    served = {name: row["listeners"] for name, row in alive(rivals).items() if row["listeners"] is not None}
    own = served.pop("direct", None)
    if own is not None and served:
        others = ", ".join(f"{name} {count}" for name, count in sorted(served.items(), key=lambda item: -item[1]))
        best = max(served.values())
        tie = " (a tie)" if own == best else ""
        lines.append(f"gap-free listeners, direct the highest: {own} against {others}: {verdict(own >= best)}{tie}")
    return lines


_ALSO = {
    "the last of 8 at once": ("last", "8", "p95"),
    "CPU per request": ("cpu_per_request",),
    "/health while speaking": ("health", "p50"),
}


def losses(engines: dict[str, Any]) -> list[str]:
    """Where a rival is better than direct beyond noise."""
    found = []
    words = {"first": "first audio", "last": "whole request", "ready": "start-up", "rss": "memory"}
    for engine, kept in engines.items():
        for which, said in words.items():
            ratios = {
                name: row["over_direct"][which]
                for name, row in alive(kept["rivals"]).items()
                if name != "direct" and row["over_direct"][which]
            }
            better = {name: found for name, found in ratios.items() if found["high"] < 1 and found["n"] >= 6}
            if better:
                best = min(better, key=lambda name: better[name]["median"])
                others = f" and {len(better) - 1} more" if len(better) > 1 else ""
                found.append(f"{engine}, {said}: {best} takes {100 * better[best]['median']:.0f} % of direct's{others}")
        direct = kept["rivals"]["direct"]
        for said, path in _ALSO.items():
            mine = get(direct, *path)
            figures = {name: get(row, *path) for name, row in alive(kept["rivals"]).items()}
            less = {name: figure for name, figure in figures.items() if mine and figure and figure < 0.9 * mine}
            if less:
                best = min(less, key=lambda name: less[name])
                others = f" (and {len(less) - 1} more)" if len(less) > 1 else ""
                found.append(f"{engine}, {said}: {best}{others} {ms(less[best])} ms, direct {ms(mine)} ms")
    return found
