"""What a format costs: its first bytes beside those of a WAV, paired, and the processor's time to encode it.

Try: python -m bench.formats        (a minute; nothing else should be running)
"""

import argparse
import statistics
import time

import httpx
import numpy as np

import tts_core
from bench.figures import TEXT_10_SECONDS, TEXT_200, served
from speech.audio import SAMPLE_RATE
from speech.formats import FORMATS, Format, encoded
from speech.request import Speech


def first_byte(client: httpx.Client, address: str, format: str) -> float:
    """Seconds."""
    began = time.perf_counter()
    with client.stream("POST", f"{address}/tts", json={"text": TEXT_200, "seed": 1, "format": format}) as reply:
        reply.raise_for_status()
        parts = reply.iter_raw()
        next(parts)
        waited = time.perf_counter() - began
        for _ in parts:
            pass
    return waited


def cost(format: Format, samples: np.ndarray) -> tuple[float, int]:
    """Processor seconds to encode them, and the bytes they make."""
    began = time.process_time()
    size = sum(len(part.data) for part in encoded([samples], format, len(samples)) if part)
    return time.process_time() - began, size


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20)
    chosen = options.parse_args()
    names = [name for name, format in FORMATS.items() if format.available]
    waits: dict[str, list[float]] = {name: [] for name in names}
    with served() as (address, _), httpx.Client(timeout=300) as client:
        for _ in range(chosen.rounds):
            for name in names:
                waits[name].append(first_byte(client, address, name))
    tts = tts_core.TTS()
    samples = np.concatenate(list(tts.samples(tts.plan(Speech(TEXT_10_SECONDS, seed=1)))))
    seconds = len(samples) / SAMPLE_RATE
    print(f"{'':6s}{'first bytes':>14s}{'after a WAV':>14s}{'to encode 1 s':>16s}{'kbit/s':>10s}")
    for name in names:
        later = statistics.median(mine - wav for mine, wav in zip(waits[name], waits["wav"], strict=True))
        spent, size = min(cost(FORMATS[name], samples) for _ in range(5))
        first = 1000 * statistics.median(waits[name])
        print(
            f"{name:6s}{first:11.1f} ms{1000 * later:11.1f} ms{1000 * spent / seconds:13.2f} ms"
            f"{8 * size / seconds / 1000:10.1f}"
        )


if __name__ == "__main__":
    main()
