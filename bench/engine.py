"""This sampler beside upstream's CFM.sample: the same weights, one process, one round after the other. Knows nothing of
HTTP.

Try: python -m bench.engine         (some minutes; nothing else should be running)
     python -m bench.engine --base  (with F5TTS_v1_Base's shape and random weights: cost does not depend on values)
     python -m bench.engine --quick (on a GPU, that shape alone at four sizes: a minute or two)
"""

import argparse
import contextlib
import gc
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import tts_core
from bench import untrained_vocos
from bench.engine_ways import (
    base_folder,
    flops,
    launches_per_step,
    matmul_peak,
    profiled,
    seconds_of,
    solved,
    upstream_model,
)
from engine import checkpoint, device
from engine.checkpoint import read_weights
from engine.sampler import Sampler
from speech import audio
from speech.request import Speech

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
REFERENCE_FRAMES = 200
SEED = 5
QUICK = [(300, 7), (1000, 7), (1000, 16), (2000, 7)]
"""Frames and steps."""
TEXT = "The library opens at nine and closes late on Friday, but nobody"
"""One chunk of it is timed as a whole, reference to samples."""


class Way(NamedTuple):
    """One way to the same mel."""

    dtype: torch.dtype
    work: Callable[[], torch.Tensor]


class Contest:
    """One checkpoint on one device, loaded once for each way."""

    def __init__(self, folder: Path, place: torch.device):
        self.place, self.loaded = place, checkpoint.load(str(folder))
        cuda = place.type == "cuda"
        dtypes = {torch.float32, device.choose(str(place)).dtype} | ({torch.bfloat16} if cuda else set())
        # On a GPU upstream's own choice is half precision.
        self._upstreams = {
            dtype: upstream_model(folder, place, dtype)
            for dtype in ([torch.float32, torch.float16] if cuda else [torch.float32])
        }
        self._samplers = {
            dtype: Sampler(self.loaded.arch, partial(read_weights, self.loaded.weights), place, dtype)
            for dtype in sorted(dtypes, key=str, reverse=True)
        }
        self._launches: dict[str, int] = {}

    def ways(self, frames: int, steps: int) -> dict[str, Way]:
        """Upstream's first, in fp32: what the others are compared with."""
        draw, guidance = torch.Generator().manual_seed(frames), self.loaded.cfg_strength
        reference = (torch.randn(REFERENCE_FRAMES, audio.MEL_BANDS, generator=draw) * 2 - 5).to(self.place)
        ids = torch.randint(1, len(self.loaded.vocab), (frames - 1,), generator=draw)
        words = [[self.loaded.vocab[i] for i in ids]]
        noise = self._noise(reference, words, frames)

        @torch.inference_mode()
        def theirs(dtype: torch.dtype) -> torch.Tensor:
            mel: torch.Tensor = self._upstreams[dtype].sample(
                reference[None].to(dtype),
                words,
                frames,
                steps=steps,
                cfg_strength=guidance,
                sway_sampling_coef=-1.0,
                seed=SEED,
            )[0][0]
            return mel

        ways = {"upstream": Way(torch.float32, partial(theirs, torch.float32))}
        if torch.float16 in self._upstreams:
            ways["upstream float16"] = Way(torch.float16, partial(theirs, torch.float16))
        for dtype, sampler in self._samplers.items():
            work = partial(solved, sampler, reference, ids.to(self.place), noise, steps, guidance)
            ways[str(dtype).removeprefix("torch.")] = Way(dtype, work)
        return ways

    def _noise(self, reference: torch.Tensor, words: list[list[str]], frames: int) -> torch.Tensor:
        """(frames, 100): what upstream's solver begins with; a GPU draws other numbers of a seed than a processor."""
        _, states = self._upstreams[torch.float32].sample(
            reference[None], words, frames, steps=1, cfg_strength=0.0, seed=SEED
        )
        noise: torch.Tensor = states[0, 0]
        return noise

    def rows(self, frames: int, steps: int, rounds: int) -> list[dict[str, Any]]:
        """One row for each way."""
        ways = self.ways(frames, steps)
        expected = ways["upstream"].work()[REFERENCE_FRAMES:].float().cpu()
        times: dict[str, list[float]] = {name: [] for name in ways}
        # The first of a length captures a graph on a GPU and makes kernels on a CPU.
        first = {name: seconds_of(way.work, self.place) for name, way in ways.items()}
        for _ in range(rounds):  # interleaved: the machine's drift hits all alike
            for name, way in ways.items():
                times[name].append(seconds_of(way.work, self.place))
        theirs_took = times.get("upstream float16", times["upstream"])
        rows = []
        for name, way in ways.items():
            took = statistics.median(times[name])
            row: dict[str, Any] = {"model": self.loaded.name, "way": name, "frames": frames, "steps": steps}
            row |= {
                "guided": bool(self.loaded.cfg_strength),
                "ms": round(1000 * took, 1),
                "first ms": round(1000 * first[name], 1),
                "rtf": round(took / (frames * audio.HOP_SAMPLES / audio.SAMPLE_RATE), 4),
                "times upstream": round(
                    statistics.median(a / b for a, b in zip(theirs_took, times[name], strict=True)), 2
                ),
            }
            rows.append(
                row | self._shares(way.dtype, frames, steps, took) | self._looked_at(name, way, steps, expected)
            )
        return rows

    @cached_property
    def _peaks(self) -> dict[torch.dtype, float]:
        return {dtype: matmul_peak(self.place, dtype) for dtype in self._samplers}

    def _shares(self, dtype: torch.dtype, frames: int, steps: int, took: float) -> dict[str, float]:
        rate = flops(self.loaded.arch, frames, 2 if self.loaded.cfg_strength else 1) * steps / took
        return {
            "of matmul peak": round(rate / self._peaks[dtype], 3),
            "of fp32 peak": round(rate / self._peaks[torch.float32], 3),
        }

    def _looked_at(self, name: str, way: Way, steps: int, expected: torch.Tensor) -> dict[str, float | None]:
        """Launches, memory, and how far its mel lies from `expected`."""
        cuda = self.place.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        mel = way.work()[REFERENCE_FRAMES:].float().cpu()
        peak = round(torch.cuda.max_memory_allocated() / 1e6) if cuda else None
        if cuda and name not in self._launches:  # as many for each length
            self._launches[name] = round(launches_per_step(profiled(way.work), steps))
        return {
            "launches per step": self._launches.get(name),
            "peak MB": peak,
            "mel difference": round(float((mel - expected).abs().max()), 5),
            "mel cosine": round(
                torch.cosine_similarity(mel.flatten().double(), expected.flatten().double(), dim=0).item(), 6
            ),
        }


