"""This sampler beside upstream's CFM.sample: the same weights, one process, one round after the other. Knows nothing of HTTP.

Try: python -m bench.engine         (some minutes; nothing else should be running)
     python -m bench.engine --base  (with F5TTS_v1_Base's shape and random weights: cost does not depend on values)
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
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import save_file

import tts_core
from engine import checkpoint, device
from engine.checkpoint import PRESETS, read_weights
from engine.sampler import HEAD_DIM, POSITION_GROUPS, POSITION_KERNEL, Arch, Sampler
from engine.stepping import run_to_end
from speech import audio
from speech.request import Speech

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
REFERENCE_FRAMES = 200
TEXT = "The library opens at nine and closes late on Friday, but nobody"
"""One chunk of it is timed as a whole, reference to samples."""


def flops(arch: Arch, frames: int, passes: int) -> float:
    """Of one solver step's matrix products, attention and position convolutions; norms and activations are not counted."""
    block = 2 * arch.dim**2 * (4 + 2 * arch.ff_mult) + 4 * frames * arch.heads * HEAD_DIM
    position = 2 * 2 * POSITION_KERNEL * (arch.dim // POSITION_GROUPS) * arch.dim
    return passes * frames * (arch.depth * block + position + 2 * 2 * audio.MEL_BANDS * arch.dim)


def seconds_of(work: Callable[[], object], place: torch.device) -> float:
    began = time.perf_counter()
    work()
    if place.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matmul_peak(place: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square product, the best of many."""
    side = 8192 if place.type == "cuda" else 2048
    a = torch.randn(side, side, device=place).to(dtype)
    a @ a
    return 2 * side**3 / min(seconds_of(lambda: a @ a, place) for _ in range(10))


def upstream_model(folder: Path, place: torch.device, dtype: torch.dtype = torch.float32):
    from f5_tts.infer.utils_infer import load_model
    from f5_tts.model import DiT

    arch = yaml.safe_load((folder / "config.yaml").read_text())["model"]["arch"]
    with contextlib.redirect_stdout(sys.stderr):
        return load_model(
            DiT, arch, str(folder / "model.safetensors"), vocab_file=str(folder / "vocab.txt"), device=str(place)
        ).to(dtype)


def base_folder(folder: Path) -> Path:
    """A checkpoint of F5TTS_v1_Base's shape with random weights."""
    from f5_tts.model.backbones.dit import DiT

    arch = PRESETS["F5TTS_v1_Base"].arch
    names = ("dim", "depth", "heads", "ff_mult", "text_dim", "conv_layers", "text_mask_padding", "pe_attn_head")
    shape = {name: getattr(arch, name) for name in names}
    vocab = [" ", *(chr(0x4E00 + i) for i in range(2544))]
    torch.manual_seed(1)
    model = DiT(**shape, text_num_embeds=len(vocab), mel_dim=audio.MEL_BANDS)
    for weight in model.parameters():  # upstream starts some at zero, where arithmetic may be quicker
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.02)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"ema_model.transformer.{k}": v.detach().contiguous().clone() for k, v in model.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            {"model": {"name": "F5TTS_v1_Base", "backbone": "DiT", "arch": shape}, "direct": {"tokenizer": "char"}}
        )
    )
    (folder / "vocoder").symlink_to(tts_core.EMBEDDED_MODEL / "vocoder")
    return folder


@torch.inference_mode()
def solved(
    sampler: Sampler, reference: torch.Tensor, tokens: torch.Tensor, noise: torch.Tensor, steps: int, guidance: float
) -> torch.Tensor:
    return run_to_end(sampler.solve(reference, tokens, noise, steps, guidance))


