"""The ways that only a CUDA device takes, on the processor: types, shapes, copies and turns, not speed."""

import asyncio
import logging
import math
import random
from collections.abc import Generator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import held, small_checkpoint
from cuda_on_cpu import Event, batches_of, play_cuda
from test_parity import REFERENCE, Case, in_turns

import tts_core
from bench.engine import REFERENCE_FRAMES, Contest
from bench.engine_variants.subject import Asked
from bench.engine_ways import solved, solved_in_turns
from engine import checkpoint, cuda_half, device, istft, position_convs
from engine import sampler as sampler_of_engine
from engine.arch import Arch
from engine.sampler import Sampler
from engine.stepping import run_to_end
from server.scheduler import PlaybackDeadline, Scheduler
from server.stats import Stats
from speech.request import Speech

COMPILED = cuda_half.compiled
"""The engine's own, which is played below."""


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


def plain_sampler(case: Case, monkeypatch: pytest.MonkeyPatch) -> Sampler:
    """What processors run, in fp32."""
    with monkeypatch.context() as patch:
        patch.setattr(sampler_of_engine, "works_behind", lambda place: False)
        return case.sampler(torch.float32)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("kernels,packs", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("name", ["v1", "v0", "qk_norm"])
@torch.inference_mode()
def test_every_way_of_a_half_precision_step_makes_the_processors_mel(
    name: str, kernels: bool, packs: bool, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With kernels and without, attention packed and with a bias, rope on all heads and on one (v0); two lengths by
    turns, of which one fills its graph's."""
    if not kernels:
        monkeypatch.setattr(cuda_half, "compiled", lambda name, dtype: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8 if packs else 7, 5))
    cases = [Case(name, "char", frames, 2) for frames in (96, 75)]
    plain, half = plain_sampler(cases[0], monkeypatch), cases[0].sampler(torch.float16)
    for case in [*cases, cases[0]]:
        asked = case.reference, case.ids, case.noise, 2, guidance
        expected, mel = run_to_end(plain.solve(*asked)), run_to_end(half.solve(*asked))
        assert torch.cosine_similarity(mel.flatten(), expected.flatten(), dim=0) >= 0.9999


@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("name", ["v1", "v0", "upsampled"])
@torch.inference_mode()
def test_text_of_a_padded_length_is_that_of_the_exact_one(
    name: str, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three lengths that share a graph, the shortest after the longest, with and without text: what an earlier one left
    behind the end would show, in GRN's norm and in the convolutions."""
    case = Case(name, "char", 96, 2)
    plain, behind = plain_sampler(case, monkeypatch), case.sampler(torch.float32)
    for frames, tokens in ((96, 57), (65, 57), (81, 0), (70, 70)):
        ids = torch.arange(tokens) % 60
        asked = case.reference, ids, case.noise[:frames], guidance
        expected, found = plain._step_inputs(*asked).conditions, behind._step_inputs(*asked).conditions
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("band", position_convs.BANDS.values())
def test_banded_products_are_the_convolution(band: int) -> None:
    weight, bias, x = torch.randn(320, 20, 31).double(), torch.randn(320).double(), torch.randn(2, 99, 320).double()
    expected = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=15, groups=16).transpose(1, 2)
    found = position_convs.banded_conv(x, *position_convs.banded(weight, bias, band), band)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "dim,qk_norm,dtype,stream_dtype,turns,norms",
    [
        (128, None, torch.float16, torch.float16, True, True),
        (320, None, torch.float16, torch.float16, True, False),  # 80 threads are not whole warps
        (8192, None, torch.float16, torch.float16, True, False),  # more threads than a block has
        (128, None, torch.bfloat16, torch.float32, True, False),
        (128, "rms_norm", torch.float16, torch.float16, False, True),
    ],
)
def test_kernels_are_taken_where_they_are_right(
    dim: int, qk_norm: str | None, dtype: torch.dtype, stream_dtype: torch.dtype, turns: bool, norms: bool
) -> None:
    arch = Arch(dim=dim, depth=1, heads=dim // 64, ff_mult=2, text_dim=64, conv_layers=0, qk_norm=qk_norm)
    ways = cuda_half.CudaHalf(arch, torch.device("cpu"), dtype, stream_dtype)
    assert (ways.turns, ways.norms) == (turns, norms)


@torch.inference_mode()
def test_without_nvrtc_torchs_operations_do_it_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise OSError("Could not find any NVRTC library")

    monkeypatch.setattr(cuda_half, "compiled", cache(COMPILED.__wrapped__))
    monkeypatch.setattr(torch.cuda, "_compile_kernel", missing)
    case = Case("v1", "char", 100, 2)
    for _ in range(2):
        assert case.likeness(run_to_end(case.solving(case.sampler(torch.float16)))) >= 0.9995
    assert len(caplog.messages) == 2 and all("NVRTC" in message for message in caplog.messages), "one for each kernel"


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


LISTENERS = [(130, 2, 2.0), (160, 2, 2.0), (81, 2, 2.0), (96, 2, 0.0), (96, 2, 2.0), (75, 3, 2.0), (64, 2, 2.0)]
LISTENERS += [(64, 2, 2.0)] * 4
"""Frames, steps, guidance."""


def listeners(case: Case) -> list[Asked]:
    return [
        Asked(case.reference, case.ids[: 57 - i], case.noise[:frames] * (1 + i / 10), steps, guidance)
        for i, (frames, steps, guidance) in enumerate(LISTENERS)
    ]


def like(mel: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.cosine_similarity(mel[REFERENCE:].flatten(), expected[REFERENCE:].flatten(), dim=0))


@torch.inference_mode()
def test_listeners_by_turns_are_made_together_and_each_is_what_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every length among several, one with three steps and one without guidance: those go apart."""
    case = Case("v1", "char", 160, 3)
    plain, half = plain_sampler(case, monkeypatch), case.sampler(torch.float16)
    asked = listeners(case)
    together, lengths = batches_of(monkeypatch)
    monkeypatch.setattr(Event, "in_vain", 20)  # all have come before the first is made
    mels = solved_in_turns(half, asked)
    assert [sorted(one) for one in together] == [
        [130],  # at once, of whoever comes first
        [64, 64, 64, 64, 64, 81, 96, 160],  # no more than eight
        [96],
        [75],
    ]
    assert lengths == [160, 1024, 96, 96]
    for one, mel in zip(asked, mels, strict=True):
        alone = solved(half, *one)
        assert like(mel, solved(plain, *one)) >= 0.9999
        assert float((mel - alone).abs().max()) <= 0.02, f"{len(mel)} frames"


@torch.inference_mode()
def test_a_speech_that_overflows_takes_none_of_its_batch_along() -> None:
    """Of lengths whose last band of frames reaches as far as one can."""
    case = Case("v1", "char", 81, 2)
    sampler = case.sampler(torch.float16)
    asked = [Asked(case.reference, case.ids, case.noise * scale, 2, 2.0) for scale in (1, 0.9, math.inf, 1.1, 0.8)]
    mels = solved_in_turns(sampler, asked)
    assert not mels[2].isfinite().all()
    for number in (0, 1, 3, 4):
        assert float((mels[number] - solved(sampler, *asked[number])).abs().max()) <= 0.02, number


def test_overlap_added_is_torchs_istft() -> None:
    window = torch.hann_window(1024)
    for shape in ((513, 2), (513, 40), (3, 513, 7)):
        spectrum = torch.randn(*shape, dtype=torch.complex64)
        expected = torch.istft(spectrum, 1024, 256, window=window, center=True)
        torch.testing.assert_close(istft.overlap_added(spectrum, window), expected)


@torch.inference_mode()
def test_who_comes_and_leaves_at_any_time_changes_nobodys_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    together, _ = batches_of(monkeypatch)
    monkeypatch.setattr(Event, "in_vain", 15)
    case = Case("v1", "char", 160, 3)
    sampler = case.sampler(torch.float16)
    assert sampler.batches
    asked = listeners(case)
    alone = [solved(sampler, *one).clone() for one in asked]
    left_midway = 0
    for seed in range(2):
        draw = random.Random(seed)
        coming, leaving = draw.sample(range(len(asked)), len(asked)), set(draw.sample(range(len(asked)), 5))
        here: dict[int, Generator[None, None, torch.Tensor]] = {}
        mels: dict[int, torch.Tensor] = {}
        while coming or here:
            if coming and draw.random() < 0.7:
                number = coming.pop()
                here[number] = sampler.solve(*asked[number])
            for number in draw.sample(list(here), len(here)):
                company = sampler.batches._under_way
                if number in leaving and draw.random() < 0.05:
                    before = sum(chunk.left for chunk in company)
                    here.pop(number).close()
                    left_midway += sum(chunk.left for chunk in company) > before and len(company) > 1
                    continue
                try:
                    next(here[number])
                except StopIteration as end:
                    mels[number] = end.value.clone()
                    del here[number]
        assert mels.keys() >= set(range(len(asked))) - leaving
        for number, mel in mels.items():
            assert float((mel - alone[number]).abs().max()) <= 0.02
    assert max(map(len, together)) > 2 and left_midway, (together, left_midway)


@torch.inference_mode()
def test_a_batch_that_breaks_breaks_its_own_speeches_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever's turn it was."""
    case = Case("v1", "char", 160, 3)
    sampler = case.sampler(torch.float16)
    asked = listeners(case)[:6]
    assert sampler.batches
    step = sampler.batches._step

    def breaking(*inputs: torch.Tensor) -> None:
        if len(inputs[0]) == 512:  # of the joined ones
            raise torch.OutOfMemoryError("no memory left")
        step(*inputs)

    monkeypatch.setattr(sampler.batches, "_step", breaking)
    running = {number: sampler.solve(*one) for number, one in enumerate(asked)}
    ends: dict[int, object] = {}
    failed = "a batch of 3 chunks failed: no memory left"
    while running:
        for number, solving in list(running.items()):
            try:
                next(solving)
            except StopIteration as end:
                ends[number] = end.value.shape[0]
                del running[number]
            except RuntimeError as error:
                ends[number] = str(error)
                del running[number]
    assert ends == {0: 130, 1: failed, 2: failed, 3: 96, 4: failed, 5: 75}


def test_listeners_of_a_server_are_made_together_and_hear_what_they_hear_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their requests, the scheduler's rounds and the engine's batches in one event loop."""
    folder = small_checkpoint(tmp_path / "small")
    monkeypatch.setattr(device, "choose", lambda on: device.Device(torch.device("cpu"), torch.float16, "played"))
    texts = [f"Number {number}, said aloud." for number in range(5)]
    tts = tts_core.TTS(folder)
    alone = [np.concatenate(list(tts.samples(tts.plan(Speech(text, seed=1, steps=2))))) for text in texts]
    together, _ = batches_of(monkeypatch)
    monkeypatch.setattr(Event, "in_vain", 40)
    scheduler = Scheduler(Stats(), rounds=tts.batches)

    async def heard(text: str) -> np.ndarray:
        who = PlaybackDeadline()
        plan = await scheduler.result(tts.planning(Speech(text, seed=1, steps=2)), who)
        return np.concatenate([part async for part in scheduler.drive(tts.speak(plan), who) if part is not None])

    async def everybody() -> list[np.ndarray]:
        return await asyncio.gather(*map(heard, texts))

    assert tts.batches
    for sound, expected in zip(asyncio.run(everybody()), alone, strict=True):
        assert len(sound) == len(expected) and np.corrcoef(sound, expected)[0, 1] >= 0.999
    assert max(map(len, together)) >= 4, together
