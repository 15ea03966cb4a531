"""Train a small Vocos on the corpus' own mels: spectral losses at several resolutions, no discriminator.

Resumable as the flow model is.   Try: python -m train.vocoder --minutes 20
"""

import argparse
import math
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import audio
from train import corpus
from train.flow import CHECKPOINT_SECONDS, EMA, WARM_UP_STEPS, precision_of

BACKBONE = dict(input_channels=100, dim=256, intermediate_dim=768, num_layers=6)
SEGMENT_FRAMES, BATCH = 48, 24
RESOLUTIONS = [(256, 64), (512, 128), (1024, 256), (2048, 512)]
MEL_WEIGHT = 2.0


def build() -> torch.nn.ModuleDict:
    """The backbone and head that a Vocos checkpoint names in its config.yaml."""
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    return torch.nn.ModuleDict(dict(backbone=VocosBackbone(**BACKBONE), head=ISTFTHead(BACKBONE["dim"], audio.FFT_SAMPLES, audio.HOP_SAMPLES, "center")))


def spectral_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Log-magnitude L1 plus spectral convergence over RESOLUTIONS, and L1 of the log mel."""
    total = MEL_WEIGHT * F.l1_loss(audio.log_mel(made), audio.log_mel(real))
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size, device=made.device)
        a, b = (torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp(min=1e-5) for x in (made, real))
        total = total + ((a.log() - b.log()).abs().mean() + torch.linalg.norm(a - b) / torch.linalg.norm(b)) / len(RESOLUTIONS)
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
        waves.append(pcm[at * audio.HOP_SAMPLES : (at + SEGMENT_FRAMES - 1) * audio.HOP_SAMPLES].astype(np.float32) * (gain / 32767))
    return torch.from_numpy(np.stack(mels)).transpose(1, 2), torch.from_numpy(np.stack(waves))


def train(data_folder: Path, out: Path, minutes: float, lr: float, seed: int, threads: int, max_steps: int | None = None) -> list[float]:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out.mkdir(parents=True, exist_ok=True)
    saved_at = out / "vocoder.pt"
    voices = [[(u.mel, u.pcm) for u in corpus.load(data_folder, t.name)] for t in corpus.TEACHERS]
    model = build().to(device)
    optim = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.8, 0.95), weight_decay=0.01)
    ema = {n: p.detach().clone() for n, p in model.state_dict().items()}
    step, elapsed, draw = 0, 0.0, random.Random(seed)
    if saved_at.exists():
        saved = torch.load(saved_at, weights_only=False, map_location=device)
        model.load_state_dict(saved["model"])
        optim.load_state_dict(saved["optim"])
        ema, step, elapsed = saved["ema"], saved["step"], saved["elapsed"]
        draw.setstate(saved["draw"])
    precision = precision_of(device)

    def save() -> None:
        partial = saved_at.with_suffix(".partial")
        torch.save(dict(model=model.state_dict(), ema=ema, optim=optim.state_dict(), step=step, elapsed=elapsed, draw=draw.getstate()), partial)
        os.replace(partial, saved_at)

    losses: list[float] = []
    last_save = last_print = time.monotonic()
    with Progress(TextColumn("vocoder {task.fields[state]}"), BarColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=minutes * 60, completed=int(elapsed), state="starting")
        while elapsed < minutes * 60 and (max_steps is None or step < max_steps):
            began = time.monotonic()
            done = elapsed / (minutes * 60) if max_steps is None else step / max_steps
            optim.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            mel, wave = (part.to(device) for part in batch(voices, draw))
            with precision():
                hidden = model["backbone"](mel)
            loss = spectral_loss(model["head"](hidden.float()), wave)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()
            optim.zero_grad()
            keep = min(EMA, (1 + step) / (10 + step))
            with torch.no_grad():
                for name, value in model.state_dict().items():
                    ema[name].lerp_(value, 1 - keep)
            step += 1
            losses.append(loss.item())
            elapsed += time.monotonic() - began
            bar.update(task, completed=elapsed, state=f"step {step} loss {np.mean(losses[-100:]):.3f}")
            if time.monotonic() - last_print > 60:
                last_print = time.monotonic()
                bar.console.print(f"{elapsed / 60:6.1f} min  step {step:6d}  loss {np.mean(losses[-200:]):.4f}")
            if time.monotonic() - last_save > CHECKPOINT_SECONDS:
                last_save = time.monotonic()
                save()
    save()
    return losses


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--corpus", type=Path, default=Path("build/voice/corpus"))
    options.add_argument("--out", type=Path, default=Path("build/voice"))
    options.add_argument("--minutes", type=float, default=25)
    options.add_argument("--lr", type=float, default=1e-3)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--steps", type=int, help="stop after so many instead of by time")
    chosen = options.parse_args()
    train(chosen.corpus, chosen.out, chosen.minutes, chosen.lr, chosen.seed, chosen.threads, chosen.steps)
