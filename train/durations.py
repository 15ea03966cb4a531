"""Fit how many frames each phoneme lasts among its neighbours: a small residual convolution, eight minutes of a core.

Try: python -m train.durations
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save_file

from engine.durations import log_frames
from train import corpus, reader
from train.speech_data import HELD_BACK

SHARES = {"hibari": 0.6, "kokoro": 0.2, "vi": 0.2}
"""How often a teacher is drawn: most often the one of the voice that is heard most."""
WIDTH, KERNEL, LAYERS = 192, 5, 5
"""Ten neighbours on each side: a phrase's end is felt from its last word on."""
KEEP = 0.99
"""Of the weights' moving average, at each step."""
LEAST_FRAMES = 0.25
STEPS = 1140


Row = tuple[int, list[int], list[int]]
"""Speaker's number, ids, frames."""


def rows_of(folder: Path) -> tuple[dict[str, list[Row]], list[Row], int]:
    """To train on, by teacher; held back, of speakers that are trained on; and how many speakers there are.

    Nothing but the paces' mean would hold the pace of somebody else, and Adam makes any pull a full step."""
    index = {s: i for i, s in enumerate(reader.VOCABULARY)}
    numbers: dict[str, int] = {}

    def row(u: corpus.Utterance) -> Row:
        return numbers[u.speaker], [index[s] for s in u.symbols], u.frames

    rows: dict[str, list[Row]] = {}
    held: list[corpus.Utterance] = []
    for kind in SHARES:
        for number, path in enumerate(corpus.shards(folder, kind)):
            said = list(corpus.read(path))
            cut = len(said) - HELD_BACK if number == 0 else len(said)
            for u in said[:cut]:
                numbers.setdefault(u.speaker, len(numbers))
            rows.setdefault(kind, []).extend(row(u) for u in said[:cut])
            held += said[cut:]
    return rows, [row(u) for u in held if u.speaker in numbers], len(numbers)


def train(data_folder: Path, steps: int, seed: int, batch: int = 64) -> tuple[dict[str, torch.Tensor], float]:
    """Weights, and the mean error of an utterance's length on held-back ones, their speakers' pace known, as a
    fraction."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    rows, held, speakers = rows_of(data_folder)
    w = {"embed": torch.randn(len(reader.VOCABULARY), WIDTH) * 0.1}
    for layer in range(LAYERS):
        w[f"conv{layer}.weight"] = torch.randn(WIDTH, WIDTH, KERNEL) / (WIDTH * KERNEL) ** 0.5
        w[f"conv{layer}.bias"] = torch.zeros(WIDTH)
    w |= {"out.weight": torch.randn(1, WIDTH, 1) * 0.1 / WIDTH, "out.bias": torch.full((1,), 2.0)}
    pace = torch.zeros(speakers)  # of each speaker; inference measures its reference's instead
    parameters = [*w.values(), pace]
    for p in parameters:
        p.requires_grad_()
    optim = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    average = {name: value.detach().clone() for name, value in w.items()}
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optim, steps)
    kinds = list(rows)
    for _ in track(range(steps), description="durations"):
        some = [draw.choice(rows[kind]) for kind in draw.choices(kinds, [SHARES[k] for k in kinds], k=batch)]
        longest = max(len(ids) for _, ids, _ in some)
        ids, frames = torch.zeros(batch, longest, dtype=torch.int64), torch.full((batch, longest), -1.0)
        for i, (_, symbols, lengths) in enumerate(some):
            ids[i, : len(symbols)] = torch.tensor(symbols)
            frames[i, : len(symbols)] = torch.tensor(lengths, dtype=torch.float32)
        real = frames >= 0
        guess = (log_frames(w, ids, real) + pace[torch.tensor([speaker for speaker, _, _ in some])][:, None]).exp()
        # Gamma deviance: errors relative to length, and an unbiased mean.
        loss = (frames[real].clamp(min=LEAST_FRAMES) / guess[real] + guess[real].log()).mean() + 0.01 * pace.mean() ** 2
        optim.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optim.step()
        falling.step()
        with torch.no_grad():
            for name, value in w.items():
                average[name].lerp_(value, 1 - KEEP)
    with torch.no_grad():
        errors = [
            abs((log_frames(average, torch.tensor([ids])) + pace[s]).exp().sum().item() / sum(frames) - 1)
            for s, ids, frames in held
        ]
    return {name: value.half() for name, value in average.items()}, float(np.mean(errors))


def write(data_folder: Path, path: Path, steps: int) -> None:
    weights, error = train(data_folder, steps, seed=1)
    save_file(weights, path)
    print(f"an utterance's length is off by {error:.1%} on average")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--corpus", type=Path, default=Path("build/voice/corpus"))
    options.add_argument("--out", type=Path, default=Path("build/voice/durations.safetensors"))
    options.add_argument("--steps", type=int, default=STEPS)
    chosen = options.parse_args()
    write(chosen.corpus, chosen.out, chosen.steps)