def launches_per_step(work: Callable[[], object], steps: int) -> float:
    """Times that the processor asks the device for something in one solver step: kernels, graphs, copies."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    ) as profile:
        work()
    asked = ("Launch", "MemcpyAsync", "MemsetAsync")
    return (
        sum(
            event.count
            for event in profile.key_averages()
            if event.key.startswith("cu") and any(word in event.key for word in asked)
        )
        / steps
    )


def rows_of(folder: Path, place: torch.device, lengths: list[int], step_counts: list[int], rounds: int) -> list[dict]:
    """One row for each way, length and number of steps."""
    loaded = checkpoint.load(str(folder))
    arch, guidance = loaded.arch, loaded.cfg_strength
    passes = 2 if guidance else 1
    dtypes = {torch.float32, device.choose(str(place)).dtype}
    # On a GPU upstream's own choice is half precision.
    upstreams = {
        dtype: upstream_model(folder, place, dtype)
        for dtype in ([torch.float32, torch.float16] if place.type == "cuda" else [torch.float32])
    }
    samplers = {
        dtype: Sampler(arch, partial(read_weights, loaded.weights), place, dtype)
        for dtype in sorted(dtypes, key=str, reverse=True)
    }
    peaks = {dtype: matmul_peak(place, dtype) for dtype in samplers}
    rows = []
    for frames, steps in track(
        [(n, s) for n in lengths for s in step_counts], description=loaded.name, console=Console(stderr=True)
    ):
        draw = torch.Generator().manual_seed(frames)
        reference = (torch.randn(REFERENCE_FRAMES, audio.MEL_BANDS, generator=draw) * 2 - 5).to(place)
        ids = torch.randint(1, len(loaded.vocab), (frames - 1,), generator=draw)
        words = [[loaded.vocab[i] for i in ids]]
        noise = torch.randn(frames, audio.MEL_BANDS, generator=torch.Generator().manual_seed(5)).to(place)

        @torch.inference_mode()
        def theirs(dtype: torch.dtype, reference=reference, words=words, frames=frames, steps=steps) -> torch.Tensor:
            return upstreams[dtype].sample(
                reference[None].to(dtype),
                words,
                frames,
                steps=steps,
                cfg_strength=guidance,
                sway_sampling_coef=-1.0,
                seed=5,
            )[0][0]

        ways: dict[str, tuple[torch.dtype, Callable]] = {"upstream": (torch.float32, partial(theirs, torch.float32))}
        if torch.float16 in upstreams:
            ways["upstream float16"] = torch.float16, partial(theirs, torch.float16)
        for dtype, sampler in samplers.items():
            ways[str(dtype).removeprefix("torch.")] = (
                dtype,
                partial(solved, sampler, reference, ids.to(place), noise, steps, guidance),
            )
        expected = theirs(torch.float32)[REFERENCE_FRAMES:].float().cpu()
        times: dict[str, list[float]] = {name: [] for name in ways}
        # The first of a length captures a graph on a GPU and makes kernels on a CPU.
        first = {name: seconds_of(work, place) for name, (_, work) in ways.items()}
        for _ in range(rounds):  # interleaved: the machine's drift hits all alike
            for name, (_, work) in ways.items():
                times[name].append(seconds_of(work, place))
        theirs_took = times.get("upstream float16", times["upstream"])
        for name, (dtype, work) in ways.items():
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            mel = work()[REFERENCE_FRAMES:].float().cpu()
            took = statistics.median(times[name])
            rows.append(
                {
                    "model": loaded.name,
                    "way": name,
                    "frames": frames,
                    "steps": steps,
                    "guided": bool(guidance),
                    "ms": round(1000 * took, 1),
                    "first ms": round(1000 * first[name], 1),
                    "rtf": round(took / (frames * audio.HOP_SAMPLES / audio.SAMPLE_RATE), 4),
                    "times upstream": round(
                        statistics.median(a / b for a, b in zip(theirs_took, times[name], strict=True)), 2
                    ),
                    "of matmul peak": round(flops(arch, frames, passes) * steps / took / peaks[dtype], 3),
                    "of fp32 peak": round(flops(arch, frames, passes) * steps / took / peaks[torch.float32], 3),
                    "launches per step": round(launches_per_step(work, steps)) if place.type == "cuda" else None,
                    "peak MB": round(torch.cuda.max_memory_allocated() / 1e6) if place.type == "cuda" else None,
                    "mel difference": round(float((mel - expected).abs().max()), 5),
                    "mel cosine": round(
                        float(
                            torch.nn.functional.cosine_similarity(
                                mel.flatten().double(), expected.flatten().double(), dim=0
                            )
                        ),
                        6,
                    ),
                }
            )
    return rows


def whole_chunk(folder: Path, rounds: int) -> dict:
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
        vocoder = load_vocoder(is_local=True, local_path=str(folder / "vocoder"), device="cpu").float()
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


def show(rows: list[dict]) -> None:
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
    options.add_argument("--memory", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    if chosen.memory:
        memory(chosen.folder, chosen.memory)
        return
    on = device.choose(chosen.device)
    cpu = on.place.type == "cpu"
    rows = rows_of(tts_core.EMBEDDED_MODEL, on.place, [300, 500, 700, 1000], [7, 16, 32], chosen.rounds)
    result: dict = {
        "device": on.reason,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    if cpu:
        result["whole chunk, embedded model"] = whole_chunk(tts_core.EMBEDDED_MODEL, 3 * chosen.rounds)
    if chosen.base or not cpu:
        with tempfile.TemporaryDirectory() as folder:
            base = base_folder(Path(folder) / "base")
            # On a CPU a step of the base model takes seconds, and longer ones say nothing more.
            rows += rows_of(
                base,
                on.place,
                [300] if cpu else [300, 700, 1000, 2000],
                [7] if cpu else [7, 16, 32],
                2 if cpu else chosen.rounds,
            )
            if cpu:
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
