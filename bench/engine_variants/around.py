"""What is around the solver: listeners of a server, and what is done once for each chunk."""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import tts_core
from bench.client import at_once
from bench.engine_variants.subject import REFERENCE_FRAMES, ROUNDS, Figures, Subject, Tasks
from bench.launcher import Server
from bench.measure import LISTENING
from speech import audio
from speech.request import Speech

LISTENERS = (1, 8, 32, 48, 64)


def listeners(on: Subject) -> Tasks:
    """Who ask a server in the same instant. The server is a process of its own, with nothing but this beside it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        server = Server(log, TTS_MODEL=str(on.folder), TTS_DEVICE=str(on.place), TTS_MAX_WAITING="1000")
        try:
            yield "ready", lambda: {"after s": round(server.start(), 2)}
            yield "the first request", lambda: _heard(server.port, 1)
            for many in LISTENERS if on.cuda else LISTENERS[:2]:
                yield f"{many} at once", partial(_heard, server.port, many)
        finally:
            server.kill()


def _heard(port: int, many: int) -> Figures:
    all_heard = at_once(port, [LISTENING] * many)
    firsts = sorted(one.first for one in all_heard)
    return {
        "gap-free": sum(one.gap_free for one in all_heard),
        "first audio, median s": round(statistics.median(firsts), 3),
        "first audio, p95 s": round(firsts[int(0.95 * (many - 1))], 3),
        "all sent after s": round(max(one.last for one in all_heard), 2),
        "speech s": round(all_heard[0].seconds, 1),
    }


def costs(on: Subject) -> Tasks:
    """Around the steps of a chunk: how long each holds up the processor, and until the device has done it."""
    tts = tts_core.TTS(on.folder, on=str(on.place))
    speech = Speech(str(LISTENING["text"]), seed=1)
    frames = tts.plan(speech).chunks[0].frames
    asked, host = on.asked(frames), torch.randn(frames, audio.MEL_BANDS)
    drawn = host.to(on.place)
    works: dict[str, Callable[[], object]] = {
        "plan": lambda: tts.plan(speech),
        "noise drawn on the host": lambda: torch.randn(frames, audio.MEL_BANDS),
        "noise sent to the device": lambda: host.to(on.place),
        "text, one pass of it without a graph": lambda: on.sampler._text(asked.tokens, frames, False),
        "all that steps read": lambda: on.sampler._step_inputs(*asked[:3], asked.guidance),
        "vocoder": lambda: tts._vocoder.samples(drawn[REFERENCE_FRAMES:]),
        "mel to the host": lambda: drawn.cpu(),
    }
    for name, work in works.items():
        yield f"{name}, {frames} frames", partial(_cost, work, on.cuda)


def _cost(work: Callable[[], object], cuda: bool) -> Figures:
    held, took = [], []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        work()
        held.append(1000 * (time.perf_counter() - began))
        if cuda:
            torch.cuda.synchronize()
        took.append(1000 * (time.perf_counter() - began))
    return {
        "processor ms": round(statistics.median(held[1:]), 2),
        "until done ms": round(statistics.median(took[1:]), 2),
        "first ms": round(took[0], 1),
    }
