"""What training has reached, small enough to commit: averaged weights as int8 rows, each with a scale, and how far it
came.

A run that finds its checkpoint restored so goes on with a fresh optimizer.
Try: python -m train.keep save vocoder      and on another machine: python -m train.keep restore vocoder"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

KEPT = Path("train/kept")
SMALL = 256
"""Tensors of fewer numbers, and all vectors, stay fp16: norms and biases do not forgive."""
NOT_KEPT = {"model", "ema", "optims", "beside"}
"""Of a checkpoint's facts: weights go in by themselves, and what only goes on training stays out."""


def packed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    out = {}
    for name, weight in weights.items():
        if weight.ndim < 2 or weight.numel() < SMALL or not weight.is_floating_point():
            out[name] = (weight.half() if weight.is_floating_point() else weight).contiguous()
            continue
        rows = weight.float().flatten(1)
        scale = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-8)
        out[name] = (rows / scale).round().to(torch.int8).view(weight.shape).contiguous()
        out[name + "/scale"] = scale[:, 0].contiguous()
    return out


def unpacked(kept: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    out = {}
    for name, weight in kept.items():
        if name.endswith("/scale"):
            continue
        scale = kept.get(name + "/scale")
        if scale is not None:
            weight = weight.float() * scale.view(-1, *[1] * (weight.ndim - 1))
        out[name] = weight.float() if weight.is_floating_point() else weight
    return out


def save(name: str, build: Path) -> None:
    saved = torch.load(build / f"{name}.pt", map_location="cpu", weights_only=False)
    facts = {k: v for k, v in saved.items() if k not in NOT_KEPT}
    weights = {k: v for k, v in saved["ema"].items() if "freq" not in k}  # rope's tables: a new model has them
    KEPT.mkdir(parents=True, exist_ok=True)
    save_file(packed(weights), KEPT / f"{name}.safetensors", {"facts": json.dumps(facts, ensure_ascii=False)})


def restore(name: str, build: Path) -> None:
    """Refuses to write over a checkpoint that is there."""
    path = build / f"{name}.pt"
    if path.exists():
        raise SystemExit(f"{path} is there already; move it away first")
    with safe_open(KEPT / f"{name}.safetensors", "pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        weights = unpacked({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    build.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(facts | {"model": weights, "ema": weights}, partial)
    os.replace(partial, path)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=["save", "restore"])
    options.add_argument("name", help="vocoder or flow")
    options.add_argument("--build", type=Path, default=Path("build/voice"))
    chosen = options.parse_args()
    (save if chosen.what == "save" else restore)(chosen.name, chosen.build)
