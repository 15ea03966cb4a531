"""Direct against layers, frameworks and upstream: every rival a process with its own HTTP server on loopback, the same
requests from one client.

Writes bench/results/<date>.json with a picture and the long table beside it, and the section of docs/benchmarks.md,
which is only written from a clean tree. Nothing else should be running.

Try: python -m bench --quick        (under 3 minutes, touches no page)
     python -m bench                (under 25)
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import report
from bench.figures_of import everyone, standing
from bench.launcher import ROOT
from bench.measure import FULL, QUICK, SMOKE, Scale, run, schedule
from bench.rivals import BY_NAME, ENGINES, RIVALS, Rival

QUICK_RIVALS = "direct", "executor", "whole file", "layered", "LitServe"
MINUTES = 23.0
QUICK_MINUTES = 2.6
WEIGHTLESS_SHARE = 0.45
"""Of the time; what it leaves is the embedded engine's."""
PACKAGES = "torch", "starlette", "uvicorn", "fastapi", "litserve", "ray", "f5-tts", "numpy"


def main() -> None:
    chosen = options()
    short = chosen.quick or chosen.smoke
    page = chosen.page or (None if short else report.PAGE)
    if page and not chosen.smoke and commit().endswith("-dirty"):
        sys.exit(
            f"{page.name} names the commit it was measured at, and this tree has changes: commit or stash them first"
        )
    today = datetime.date.today().isoformat()
    file = chosen.results or (
        ROOT / "build" / "bench" / "quick.json" if short else ROOT / "bench" / "results" / f"{today}.json"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    wanted = [rival for rival in RIVALS if rival.name in {"direct", *chosen.rivals}]
    began = time.monotonic()
    engines = measured(wanted, chosen.engines, chosen.scales, chosen.minutes, began)
    results = {
        "date": today,
        "command": "python -m bench " + " ".join(sys.argv[1:]) if sys.argv[1:] else "make bench",
        "smoke": chosen.smoke,
        "minutes": (time.monotonic() - began) / 60,
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "absent": {rival.name: rival.missing for rival in wanted if rival.missing},
        "engines": engines,
    }
    file.write_text(json.dumps(rounded(results), indent=1) + "\n")
    print(report.write(file, page))
    print(f"{file}, {results['minutes']:.1f} minutes")


def options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_RIVALS)} only, few rounds")
    asked.add_argument("--smoke", action="store_true", help="a round or two of each: that everything works")
    asked.add_argument(
        "--rivals", type=names, help="names from python -m bench.rivals, with commas; direct is always there"
    )
    asked.add_argument("--engines", type=names, default=list(ENGINES))
    asked.add_argument("--minutes", type=float, help="visits that would begin later are left out")
    asked.add_argument("--results", type=Path, help="the JSON file to write")
    asked.add_argument("--page", type=Path, help="the file whose bench section is made anew")
    chosen = asked.parse_args()
    chosen.minutes = chosen.minutes or (QUICK_MINUTES if chosen.quick else MINUTES)
    chosen.scales = SMOKE if chosen.smoke else QUICK if chosen.quick else FULL
    chosen.rivals = chosen.rivals or (QUICK_RIVALS if chosen.quick else list(BY_NAME))
    for given, known in ((chosen.rivals, BY_NAME), (chosen.engines, ENGINES)):
        unknown = set(given) - set(known)
        if unknown:
            asked.error(f"there is no {', '.join(sorted(unknown))}; have: {', '.join(known)}")
    return chosen


def names(text: str) -> list[str]:
    return text.split(",")


def measured(
    wanted: list[Rival], engines: list[str], scales: dict[str, Scale], minutes: float, began: float
) -> dict[str, Any]:
    """Each engine's rivals, and the direct server that stood beside them."""
    here = {engine: [one for one in wanted if not one.missing and engine in one.engines] for engine in engines}
    found = {}
    columns = (
        TextColumn("{task.description:32s}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        visits = sum(len(list(schedule(rivals, scales[engine]))) for engine, rivals in here.items())
        bar = progress.add_task("starting", total=visits)
        for engine, rivals in here.items():
            share = WEIGHTLESS_SHARE if engine == "weightless" and len(here) > 1 else 1.0
            tallies = run(
                engine,
                rivals,
                scales[engine],
                began + 60 * minutes * share,
                lambda what: progress.update(bar, description=what),
                lambda: progress.advance(bar),
            )
            rows = everyone(tallies)
            for rival in rivals:
                rows[rival.name] |= {"what": rival.what, "kind": rival.kind, "layer": rival.layer}
            found[engine] = {"rivals": rows, "standing": standing(tallies)}
    return found


def rounded(value: Any) -> Any:
    """Six digits are more than any clock here gives."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def commit() -> str:
    """Its first seven digits, with `-dirty` when anything lies here that it does not have."""
    head = _git("rev-parse", "--short=7", "HEAD")
    return f"{head}-dirty" if head and _git("status", "--porcelain") else head or "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def machine() -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
