"""The embedded voice: understood by a recogniser that never saw it, itself for each reference, upstream's to load."""

import functools
import io

import httpx
import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import solved
from recogniser import Recogniser, word_errors

import tts_core
from engine import checkpoint
from engine.mel import log_mel
from engine.sampler import Sampler
from train import corpus, texts

WORD_ERRORS_ALLOWED = 0.35


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


@pytest.mark.parametrize("voice", ["default", "michael", "fenrir"])
def test_unseen_sentences_are_understood(client: httpx.Client, recogniser: Recogniser, voice: str) -> None:
    sentences = texts.held_out("en")[:10]
    heard = []
    for i, sentence in enumerate(sentences):
        reply = client.post("/tts", json={"text": sentence, "voice": voice, "seed": i})
        samples, _ = soundfile.read(io.BytesIO(reply.content), dtype="float32")
        heard.append(recogniser.hear(samples))
    errors = word_errors(sentences, heard)
    assert errors <= WORD_ERRORS_ALLOWED, f"{errors:.2f} of the words were wrong: " + " / ".join(heard)


def test_held_out_sentences_are_not_in_the_training_text() -> None:
    made = {line.text.lower() for number in range(3) for line in corpus.script("hibari", number, None)}
    assert len(made) > 300 and not made & {s.lower() for s in texts.held_out("en")}


def test_the_reference_decides_who_speaks(tts: tts_core.TTS) -> None:
    """Mean log mel of three sentences is nearest to its own reference's, of all English voices; silence left out."""
    own = {}
    for name in [voice.name for voice in tts.voices.values() if voice.language == "en-us"]:
        plans = [tts.plan(tts_core.Speech(sentence, name, seed=2)) for sentence in texts.held_out("en")[:3]]
        waves = [np.concatenate(list(tts.samples(plan))) for plan in plans]
        own[name] = spoken_mean(torch.cat([log_mel(torch.from_numpy(wave)) for wave in waves]))
    for name, spectrum in own.items():
        distances = {other: float((spectrum - spoken_mean(tts.voices[other].mel)).norm()) for other in own}
        assert min(distances, key=distances.__getitem__) == name, distances


def spoken_mean(mel: torch.Tensor) -> torch.Tensor:
    return mel[mel.mean(dim=1) > -6].mean(dim=0)


@pytest.mark.filterwarnings("ignore")
def test_upstream_loads_the_folder_and_makes_the_same_mel(tts: tts_core.TTS) -> None:
    from f5_tts.infer.utils_infer import load_model
    from f5_tts.model import DiT

    folder = tts_core.EMBEDDED_MODEL
    arch = yaml.safe_load((folder / "config.yaml").read_text())["model"]["arch"]
    upstream = load_model(
        DiT, arch, str(folder / "model.safetensors"), vocab_file=str(folder / "vocab.txt"), device="cpu"
    )
    plan = tts.plan(tts_core.Speech("Fresh snow covered the mountains.", seed=6))
    chunk, reference = plan.chunks[0], plan.voice.mel
    tokens = chunk.tokens[:-1]  # upstream insists on one frame more than there are tokens
    vocab = (folder / "vocab.txt").read_text().split("\n")[:-1]
    expected, _ = upstream.sample(
        reference[None],
        [[vocab[i] for i in tokens]],
        chunk.frames,
        steps=plan.steps,
        cfg_strength=1.0,
        sway_sampling_coef=-1.0,
        seed=6,
    )
    noise = torch.randn(chunk.frames, 100, generator=torch.Generator().manual_seed(6))
    read = functools.partial(checkpoint.read_weights, folder / "model.safetensors")
    mels = [
        solved(Sampler(tts._sampler.arch, read, torch.device("cpu"), dtype), reference, tokens, noise, plan.steps, 1.0)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    exact, quick = (mel[len(reference) :] for mel in mels)
    expected = expected[0, len(reference) :]
    difference = (exact - expected).abs().max().item()
    assert difference <= 1e-3, f"{difference:.1e}"
    alike = torch.nn.functional.cosine_similarity(quick.flatten(), expected.flatten(), dim=0).item()
    assert alike >= 0.9995, f"in bf16: cosine {alike:.6f}"
