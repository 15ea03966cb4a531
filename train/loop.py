"""One training loop for all three models: a budget in minutes, a moving average of the weights, resumable at any
kill."""

import argparse
import contextlib
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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


def read(path: Path) -> dict | None:
    """What an earlier run saved: model, ema, optims, step, elapsed (seconds), log, and the facts given to `run`."""
    return torch.load(path, weights_only=False, map_location=device()) if path.exists() else None


@dataclass
class Run:
    """A model on its way: what a checkpoint keeps, and the steps that change it."""

    path: Path
    model: torch.nn.Module
    optims: list[torch.optim.Optimizer]
    seed: int
    facts: dict
    step: int = 0
    elapsed: float = 0.0
    """Seconds of training, over all runs."""
    log: list[tuple[int, float, float]] = field(default_factory=list)
    """Step, elapsed, loss."""

    def __post_init__(self) -> None:
        self.draw, self.generator = random.Random(self.seed), torch.Generator().manual_seed(self.seed)
        self.ema = self._weights()
        saved = read(self.path)
        if saved:
            self.model.load_state_dict(saved["model"])
            self.ema, self.step, self.elapsed, self.log = (saved[name] for name in ("ema", "step", "elapsed", "log"))
            for optim, state in zip(self.optims, saved["optims"], strict=True):
                optim.load_state_dict(state)
            self.draw.setstate(saved["draw"])
            self.generator.set_state(saved["generator"].cpu())

    def _weights(self) -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in self.model.state_dict().items()}

    def save(self) -> None:
        partial = self.path.with_suffix(".partial")
        kept = dict(
            model=self.model.state_dict(),
            ema=self.ema,
            optims=[o.state_dict() for o in self.optims],
            step=self.step,
            elapsed=self.elapsed,
            log=self.log,
            draw=self.draw.getstate(),
            generator=self.generator.get_state(),
        )
        torch.save(kept | self.facts, partial)
        os.replace(partial, self.path)

    def averaged(self, watch: Callable[[], float] | None) -> str:
        """What `watch` says of the averaged weights."""
        if watch is None:
            return ""
        weights = self._weights()
        self.model.load_state_dict(self.ema)
        with torch.no_grad():
            value = watch()
        self.model.load_state_dict(weights)
        return f"  watched {value:.4f}"

    def learn(self, loss_of: Loss, rate: float) -> float:
        """One step; its loss."""
        began = time.monotonic()
        loss = loss_of(self.draw, self.generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optim in self.optims:
            for group in optim.param_groups:
                group["lr"] = rate
            optim.step()
            optim.zero_grad()
        keep = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                ema = self.ema[key]
                ema.lerp_(value, 1 - keep) if value.is_floating_point() else ema.copy_(value)
        self.step += 1
        lost = loss.item()
        self.elapsed += time.monotonic() - began
        return lost


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
    now = Run(path, model, optims, seed, facts or {})
    losses: list[float] = []
    warm_up = warm_up_steps if max_steps is None else max(1, max_steps // 5)
    total = minutes * 60 if max_steps is None else max_steps
    last_save = last_print = time.monotonic()
    with Progress(TextColumn(name + " {task.fields[state]}"), BarColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=total, state="starting")
        while (upto := now.elapsed if max_steps is None else now.step) < total:
            rate = (
                lr * min(1.0, (now.step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * upto / total)))
            )
            losses.append(now.learn(loss_of, rate))
            recent = float(np.mean(losses[-50:]))
            upto = now.elapsed if max_steps is None else now.step
            bar.update(task, completed=upto, state=f"step {now.step} loss {recent:.3f}")
            if time.monotonic() - last_print > PRINT_SECONDS:
                last_print = time.monotonic()
                now.log.append((now.step, now.elapsed, recent))
                picture.losses(path.with_suffix(".png"), now.log)
                said = f"step {now.step:6d}  loss {recent:.4f}{now.averaged(watch)}  lr {rate:.1e}"
                bar.console.print(f"{now.elapsed / 60:6.1f} min  {said}")
            if time.monotonic() - last_save > CHECKPOINT_SECONDS:
                last_save = time.monotonic()
                now.save()
    now.save()
    return losses
