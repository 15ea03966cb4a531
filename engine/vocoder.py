"""Mel frames in, samples out: a Vocos checkpoint (arXiv 2306.00814), as its authors save it. Knows no voices."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml

from engine.device import round_up_frames
from engine.linear import linear, linear_gelu, packed
from engine.weights import ModelUnavailable, Shape, check_tensors, read_tensors
from speech.audio import FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS

_KERNEL = 7
MAX_MAGNITUDE = 1e2
NOT_READ = "feature_extractor.", "head.istft."
"""Of the file: what makes the mel in training, and the window."""
SPOKEN: dict[str, dict[str, object]] = {
    "backbone": {"input_channels": MEL_BANDS},
    "head": {"n_fft": FFT_SAMPLES, "hop_length": HOP_SAMPLES, "padding": "center"},
}


class Vocoder:
    """`folder` holds config.yaml and pytorch_model.bin. Raises ModelUnavailable.

    `dtype` is that of the blocks' matrix products; the rest is fp32: exp and the inverse transform want digits."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype = torch.float32):
        backbone = _read_config(folder / "config.yaml")
        self._layers: int = backbone["num_layers"]
        file = folder / "pytorch_model.bin"
        weights = read_tensors(file, lambda name: not name.startswith(NOT_READ))
        found = {name: tuple(weight.shape) for name, weight in weights.items()}
        check_tensors(str(file), _expected_shapes(backbone), found, "its config.yaml")
        self._w = {k: v.to(device, dtype if "pwconv" in k else torch.float32) for k, v in weights.items()}
        self._w |= {k: packed(v) for k, v in self._w.items() if ".pwconv" in k and v.ndim == 2}
        self._dtype = dtype
        self._window = torch.hann_window(FFT_SAMPLES, device=device)

    def samples(self, mel: torch.Tensor) -> torch.Tensor:
        """(frames, 100) → ((frames - 1) * HOP_SAMPLES,) float32."""
        w, frames = self._w, len(mel)
        h = F.pad(mel.t(), (0, round_up_frames(frames) - frames))
        h = F.conv1d(h[None], w["backbone.embed.weight"], w["backbone.embed.bias"], padding=_KERNEL // 2)
        size = (h.shape[1],)
        h = F.layer_norm(h[0].t(), size, w["backbone.norm.weight"], w["backbone.norm.bias"], 1e-6)
        for i in range(self._layers):
            at = f"backbone.convnext.{i}."
            h[frames:] = 0
            y = F.conv1d(
                h.t()[None], w[at + "dwconv.weight"], w[at + "dwconv.bias"], padding=_KERNEL // 2, groups=size[0]
            )[0].t()
            y = F.layer_norm(y, size, w[at + "norm.weight"], w[at + "norm.bias"], 1e-6).to(self._dtype)
            y = linear_gelu(y, w[at + "pwconv1.weight"], w[at + "pwconv1.bias"])
            h = torch.addcmul(h, linear(y, w[at + "pwconv2.weight"], w[at + "pwconv2.bias"]).float(), w[at + "gamma"])
        h = F.layer_norm(
            h[:frames], size, w["backbone.final_layer_norm.weight"], w["backbone.final_layer_norm.bias"], 1e-6
        )
        magnitude, phase = F.linear(h, w["head.out.weight"], w["head.out.bias"]).t().chunk(2)
        spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
        return torch.istft(spectrum, FFT_SAMPLES, HOP_SAMPLES, window=self._window, center=True)


def _read_config(file: Path) -> dict[str, Any]:
    """The backbone's arguments."""
    try:
        config = yaml.safe_load(file.read_bytes())
        parts = {part: dict(config[part]["init_args"]) for part in SPOKEN}
        for key in ("dim", "intermediate_dim", "num_layers"):
            if not isinstance(parts["backbone"][key], int) or not 1 <= parts["backbone"][key] <= 16_384:
                raise ModelUnavailable(f"{file}: {key} must be a whole number from 1 to 16384")
    except (yaml.YAMLError, UnicodeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelUnavailable(f"{file} does not describe a Vocos vocoder: {type(error).__name__} {reason}") from None
    for part, spoken in SPOKEN.items():
        for key, value in spoken.items():
            if parts[part].get(key, value) != value:
                raise ModelUnavailable(f"{file}: {key} is {parts[part][key]!r}; only {value!r} is spoken here")
    return parts["backbone"]


def _expected_shapes(backbone: dict[str, Any]) -> dict[str, Shape]:
    dim, inner = backbone["dim"], backbone["intermediate_dim"]
    shapes: dict[str, Shape] = {
        "backbone.embed.weight": (dim, MEL_BANDS, _KERNEL),
        "head.out.weight": (FFT_SAMPLES + 2, dim),
        "head.out.bias": (FFT_SAMPLES + 2,),
    }
    vectors = ["backbone.embed.bias"]
    vectors += [f"backbone.{norm}.{kind}" for norm in ("norm", "final_layer_norm") for kind in ("weight", "bias")]
    for i in range(backbone["num_layers"]):
        at = f"backbone.convnext.{i}."
        shapes |= {at + "dwconv.weight": (dim, 1, _KERNEL), at + "pwconv1.bias": (inner,)}
        shapes |= {at + "pwconv1.weight": (inner, dim), at + "pwconv2.weight": (dim, inner)}
        vectors += [at + name for name in ("gamma", "dwconv.bias", "norm.weight", "norm.bias", "pwconv2.bias")]
    return shapes | dict.fromkeys(vectors, (dim,))
