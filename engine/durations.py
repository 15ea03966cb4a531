"""How long each symbol lasts, settled before inference: a small predictor, and the length regulator that repeats tokens over frames."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class DurationPredictor:
    """Weights of durations.safetensors: an embedding, two convolutions and a projection."""

    def __init__(self, file: Path):
        self._w = {name: weight.float() for name, weight in load_file(file).items()}

    def predict_durations(self, ids: torch.Tensor) -> np.ndarray:
        """(symbols,) int64 → (symbols,) float64: frames that an average speaker of the training corpus holds each symbol."""
        w = self._w
        h = w["embed"][ids].t()[None]
        for layer in ("conv1", "conv2"):
            weight = w[f"{layer}.weight"]
            h = F.relu(F.conv1d(h, weight, w[f"{layer}.bias"], padding=weight.shape[-1] // 2))
        durations: np.ndarray = F.conv1d(h, w["out.weight"], w["out.bias"])[0, 0].exp().numpy().astype(np.float64)
        return durations


def length_regulate(ids: torch.Tensor, durations: np.ndarray, frames: int) -> torch.Tensor:
    """(frames,): each id repeated in proportion to its duration."""
    edges = np.round(np.concatenate([[0], np.cumsum(durations)]) * (frames / durations.sum())).astype(np.int64)
    return torch.repeat_interleave(ids, torch.from_numpy(np.diff(edges)))
