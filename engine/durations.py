"""How long each symbol lasts, settled before inference: a predictor, and the regulator that repeats tokens."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engine.weights import ModelUnavailable, read_tensors

WHOLE = {"embed", "out.weight", "out.bias"}


def log_frames(w: dict[str, torch.Tensor], ids: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """(batch, symbols) → (batch, symbols), log frames of each, as an average speaker holds it.

    `real` is 1 where a symbol is, 0 where a row is padded; None: there is no padding."""
    here = torch.ones_like(ids)[:, None].float() if real is None else real[:, None].float()
    h = w["embed"][ids].transpose(1, 2) * here
    layer = 0
    while f"conv{layer}.weight" in w:
        weight = w[f"conv{layer}.weight"]
        h = (h + F.relu(F.conv1d(h, weight, w[f"conv{layer}.bias"], padding=weight.shape[-1] // 2))) * here
        layer += 1
    return F.conv1d(h, w["out.weight"], w["out.bias"])[:, 0]


class DurationPredictor:
    """Weights of durations.safetensors: an embedding, residual convolutions, a projection. Raises ModelUnavailable."""

    def __init__(self, file: Path, vocab_size: int):
        self._w = {name: weight.float() for name, weight in read_tensors(file).items()}
        layers = (len(self._w) - len(WHOLE)) // 2
        names = WHOLE | {f"conv{i}.{part}" for i in range(layers) for part in ("weight", "bias")}
        if self._w.keys() != names:
            raise ModelUnavailable(
                f"{file} holds {', '.join(sorted(self._w))}; it must hold {', '.join(sorted(WHOLE))} and conv0, conv1 …"
            )
        if len(self._w["embed"]) != vocab_size:
            raise ModelUnavailable(f"{file} knows {len(self._w['embed'])} tokens, and the vocabulary has {vocab_size}")

    def predict_durations(self, ids: torch.Tensor) -> np.ndarray:
        """(symbols,) int64 → (symbols,) float64: frames that an average speaker of the corpus holds each."""
        durations: np.ndarray = log_frames(self._w, ids[None])[0].exp().numpy().astype(np.float64)
        return durations


def edges(durations: np.ndarray, frames: int) -> np.ndarray:
    """(symbols + 1,) int64: where each begins and the last ends, when together they last so many frames."""
    ends = np.concatenate([[0], np.cumsum(durations)])
    at: np.ndarray = np.round(ends * (frames / durations.sum())).astype(np.int64)
    return at


def length_regulate(ids: torch.Tensor, durations: np.ndarray, frames: int) -> torch.Tensor:
    """(frames,): each id repeated in proportion to its duration."""
    return torch.repeat_interleave(ids, torch.from_numpy(np.diff(edges(durations, frames))))
