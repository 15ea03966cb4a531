"""One training loop for all three models: a budget in minutes of work, a moving average of the weights, resumable at
any
kill."""

import argparse
import contextlib
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train import picture

EMA = 0.999
WARM_UP_STEPS = 150
CHECKPOINT_SECONDS = 90
PRINT_SECONDS = 60

Loss = Callable[[random.Random, torch.Generator], torch.Tensor]


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


def run(
    name: str,
    path: Path,
    model: torch.nn.Module,
    optims: list[torch.optim.Optimizer],
    loss_of: Loss,
    minutes: float,
    lr: float,
    seed: int,
    max_steps: int | None = None,
    watch: Callable[[], float] | None = None,
    facts: dict | None = None,
    warm_up_steps: int = WARM_UP_STEPS,
) -> list[float]:
    """Train until the minutes are used up, over all runs, or `max_steps` are done; the losses of this run's steps.

    `watch` is called with the averaged weights in the model. A kill loses at most CHECKPOINT_SECONDS of work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    ema = {n: p.detach().clone() for n, p in model.state_dict().items()}
    step, elapsed = 0, 0.0
    log: list[tuple[int, float, float]] = []
    saved = read(path)
    if saved:
        model.load_state_dict(model.state_dict() | saved["model"])
        ema, step, elapsed, log = ema | saved["ema"], saved["step"], saved["elapsed"], saved["log"]
        if "optims" in saved:  # not where train.keep restored it
            for optim, state in zip(optims, saved["optims"], strict=True):
                optim.load_state_dict(state)
            draw.setstate(saved["draw"])
            generator.set_state(saved["generator"].cpu())

    def save() -> None:
        partial = path.with_suffix(".partial")
        torch.save(
            dict(
                model=model.state_dict(),
                ema=ema,
                optims=[o.state_dict() for o in optims],
                step=step,
                elapsed=elapsed,
                log=log,
                draw=draw.getstate(),
                generator=generator.get_state(),
            )
            | (facts or {}),
            partial,
        )
        os.replace(partial, path)

    def watched() -> str:
        if watch is None:
            return ""
        weights = {n: p.detach().clone() for n, p in model.state_dict().items()}
        model.load_state_dict(ema)
        with torch.no_grad():
            value = watch()
        model.load_state_dict(weights)
        return f"  watched {value:.4f}"

    losses: list[float] = []
    warm_up = warm_up_steps if max_steps is None else max(1, max_steps // 5)
    last_save = last_print = time.monotonic()
    with Progress(TextColumn(name + " {task.fields[state]}"), BarColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=minutes * 60 if max_steps is None else max_steps, state="starting")
        while elapsed < minutes * 60 if max_steps is None else step < max_steps:
            began = clock()
            done = elapsed / (minutes * 60) if max_steps is None else step / max_steps
            rate = lr * min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            loss = loss_of(draw, generator)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optim in optims:
                for group in optim.param_groups:
                    group["lr"] = rate
                optim.step()
                optim.zero_grad()
            keep = min(EMA, (1 + step) / (10 + step))
            with torch.no_grad():
                for key, value in model.state_dict().items():
                    ema[key].lerp_(value, 1 - keep) if value.is_floating_point() else ema[key].copy_(value)
            step += 1
            losses.append(loss.item())
            elapsed += clock() - began
            recent = float(np.mean(losses[-50:]))
            bar.update(task, completed=elapsed if max_steps is None else step, state=f"step {step} loss {recent:.3f}")
            if time.monotonic() - last_print > PRINT_SECONDS:
                last_print = time.monotonic()
                log.append((step, elapsed, recent))
                picture.losses(path.with_suffix(".png"), log)
                bar.console.print(
                    f"{elapsed / 60:6.1f} min  step {step:6d}  loss {recent:.4f}{watched()}  lr {rate:.1e}"
                )
            if time.monotonic() - last_save > CHECKPOINT_SECONDS:
                last_save = time.monotonic()
                save()
    save()
    return losses
