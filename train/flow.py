"""Train the flow model on the corpus: upstream's DiT, tokens as long as the mel, loss on the masked frames.

Try: python -m train.flow --minutes 60
"""

import contextlib
import random
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.sampler import time_grid
from train import loop, picture, reader
from train.speech_data import Data

ARCH = dict(
    dim=320, depth=8, heads=5, ff_mult=2, text_dim=256, text_mask_padding=False, conv_layers=4, pe_attn_head=None
)
"""The text's part is read once a request, the blocks once a solver step: depth is cheaper there."""
LENGTHS = {512: 0.6, 1152: 0.4}
"""Frames of a training sequence, and how often; the longest is what a chunk with its reference may have."""
BATCH_FRAMES, GPU_BATCH_FRAMES = 6144, 46_080
DROP_ALL, DROP_AUDIO = 0.1, 0.1
FILLER = -1
"""The token that upstream's `drop_text` puts in every place."""
WATCHED = 12
"""Sequences of a held-back batch."""


def velocity(model, x, cond, tokens, time_, no_text: torch.Tensor) -> torch.Tensor:
    """Upstream's DiT.forward with the text dropped per sample instead of per batch."""
    text = model.text_embed(tokens.masked_fill(no_text[:, None], FILLER), seq_len=x.shape[1])
    hidden = model.input_embed(x, cond, text)
    t = model.time_embed(time_)
    rope = model.rotary_embed.forward_from_seq_len(x.shape[1])
    for block in model.transformer_blocks:
        hidden = block(hidden, t, rope=rope)
    return model.proj_out(model.norm_out(hidden, t))