def rows_of(folder: Path, place: torch.device, sizes: list[tuple[int, int]], rounds: int) -> list[dict[str, Any]]:
    """One row for each way, and each (frames, steps)."""
    contest = Contest(folder, place)
    here = track(sizes, description=contest.loaded.name, console=Console(stderr=True))
    return [row for frames, steps in here for row in contest.rows(frames, steps, rounds)]


def whole_chunk(folder: Path, rounds: int) -> dict[str, Any]:
    """Text and reference to samples: TTS.speak beside upstream's infer_batch_process, as many frames and steps."""
    from f5_tts.infer.utils_infer import infer_batch_process, load_vocoder

    tts = tts_core.TTS(folder)
    plan = tts.plan(Speech(TEXT, seed=1))
    plan = type(plan)(
        plan.voice,
        plan.chunks[-1:],
        (plan.chunks[-1].frames - len(plan.voice.mel) - 1) * audio.HOP_SAMPLES,
        1,
        plan.steps,
        plan.cfg_strength,
    )
    seconds = plan.chunks[0].frames * audio.HOP_SAMPLES / audio.SAMPLE_RATE
    with contextlib.redirect_stdout(sys.stderr):
        vocoder = load_vocoder(is_local=True, local_path=str(untrained_vocos.folder()), device="cpu").float()
    model = upstream_model(folder, torch.device("cpu"))
    samples, rate = audio.read_mono(tts_core.VOICES / "default.wav")

    def theirs() -> None:
        reference = torch.from_numpy(samples)[None], rate
        next(
            infer_batch_process(
                reference,
                plan.voice.text,
                [TEXT],
                model,
                vocoder,
                progress=None,
                nfe_step=plan.steps,
                cfg_strength=plan.cfg_strength,
                fix_duration=seconds + 0.001,
                device="cpu",
            )
        )

    ways = {"infer_batch_process": theirs, "TTS.speak": lambda: list(tts.speak(plan))}
    times: dict[str, list[float]] = {name: [] for name in ways}
    place = torch.device("cpu")
    for number in range(rounds + 1):
        for name, work in ways.items():
            took = seconds_of(work, place)
            if number:  # the first is warmer for neither
                times[name].append(took)
    ratios = [a / b for a, b in zip(times["infer_batch_process"], times["TTS.speak"], strict=True)]
    return {
        "frames": plan.chunks[0].frames,
        "steps": plan.steps,
        **{f"{name} ms": round(1000 * statistics.median(t), 1) for name, t in times.items()},
        "times upstream": round(statistics.median(ratios), 2),
        "from": round(min(ratios), 2),
        "to": round(max(ratios), 2),
    }


