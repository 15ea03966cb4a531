"""The two ways to solve, upstream's and ours, with the same weights; a checkpoint of the base model's shape; what a
machine could do at most. Knows no tables."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

import tts_core
from engine.arch import HEAD_DIM, POSITION_GROUPS, POSITION_KERNEL, Arch
from engine.checkpoint import PRESETS, UNREAD, read_vocab, read_weights
from engine.sampler import Sampler
from engine.stepping import run_to_end
from speech import audio

CPU = torch.device("cpu")


def flops(arch: Arch, frames: int, passes: int) -> float:
    """Of one solver step's matrix products, attention and position convolutions; norms and activations are not
    counted."""
    block = 2 * arch.dim**2 * (4 + 2 * arch.ff_mult) + 4 * frames * arch.heads * HEAD_DIM
    position = 2 * 2 * POSITION_KERNEL * (arch.dim // POSITION_GROUPS) * arch.dim
    return passes * frames * (arch.depth * block + position + 2 * 2 * audio.MEL_BANDS * arch.dim)


def seconds_of(work: Callable[[], object], place: torch.device) -> float:
    began = time.perf_counter()
    work()
    if place.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matmul_peak(place: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square product, the best of many."""
    side = 8192 if place.type == "cuda" else 2048
    a = torch.randn(side, side, device=place).to(dtype)
    a @ a
    return 2 * side**3 / min(seconds_of(lambda: a @ a, place) for _ in range(10))


def upstream_model(folder: Path, place: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """Upstream's own classes with a folder's weights; its loader imports seconds of what only its command needs."""
    from f5_tts.model import CFM, DiT

    arch = yaml.safe_load((folder / "config.yaml").read_text())["model"]["arch"]
    vocab = {token: i for i, token in enumerate(read_vocab(folder / "vocab.txt"))}
    with place:
        model = CFM(DiT(**arch, text_num_embeds=len(vocab), mel_dim=audio.MEL_BANDS), vocab_char_map=vocab)
    weights = read_weights(folder / "model.safetensors", lambda name: name not in UNREAD)
    missing, _ = model.transformer.load_state_dict(weights, strict=False)
    assert set(missing) <= UNREAD, missing
    return model.to(place, dtype).eval()


def base_folder(folder: Path, place: torch.device = CPU) -> Path:
    """A checkpoint of F5TTS_v1_Base's shape with random weights, drawn on `place`: a GPU takes no time for it."""
    from f5_tts.model.backbones.dit import DiT

    arch = PRESETS["F5TTS_v1_Base"].arch
    names = ("dim", "depth", "heads", "ff_mult", "text_dim", "conv_layers", "text_mask_padding", "pe_attn_head")
    shape = {name: getattr(arch, name) for name in names}
    letters = [chr(code) for code in range(0x20, 0x7F)]
    vocab = [*letters, *(chr(0x4E00 + i) for i in range(2545 - len(letters)))]
    torch.manual_seed(1)
    with place:
        model = DiT(**shape, text_num_embeds=len(vocab), mel_dim=audio.MEL_BANDS)
    for weight in model.parameters():  # upstream starts some at zero, where arithmetic may be quicker
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.02)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"ema_model.transformer.{k}": v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            {"model": {"name": "F5TTS_v1_Base", "backbone": "DiT", "arch": shape}, "direct": {"tokenizer": "char"}}
        )
    )
    (folder / "vocoder").symlink_to(tts_core.EMBEDDED_MODEL / "vocoder")
    return folder


@torch.inference_mode()
def solved(
    sampler: Sampler, reference: torch.Tensor, tokens: torch.Tensor, noise: torch.Tensor, steps: int, guidance: float
) -> torch.Tensor:
    return run_to_end(sampler.solve(reference, tokens, noise, steps, guidance))


def solved_in_turns(sampler: Sampler, asked: Sequence[tuple[Any, ...]]) -> list[torch.Tensor]:
    """The mels of what `Sampler.solve` takes, each advanced by turns, as a server advances its listeners'."""
    running = {number: sampler.solve(*one) for number, one in enumerate(asked)}
    mels: dict[int, torch.Tensor] = {}
    while running:
        for number, solving in list(running.items()):
            try:
                next(solving)
            except StopIteration as end:
                mels[number] = end.value.clone()
                del running[number]
    return [mels[number] for number in range(len(asked))]


def profiled(work: Callable[[], object]) -> Any:
    """What the processor asked for and the device did meanwhile."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        work()
    return profile.key_averages()


def launches_per_step(events: Any, steps: int) -> float:
    """Times that the processor asks the device for something in one solver step: kernels, graphs, copies."""
    asked = ("Launch", "MemcpyAsync", "MemsetAsync")
    launches = sum(
        event.count for event in events if event.key.startswith("cu") and any(word in event.key for word in asked)
    )
    return float(launches) / steps
