"""A results file to docs/benchmarks.md: tables, findings, a picture. Knows figures; measures nothing.

Try: python -m bench.report bench/results/2026-11-21.json        (the picture, the long table and the page again)
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.findings import bars, losses
from bench.tables import FREE_MS, FREE_SHARE, alive, embedded_table, get, layer_table, long_table, weightless_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
IN_README = (
    "direct",
    "executor",
    "whole file",
    "layered",
    "LitServe",
    "BentoML",
    "Ray Serve",
    "upstream, streamed",
    "upstream",
)
"""Whose first audio the README shows, in a picture beside the page."""
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
REASONS = ROOT / "bench" / "reasons.md"
"""Written by hand: why a bar is not met, and what the figures cannot say themselves."""


def section(results: dict[str, Any], picture: str, long: str) -> str:
    engines, machine = results["engines"], results["machine"]
    out = [
        f"`{results['command']}` on {machine['cores']} cores of {machine['processor']}, {results['date']}, "
        f"commit {results['commit']}, {results['minutes']:.0f} minutes; every quantile at 1, 2, 4 and 8 at once is in "
        f"[{Path(long).name}]({long})."
    ]
    if results.get("smoke"):
        out.append("**A smoke run: that everything works; its figures mean nothing.**")
    out.append(f"![first audio of 8 at once, gap-free listeners, memory]({picture})")
    out.append("**Do the bars hold?**\n\n" + listed(bars(engines)))
    if REASONS.exists():
        out.append(REASONS.read_text().strip())
    if "weightless" in engines and "whole file" in engines["weightless"]["rivals"]:
        out.append(
            "**What each layer costs.** Beside the one below it: the executor beside direct, the whole file beside the "
            f"executor, the rest beside the whole file; ± is the 95 % interval. Free is under {FREE_MS} ms of a "
            f"weightless request, not felt is under {100 * FREE_SHARE:.0f} % of an embedded one.\n\n"
            + layer_table(engines)
        )
    out.append("**Where direct loses, beyond noise.**\n\n" + listed(losses(engines) or ["nowhere in this run"]))
    if "weightless" in engines:
        out.append(
            "**Without a model** (a tone per word: what is left is the server), one request at a time unless said. "
            "÷ direct is the median of ratios taken in the same moment, with its 95 % interval; direct's own row is "
            "the control.\n\n" + weightless_table(engines["weightless"]["rivals"])
        )
    if "embedded" in engines:
        rivals = engines["embedded"]["rivals"]
        speech = get(rivals["direct"], "audio_seconds") or 0
        out.append(
            f"**With the embedded model**, {speech:.1f} s of speech. A listener is gap-free when the sound starts "
            "within 2 s and never runs dry; without the 2 s a server that sends whole files would serve any number.\n\n"
            + embedded_table(rivals)
        )
    missed = not_measured(results)
    if missed:
        out.append("**Not measured, or not well.**\n\n" + listed(missed))
    return "\n\n".join(out)


def listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def not_measured(results: dict[str, Any]) -> list[str]:
    """Who is not installed, who failed, who left processes behind."""
    rows = [(name, engine, row) for engine, kept in results["engines"].items() for name, row in kept["rivals"].items()]
    missed = [f"{name}: {why}" for name, why in results["absent"].items()]
    missed += [f"{name} ({engine}): {row['failed']}" for name, engine, row in rows if row["failed"]]
    unclean = [
        f"{name}, {engine} ({row['clean_stops']} clean)"
        for name, engine, row in rows
        if row["visits"] and len(set(row["clean_stops"].split("/"))) > 1
    ]
    if unclean:
        missed.append(f"left processes behind when told to stop: {', '.join(unclean)}")
    return missed


Values = dict[str, float | None]


def draw(results: dict[str, Any], file: Path) -> None:
    """All rivals: what eight listeners feel, how many there may be, memory, and the server's own time."""
    engines = results["engines"]
    rows = alive(engines["embedded" if "embedded" in engines else "weightless"]["rivals"])
    panels: list[tuple[str, Values]] = [
        ("first audio of 8 at once, p95, s", {n: get(r, "first", "8", "p95") for n, r in rows.items()}),
        ("gap-free listeners", {n: r["listeners"] for n, r in rows.items()}),
        ("memory, MB", {n: get(r, "rss_mb", "median") for n, r in rows.items()}),
    ]
    if "weightless" in engines:
        own: Values = {n: 1000 * r["overhead"]["median"] for n, r in alive(engines["weightless"]["rivals"]).items()}
        panels.insert(1, ("server's own time, p50, ms (log)", own))
    bars_beside(list(rows), panels, file)


def draw_first_audio(results: dict[str, Any], file: Path) -> None:
    """The README's picture: one short speech with the embedded model, a few of the rivals."""
    rows = alive(results["engines"].get("embedded", {"rivals": {}})["rivals"])
    first: Values = {name: get(rows[name], "first", "1", "p50") for name in IN_README if name in rows}
    if first:
        when = f"seconds to first audio, p50; {results['date']}, commit {results['commit']}"
        bars_beside(list(first), [(when, first)], file, inches=6.0)


def bars_beside(names: list[str], panels: list[tuple[str, Values]], file: Path, inches: float = 3.1) -> None:
    """A panel each with one bar for each name, direct in red."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 8, "svg.hashsalt": "bench", "svg.fonttype": "path"})
    size = inches * len(panels), 0.22 * len(names) + 1
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (title, values) in zip(axes[0], panels, strict=True):
        for at, name in enumerate(names):
            value = values.get(name)
            if value is not None:
                axis.barh(at, value, color="#c2452d" if name == "direct" else "#8fa3b0")
                axis.text(value, at, f" {value:.3g}", va="center", fontsize=7)
        axis.set_title(title, fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.25 if len(panels) > 1 else 0.1)
        if "log" in title:
            axis.set_xscale("log")
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def write(file: Path, page: Path | None) -> str:
    """The picture and the long table beside the results; the section, returned and written between `page`'s marks, and
    the README's picture beside the page."""
    results = json.loads(file.read_text())
    picture, long = file.with_suffix(".svg"), file.with_suffix(".md")
    draw(results, picture)
    tables = [f"## {engine}\n\n{long_table(kept['rivals'])}" for engine, kept in results["engines"].items()]
    long.write_text("\n\n".join([f"# Bench of {results['date']}, commit {results['commit']}", *tables]) + "\n")
    near = (page or file).parent
    made = section(results, os.path.relpath(picture, near), os.path.relpath(long, near))
    text = page.read_text() if page else ""
    if page and BEGIN in text:
        draw_first_audio(results, page.with_name("first-audio.svg"))
        before, rest = text.split(BEGIN, 1)
        page.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END, 1)[1]}")
    return made


def main() -> None:
    print(write(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE))


if __name__ == "__main__":
    main()
