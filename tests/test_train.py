"""The recipe: alignment hands out every frame, a killed run goes on as if nothing had happened, all of it runs."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

import tts_core
from engine import source_filter
from engine.mel import log_mel
from engine.symbols import SILENCE, VOCABULARY
from speech.request import Speech
from train import align, corpus, export, kokoro, loop, vocoder

needs_words = pytest.mark.skipif(
    not all(Path("/usr", p).exists() for p in ("share/dict/american-english", "share/hunspell/vi_VN.dic")),
    reason="wamerican and hunspell-vi are not installed",
)

SMALL_RUN = """
from pathlib import Path
import sys, torch
from train import flow, loop
flow.ARCH = dict(
    dim=64, depth=1, heads=1, ff_mult=1, text_dim=32, text_mask_padding=False, conv_layers=1, pe_attn_head=None
)
flow.BATCH_FRAMES = 1536
loop.CHECKPOINT_SECONDS = 0
flow.train(Path(sys.argv[1]), Path(sys.argv[2]), 1, 1e-3, 1, False, 1, 24)
"""


def test_every_frame_goes_to_one_symbol() -> None:
    segments = [
        ("pau", 5),
        ("hh", 9),
        ("ax", 14),
        ("l", 20),
        ("ow", 33),
        ("pau", 50),
        ("dh", 53),
        ("eh", 60),
        ("r", 66),
        ("pau", 80),
    ]
    symbols, frames = align.frames_of(segments, ["h", "ə", "l", "ˈoʊ", ",", "ð", "ˈɛɹ", "."])
    assert list(zip(symbols, frames, strict=True)) == [
        (" ", 5),
        ("h", 4),
        ("ə", 5),
        ("l", 6),
        ("ˈoʊ", 13),
        (",", 17),
        ("ð", 3),
        ("ˈɛɹ", 13),
        (".", 14),
    ]


@pytest.fixture(scope="module")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("corpus")
    corpus.make(folder, {"hibari": 1, "vi": 1}, processes=2, most=30)
    return folder


@needs_words
def test_a_killed_run_goes_on_as_if_nothing_had_happened(toy_corpus: Path, tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", SMALL_RUN, str(toy_corpus), str(out)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = start(whole)
    victim = start(killed)
    while not (killed / "flow.pt").exists():
        assert victim.poll() is None, victim.stderr.read().decode()  # type: ignore[union-attr]
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    before = torch.load(killed / "flow.pt", weights_only=False)["step"]
    assert before < 24
    _, errors = start(killed).communicate()
    undisturbed.communicate()
    first, second = (torch.load(out / "flow.pt", weights_only=False) for out in (whole, killed))
    assert first["step"] == second["step"] == 24, errors.decode()
    for name, weights in first["ema"].items():
        torch.testing.assert_close(second["ema"][name], weights, atol=1e-5, rtol=1e-4)


def test_the_best_that_was_watched_is_exported_and_some_weights_learn_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run once forgot in its second half what it had learned. A killed one still knows what was best."""
    monkeypatch.setattr(loop, "PRINT_SECONDS", -1)
    path = tmp_path / "flow.pt"
    assert export.best(path) == path

    def run(steps: int, watched: list[float]) -> torch.optim.Optimizer:
        model = torch.nn.Linear(2, 1)
        groups: list[dict[str, Any]] = [{"params": [model.weight]}, {"params": [model.bias], "share": 0.1}]
        optim = torch.optim.AdamW(groups, lr=0.1)
        what = loop.Trained("flow", path, model, [optim])
        told = iter(watched)
        loop.run(
            what, lambda draw: (torch.ones(4, 2),), lambda batch, _: model(*batch).square().mean(), 1, 0.1, 1, steps,
            lambda: next(told),
        )  # fmt: skip
        return optim

    run(4, [3.0, 1.0, 2.0, 5.0])
    optim = run(6, [1.5, 4.0])
    saved = torch.load(export.best(path), weights_only=False)
    assert (saved["step"], saved["best"], loop.read(path)["step"]) == (2, 1.0, 6)  # type: ignore[index]
    most, least = (group["lr"] for group in optim.param_groups)
    assert least == pytest.approx(0.1 * most)


def test_a_teachers_frames_are_the_length_of_its_speech() -> None:
    said = kokoro.Hibari().say("həlˈO ðˈɛɹ, fɹˈɛnd.")
    assert said.durations.sum() * kokoro.FRAME_SAMPLES == len(said.samples)
    assert len(said.durations) == len(said.phonemes) + 2, "a frame count for each phoneme and the silence on both sides"


