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
from cuda_on_cpu import batches_of
from test_parity import ARCHS, Case, in_turns

import tts_core
from bench.engine_ways import base_folder
from engine import checkpoint
from engine.arch import Arch
from engine.attention import apply_rope, packed_attention
from engine.cuda_half import CudaHalf
from engine.linear import linear_gelu
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


@pytest.mark.parametrize("dtype", LIKENESS)
@pytest.mark.parametrize("name", ["v1", "v0", "qk_norm"])
@torch.inference_mode()
def test_many_speeches_by_turns_are_each_upstreams(
    name: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half precision several of them go in one forward, next to one that leaves."""
    caplog.set_level(logging.WARNING, "engine.cuda_graphs")
    cases = [Case(name, "char", frames, 7) for frames in (163, 190, 96, 64, 300, 416, 130, 75, 500, 81, 224, 240)]
    sampler = cases[0].sampler(dtype, "cuda")
    together, _ = batches_of(monkeypatch)
    left = cases[3].solving(sampler)
    next(left), next(left)
    likeness = in_turns(sampler, cases)
    left.close()
    assert min(likeness) >= LIKENESS[dtype], likeness
    assert not sampler.batches or max(map(len, together)) > 4, together
    assert not caplog.messages, "a graph could not be captured"


@torch.inference_mode()
def test_a_replay_is_what_the_step_itself_computes() -> None:
    case = Case("v1", "char", 300, 7)
    sampler = case.sampler(torch.float16, "cuda")
    replayed = run_to_end(case.solving(sampler))
    sampler.batches = sampler._graphs = None
    np.testing.assert_allclose(replayed.cpu(), run_to_end(case.solving(sampler)).cpu(), atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("heads,turned", [(16, None), (16, 1), (5, None)])
def test_the_kernels_are_torchs_operations(dtype: torch.dtype, heads: int, turned: int | None) -> None:
    """Rows whose values lie far from zero too, of which a norm by squares would keep no digit."""
    dim, count, padded = heads * 64, 2, 96
    arch = Arch(dim=dim, depth=1, heads=heads, ff_mult=2, text_dim=64, conv_layers=0, pe_attn_head=turned)
    ways = CudaHalf(arch, torch.device("cuda"), dtype, dtype)
    assert ways.turns and ways.norms == (dim % 128 == 0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device="cuda", dtype=dtype)

    def check(found: torch.Tensor, expected: torch.Tensor) -> None:
        atol = 2e-2 if dtype == torch.float16 else 0.15
        torch.testing.assert_close(found.double(), expected.double(), atol=atol, rtol=2e-2)

    qkv, angle = drawn(count, padded, 3 * dim), torch.randn(padded, 32, device="cuda")
    q, k, v = qkv.double().view(count, padded, 3, heads, 64).permute(2, 0, 3, 1, 4)
    expected = [apply_rope(part, angle.cos().double(), angle.sin().double(), turned) for part in (q, k)]
    ways.rope_(qkv, angle.cos(), angle.sin())
    for part, right in zip(qkv.view(count, padded, 3, heads, 64).permute(2, 0, 3, 1, 4), [*expected, v], strict=True):
        check(part, right)
    if ways.norms:
        h, y, gate, scale, shift = (
            drawn(count, padded, dim),
            drawn(count, padded, dim),
            drawn(dim),
            drawn(dim),
            drawn(dim),
        )
        h[0, :8] = 100 + h[0, :8]
        h[1, :8], y[1, :8] = 100, 0
        added = torch.addcmul(h.double(), gate.double(), y.double())
        norm = torch.nn.functional.layer_norm(added, (dim,), scale.double(), shift.double(), 1e-6)
        out = ways.gated_norm_(h, gate, y, scale, shift)
        check(h, added)
        check(out, norm)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_packed_attention_reads_only_what_is_there(dtype: torch.dtype) -> None:
    if torch.cuda.get_device_capability()[0] < 8:
        pytest.skip("needs compute capability 8")
    qkv = torch.randn(2, 96, 3, 4, 64, device="cuda", dtype=dtype)
    q, k, v = qkv.unbind(2)
    starts, lengths = (torch.tensor(of, dtype=torch.int32, device="cuda") for of in ([0, 96, 192], [96, 70]))
    there = torch.arange(96, device="cuda") < lengths[:, None, None, None]
    qs, ks, vs = (one.float().transpose(1, 2) for one in (q, k, v))
    expected = torch.nn.functional.scaled_dot_product_attention(qs, ks, vs, there, scale=1.0).transpose(1, 2)
    found = packed_attention(q, k, v, starts, lengths).float()
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_packed_attention_keeps_rows_of_every_length_apart(dtype: torch.dtype) -> None:
    """Some of them empty, as joined chunks have them; each is what it is alone, and every frame is written."""
    if torch.cuda.get_device_capability()[0] < 8:
        pytest.skip("needs compute capability 8")
    qkv = torch.randn(2, 512, 3, 4, 64, device="cuda", dtype=dtype)
    sizes, there = [96, 224, 64, 0, 0, 128] * 2, [70, 200, 49, 0, 0, 128] * 2
    starts, lengths = (
        torch.tensor(of, dtype=torch.int32, device="cuda") for of in (np.cumsum([0, *sizes]).tolist(), there)
    )
    whole_q, whole_k, whole_v = qkv.unbind(2)
    unwritten = torch.full_like(whole_q, torch.nan)
    del unwritten  # what is not written is no number then
    found = packed_attention(whole_q, whole_k, whole_v, starts, lengths).flatten(0, 1)[None]
    qkv = qkv.flatten(0, 1)[None]
    at = 0
    for size, count in zip(sizes, there, strict=True):
        q, k, v = (one.float().transpose(1, 2) for one in qkv[:, at : at + size].unbind(2))
        if size:
            alone = torch.nn.functional.scaled_dot_product_attention(q, k[:, :, :count], v[:, :, :count], scale=1.0)
            expected = alone.transpose(1, 2)
            torch.testing.assert_close(found[:, at : at + size].float(), expected, atol=2e-2, rtol=2e-2)
        at += size


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gelu_in_its_product_is_tanhs(dtype: torch.dtype) -> None:
    x, weight, bias = (torch.randn(*of, device="cuda", dtype=dtype) for of in ((2, 96, 256), (512, 256), (512,)))
    exact = torch.nn.functional.linear(x.double(), weight.double() / 16, bias.double())
    expected = torch.nn.functional.gelu(exact, approximate="tanh")
    found = linear_gelu(x, weight / 16, bias, "tanh").double()
    torch.testing.assert_close(found, expected, atol=3e-2, rtol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_a_model_whose_rows_are_no_whole_warps(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHS, "narrow", ARCHS["v1"] | {"dim": 320, "heads": 5})
    case = Case("narrow", "char", 300, 7)
    sampler = case.sampler(dtype, "cuda")
    assert sampler._cuda and sampler._cuda.turns and not sampler._cuda.norms
    likeness = case.likeness(run_to_end(case.solving(sampler)))
    assert likeness >= LIKENESS[dtype], f"cosine {likeness:.5f}"


@pytest.mark.parametrize("dtype", LIKENESS)
@pytest.mark.parametrize("name", ["v1", "v0", "upsampled"])
@torch.inference_mode()
def test_text_by_a_graph_is_text_without_one(name: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    """The shortest after the longest, with guidance and without."""
    caplog.set_level(logging.WARNING, "engine.cuda_graphs")
    case = Case(name, "char", 96, 2)
    graphs, plain = case.sampler(dtype, "cuda"), case.sampler(dtype, "cuda")
    plain._condition_graphs = None
    for frames, guidance in ((96, 2.0), (70, 2.0), (70, 0.0), (81, 0.0)):
        reference, ids, noise = (one.to("cuda") for one in (case.reference, case.ids, case.noise[:frames]))
        found, expected = (one._step_inputs(reference, ids, noise, guidance).conditions for one in (graphs, plain))
        torch.testing.assert_close(found, expected, atol=5e-3, rtol=5e-3)
    assert not caplog.messages, "a graph could not be captured"


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


def test_nothing_waits_for_the_device_but_by_turns(tmp_path: Path) -> None:
    """A copy or a question that waits would hold up all listeners until the device has done what is queued."""
    tts = tts_core.TTS(small_checkpoint(tmp_path / "small"), on="cuda")
    plan = tts.plan(Speech("Hello there.", seed=1))
    expected = np.concatenate(list(tts.samples(plan)))  # captures
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = np.concatenate(list(tts.samples(plan)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_allclose(found, expected, atol=1e-3)


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
