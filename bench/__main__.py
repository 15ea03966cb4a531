"""Direct against layers, frameworks and upstream: every rival a process with its own HTTP server on loopback, the same requests from one client.

Writes bench/results/<date>.json with a picture and the long table beside it, and the README's section. Nothing else should be running.

Try: python -m bench --quick        (under 3 minutes, touches no README)
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

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import report
from bench.figures_of import everyone, standing
from bench.measure import FULL, QUICK, SMOKE, run, schedule
from bench.rivals import BY_NAME, ENGINES, RIVALS, ROOT

QUICK_RIVALS = "direct", "executor", "whole file", "layered", "LitServe"
MINUTES = 23.0
QUICK_MINUTES = 2.6
WEIGHTLESS_SHARE = 0.45
"""Of the time; what it leaves is the embedded engine's."""
PACKAGES = "torch", "starlette", "uvicorn", "fastapi", "litserve", "ray", "f5-tts", "numpy"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_RIVALS)} only, few rounds")
    options.add_argument("--smoke", action="store_true", help="a round or two of each: that everything works")
    options.add_argument("--rivals", help="names from python -m bench.rivals, with commas; direct is always there")
    options.add_argument("--engines", default=",".join(ENGINES))
    options.add_argument("--minutes", type=float, help="visits that would begin later are left out")
    options.add_argument("--results", type=Path, help="the JSON file to write")
    options.add_argument("--readme", type=Path, help="the file whose bench section is made anew")
    chosen = options.parse_args()
    short = chosen.quick or chosen.smoke
    today = datetime.date.today().isoformat()
    file = chosen.results or (
        ROOT / "build" / "bench" / "quick.json" if short else ROOT / "bench" / "results" / f"{today}.json"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    minutes = chosen.minutes or (QUICK_MINUTES if chosen.quick else MINUTES)
    scales = SMOKE if chosen.smoke else QUICK if chosen.quick else FULL
    names = chosen.rivals.split(",") if chosen.rivals else QUICK_RIVALS if chosen.quick else list(BY_NAME)
    unknown = set(names) - set(BY_NAME)
    if unknown:
        options.error(f"no rival {', '.join(sorted(unknown))}; have: {', '.join(BY_NAME)}")
    wanted = [rival for rival in RIVALS if rival.name in {"direct", *names}]
    absent = {rival.name: rival.missing for rival in wanted if rival.missing}
    began = time.monotonic()
    engines = {}
    columns = (
        TextColumn("{task.description:32s}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        here = {
            engine: [rival for rival in wanted if not rival.missing and engine in rival.engines]
            for engine in chosen.engines.split(",")
        }
        bar = progress.add_task(
            "starting", total=sum(len(list(schedule(rivals, scales[engine]))) for engine, rivals in here.items())
        )
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
            engines[engine] = {"rivals": rows, "standing": standing(tallies)}
    results = {
        "date": today,
        "command": "python -m bench " + " ".join(sys.argv[1:]) if sys.argv[1:] else "make bench",
        "smoke": chosen.smoke,
        "minutes": (time.monotonic() - began) / 60,
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "absent": absent,
        "engines": engines,
    }
    file.write_text(json.dumps(rounded(results), indent=1) + "\n")
    readme = chosen.readme or (None if short else ROOT / "README.md")
    print(report.write(file, readme))
    print(f"{file}, {results['minutes']:.1f} minutes")


def rounded(value):
    """Six digits are more than any clock here gives."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip() or "unknown"


def machine() -> dict:
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
