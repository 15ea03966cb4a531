"""One speech as the sampler solves it, several in one forward, and where the time of the sampler's own steps goes."""

import time
from collections.abc import Callable
from functools import partial

import torch

from bench.engine_variants.subject import Asked, Figures, Subject, Tasks, likeness
from bench.engine_ways import flops, profiled, solved, solved_in_turns

SIZES = [(1000, 7), (2000, 7), (1000, 16)]
"""Frames and steps."""
DRY_SIZE = 320, 3
BATCHES = [(416, 1), (416, 4), (416, 9), (416, 33), (800, 1), (800, 5)]
"""Frames of the longest, each next one is a little shorter; and how many. The first goes alone."""


def sizes(on: Subject) -> Tasks:
    for frames, steps in SIZES if on.cuda else [DRY_SIZE]:
        asked = on.asked(frames, steps)
        expected = solved(on.exact, *asked)
        yield (
            f"{frames} frames, {steps} steps",
            partial(_timed, on, partial(solved, on.sampler, *asked), expected, asked),
        )


def _timed(on: Subject, once: Callable[[], torch.Tensor], expected: torch.Tensor, asked: Asked) -> Figures:
    began = time.perf_counter()
    mel = once()[: len(expected)].float().clone()
    first = round(1000 * (time.perf_counter() - began), 1)
    took = on.milliseconds(once)
    work = flops(on.loaded.arch, len(expected), 2 if asked.guidance else 1) * asked.steps
    peak = round(1000 * work / took / on.peak, 3)
    return {"ms": took, "of matmul peak": peak, "cosine": likeness(mel, expected), "first ms": first}


def batches(on: Subject) -> Tasks:
    """Chunks of several listeners who come at once, beside each of them alone."""
    for frames, many in BATCHES if on.cuda else [(DRY_SIZE[0], 1), (DRY_SIZE[0], 2)]:
        yield f"{many} of {frames} frames", partial(_batch, on, frames, many)


def _batch(on: Subject, frames: int, many: int) -> Figures:
    asked = [on.asked(frames - 3 * number, 7 if on.cuda else DRY_SIZE[1]) for number in range(many)]
    mels = solved_in_turns(on.sampler, asked)
    took = on.milliseconds(lambda: solved_in_turns(on.sampler, asked))
    alike, differences = [], []
    for number in {0, many - 1}:
        expected = solved(on.sampler, *asked[number])
        alike.append(likeness(mels[number], expected))
        differences.append(float((mels[number] - expected).abs().max()))
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
    work = partial(solved, on.sampler, *asked)
    work()  # captures
    time_of = "self_device_time_total" if on.cuda else "self_cpu_time_total"
    events = sorted(profiled(work), key=lambda event: -getattr(event, time_of))[:20]
    return {event.key[:100]: f"{getattr(event, time_of) / 1000:.2f} ms, {event.count}" for event in events}
