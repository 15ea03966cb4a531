"""One speech as the sampler solves it and with all steps one graph, several speeches in one forward, and where the time
of the sampler's own steps goes."""

import time
from collections.abc import Callable
from functools import partial

import torch

from bench.engine_variants.rows import Asked
from bench.engine_variants.subject import Figures, Subject, Tasks, likeness
from bench.engine_ways import flops, profiled, solved

SIZES = [(1000, 7), (2000, 7), (1000, 16)]
"""Frames and steps."""
DRY_SIZE = 320, 3
BATCHES = [(416, 1), (416, 4), (416, 16), (800, 1), (800, 4)]
"""Frames of the longest, each next one is a little shorter; and how many."""


def variants(on: Subject) -> Tasks:
    for frames, steps in SIZES if on.cuda else [DRY_SIZE]:
        asked = on.asked(frames)
        expected = solved(on.exact, *asked[:3], steps, asked.guidance)
        size = f"{frames} frames, {steps} steps"
        own = partial(solved, on.sampler, *asked[:3], steps, asked.guidance)
        yield f"{size}: the sampler itself", partial(_timed, on, own, expected, steps)
        yield f"{size}: one graph of all steps", partial(_one_graph, on, asked, expected, steps)


def _timed(on: Subject, once: Callable[[], torch.Tensor], expected: torch.Tensor, steps: int) -> Figures:
    began = time.perf_counter()
    mel = once()[: len(expected)].float().clone()
    first = round(1000 * (time.perf_counter() - began), 1)
    took = on.milliseconds(once)
    work = flops(on.loaded.arch, len(expected), 2 if on.loaded.cfg_strength else 1) * steps
    peak = round(1000 * work / took / on.peak, 3)
    return {"ms": took, "of matmul peak": peak, "cosine": likeness(mel, expected), "first ms": first}


def _one_graph(on: Subject, asked: Asked, expected: torch.Tensor, steps: int) -> Figures:
    rows, began = on.rows.rows([asked]), time.perf_counter()
    solve = on.rows.solving(rows, steps)
    captured = round(1000 * (time.perf_counter() - began), 1)
    figures = _timed(on, lambda: solve(on.rows.rows([asked]))[0], expected, steps)
    return figures | {"steps alone ms": on.milliseconds(lambda: solve(rows)), "capture ms": captured}


def batches(on: Subject) -> Tasks:
    """Chunks of several listeners in one forward, beside each of them alone."""
    for frames, many in BATCHES if on.cuda else [(DRY_SIZE[0], 1), (DRY_SIZE[0], 2)]:
        yield f"{many} of {frames} frames", partial(_batch, on, frames, many)


def _batch(on: Subject, frames: int, many: int) -> Figures:
    steps = 7 if on.cuda else DRY_SIZE[1]
    asked = [on.asked(frames - 3 * number) for number in range(many)]
    rows = on.rows.rows(asked)
    solve = on.rows.solving(rows, steps)
    mels = solve(on.rows.rows(asked)).clone()
    took = on.milliseconds(lambda: solve(rows))
    alike, differences = [], []
    for number in {0, many - 1}:
        one = asked[number]
        expected = solved(on.sampler, *one[:3], steps, one.guidance)
        mel = mels[number, : len(expected)]
        alike.append(likeness(mel, expected))
        differences.append(float((mel - expected).abs().max()))
    return {
        "ms": took,
        "ms each": round(took / many, 2),
        "cosine to alone": min(alike),
        "difference to alone": round(max(differences), 5),
    }


def profile(on: Subject) -> Tasks:
    yield "7 steps of the sampler itself", partial(_longest, on)


def _longest(on: Subject) -> Figures:
    """What takes most of the device's time: milliseconds and calls."""
    asked = on.asked(SIZES[0][0] if on.cuda else DRY_SIZE[0])
    work = partial(solved, on.sampler, *asked[:3], 7, asked.guidance)
    work()  # captures
    time_of = "self_device_time_total" if on.cuda else "self_cpu_time_total"
    events = sorted(profiled(work), key=lambda event: -getattr(event, time_of))[:20]
    return {event.key[:100]: f"{getattr(event, time_of) / 1000:.2f} ms, {event.count}" for event in events}
