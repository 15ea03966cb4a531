"""How the engine does on a GPU, and where its time goes there. A line of JSON for each figure, appended to a file when
it is known: who cuts it short loses the rest alone.

Try: python -m bench.engine_variants                      (a GPU, a minute; F5TTS_v1_Base's shape, random weights)
     python -m bench.engine_variants sizes batches        (these stages alone)
     python -m bench.engine_variants --model models/tiny --device cpu    (a dry run, whose times mean nothing)
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from bench.engine_variants.around import costs, listeners
from bench.engine_variants.solving import batches, profile, sizes
from bench.engine_variants.subject import Figures, Subject, Tasks
from bench.engine_ways import base_folder
from engine import device

OUT = Path("build") / "engine-variants.jsonl"
STAGES: dict[str, Callable[[Subject], Tasks]] = {
    "listeners": listeners,
    "costs": costs,
    "profile": profile,
    "sizes": sizes,
    "batches": batches,
}
"""The most wanted first."""


class Report(NamedTuple):
    file: Path
    began: float

    def write(self, stage: str, name: str, figures: Figures) -> None:
        line = json.dumps({"at s": round(time.perf_counter() - self.began, 1), "stage": stage, "of": name} | figures)
        print(line, flush=True)
        with self.file.open("a") as file:
            file.write(line + "\n")


@torch.inference_mode()
def run(stage: str, on: Subject, report: Report, until: float) -> None:
    """A failure is a row. No row begins after `until` (time.perf_counter)."""
    name = "its beginning"
    try:
        for name, work in STAGES[stage](on):
            if time.perf_counter() > until:
                report.write(stage, name, {"left out": "no time"})
                break
            try:
                report.write(stage, name, work())
            except Exception as error:
                report.write(stage, name, {"failed": f"{type(error).__name__}: {error}"[:300]})
    except Exception as error:
        report.write(stage, f"what follows {name}", {"failed": f"{type(error).__name__}: {error}"[:300]})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; all of them in this order")
    options.add_argument("--device", default="auto")
    options.add_argument("--model", type=Path, help="a checkpoint's folder; else one of the base model's shape is made")
    options.add_argument("--seconds", type=float, default=60, help="after so many nothing is begun")
    options.add_argument("--out", type=Path, default=OUT)
    chosen = options.parse_args()
    if unknown := sorted(set(chosen.stages) - set(STAGES)):
        options.error(f"no stage is called {', '.join(unknown)}; there are {', '.join(STAGES)}")
    warnings.simplefilter("ignore")
    report = Report(chosen.out, time.perf_counter())
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = device.choose(chosen.device)
        model = chosen.model or base_folder(Path(folder) / "base", found.place)
        on = Subject(model.resolve(), found.place, found.dtype)
        name = torch.cuda.get_device_name(found.place) if on.cuda else "the processor"
        report.write("model", on.loaded.name, {"device": name, "dtype": str(on.dtype), "torch": torch.__version__})
        for stage in chosen.stages or STAGES:
            run(stage, on, report, report.began + chosen.seconds)


if __name__ == "__main__":
    main()
