"""One training loop for all three models: a budget in minutes of work, a moving average of the weights, resumable at
any kill."""

import argparse
import contextlib
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train import picture

EMA = 0.999
WARM_UP_STEPS = 150
CHECKPOINT_SECONDS = 90
PRINT_SECONDS = 60

Batch = tuple[torch.Tensor, ...]
READERS = 6
"""Processes that draw batches for a GPU."""
LOOK_EVERY = 25
"""Steps: a loss is asked for its value so seldom that the GPU need not wait for us."""


class Batches(torch.utils.data.Dataset[Batch]):
    """What step number `i` is trained on: of the seed and the number alone, so that a killed run draws the same."""

    def __init__(self, draw_batch: Callable[[random.Random], Batch], seed: int):
        self._draw_batch, self._seed = draw_batch, seed

    def __getitem__(self, step: int) -> Batch:
        return self._draw_batch(random.Random(f"{self._seed} {step}"))


def batches(draw_batch: Callable[[random.Random], Batch], seed: int, first: int) -> Iterator[Batch]:
    """Without end, from step `first` on."""
    aside = device().type == "cuda"
    return iter(
        torch.utils.data.DataLoader(
            Batches(draw_batch, seed),
            batch_size=None,
            sampler=itertools.count(first),  # type: ignore[arg-type]
            num_workers=READERS if aside else 0,
            pin_memory=aside,
            prefetch_factor=4 if aside else None,
        )
    )


def options(description: str | None, minutes: float, lr: float) -> argparse.ArgumentParser:
    """What every training command takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--corpus", type=Path, default=Path("build/voice/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/voice"))
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--threads",
        type=int,
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    )
    parser.add_argument("--steps", type=int, help="stop after so many instead of by time")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile: half a minute per length, then about 1.5 times faster"
    )
    return parser


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(seed: int, threads: int) -> torch.device:
    """Where to train; the weights' draw, the threads, and what a GPU may do faster."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    return device()


def precision_of(place: torch.device) -> Callable[[], contextlib.AbstractContextManager]:
    """bf16 where the hardware multiplies it, else fp32 (bf16 without support: 160 times slower)."""
    native = place.type == "cuda" or "avx512_bf16" in _cpu_flags()
    return lambda: torch.autocast(place.type, torch.bfloat16) if native else contextlib.nullcontext()


def _cpu_flags() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return ""


def clock() -> float:
    """Seconds of work so far: on a CPU those that its threads were given, because a shared machine may give none
    for a while, and a
    schedule in wall time would then fall without training."""
    return time.monotonic() if device().type == "cuda" else time.process_time() / torch.get_num_threads()


def read(path: Path) -> dict | None:
    """What an earlier run saved: model, ema, optims, step, elapsed (seconds), log, and the facts given to `run`."""
    return torch.load(path, weights_only=False, map_location=device()) if path.exists() else None


@dataclass
class Trained:
    """What is trained: its model, and what else a run must find again (name → whatever has a state_dict)."""

    name: str
    path: Path
    model: torch.nn.Module
    optims: list[torch.optim.Optimizer]
    beside: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Progressed:
    ema: dict[str, torch.Tensor]
    step: int = 0
    elapsed: float = 0.0
    log: list[tuple[int, float, float]] = field(default_factory=list)
    best: float = math.inf
    """The least that was watched."""


def _begun(what: Trained) -> Progressed:
    """From its checkpoint, where there is one."""
    so_far = Progressed({n: p.detach().clone() for n, p in what.model.state_dict().items()})
    saved = read(what.path)
    if saved:
        what.model.load_state_dict(what.model.state_dict() | saved["model"])
        so_far.ema |= saved["ema"]
        so_far.step, so_far.elapsed, so_far.log = saved["step"], saved["elapsed"], saved["log"]
        so_far.best = saved.get("best", math.inf)
        if "optims" in saved:  # not where train.keep restored it
            for optim, state in zip(what.optims, saved["optims"], strict=True):
                optim.load_state_dict(state)
            for name, state in saved.get("beside", {}).items():
                what.beside[name].load_state_dict(state)
    return so_far


