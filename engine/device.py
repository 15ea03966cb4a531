"""Where the model runs and in which number format, decided once, with the reason kept for /health."""

import contextlib
import ctypes
import math
import os
from dataclasses import dataclass

import torch

from engine.cpu_threads import CpuThreads, most_threads

FRAME_BUCKET = 32
"""Frames are rounded up to multiples: oneDNN keeps kernels for each length it met, 1.6 MB with the embedded model."""


def round_up_frames(frames: int) -> int:
    return math.ceil(frames / FRAME_BUCKET) * FRAME_BUCKET


@dataclass(frozen=True, slots=True)
class Device:
    place: torch.device
    dtype: torch.dtype
    """Of the flow model's matrix products; the solver's state is float32 everywhere."""
    reason: str
    threads: CpuThreads | None = None
    """That of a CPU's products."""


def choose(wanted: str = "auto") -> Device:
    """`wanted`: auto, cpu, cuda, cuda:1, mps. Raises ValueError in words where it is not there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "cpu":
        return _cpu()
    if wanted == "mps" and torch.backends.mps.is_available():
        return Device(
            torch.device("mps"), torch.float32, "fp32: Apple's half precision overflows in F5's attention on some chips"
        )
    if wanted.split(":")[0] == "cuda" and torch.cuda.is_available():
        device = torch.device(wanted)
        if device.index is not None:  # streams, graphs and kernels are those of the current device
            torch.cuda.set_device(device)
        if torch.cuda.get_device_capability(device)[0] >= 7:
            return Device(
                device, torch.float16, "fp16: compute capability 7 or newer; a chunk with NaN is made again in fp32"
            )
        return Device(device, torch.float32, "fp32: compute capability below 7 has no fast fp16")
    raise ValueError(f"TTS_DEVICE={wanted} is not on this machine; use auto, cpu, cuda, cuda:N or mps")


def _cpu() -> Device:
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    # oneDNN keeps what it made for 1 024 shapes, 0.4 GB once every length was met by one thread and by two.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    most, why = most_threads()
    threads = f"{most} thread{'s' if most > 1 else ''} at most: {why}; fewer beside busy programs"
    native = [name for name in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(name)]
    if native:
        dtype, why = torch.bfloat16, f"bf16 products, the rest in fp32: this processor has {native[0]}"
    else:
        dtype, why = torch.float32, "fp32: this processor emulates half precision, up to 160 times slower"
    return Device(torch.device("cpu"), dtype, f"{why}; {threads}", CpuThreads(most))


def _keep_freed_memory() -> None:
    """glibc hands large freed blocks back to the system, and the next solver step faults for each 4 KB of them:
    half of its time from 700 frames on. Below these limits freed memory waits for the next step instead."""
    trim_threshold, mmap_threshold = -1, -3  # as malloc.h numbers them
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such switch
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 64 << 20)
        libc.mallopt(trim_threshold, 256 << 20)


def give_back_freed_memory() -> None:
    """What many lengths leave between what is in use, to the system: 0.1 GB, in 7 ms, 35 on a loaded machine."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
