"""The README's figures, asked as a user would ask: a real server on loopback, fixed seeds and texts, medians and p95.

Try: python -m bench.figures        (two minutes; nothing else should be running)
"""

import argparse
import concurrent.futures
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import torch
import uvicorn

import tts_core
from bench import untrained_vocos
from bench.launcher import Server
from engine.sampler import Sampler
from engine.vocoder import Vocoder
from speech import audio
from speech.request import Speech

ROOT = Path(__file__).parents[1]
TEXT_200 = (
    "The weather was warm and clear, and the whole family walked along the river until noon. After lunch the children "
    "played near the old mill, while their mother read a thick book in the shade of a birch."
)
TEXT_10_SECONDS = (
    "The library opens at nine and closes late on Friday. Two men were standing in front of the hotel, but nobody knew "
    "why. The judge listened to both sides of the story before lunch."
)
TEXT_LONG = TEXT_200 + " " + TEXT_10_SECONDS + " " + TEXT_200 + " " + TEXT_10_SECONDS
UPSTREAM_LOAD = """
from f5_tts.infer import utils_infer
from f5_tts.model import DiT
import yaml
folder = {folder!r}
arch = yaml.safe_load(open(folder + "/config.yaml"))["model"]["arch"]
utils_infer.load_vocoder(is_local=True, local_path={vocoder!r}, device="cpu")
utils_infer.load_model(DiT, arch, folder + "/model.safetensors", vocab_file=folder + "/vocab.txt", device="cpu")
"""


@contextmanager
def served() -> Iterator[tuple[str, float]]:
    """`uvicorn app:app` as users run it; its address and the seconds from exec to the first 200 on /ready."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log", "app:app", "--log-level", "warning")
        ready = server.start()
        try:
            yield server.address, ready
        finally:
            server.stop()


def ask(client: httpx.Client, address: str, text: str) -> tuple[float, float, float]:
    """Seconds to the first sample and to the last byte, and the least lead of sound sent over sound played."""
    began = time.perf_counter()
    first, got, lead = 0.0, -audio.WAV_HEADER_BYTES, float("inf")
    with client.stream("POST", f"{address}/tts", json={"text": text, "seed": 1}) as reply:
        reply.raise_for_status()
        size = int(reply.headers["content-length"])
        for part in reply.iter_raw():
            now = time.perf_counter() - began
            if got > 0:
                lead = min(lead, got / 2 / audio.SAMPLE_RATE - (now - first))
            got += len(part)
            if not first and got > 0:
                first = now
    assert got + audio.WAV_HEADER_BYTES == size
    return first, time.perf_counter() - began, lead


def shares_outside_the_model(text: str, rounds: int) -> list[float]:
    """Of a request's time, as its client sees it, what passed outside solver and vocoder. The server runs in this
    process."""
    inside = 0.0
    solve, vocode = Sampler.solve, Vocoder.samples

    def timed_solve(*inputs: Any) -> Generator[None, None, torch.Tensor]:
        nonlocal inside
        steps = solve(*inputs)
        while True:
            began = time.perf_counter()
            try:
                next(steps)
            except StopIteration as end:
                mel: torch.Tensor = end.value
                return mel
            finally:
                inside += time.perf_counter() - began
            yield

    def timed_vocode(*inputs: Any) -> torch.Tensor:
        nonlocal inside
        began = time.perf_counter()
        wave = vocode(*inputs)
        inside += time.perf_counter() - began
        return wave

    shares = []
    timed = patch.object(Sampler, "solve", timed_solve), patch.object(Vocoder, "samples", timed_vocode)
    with timed[0], timed[1], served_here() as address, httpx.Client(timeout=300) as client:
        for _ in range(rounds + 1):
            inside = 0.0
            whole = ask(client, address, text)[1]
            shares.append(1 - inside / whole)
    return shares[1:]  # without the first, which also opens the connection


@contextmanager
def served_here() -> Iterator[str]:
    """The same server in a thread of this process; its address."""
    import app

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def longest_step(tts: tts_core.TTS, text: str) -> float:
    longest, last = 0.0, time.perf_counter()
    for _ in tts.speak(tts.plan(Speech(text, seed=1))):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def health_waits(address: str, text: str) -> list[float]:
    """Seconds that /health took, again and again while a speech was made."""
    waits = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool, httpx.Client() as client:
        speech = pool.submit(ask, httpx.Client(timeout=300), address, text)
        while not speech.done():
            began = time.perf_counter()
            client.get(f"{address}/health").raise_for_status()
            waits.append(time.perf_counter() - began)
            time.sleep(0.003)
        speech.result()
    return waits


def p95(values: list[float]) -> float:
    return float(np.quantile(values, 0.95))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=12)
    chosen = options.parse_args()
    ready, upstream = [], []
    loading = UPSTREAM_LOAD.format(folder=str(tts_core.EMBEDDED_MODEL), vocoder=str(untrained_vocos.folder()))
    for _ in range(3):
        with served() as (_, seconds):
            ready.append(seconds)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", loading], check=True, capture_output=True)
        upstream.append(time.perf_counter() - began)
    first, whole = [], []
    with served() as (address, _), httpx.Client(timeout=300) as client:
        cold = ask(client, address, TEXT_200)[0]
        for _ in range(chosen.rounds):  # interleaved: the machine's drift hits all alike
            first.append(ask(client, address, TEXT_200)[0])
            whole.append(ask(client, address, TEXT_10_SECONDS)[1])
        lead = [ask(client, address, TEXT_LONG)[2] for _ in range(3)]
        waits = health_waits(address, TEXT_LONG)
    outside = shares_outside_the_model(TEXT_10_SECONDS, chosen.rounds)
    tts = tts_core.TTS()
    step = longest_step(tts, TEXT_LONG)
    seconds = tts.plan(Speech(TEXT_10_SECONDS, seed=1)).seconds
    median = statistics.median
    rows = [
        ("ready after exec, s", median(ready), max(ready)),
        ("  upstream's import and load of the same model, s", median(upstream), max(upstream)),
        (f"first audio of {len(TEXT_200)} characters, s", median(first), p95(first)),
        ("  the very first request, s", cold, cold),
        (f"real-time factor over {seconds:.1f} s of speech", median(whole) / seconds, p95(whole) / seconds),
        ("time outside solver and vocoder, % of a request", 100 * median(outside), 100 * p95(outside)),
        ("least lead of sound over playback, s", median(lead), min(lead)),
        ("longest step, ms", 1000 * step, 1000 * step),
        ("/health while speaking, ms", 1000 * median(waits), 1000 * max(waits)),
    ]
    print(f"{'':52s} {'median':>8s} {'worst/p95':>10s}")
    for name, middle, worst in rows:
        print(f"{name:52s} {middle:8.3f} {worst:10.3f}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    print(
        json.dumps(
            {name.strip(): round(middle, 4) for name, middle, _ in rows}
            | {
                "machine": f"{_processor()}, {os.cpu_count()} cores",
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "commit": commit,
            }
        )
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
