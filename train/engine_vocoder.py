"""Mel frames in, samples out. Two kinds of checkpoint, told apart by the head that config.yaml names:

    vocos.heads.ISTFTHead     Vocos (arXiv 2306.00814), as its authors save it
    direct.SourceFilterHead   pulses and noise shaped by the same backbone: source_filter.py

Knows nothing of text or voices."""

from pathlib import Path

import torch
import torch.nn.functional as F
import yaml

from engine.device import round_up_frames
from speech.audio import FFT_SAMPLES, HOP_SAMPLES
from train import source_filter

SOURCE_FILTER_HEAD = "direct.SourceFilterHead"
_KERNEL = 7
_LOUDEST = 1e2


class Vocoder:
    """`folder` holds config.yaml and pytorch_model.bin. KeyError or ValueError where they are of no kind known here.

    `dtype` is that of the blocks' matrix products; the rest is fp32, because exp and the inverse transform want
    range and digits."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype = torch.float32):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        self._layers = config["backbone"]["init_args"]["num_layers"]
        self._source_filter = config["head"]["class_path"] == SOURCE_FILTER_HEAD
        weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
        used = {k: v for k, v in weights.items() if k.startswith(("backbone.", "head.out."))}
        self._w = {k: v.to(device, dtype if "pwconv" in k else torch.float32) for k, v in used.items()}
        if self._source_filter and len(self._w["head.out.bias"]) != source_filter.OUTPUTS:
            raise ValueError(
                f"{folder}: its head has {len(self._w['head.out.bias'])} outputs, not {source_filter.OUTPUTS}"
            )
        self._dtype = dtype
        self._window = torch.hann_window(FFT_SAMPLES, device=device)

    def samples(self, mel: torch.Tensor) -> torch.Tensor:
        """(frames, 100) → ((frames - 1) * HOP_SAMPLES,) float32."""
        out = F.linear(self._backbone(mel), self._w["head.out.weight"], self._w["head.out.bias"])
        if self._source_filter:
            return source_filter.speak(out, mel)
        magnitude, phase = out.t().chunk(2)
        spectrum = torch.polar(magnitude.exp().clamp(max=_LOUDEST), phase)
        return torch.istft(spectrum, FFT_SAMPLES, HOP_SAMPLES, window=self._window, center=True)

    def _backbone(self, mel: torch.Tensor) -> torch.Tensor:
        """(frames, 100) → (frames, dim): ConvNeXt blocks, fp32 outside of their products."""
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
            y = F.gelu(F.linear(y, w[at + "pwconv1.weight"], w[at + "pwconv1.bias"]))
            h = torch.addcmul(h, F.linear(y, w[at + "pwconv2.weight"], w[at + "pwconv2.bias"]).float(), w[at + "gamma"])
        return F.layer_norm(
            h[:frames], size, w["backbone.final_layer_norm.weight"], w["backbone.final_layer_norm.bias"], 1e-6
        )