def _save(what: Trained, so_far: Progressed, path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        dict(
            model=what.model.state_dict(),
            ema=so_far.ema,
            optims=[o.state_dict() for o in what.optims],
            beside={name: thing.state_dict() for name, thing in what.beside.items()},
            step=so_far.step,
            elapsed=so_far.elapsed,
            log=so_far.log,
            best=so_far.best,
        )
        | what.facts,
        partial,
    )
    os.replace(partial, path)


class Averaging:
    """The moving average `ema` of a model's weights; both are changed in place, so that they are looked up once."""

    def __init__(self, model: torch.nn.Module, ema: dict[str, torch.Tensor]):
        now = model.state_dict()
        floats = [key for key, value in now.items() if value.is_floating_point()]
        self._kept, self._now = [ema[key] for key in floats], [now[key] for key in floats]

    @torch.no_grad()
    def step(self, number: int) -> None:
        keep = min(EMA, (1 + number) / (10 + number))
        torch._foreach_lerp_(self._kept, self._now, 1 - keep)


def _watched(what: Trained, so_far: Progressed, watch: Callable[[], float]) -> str:
    """`watch` is called with the averaged weights in the model, and nothing is compiled for its few batches' shapes.
    The best are kept under `.best.pt`: a long run may lose in its second half what it had learned in the first."""
    weights = {n: p.detach().clone() for n, p in what.model.state_dict().items()}
    what.model.load_state_dict(so_far.ema)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        value = watch()
    what.model.load_state_dict(weights)
    if value < so_far.best:
        so_far.best = value
        _save(what, so_far, what.path.with_suffix(".best.pt"))
    return f"  watched {value:.4f}"


def _stepped(what: Trained, loss: torch.Tensor, rate: float) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(what.model.parameters(), 1.0)
    for optim in what.optims:
        for group in optim.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        optim.step()
        optim.zero_grad()


def run(
    what: Trained,
    draw_batch: Callable[[random.Random], Batch],
    loss_of: Callable[[Batch, torch.Generator], torch.Tensor],
    minutes: float,
    lr: float,
    seed: int,
    max_steps: int | None = None,
    watch: Callable[[], float] | None = None,
) -> list[float]:
    """Train until the minutes are used up, over all runs, or `max_steps` are done; losses of this run, seldom on a GPU.

    A kill loses at most CHECKPOINT_SECONDS of work."""
    what.path.parent.mkdir(parents=True, exist_ok=True)
    now = _begun(what)
    place = device()
    average = Averaging(what.model, now.ema)
    generator = torch.Generator(place)
    drawn = batches(draw_batch, seed, now.step)
    losses: list[float] = []
    warm_up = WARM_UP_STEPS if max_steps is None else max(1, max_steps // 5)
    look_every = LOOK_EVERY if place.type == "cuda" else 1
    last_save = last_print = time.monotonic()
    with Progress(TextColumn(what.name + " {task.fields[state]}"), BarColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=minutes * 60 if max_steps is None else max_steps, state="starting")
        began = clock()
        while now.elapsed < minutes * 60 if max_steps is None else now.step < max_steps:
            done = now.elapsed / (minutes * 60) if max_steps is None else now.step / max_steps
            rate = lr * min(1.0, (now.step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            batch = tuple(part.to(place, non_blocking=True) for part in next(drawn))
            loss = loss_of(batch, generator.manual_seed(1_000_003 * seed + now.step))
            _stepped(what, loss, rate)
            average.step(now.step)
            now.step += 1
            if now.step % look_every == 0:
                losses.append(loss.item())
            now.elapsed += clock() - began
            began = clock()
            recent = float(np.mean(losses[-50 // look_every :])) if losses else math.nan
            bar.update(
                task,
                completed=now.elapsed if max_steps is None else now.step,
                state=f"step {now.step} loss {recent:.3f}",
            )
            if time.monotonic() - last_print > PRINT_SECONDS:
                last_print = time.monotonic()
                now.log.append((now.step, now.elapsed, recent))
                picture.losses(what.path.with_suffix(".png"), now.log)
                told = _watched(what, now, watch) if watch else ""
                bar.console.print(
                    f"{now.elapsed / 60:6.1f} min  step {now.step:6d}  loss {recent:.4f}{told}  lr {rate:.1e}"
                )
            if time.monotonic() - last_save > CHECKPOINT_SECONDS:
                last_save = time.monotonic()
                _save(what, now, what.path)
    _save(what, now, what.path)
    return losses