def test_a_teachers_symbols_are_where_they_are_heard() -> None:
    """Its graph's durations say so two frames too late: each symbol stood where the next one was heard."""
    from hibari.g2p import G2P

    text = "She sells six fresh fish, he washes his socks, and this is such a short season."
    made = corpus.cut(text, "hibari", kokoro.Hibari().say(G2P()(text)))
    assert made is not None
    hissing = torch.tensor(np.repeat([float(s in "sʃ") for s in made.symbols], made.frames))
    mel = log_mel(torch.from_numpy(made.pcm.astype(np.float32) / 32767))[: len(hissing)]
    high_to_low = mel[:, 80:].mean(dim=1) - mel[:, :40].mean(dim=1)
    high_to_low = high_to_low.where(mel.mean(dim=1) > -6, torch.zeros(1))  # silence hisses nowhere
    high_to_low, hissing = high_to_low - high_to_low.mean(), hissing - hissing.mean()
    fits = {lag: float((high_to_low * torch.roll(hissing, lag)).sum()) for lag in range(-9, 10)}
    best: int = max(fits, key=lambda lag: fits[lag])
    assert abs(best) <= 2, fits


def test_a_cut_utterance_keeps_every_frame_and_names_known_symbols() -> None:
    made = corpus.cut("Hello there, friend.", "hibari", kokoro.Hibari().say("həlˈO ðˈɛɹ, fɹˈɛnd."))
    assert made is not None
    assert sum(made.frames) * 256 == len(made.pcm) and len(made.f0) == len(made.phase) == sum(made.frames)
    assert set(made.symbols) <= set(VOCABULARY)
    assert made.symbols[0] == made.symbols[-1] == SILENCE and made.frames[0] <= corpus.LEADING_FRAMES


def test_the_source_has_the_pitch_it_is_given() -> None:
    f0 = torch.full((60,), 150.0, dtype=torch.float64)
    train = source_filter.pulses(f0, source_filter.phase_of(f0))
    spectrum = torch.fft.rfft(train * torch.hann_window(len(train))).abs()
    peak = spectrum.argmax().item() * 24_000 / len(train)
    assert abs(peak / 150 - round(peak / 150)) < 0.02, peak
    beyond = spectrum[int(12_000 * len(train) / 24_000) - 20 :]
    assert beyond.max() < 1e-2 * spectrum.max(), "band-limited"


def test_pitch_is_a_straight_line_where_there_is_none() -> None:
    f0 = torch.tensor([0.0, 100.0, 0.0, 0.0, 160.0, 0.0])
    assert source_filter.bridged(f0, f0 > 0).tolist() == [100, 100, 120, 140, 160, 160]


def test_the_pitch_loss_is_least_at_the_true_pitch() -> None:
    f0, voiced = torch.tensor([[120.0, 180.0]]), torch.tensor([[True, False]])
    grid = source_filter.f0_grid(torch.device("cpu"))

    def logits(hz: float, unvoiced: float) -> torch.Tensor:
        frame = torch.cat([-(((grid.log() - torch.tensor(hz).log()) * 30) ** 2), torch.tensor([-50.0])])
        return torch.stack([frame, torch.cat([torch.zeros(len(grid)), torch.tensor([unvoiced])])])[None]

    right = vocoder.pitch_loss(logits(120.0, 20.0), f0, voiced)
    assert right < vocoder.pitch_loss(logits(126.0, 20.0), f0, voiced)
    assert right < vocoder.pitch_loss(logits(120.0, -20.0), f0, voiced)


@needs_words
def test_the_whole_recipe_runs_and_its_losses_fall(tmp_path: Path) -> None:
    folders = [f"--{name}={tmp_path / name}" for name in ("build", "model", "voices")]
    done = subprocess.run(
        [sys.executable, "-m", "train", "--toy", "8", *folders], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    losses = dict(re.findall(r"(\w+) loss: ([\d.]+ at first, [\d.]+) at last", done.stdout))
    for name, values in losses.items():
        first, last = (float(v) for v in values.split(" at first, "))
        assert last < first, f"{name}: {values}"
    assert set(losses) == {"flow", "vocoder"}
    tts = tts_core.TTS(tmp_path / "model", tmp_path / "voices")
    plan = tts.plan(Speech("Hello there.", steps=1))
    assert sum(len(piece) for piece in tts.samples(plan)) == plan.samples