def memory(folder: Path, way: str) -> None:
    """Prints the MB that a model takes in this process, which does nothing else, after a chunk of speech."""
    place, draw = torch.device("cpu"), torch.Generator().manual_seed(1)
    reference, noise = torch.randn(REFERENCE_FRAMES, 100, generator=draw), torch.randn(300, 100, generator=draw)
    from f5_tts.model import DiT  # noqa: F401  both ways pay for the import

    gc.collect()
    before = psutil.Process().memory_info().rss
    if way == "upstream":
        model = upstream_model(folder, place)
        with torch.inference_mode():
            model.sample(reference[None], [["a"] * 250], 300, steps=2, cfg_strength=2.0, seed=1)
    else:
        sampler = Sampler(
            checkpoint.load(str(folder)).arch,
            partial(read_weights, folder / "model.safetensors"),
            place,
            getattr(torch, way),
        )
        solved(sampler, reference, torch.ones(250, dtype=torch.int64), noise, 2, 2.0)
    gc.collect()
    print((psutil.Process().memory_info().rss - before) / 1e6)


def memory_of(folder: Path, way: str) -> int:
    command = [sys.executable, "-W", "ignore", "-m", "bench.engine", "--memory", way, "--folder", str(folder)]
    return round(
        float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    )


def show(rows: list[dict[str, Any]]) -> None:
    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*("not measured" if value is None else str(value) for value in row.values()))
    Console(width=200).print(table)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="auto")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--base", action="store_true", help="F5TTS_v1_Base's shape too: minutes on a CPU")
    options.add_argument("--quick", action="store_true", help="that shape alone, at few sizes")
    options.add_argument("--memory", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    if chosen.memory:
        memory(chosen.folder, chosen.memory)
        return
    on = device.choose(chosen.device)
    cpu = on.place.type == "cpu"
    rows = []
    if not chosen.quick:
        rows = rows_of(
            tts_core.EMBEDDED_MODEL, on.place, list(product([300, 500, 700, 1000], [7, 16, 32])), chosen.rounds
        )
    result: dict[str, Any] = {
        "device": on.reason,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name(on.place)
        if on.place.type == "cuda"
        else platform.processor() or platform.machine(),
    }
    if cpu and not chosen.quick:
        result["whole chunk, embedded model"] = whole_chunk(tts_core.EMBEDDED_MODEL, 3 * chosen.rounds)
    if chosen.base or chosen.quick or not cpu:
        with tempfile.TemporaryDirectory() as folder:
            base = base_folder(Path(folder) / "base", on.place)
            # On a CPU a step of the base model takes seconds, and longer ones say nothing more.
            sizes = [(300, 7)] if cpu else QUICK if chosen.quick else list(product([300, 700, 1000, 2000], [7, 16, 32]))
            rows += rows_of(base, on.place, sizes, 2 if cpu else chosen.rounds)
            if cpu and not chosen.quick:
                result["base model, MB"] = {
                    way: memory_of(base, way)
                    for way in dict.fromkeys(("upstream", "float32", str(on.dtype).removeprefix("torch.")))
                }
    result["rows"] = rows
    show(rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"engine-{on.place.type}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "rows"}))


if __name__ == "__main__":
    main()
