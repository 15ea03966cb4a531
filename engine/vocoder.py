"""Mel frames in, samples out. Two kinds of checkpoint, told apart by the head that config.yaml names:

vocos.heads.ISTFTHead      Vocos (arXiv 2306.00814), as its authors save it
direct.SourceFilterHead    pulses and noise, shaped by the same backbone (source_filter.py)

Knows no voices.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml

from engine import source_filter
from engine.device import round_up_frames
from engine.istft import istft
from engine.linear import linear, linear_gelu, packed
from engine.weights import ModelUnavailable, Shape, check_tensors, read_tensors
from speech.audio import FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS

_KERNEL = 7
MAX_MAGNITUDE = 1e2
SOURCE_FILTER_HEAD = "direct.SourceFilterHead"
OUTPUTS = {
    "vocos.heads.ISTFTHead": FFT_SAMPLES + 2,
    SOURCE_FILTER_HEAD: source_filter.OUTPUTS,
}
"""Of each head there is: numbers a frame."""
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
        backbone, head = _read_config(folder / "config.yaml")
        self._layers: int = backbone["num_layers"]
        self._source_filter = head == SOURCE_FILTER_HEAD
        file = folder / "pytorch_model.bin"
        weights = read_tensors(file, lambda name: not name.startswith(NOT_READ))
        found = {name: tuple(weight.shape) for name, weight in weights.items()}
        check_tensors(str(file), _expected_shapes(backbone, OUTPUTS[head]), found, "its config.yaml")
        self._w = {k: v.to(device, dtype if "pwconv" in k else torch.float32) for k, v in weights.items()}
        self._w |= {k: packed(v) for k, v in self._w.items() if ".pwconv" in k and v.ndim == 2}
        self._dtype = dtype
        self._window = torch.hann_window(FFT_SAMPLES, device=device)

    def samples(self, mel: torch.Tensor) -> torch.Tensor:
        """(frames, 100) → ((frames - 1) * HOP_SAMPLES,) float32."""
        out = self.head(mel)
        if self._source_filter:
            return source_filter.samples_of(out, mel)
        magnitude, phase = out.t().chunk(2)
        spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
        return istft(spectrum, self._window)

    def head(self, mel: torch.Tensor) -> torch.Tensor:
        """(frames, 100) → (frames, numbers of its head)."""
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
        final = w["backbone.final_layer_norm.weight"], w["backbone.final_layer_norm.bias"]
        h = F.layer_norm(h[:frames], size, *final, 1e-6)
        return F.linear(h, w["head.out.weight"], w["head.out.bias"])


def _read_config(file: Path) -> tuple[dict[str, Any], str]:
    """The backbone's arguments, and the head's class."""
    try:
        config = yaml.safe_load(file.read_bytes())
        parts = {part: dict(config[part]["init_args"]) for part in SPOKEN}
        head = config["head"].get("class_path", next(iter(OUTPUTS)))
        for key in ("dim", "intermediate_dim", "num_layers"):
            if not isinstance(parts["backbone"][key], int) or not 1 <= parts["backbone"][key] <= 16_384:
                raise ModelUnavailable(f"{file}: {key} must be a whole number from 1 to 16384")
    except (yaml.YAMLError, UnicodeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelUnavailable(f"{file} does not describe a Vocos vocoder: {type(error).__name__} {reason}") from None
    if head not in OUTPUTS:
        raise ModelUnavailable(f"{file}: head.class_path is {head!r}; there are {', '.join(OUTPUTS)}")
    for part, spoken in SPOKEN.items():
        for key, value in spoken.items():
            if parts[part].get(key, value) != value:
                raise ModelUnavailable(f"{file}: {key} is {parts[part][key]!r}; only {value!r} is spoken here")
    return parts["backbone"], head


def _expected_shapes(backbone: dict[str, Any], outputs: int) -> dict[str, Shape]:
    dim, inner = backbone["dim"], backbone["intermediate_dim"]
    shapes: dict[str, Shape] = {
        "backbone.embed.weight": (dim, MEL_BANDS, _KERNEL),
        "head.out.weight": (outputs, dim),
        "head.out.bias": (outputs,),
    }
    vectors = ["backbone.embed.bias"]
    vectors += [f"backbone.{norm}.{kind}" for norm in ("norm", "final_layer_norm") for kind in ("weight", "bias")]
    for i in range(backbone["num_layers"]):
        at = f"backbone.convnext.{i}."
        shapes |= {at + "dwconv.weight": (dim, 1, _KERNEL), at + "pwconv1.bias": (inner,)}
        shapes |= {at + "pwconv1.weight": (inner, dim), at + "pwconv2.weight": (dim, inner)}
        vectors += [at + name for name in ("gamma", "dwconv.bias", "norm.weight", "norm.bias", "pwconv2.bias")]
    return shapes | dict.fromkeys(vectors, (dim,))
