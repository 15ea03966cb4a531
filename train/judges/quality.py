"""How clean speech sounds: Microsoft's DNSMOS (OVRL and P.808) and Distill-MOS, both MIT. They rate signal, not
charm."""

import contextlib
import functools
import importlib.resources
import io
from typing import Any

import numpy as np
import torch

from train.judges.sound import RATE, needs, prepared

DNSMOS_SECONDS = 9.01


@functools.cache
def _dnsmos() -> Any:
    try:
        import onnxruntime
        from speechmos import dnsmos
    except ModuleNotFoundError as error:
        raise needs(error.name or "speechmos") from None
    models = importlib.resources.files("speechmos") / "dnsmos_models"
    judge = dnsmos.DNSMOS(str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # its own sessions spin on every core
    judge.onnx_sess = onnxruntime.InferenceSession(str(models / "sig_bak_ovr.onnx"), options)
    judge.p808_onnx_sess = onnxruntime.InferenceSession(str(models / "model_v8.onnx"), options)
    return judge


@functools.cache
def _distill() -> Any:
    try:
        import distillmos
    except ModuleNotFoundError as error:
        raise needs(error.name or "distillmos") from None
    with contextlib.redirect_stdout(io.StringIO()):
        return distillmos.ConvTransformerSQAModel().eval()


def dnsmos(samples: np.ndarray) -> tuple[float, float]:
    """OVRL and P.808 of 24 kHz samples, 1 to 5."""
    found = _dnsmos()(prepared(samples), RATE, False)
    return float(found["ovrl_mos"]), float(found["p808_mos"])


def distill_mos(samples: np.ndarray) -> float:
    """1 to 5."""
    with torch.inference_mode():
        return float(_distill()(torch.from_numpy(prepared(samples))[None]).item())
