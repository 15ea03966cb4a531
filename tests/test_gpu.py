"""On a CUDA device: the same mel as upstream's in fp32 on the processor, whatever the path; and how soon.

Their dry run is test_cuda_paths.py. Try: python -m pytest -m gpu tests/test_gpu.py
"""

import io
import logging
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import torch
from conftest import held, serving, small_checkpoint
from test_parity import Case, in_turns

import tts_core
from bench.engine_ways import base_folder
from engine import checkpoint
from engine.sampler import Sampler
from engine.stepping import run_to_end
from speech.request import Speech

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LIKENESS = {torch.float16: 0.9995, torch.bfloat16: 0.9995, torch.float32: 0.9999}
FIRST_SECONDS = 3.0


@pytest.mark.parametrize("dtype", LIKENESS)
@pytest.mark.parametrize("name,frames", [("v1", 40), ("v1", 513), ("v1", 1000), ("v0", 300), ("qk_norm", 300)])
@torch.inference_mode()
def test_same_mel_as_upstream(name: str, frames: int, dtype: torch.dtype) -> None:
    case = Case(name, "char", frames, 7)
    likeness = case.likeness(run_to_end(case.solving(case.sampler(dtype, "cuda"))))
    assert likeness >= LIKENESS[dtype], f"{name} {frames} frames {dtype}: cosine {likeness:.5f}"


@pytest.mark.parametrize("dtype", LIKENESS)
@torch.inference_mode()
def test_one_graph_serves_two_speeches_in_turns_and_one_who_leaves(
    dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "engine.cuda_graphs")
    cases = [Case("v1", "char", frames, 7) for frames in (163, 190)]  # both are rounded up to 192
    sampler = cases[0].sampler(dtype, "cuda")
    left = cases[0].solving(sampler)
    next(left), next(left)
    left.close()
    likeness = in_turns(sampler, cases)
    assert min(likeness) >= LIKENESS[dtype], likeness
    assert not caplog.messages, "a graph could not be captured"


@torch.inference_mode()
def test_a_replay_is_what_the_step_itself_computes() -> None:
    case = Case("v1", "char", 300, 7)
    sampler = case.sampler(torch.float16, "cuda")
    replayed = run_to_end(case.solving(sampler))
    sampler._graphs = None
    np.testing.assert_allclose(replayed.cpu(), run_to_end(case.solving(sampler)).cpu(), atol=2e-2)


def test_a_chunk_that_overflows_in_fp16_is_made_again_in_fp32(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path / "small")
    tts, plain = tts_core.TTS(folder, on="cuda"), tts_core.TTS(folder, on="cpu")
    plan = plain.plan(Speech("Hello there.", seed=1, steps=2))
    expected = np.concatenate(list(plain.samples(plan)))
    weights = checkpoint.read_weights(folder / "model.safetensors")
    overflowing = held(weights | {"proj_out.bias": torch.full((100,), 1e6)})
    half, place = tts._sampler, tts.device.place
    plan = tts.plan(Speech("Hello there.", seed=1, steps=2))
    for sampler in (half, Sampler(half.arch, overflowing, place, torch.float16)):
        tts._sampler = sampler
        heard = np.concatenate(list(tts.samples(plan)))
        assert np.corrcoef(heard, expected)[0, 1] >= 0.999


def test_the_first_request_waits_little_for_its_graph(tmp_path: Path) -> None:
    tts = tts_core.TTS(base_folder(tmp_path / "base"), on="cuda")
    plan = tts.plan(Speech("The library opens at nine and closes late on Friday.", seed=1))
    took = []
    for _ in range(2):
        began = time.perf_counter()
        samples = np.concatenate(list(tts.samples(plan)))
        took.append(time.perf_counter() - began)
    assert len(samples) == plan.samples and np.isfinite(samples).all()
    print(f"first {took[0]:.2f} s, second {took[1]:.3f} s, of {plan.seconds:.1f} s of speech")
    assert took[0] <= FIRST_SECONDS, f"{took[0]:.2f} s"


def test_a_server_on_the_device_speaks_the_same_speech(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path / "small")
    text, seed = "Hello there. The library opens at nine.", 1
    with serving(tmp_path / "log", TTS_MODEL=str(folder), TTS_DEVICE="cuda") as address:
        sound = httpx.post(f"{address}/tts", json={"text": text, "seed": seed}, timeout=60).content
        health = httpx.get(f"{address}/health").json()
    assert health["device"].startswith("cuda")
    heard, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    plain = tts_core.TTS(folder, on="cpu")
    expected = np.concatenate(list(plain.samples(plain.plan(Speech(text, seed=seed)))))
    assert rate == 24_000 and len(heard) == len(expected)
    assert np.corrcoef(heard, expected)[0, 1] >= 0.999
