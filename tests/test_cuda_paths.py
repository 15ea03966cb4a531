"""The ways that only a CUDA device takes, on the processor: types, shapes, copies and turns, not speed."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import held, small_checkpoint
from cuda_on_cpu import play_cuda
from test_parity import Case, in_turns

import tts_core
from bench.engine import REFERENCE_FRAMES, Contest
from bench.engine_variants import step
from bench.engine_variants.solving import ALL
from engine import checkpoint, device
from engine.sampler import Sampler
from engine.stepping import run_to_end
from speech.request import Speech


@pytest.fixture(autouse=True)
def played_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    play_cuda(monkeypatch)


@pytest.mark.parametrize(
    "name,dtype,least",
    [
        ("v1", torch.float16, 0.9995),
        ("v0", torch.float16, 0.9995),
        ("qk_norm", torch.bfloat16, 0.9995),
        ("upsampled", torch.float32, 0.999999),
    ],
)
@torch.inference_mode()
def test_one_graph_serves_two_speeches_in_turns(
    name: str, dtype: torch.dtype, least: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "engine.cuda_graphs")
    cases = [Case(name, "char", frames, 3) for frames in (163, 190)]  # both are rounded up to 192
    sampler = cases[0].sampler(dtype)
    left = cases[0].solving(sampler)
    next(left), next(left)  # who leaves midway has left its state in the graph
    left.close()
    likeness = in_turns(sampler, cases)
    assert min(likeness) >= least
    assert not caplog.messages


@torch.inference_mode()
def test_a_step_that_cannot_be_captured_is_made_without_a_graph(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case("v1", "char", 100, 2)
    sampler = case.sampler(torch.float32)
    step = sampler._captured_step

    def asking(*inputs: torch.Tensor) -> None:
        assert inputs[0].isfinite().all()
        step(*inputs)

    monkeypatch.setattr(sampler._graphs, "_work", asking)
    assert case.difference(run_to_end(case.solving(sampler))) <= 1e-3
    assert "no CUDA graph" in caplog.text and "asked for its value" in caplog.text


def test_a_chunk_that_overflows_in_fp16_is_made_again_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its samples come by a pinned copy and an event; then those of fp32."""
    folder = small_checkpoint(tmp_path / "small")
    monkeypatch.setattr(device, "choose", lambda on: device.Device(torch.device("cpu"), torch.float16, "played"))
    tts = tts_core.TTS(folder)
    plan = tts.plan(Speech("Hello there.", seed=1, steps=2))
    half = np.concatenate(list(tts.samples(plan)))
    weights = checkpoint.read_weights(folder / "model.safetensors")
    overflowing = held(weights | {"proj_out.bias": torch.full((100,), 1e6)})
    tts._sampler = Sampler(tts._sampler.arch, overflowing, torch.device("cpu"), torch.float16)
    rescued = np.concatenate(list(tts.samples(plan)))
    assert len(half) == len(rescued) == plan.samples
    assert np.corrcoef(half, rescued)[0, 1] >= 0.999


@torch.inference_mode()
def test_the_bench_compares_mels_of_the_same_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contest, seeded = Contest(small_checkpoint(tmp_path / "small"), torch.device("cpu")), torch.manual_seed
    # A GPU's numbers of a seed are not those of the processor's generator.
    monkeypatch.setattr(torch, "manual_seed", lambda seed: seeded(seed + 1))
    expected, *mels = [way.work()[REFERENCE_FRAMES:].flatten() for way in contest.ways(230, 2).values()]
    for mel in mels:
        assert torch.cosine_similarity(mel, expected, dim=0) >= 0.9995


@pytest.mark.parametrize("name", ["v1", "v0"])
@torch.inference_mode()
def test_what_the_bench_tries_makes_the_same_mels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two speeches in one forward, one padded to the other; our kernels and the packed attention need a device."""
    monkeypatch.setattr(step, "works_behind", lambda place: True)
    cases = [Case(name, "char", frames, 3) for frames in (130, 190)]
    asked = [step.Asked(case.reference, case.ids, case.noise, 2.0) for case in cases]
    sampler = step.VariantSampler(cases[0]._arch, held(cases[0]._weights), torch.device("cpu"), torch.float32)
    for sampler.ways in (step.Ways(), ALL):
        solve = sampler.solving(sampler.rows(asked[::-1]), 3)
        for case, mel in zip(cases, solve(sampler.rows(asked)), strict=True):
            assert case.difference(mel[: len(case.noise)]) <= 5e-3, sampler.ways
