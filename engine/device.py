"""Where the model runs and in which number format, decided once, with the reason kept for /health."""

import contextlib
import ctypes
import math
import os
from dataclasses import dataclass

import torch

FRAME_BUCKET = 32
"""Frames are rounded up to a multiple of this: oneDNN keeps kernels for each length it has met, 1.6 MB of them a length for the embedded model."""


def round_up_frames(frames: int) -> int:
    return math.ceil(frames / FRAME_BUCKET) * FRAME_BUCKET


@dataclass(frozen=True, slots=True)
class Device:
    place: torch.device
    dtype: torch.dtype
    """Of the flow model's matrix products; the solver's state is float32 everywhere."""
    reason: str


def choose(wanted: str = "auto") -> Device:
    """`wanted`: auto, cpu, cuda, cuda:1, mps. Raises ValueError in words where it is not there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "cpu":
        torch.set_num_threads(_physical_cores())
        torch.set_flush_denormal(True)
        _keep_freed_memory()
        native = [name for name in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(name)]
        if native:
            return Device(
                torch.device("cpu"), torch.bfloat16, f"bf16 products, the rest in fp32: this processor has {native[0]}"
            )
        return Device(
            torch.device("cpu"), torch.float32, "fp32: this processor emulates half precision, up to 160 times slower"
        )
    if wanted == "mps" and torch.backends.mps.is_available():
        return Device(
            torch.device("mps"), torch.float32, "fp32: Apple's half precision overflows in F5's attention on some chips"
        )
    if wanted.split(":")[0] == "cuda" and torch.cuda.is_available():
        device = torch.device(wanted)
        if torch.cuda.get_device_capability(device)[0] >= 7:
            return Device(
                device, torch.float16, "fp16: compute capability 7 or newer; a chunk with NaN is made again in fp32"
            )
        return Device(device, torch.float32, "fp32: compute capability below 7 has no fast fp16")
    raise ValueError(f"TTS_DEVICE={wanted} is not on this machine; use auto, cpu, cuda, cuda:N or mps")


def _physical_cores() -> int:
    """Of those this process may use: two hyper-threads of one core share its multipliers and only get in each other's way."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                cores.add(file.read().strip())
        except OSError:
            return len(list(allowed))
    return max(1, len(cores))


def _keep_freed_memory() -> None:
    """glibc hands large freed blocks back to the system, and the next solver step pays a page fault for each 4 KB of them: half of its time
    from 700 frames on. Below these limits freed memory waits for the next step instead."""
    trim_threshold, mmap_threshold = -1, -3  # as malloc.h numbers them
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such switch
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 64 << 20)
        libc.mallopt(trim_threshold, 256 << 20)
