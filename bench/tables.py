"""Figures to Markdown tables: the rivals with and without a model, every quantile, and what each layer costs."""

from typing import Any

Row = dict[str, Any]
"""What is known of one rival behind one engine, as figures_of.summary makes it and JSON keeps it."""
FREE_MS, FREE_SHARE = 0.1, 0.01
"""A layer is called free when it costs less than this of a weightless request, and of an embedded one."""


def ms(seconds: float | None, digits: int = 1) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.{digits}f}"


def get(row: Row, *path: str) -> Any:
    """What lies at the end of the path; None where something on the way was not measured."""
    found: Any = row
    for name in path:
        found = found.get(name) if found else None
    return found


def number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def ratio(found: Row | None) -> str:
    """Rival over direct, with the interval of its median; a tie when one lies in it."""
    if not found:
        return "–"
    tie = " tie" if found["low"] <= 1 <= found["high"] else ""
    return f"{found['median']:.2f} ({found['low']:.2f}–{found['high']:.2f}){tie}"


def table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width if at == 0 else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    lines = []
    for name, *cells in [head, rule, *rows]:
        lines.append(
            "| "
            + " | ".join(
                [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))]
            )
            + " |"
        )
    return "\n".join(lines)


def alive(rivals: dict[str, Row]) -> dict[str, Row]:
    return {name: row for name, row in rivals.items() if row["visits"]}


def weightless_table(rivals: dict[str, Row]) -> str:
    head = [
        "",
        "ready, s",
        "memory, MB",
        "first request, ms",
        "first byte p50 / p95 / p99, ms",
        "over in-process p50 / p99, ms",
        "÷ direct",
        "first byte of 8 p95, ms",
        "CPU, ms",
    ]
    return table(
        head,
        [
            [
                name,
                number(get(row, "ready", "median")),
                number(get(row, "rss_mb", "median"), 0),
                ms(get(row, "cold_first", "median")),
                " / ".join(ms(get(row, "first", "1", q), 2) for q in ("p50", "p95", "p99")),
                f"{ms(get(row, 'overhead', 'median'), 2)} / {ms(row['overhead_p99'], 2)}",
                ratio(row["over_direct"]["first"]),
                ms(get(row, "first", "8", "p95")),
                ms(row["cpu_per_request"]),
            ]
            for name, row in alive(rivals).items()
        ],
    )


def embedded_table(rivals: dict[str, Row]) -> str:
    head = [
        "",
        "ready, s",
        "memory, MB",
        "first audio: 1st request / later, s",
        "whole, s",
        "whole ÷ in-process",
        "first audio of 8 p50 / p95, s",
        "/health p50 / worst, ms",
        "gap-free listeners",
        "CPU, s",
    ]
    return table(
        head,
        [
            [
                name,
                number(get(row, "ready", "median")),
                number(get(row, "rss_mb", "median"), 0),
                f"{number(get(row, 'cold_first', 'median'))} / {number(get(row, 'first', '1', 'p50'))}",
                number(get(row, "last", "1", "p50")),
                number(get(row, "over_inprocess", "median"), 3),
                f"{number(get(row, 'first', '8', 'p50'))} / {number(get(row, 'first', '8', 'p95'))}",
                f"{ms(get(row, 'health', 'p50'), 0)} / {ms(row['health_worst'], 0)}",
                "–" if row["listeners"] is None else str(row["listeners"]),
                number(row["cpu_per_request"]),
            ]
            for name, row in alive(rivals).items()
        ],
    )


def long_table(rivals: dict[str, Row]) -> str:
    """Every quantile at every number at once, ms."""
    rows = []
    for name, row in alive(rivals).items():
        for many in row["first"]:
            cells = [
                " / ".join(ms(get(row, which, many, q), 2) for q in ("p50", "p95", "p99"))
                for which in ("first", "last")
            ]
            rows.append([f"{name}, {many} at once", str(get(row, "first", many, "n") or 0), *cells])
    return table(["", "requests", "first audio p50 / p95 / p99, ms", "last byte p50 / p95 / p99, ms"], rows)


def layer_costs(engines: dict[str, Row]) -> list[tuple[str, dict[str, tuple[float, float]], dict[str, float]]]:
    """Each layer: its cost in seconds and the half width of its interval, by engine, and what it adds to start and
    memory. Dearest first."""
    found = []
    single = [
        (name, row["layer"], "whole file")
        for name, row in alive(engines["weightless"]["rivals"]).items()
        if row.get("layer")
    ]
    for name, layer, base in [
        ("executor", "executor", "direct"),
        ("whole file", "reply only when finished", "executor"),
        *single,
    ]:
        costs, adds = {}, {}
        for engine, kept in engines.items():
            row, under = kept["rivals"].get(name), kept["rivals"].get(base)
            if not (row and under and row["visits"] and under["visits"]):
                continue
            mine, theirs = row["more_than_direct"], under["more_than_direct"]
            halves = [(m["high"] - m["low"]) / 2 for m in (mine, theirs)]
            costs[engine] = mine["median"] - theirs["median"], (halves[0] ** 2 + halves[1] ** 2) ** 0.5
            adds[f"{engine} ready"] = row["ready"]["median"] - under["ready"]["median"]
            adds[f"{engine} rss"] = row["rss_mb"]["median"] - under["rss_mb"]["median"]
            adds[f"{engine} whole"] = under["last"]["1"]["p50"]
        if costs:
            found.append((layer, costs, adds))
    return sorted(found, key=lambda item: -item[1].get("embedded", item[1].get("weightless", (0, 0)))[0])


def layer_table(engines: dict[str, Row]) -> str:
    rows = []
    for layer, costs, adds in layer_costs(engines):
        cells = []
        for engine in ("weightless", "embedded"):
            if engine in costs:
                cost, half = costs[engine]
                cells.append(f"{ms(cost, 2)} ± {ms(half, 2)}")
            else:
                cells.append("–")
        light = costs.get("weightless")
        heavy = costs.get("embedded")
        cheap = light is None or light[0] < FREE_MS / 1000 or light[0] < light[1]
        unfelt = heavy is None or heavy[0] < FREE_SHARE * adds["embedded whole"] or heavy[0] < heavy[1]
        said = "free" if cheap and unfelt else "not felt" if unfelt else "felt"
        starts = " / ".join(f"{adds[f'{e} ready']:+.2f}" for e in costs)
        memory = " / ".join(f"{adds[f'{e} rss']:+.0f}" for e in costs)
        rows.append([layer, *cells, starts, memory, said])
    return table(
        [
            "layer, dearest first",
            "a weightless request, ms",
            "an embedded request, ms",
            "start-up, s",
            "memory, MB",
            "verdict",
        ],
        rows,
    )
