"""Train a small Vocos on the corpus' own mels: spectral losses at several resolutions, no discriminator.

Try: python -m train.vocoder --minutes 20
"""

import math
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engine.mel import log_mel
from speech import audio
from train import corpus, loop

BACKBONE = dict(input_channels=100, dim=256, intermediate_dim=768, num_layers=6)
SEGMENT_FRAMES, BATCH = 48, 24
RESOLUTIONS = [(256, 64), (512, 128), (1024, 256), (2048, 512)]
MEL_WEIGHT = 2.0


def build() -> torch.nn.ModuleDict:
    """The backbone and head that a Vocos checkpoint names in its config.yaml."""
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    return torch.nn.ModuleDict(
        dict(
            backbone=VocosBackbone(**BACKBONE),
            head=ISTFTHead(BACKBONE["dim"], audio.FFT_SAMPLES, audio.HOP_SAMPLES, "center"),
        )
    )


def spectral_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Log-magnitude L1 plus spectral convergence over RESOLUTIONS, and L1 of the log mel."""
    total = MEL_WEIGHT * F.l1_loss(log_mel(made), log_mel(real))
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size, device=made.device)
        a, b = (
            torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp(min=1e-5) for x in (made, real)
        )
        total = total + ((a.log() - b.log()).abs().mean() + torch.linalg.norm(a - b) / torch.linalg.norm(b)) / len(
            RESOLUTIONS
        )
    return total


def batch(voices: list[list[tuple[np.ndarray, np.ndarray]]], draw: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """mel (b, 100, frames), samples (b, (frames - 1) * 256) of random places."""
    mels: list[np.ndarray] = []
    waves: list[np.ndarray] = []
    while len(mels) < BATCH:
        mel, pcm = draw.choice(draw.choice(voices))
        if len(mel) <= SEGMENT_FRAMES:
            continue
        at = draw.randrange(len(mel) - SEGMENT_FRAMES)
        gain = draw.uniform(0.5, 1.1)  # voices are scaled by their reference's loudness at inference
        mels.append(np.maximum(mel[at : at + SEGMENT_FRAMES].astype(np.float32) + math.log(gain), math.log(1e-5)))
        waves.append(
            pcm[at * audio.HOP_SAMPLES : (at + SEGMENT_FRAMES - 1) * audio.HOP_SAMPLES].astype(np.float32)
            * (gain / 32767)
        )
    return torch.from_numpy(np.stack(mels)).transpose(1, 2), torch.from_numpy(np.stack(waves))


def train(
    data_folder: Path,
    out: Path,
    minutes: float,
    lr: float,
    seed: int,
    compiled: bool,
    threads: int,
    max_steps: int | None = None,
) -> list[float]:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    place = loop.device()
    voices = [[(u.mel, u.pcm) for u in corpus.load(data_folder, t.name)] for t in corpus.TEACHERS]
    model = build().to(place)
    backbone = torch.compile(model["backbone"]) if compiled else model["backbone"]
    precision = loop.precision_of(place)

    def loss(draw: random.Random, generator: torch.Generator) -> torch.Tensor:
        mel, wave = (part.to(place) for part in batch(voices, draw))
        with precision():
            hidden = backbone(mel)
        return spectral_loss(model["head"](hidden.float()), wave)

    optim = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.8, 0.95), weight_decay=0.01)
    return loop.run("vocoder", out / "vocoder.pt", model, [optim], loss, minutes, lr, seed, max_steps)


if __name__ == "__main__":
    chosen = loop.options(__doc__, minutes=25, lr=1e-3).parse_args()
    train(
        chosen.corpus, chosen.out, chosen.minutes, chosen.lr, chosen.seed, chosen.compile, chosen.threads, chosen.steps
    )