def stratified_times(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) in 0..1: every batch sees early and late solver steps."""
    place = generator.device
    t = (torch.arange(count, device=place) + torch.rand(count, generator=generator, device=place)) / count
    return t[torch.randperm(count, generator=generator, device=place)]


def loss_of(forward, batch, generator: torch.Generator, precision) -> torch.Tensor:
    mel, tokens, unknown = batch
    count, place = len(mel), mel.device
    t = stratified_times(count, generator)
    noise = torch.randn(mel.shape, generator=generator, device=place)
    x = torch.lerp(noise, mel, t[:, None, None])
    chance = torch.rand(count, generator=generator, device=place)
    cond = mel.masked_fill((unknown | (chance < DROP_ALL + DROP_AUDIO)[:, None])[..., None], 0.0)
    with precision():
        flow = forward(x, cond, tokens, t, chance < DROP_ALL)
    return masked_mean((flow.float() - (mel - noise)).square(), unknown)


def masked_mean(errors: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor:
    """(b, n, 100) over the unknown frames (b, n) alone; asks no tensor for its size."""
    return (errors.mean(dim=-1) * unknown).sum() / unknown.sum()


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by five Newton-Schulz iterations (Jordan et al. 2024; the quintic's coefficients are
    theirs), for matrices alone, those of one shape at once. Steps are of AdamW's size (0.2 RMS; arXiv 2502.16982)."""

    def __init__(self, matrices: list[torch.Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        by_shape: dict[torch.Size, list[torch.Tensor]] = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        super().__init__([{"params": group} for group in by_shape.values()], dict(lr=lr))
        self._momentum, self._decay = momentum, weight_decay

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params = group["params"]
            gradients = [p.grad for p in params]
            for p in params:
                if "momentum" not in self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            kept = [self.state[p]["momentum"] for p in params]
            torch._foreach_lerp_(kept, gradients, 1 - self._momentum)
            ahead = torch.stack(torch._foreach_lerp(gradients, kept, self._momentum))
            made = orthogonal(ahead) * (0.2 * max(params[0].shape) ** 0.5)
            torch._foreach_mul_(params, 1 - group["lr"] * self._decay)
            torch._foreach_add_(params, list(made.to(params[0].dtype)), alpha=-group["lr"])


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """(count, m, n): singular values brought near 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT


def optimizers(model, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest; what the time goes through at a tenth of the rate: at
    1.5e-3 Adam had driven nearly all of its units below zero, for good, after 10 000 steps."""
    named = dict(model.named_parameters())
    matrices = [p for n, p in named.items() if p.ndim == 2 and "blocks" in n]
    time = [p for n, p in named.items() if n.startswith("time_embed")]
    chosen = {id(p) for p in (*matrices, *time)}
    rest = [p for p in named.values() if id(p) not in chosen]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": time, "share": 0.1}]
    return [Muon(matrices, lr), torch.optim.AdamW(groups, lr=lr, weight_decay=0.01, betas=(0.9, 0.98), fused=True)]


def build(vocab: list[str], compiled: bool = False) -> torch.nn.Module:
    """`compiled`: block by block, which takes seconds a shape; the whole takes minutes and is hardly faster."""
    from f5_tts.model.backbones.dit import DiT

    model = DiT(**ARCH, dropout=0.0, mel_dim=100, text_num_embeds=len(vocab)).to(loop.device())
    if compiled:
        for block in (*model.transformer_blocks, *model.text_embed.text_blocks):
            block.compile(dynamic=False)
    return model


def heard(model: torch.nn.Module, mel, tokens, unknown) -> list[list[tuple[str, np.ndarray]]]:
    """Teacher and model side by side, for the first sequences of a batch: seven solver steps without guidance."""
    mel, tokens, unknown = mel[:3], tokens[:3], unknown[:3]
    given = mel.masked_fill(unknown[..., None], 0.0)
    x = torch.randn(mel.shape, generator=torch.Generator().manual_seed(0)).to(mel.device)
    grid = time_grid(7).tolist()
    told = torch.zeros(len(mel), dtype=torch.bool, device=mel.device)
    for t, later in pairwise(grid):
        x = x + (later - t) * velocity(model, x, given, tokens, torch.full((len(mel),), t, device=mel.device), told)
    made = torch.where(unknown[..., None], x, mel)
    return [
        [("teacher", real.cpu().numpy()), ("model", own.cpu().numpy())] for real, own in zip(mel, made, strict=True)
    ]


def attention() -> contextlib.AbstractContextManager:
    """Flash attention in bf16 is four times slower than plain matrix products on CPU."""
    return sdpa_kernel(SDPBackend.MATH) if loop.device().type == "cpu" else contextlib.nullcontext()


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
    place = loop.prepare(seed, threads)
    path = out / "flow.pt"
    data = Data(data_folder)
    print(data.minutes(), flush=True)
    model = build(reader.VOCABULARY, compiled)
    with torch.no_grad():
        model.get_parameter("proj_out.bias").copy_(
            torch.from_numpy(data.mean)
        )  # log mels lie around -6: saves the first hundreds of steps

    forward = partial(velocity, model)
    precision = loop.precision_of(place)
    same = random.Random(0)
    watched = [data.batch(same, 384, WATCHED, held_back=True) for _ in range(2)]

    def loss(batch: loop.Batch, generator: torch.Generator) -> torch.Tensor:
        return loss_of(forward, looked_up(data, batch), generator, precision)

    def watch() -> float:
        fixed = torch.Generator(place).manual_seed(0)
        found = [looked_up(data, [part.to(place) for part in batch]) for batch in watched]
        picture.spectrograms(out / "heard.png", heard(model, *found[0]))
        return sum(loss_of(forward, one, fixed, precision).item() for one in found) / len(found)

    with attention():
        return loop.run(
            loop.Trained("flow", path, model, optimizers(model, lr), facts=dict(vocab=reader.VOCABULARY, arch=ARCH)),
            partial(drawn, data, batch_frames(place)),
            loss,
            minutes,
            lr,
            seed,
            max_steps,
            watch,
        )


def batch_frames(place: torch.device) -> int:
    return GPU_BATCH_FRAMES if place.type == "cuda" else BATCH_FRAMES


def drawn(data: Data, frames: int, draw: random.Random) -> loop.Batch:
    length = draw.choices(list(LENGTHS), list(LENGTHS.values()))[0]
    return data.batch(draw, length, frames // length)


def looked_up(data: Data, batch) -> tuple[torch.Tensor, ...]:
    """mel (b, n, 100), tokens (b, n), unknown (b, n)."""
    places, tokens, unknown = batch
    return data.mels[places.long()].float(), tokens.long(), unknown


if __name__ == "__main__":
    chosen = loop.options(__doc__, minutes=75, lr=2e-3).parse_args()
    train(
        chosen.corpus, chosen.out, chosen.minutes, chosen.lr, chosen.seed, chosen.compile, chosen.threads, chosen.steps
    )
