"""How long each symbol lasts, settled before inference: a predictor, and the regulator that repeats tokens."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engine.weights import ModelUnavailable, read_tensors

NAMES = {"embed", "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "out.weight", "out.bias"}


class DurationPredictor:
    """Weights of durations.safetensors: an embedding, two convolutions and a projection. Raises ModelUnavailable."""

    def __init__(self, file: Path, vocab_size: int):
        self._w = {name: weight.float() for name, weight in read_tensors(file).items()}
        if self._w.keys() != NAMES:
            raise ModelUnavailable(
                f"{file} holds {', '.join(sorted(self._w))}; it must hold {', '.join(sorted(NAMES))}"
            )
        if len(self._w["embed"]) != vocab_size:
            raise ModelUnavailable(f"{file} knows {len(self._w['embed'])} tokens, and the vocabulary has {vocab_size}")

    def predict_durations(self, ids: torch.Tensor) -> np.ndarray:
        """(symbols,) int64 → (symbols,) float64: frames that an average speaker of the corpus holds each."""
        w = self._w
        h = w["embed"][ids].t()[None]
        for layer in ("conv1", "conv2"):
            weight = w[f"{layer}.weight"]
            h = F.relu(F.conv1d(h, weight, w[f"{layer}.bias"], padding=weight.shape[-1] // 2))
        durations: np.ndarray = F.conv1d(h, w["out.weight"], w["out.bias"])[0, 0].exp().numpy().astype(np.float64)
        return durations


def edges(durations: np.ndarray, frames: int) -> np.ndarray:
    """(symbols + 1,) int64: where each begins and the last ends, when together they last so many frames."""
    ends = np.concatenate([[0], np.cumsum(durations)])
    at: np.ndarray = np.round(ends * (frames / durations.sum())).astype(np.int64)
    return at


def length_regulate(ids: torch.Tensor, durations: np.ndarray, frames: int) -> torch.Tensor:
    """(frames,): each id repeated in proportion to its duration."""
    return torch.repeat_interleave(ids, torch.from_numpy(np.diff(edges(durations, frames))))
