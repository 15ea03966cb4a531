"""Fit how many frames each phoneme lasts among its neighbours: a small convolution, a minute of CPU.

Try: python -m train.durations
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track

from train import corpus
from train.flow import HELD_BACK

WIDTH, KERNEL = 96, 5


def train(
    data_folder: Path, vocab: list[str], steps: int, seed: int, batch: int = 64
) -> tuple[dict[str, torch.Tensor], float]:
    """Weights for a PhonemeTokenizer, and the mean error of an utterance's length on held-back ones, as a fraction."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    index = {s: i for i, s in enumerate(vocab)}
    rows, held = [], []
    for number, teacher in enumerate(corpus.TEACHERS):
        voice = [
            (number, [index.get(s, 0) for s in u.symbols], u.frames) for u in corpus.load(data_folder, teacher.name)
        ]
        rows += voice[:-HELD_BACK]
        held += voice[-HELD_BACK:]
    scale = 0.1
    w = {
        "embed": torch.randn(len(vocab), WIDTH) * scale,
        "conv1.weight": torch.randn(WIDTH, WIDTH, KERNEL) / (WIDTH * KERNEL) ** 0.5,
        "conv1.bias": torch.zeros(WIDTH),
        "conv2.weight": torch.randn(WIDTH, WIDTH, KERNEL) / (WIDTH * KERNEL) ** 0.5,
        "conv2.bias": torch.zeros(WIDTH),
        "out.weight": torch.randn(1, WIDTH, 1) * scale / WIDTH,
        "out.bias": torch.full((1,), 2.0),
    }
    pace = torch.zeros(len(corpus.TEACHERS))  # of each speaker; inference measures its reference's instead
    parameters = [*w.values(), pace]
    for p in parameters:
        p.requires_grad_()
    optim = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.01)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optim, steps)

    def log_frames(ids: torch.Tensor) -> torch.Tensor:
        h = w["embed"][ids].transpose(1, 2)
        for layer in ("1", "2"):
            h = F.relu(F.conv1d(h, w[f"conv{layer}.weight"], w[f"conv{layer}.bias"], padding=KERNEL // 2))
        return F.conv1d(h, w["out.weight"], w["out.bias"])[:, 0]

    for _ in track(range(steps), description="durations"):
        some = draw.sample(rows, batch)
        longest = max(len(ids) for _, ids, _ in some)
        ids, frames = torch.zeros(batch, longest, dtype=torch.int64), torch.full((batch, longest), -1.0)
        for i, (_, symbols, lengths) in enumerate(some):
            ids[i, : len(symbols)] = torch.tensor(symbols)
            frames[i, : len(symbols)] = torch.tensor(lengths, dtype=torch.float32)
        guess = (log_frames(ids) + pace[torch.tensor([speaker for speaker, _, _ in some])][:, None]).exp()
        real = frames >= 0
        # Gamma deviance: errors relative to length, and an unbiased mean.
        loss = (frames[real].clamp(min=0.25) / guess[real] + guess[real].log()).mean() + 0.01 * pace.mean() ** 2
        optim.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optim.step()
        falling.step()
    with torch.no_grad():
        errors = [
            abs((log_frames(torch.tensor([ids])) + pace[s]).exp().sum().item() / sum(frames) - 1)
            for s, ids, frames in held
        ]
    return {name: value.detach().half() for name, value in w.items()}, float(np.mean(errors))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--corpus", type=Path, default=Path("build/voice/corpus"))
    options.add_argument("--flow", type=Path, default=Path("build/voice/flow.pt"), help="its vocabulary is used")
    options.add_argument("--out", type=Path, default=Path("build/voice/durations.safetensors"))
    options.add_argument("--steps", type=int, default=1500)
    chosen = options.parse_args()
    from safetensors.torch import save_file

    vocab = torch.load(chosen.flow, weights_only=False, map_location="cpu")["vocab"]
    weights, error = train(chosen.corpus, vocab, chosen.steps, seed=1)
    save_file(weights, chosen.out)
    print(f"an utterance's length is off by {error:.1%} on average")
