"""A results file to tables, findings, a picture and the README's section. Knows figures; measures nothing.

Try: python -m bench.report bench/results/2026-11-21.json        (writes the picture, the long table and the README section again)
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
REASONS = ROOT / "bench" / "reasons.md"
"""Written by hand: why a bar is not met, and what the figures cannot say themselves."""
FREE_MS, FREE_SHARE = 0.1, 0.01
"""A layer is called free when it costs less than this of a weightless request, and of an embedded one."""


def ms(seconds: float | None, digits: int = 1) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.{digits}f}"


def get(row: dict, *path: str) -> float | None:
    for name in path:
        row = row.get(name) if row else None  # type: ignore[assignment]
    return row  # type: ignore[return-value]


def number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def ratio(found: dict | None) -> str:
    """Rival over direct, with the interval of its median; a tie when one lies in it."""
    if not found:
        return "–"
    return f"{found['median']:.2f} ({found['low']:.2f}–{found['high']:.2f}){' tie' if found['low'] <= 1 <= found['high'] else ''}"


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


def alive(rivals: dict[str, dict]) -> dict[str, dict]:
    return {name: row for name, row in rivals.items() if row["visits"]}


def weightless_table(rivals: dict[str, dict]) -> str:
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


def embedded_table(rivals: dict[str, dict]) -> str:
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


def long_table(rivals: dict[str, dict]) -> str:
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


def verdict(met: bool | None) -> str:
    return "not measured" if met is None else "met" if met else "**not met**"


def lowest(rivals: dict[str, dict], which: str) -> tuple[bool | None, str]:
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


def bars(engines: dict[str, dict]) -> list[str]:
    lines = []
    if "weightless" in engines:
        rivals, standing = engines["weightless"]["rivals"], engines["weightless"]["standing"]
        mine = rivals["direct"]
        p50, p99 = mine["overhead"]["median"], mine["overhead_p99"]
        lines.append(
            f"weightless, direct over the in-process call, at most 1.0 ms p50 and 3 ms p99: {ms(p50, 2)} and {ms(p99, 2)} ms over "
            f"{mine['overhead']['n']} pairs: {verdict(p50 <= 1e-3 and p99 <= 3e-3)}; the one that stands beside all rivals, asked while they "
            f"start and stop, {ms(standing['overhead']['median'], 2)} and {ms(standing['overhead_p99'], 2)} ms over "
            f"{standing['overhead']['n']}"
        )
        for which, words in (("first", "first byte (p50)"), ("ready", "start-up"), ("rss", "memory")):
            met, said = lowest(rivals, which)
            lines.append(f"weightless, direct is the lowest in {words}: {verdict(met)}; {said}")
    if "embedded" in engines:
        rivals, standing = engines["embedded"]["rivals"], engines["embedded"]["standing"]
        over = standing["over_inprocess"]
        middle, low, high = (100 * (over[which] - 1) for which in ("median", "low", "high"))
        lines.append(
            f"embedded, direct's total within 3 % of the in-process call: {middle:+.1f} % ({low:+.1f} to {high:+.1f}) over {over['n']} pairs: "
            f"{verdict(middle <= 3)}"
        )
        mine = get(rivals["direct"], "first", "8", "p95")
        for name in ("layered", "upstream"):
            theirs = get(rivals.get(name, {}), "first", "8", "p95")
            if mine and theirs:
                lines.append(
                    f"embedded, 8 at once, direct's p95 to first audio at most half of {name}'s: {mine:.2f} s against {theirs:.2f} s: "
                    f"{verdict(mine <= theirs / 2)}"
                )
        served = {name: row["listeners"] for name, row in alive(rivals).items() if row["listeners"] is not None}
        if "direct" in served and len(served) > 1:
            others = ", ".join(
                f"{name} {count}"
                for name, count in sorted(served.items(), key=lambda item: -item[1])
                if name != "direct"
            )
            best = max(count for name, count in served.items() if name != "direct")
            lines.append(
                f"gap-free listeners, direct the highest: {served['direct']} against {others}: {verdict(served['direct'] >= best)}"
                f"{' (a tie)' if served['direct'] == best else ''}"
            )
    return lines


def layer_costs(engines: dict[str, dict]) -> list[tuple[str, dict[str, tuple[float, float]], dict[str, float]]]:
    """Each layer: its cost in seconds and the half width of its interval, by engine, and what it adds to start and memory. Dearest first."""
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


def layer_table(engines: dict[str, dict]) -> str:
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


_ALSO = {
    "the last of 8 at once": ("last", "8", "p95"),
    "CPU per request": ("cpu_per_request",),
    "/health while speaking": ("health", "p50"),
}


def losses(engines: dict[str, dict]) -> list[str]:
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


def section(results: dict, picture: str, long: str) -> str:
    engines, machine = results["engines"], results["machine"]
    out = [
        f"`{results['command']}` on {machine['cores']} cores of {machine['processor']}, {results['date']}, commit {results['commit']}, "
        f"{results['minutes']:.0f} minutes; every quantile at 1, 2, 4 and 8 at once is in [{long}]({long})."
    ]
    if results.get("smoke"):
        out.append("**A smoke run: that everything works; its figures mean nothing.**")
    out.append(f"![first audio of 8 at once, gap-free listeners, memory]({picture})")
    out.append("**Do the bars hold?**\n\n" + "\n".join(f"- {line}" for line in bars(engines)))
    if REASONS.exists():
        out.append(REASONS.read_text().strip())
    if "weightless" in engines and "whole file" in engines["weightless"]["rivals"]:
        out.append(
            "**What each layer costs.** Beside the one below it: the executor beside direct, the whole file beside the executor, the rest beside the "
            f"whole file; ± is the 95 % interval. Free is under {FREE_MS} ms of a weightless request, not felt is under {100 * FREE_SHARE:.0f} % "
            "of an embedded one.\n\n" + layer_table(engines)
        )
    lost = losses(engines)
    out.append(
        "**Where direct loses, beyond noise.**\n\n" + "\n".join(f"- {line}" for line in lost or ["nowhere in this run"])
    )
    if "weightless" in engines:
        rivals = engines["weightless"]["rivals"]
        out.append(
            "**Without a model** (a tone per word: what is left is the server), one request at a time unless said. ÷ direct is the median of ratios "
            "taken in the same moment, with its 95 % interval; direct's own row is the control.\n\n"
            + weightless_table(rivals)
        )
    if "embedded" in engines:
        rivals = engines["embedded"]["rivals"]
        speech = get(rivals["direct"], "audio_seconds") or 0
        out.append(
            f"**With the embedded model**, {speech:.1f} s of speech. A listener is gap-free when the sound starts within 2 s and never runs dry; "
            "without the 2 s a server that sends whole files would serve any number.\n\n" + embedded_table(rivals)
        )
    absent = [f"{name}: {why}" for name, why in results["absent"].items()]
    absent += [
        f"{name} ({engine}): {row['failed']}"
        for engine, kept in engines.items()
        for name, row in kept["rivals"].items()
        if row["failed"]
    ]
    stops = {
        f"{name}, {engine}": row["clean_stops"]
        for engine, kept in engines.items()
        for name, row in alive(kept["rivals"]).items()
    }
    unclean = [f"{name} ({clean} clean)" for name, clean in stops.items() if len(set(clean.split("/"))) > 1]
    if unclean:
        absent.append(f"left processes behind when told to stop: {', '.join(unclean)}")
    if absent:
        out.append("**Not measured, or not well.**\n\n" + "\n".join(f"- {line}" for line in absent))
    return "\n\n".join(out)


def draw(results: dict, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 8, "svg.hashsalt": "bench", "svg.fonttype": "path"})
    engines = results["engines"]
    engine = "embedded" if "embedded" in engines else "weightless"
    rows = alive(engines[engine]["rivals"])
    panels = [
        ("first audio of 8 at once, p95, s", {n: get(r, "first", "8", "p95") for n, r in rows.items()}),
        ("gap-free listeners", {n: r["listeners"] for n, r in rows.items()}),
        ("memory, MB", {n: get(r, "rss_mb", "median") for n, r in rows.items()}),
    ]
    if "weightless" in engines:
        own = {n: 1000 * r["overhead"]["median"] for n, r in alive(engines["weightless"]["rivals"]).items()}
        panels.insert(1, ("server's own time, p50, ms (log)", own))
    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels), 0.22 * len(rows) + 1), sharey=True)
    names = list(rows)
    for axis, (title, values) in zip(axes, panels, strict=True):
        for at, name in enumerate(names):
            value = values.get(name)
            if value is not None:
                axis.barh(at, value, color="#c2452d" if name == "direct" else "#8fa3b0")
                axis.text(value, at, f" {value:.3g}", va="center", fontsize=7)
        axis.set_title(title, fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.25)
        if "log" in title:
            axis.set_xscale("log")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def write(file: Path, readme: Path | None) -> str:
    """The picture and the long table beside the results, and the section, which is returned and goes between the README's marks."""
    results = json.loads(file.read_text())
    picture, long = file.with_suffix(".svg"), file.with_suffix(".md")
    draw(results, picture)
    long.write_text(
        "\n\n".join(
            [
                f"# Bench of {results['date']}, commit {results['commit']}",
                *(f"## {engine}\n\n{long_table(kept['rivals'])}" for engine, kept in results["engines"].items()),
            ]
        )
        + "\n"
    )
    near = readme.parent.resolve() if readme else file.parent.resolve()
    paths = [
        str(path.resolve().relative_to(near)) if path.resolve().is_relative_to(near) else path.name
        for path in (picture, long)
    ]
    made = section(results, *paths)
    text = readme.read_text() if readme else ""
    if readme and BEGIN in text:
        before, rest = text.split(BEGIN, 1)
        readme.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END, 1)[1]}")
    return made


def main() -> None:
    print(write(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "README.md"))


if __name__ == "__main__":
    main()
