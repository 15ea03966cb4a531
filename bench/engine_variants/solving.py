"""One speech in all ways, several speeches in one forward, and where the time of the sampler's own steps goes."""

import time
from collections.abc import Callable
from functools import partial

import torch

from bench.engine_variants.step import Asked, Ways
from bench.engine_variants.subject import Figures, Subject, Tasks, likeness
from bench.engine_ways import flops, profiled, solved

SIZES = [(1000, 7), (2000, 7), (1000, 16)]
"""Frames and steps."""
DRY_SIZE = 320, 3
BATCHES = [(416, 1), (416, 4), (416, 16), (800, 1), (800, 4)]
"""Frames of the longest, each next one is a little shorter; and how many."""
WITHOUT_KERNELS = Ways(packed_attention=True, gelu_in_product=True, band=8)
ALL = Ways(packed_attention=True, gelu_in_product=True, band=8, rope_kernel=True, norm_kernel=True)
WAYS = [
    Ways(),
    Ways(gelu_in_product=True),
    Ways(band=8),
    Ways(packed_attention=True),
    WITHOUT_KERNELS,
    Ways(rope_kernel=True),
    Ways(norm_kernel=True),
    ALL,
]
"""Our own kernels last: a wrong address in one fails all that comes after it."""


def variants(on: Subject) -> Tasks:
    """At each size the sampler itself first; at 16 steps only those that promise most."""
    for frames, steps in SIZES if on.cuda else [DRY_SIZE]:
        asked = on.asked(frames)
        expected = solved(on.exact, *asked[:3], steps, asked.guidance)
        size = f"{frames} frames, {steps} steps"
        own = partial(solved, on.sampler, *asked[:3], steps, asked.guidance)
        yield f"{size}: the sampler itself", partial(_timed, on, own, expected, steps)
        for ways in [Ways(), WITHOUT_KERNELS, ALL] if steps == 16 else WAYS:
            yield f"{size}: {ways}", partial(_varied, on, ways, asked, expected, steps)


def _timed(on: Subject, once: Callable[[], torch.Tensor], expected: torch.Tensor, steps: int) -> Figures:
    mel = once()[: len(expected)].float().clone()
    took = on.milliseconds(once)
    work = flops(on.loaded.arch, len(expected), 2 if on.loaded.cfg_strength else 1) * steps
    return {"ms": took, "of matmul peak": round(1000 * work / took / on.peak, 3), "cosine": likeness(mel, expected)}


def _varied(on: Subject, ways: Ways, asked: Asked, expected: torch.Tensor, steps: int) -> Figures:
    on.varied.ways = ways
    rows, began = on.varied.rows([asked]), time.perf_counter()
    solve = on.varied.solving(rows, steps)
    captured = round(1000 * (time.perf_counter() - began), 1)
    figures = _timed(on, lambda: solve(on.varied.rows([asked]))[0], expected, steps)
    return figures | {"steps alone ms": on.milliseconds(lambda: solve(rows)), "capture ms": captured}


def batches(on: Subject) -> Tasks:
    """Chunks of several listeners in one forward, beside each of them alone."""
    for ways in (Ways(), WITHOUT_KERNELS):
        for frames, many in BATCHES if on.cuda else [(DRY_SIZE[0], 1), (DRY_SIZE[0], 2)]:
            yield f"{many} of {frames} frames: {ways}", partial(_batch, on, ways, frames, many)


def _batch(on: Subject, ways: Ways, frames: int, many: int) -> Figures:
    on.varied.ways, steps = ways, 7 if on.cuda else DRY_SIZE[1]
    asked = [on.asked(frames - 3 * number) for number in range(many)]
    rows = on.varied.rows(asked)
    solve = on.varied.solving(rows, steps)
    mels = solve(on.varied.rows(asked)).clone()
    took = on.milliseconds(lambda: solve(rows))
    alike, differences = [], []
    for number in {0, many - 1}:
        alone = on.varied.rows([asked[number]])
        expected = on.varied.solving(alone, steps)(on.varied.rows([asked[number]]))[0, : len(asked[number].noise)]
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
