"""The model's card: what it learned from, what it can do, measured, and pictures of teacher and voice side by side."""

from pathlib import Path

import numpy as np
import torch

import tts_core
from engine.mel import log_mel
from speech import audio
from train import corpus, export, picture, texts
from train.espeak import Espeak

CARD = """# tiny, the embedded voice

An F5-TTS flow model of {parameters:.1f} M parameters with a Vocos of {vocoder:.1f} M, for English (voices `default`,
`rms`, `awb`) and Vietnamese (`an`). Upstream's f5_tts loads the folder as it is; text reaches it as espeak's
phonemes, one token per mel frame.

## What it learned from

Speech that free synthesizers made of sentences that `train/texts.py` writes: flite's slt, rms and awb (Carnegie
Mellon, BSD-like licence) and espeak-ng's `vi` (a GPL-3 program whose sound carries no licence). No recording of a
person beyond what is in flite's voices. No term of theirs limits the use of the weights, as far as we know.
`make voice` makes them again.

## Figures

{count} held-out sentences per language, {steps} solver steps, guidance {guidance};
`python -m train.evaluate` prints them.

| | |
|---|---|
{rows}

The word error rate is pocketsphinx's, an old recogniser that mishears its teacher too. A Vietnamese sentence counts
as recognised when its mel is nearest (dynamic time warping) to the teacher's reading of the same sentence among all
of them and ten altered ones. The speaker is whom resemblyzer's encoder finds nearest among the four references.

## Limits

It speaks as its teachers do: clear, even, mechanical. It learned four voices; a reference of anybody else gives a
mixture of them. Sentences beyond 12 seconds, reference included, are spoken in several chunks. Other languages come
out with an English or Vietnamese accent, if at all.

## Teacher (left) and voice (right)

![spectrograms](samples.png)
"""


def write(folder: Path, tts: tts_core.TTS, figures: dict[str, float], count: int) -> None:
    """README.md and samples.png in `folder`."""
    weights = tts_core.checkpoint.read_weights(folder / "model.safetensors")
    vocoder = torch.load(folder / "vocoder" / "pytorch_model.bin", weights_only=True)
    plan = tts.plan(tts_core.Speech("Hello."))
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items())
    text = CARD.format(
        parameters=sum(w.numel() for w in weights.values()) / 1e6,
        vocoder=sum(w.numel() for w in vocoder.values()) / 1e6,
        count=count,
        steps=plan.steps,
        guidance=plan.cfg_strength,
        rows=rows,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    _spectrograms(folder / "samples.png", tts)


def _spectrograms(file: Path, tts: tts_core.TTS) -> None:
    teachers = {t.name: t for t in corpus.TEACHERS}
    rows = []
    for voice, (name, _) in export.REFERENCES.items():
        teacher = teachers[name]
        sentence = texts.held_out("vi" if teacher.language == "vi" else "en")[2]
        said = (
            Espeak(teacher.voice).say(sentence)
            if teacher.program == "espeak"
            else corpus.flite(sentence, teacher.voice)
        )
        plan = tts.plan(tts_core.Speech(sentence, voice, seed=2))
        made = np.concatenate(list(tts.samples(plan)))
        both = ((audio.resample(said.samples, said.rate), "teacher"), (made, "voice"))
        rows.append(
            [(f"{voice}, {who}: {sentence}", log_mel(torch.from_numpy(samples)).numpy()) for samples, who in both]
        )
    picture.spectrograms(file, rows)
