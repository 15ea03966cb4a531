"""Train the flow model on the corpus: upstream's DiT, tokens as long as the mel, loss on the masked frames.

Try: python -m train.flow --minutes 60
"""

import contextlib
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.sampler import time_grid
from train import loop, picture, reader
from train.speech_data import Data

ARCH = dict(
    dim=320, depth=8, heads=5, ff_mult=2, text_dim=256, text_mask_padding=False, conv_layers=4, pe_attn_head=None
)
"""The text's part is read once a request, the blocks once a solver step: depth is cheaper there."""
LENGTHS = {384: 0.65, 768: 0.35}
"""Frames of a training sequence, and how often: most of the cost is linear, attention is not."""
BATCH_FRAMES = 6144
DROP_ALL, DROP_AUDIO = 0.1, 0.1
WATCHED = 12
"""Sequences of a held-back batch."""


def velocity(model, x, cond, tokens, time_, no_text: torch.Tensor) -> torch.Tensor:
    """Upstream's DiT.forward with the text dropped per sample instead of per batch."""
    text = model.text_embed(tokens, seq_len=x.shape[1])
    nothing = model.text_embed(tokens[:1], seq_len=x.shape[1], drop_text=True)
    hidden = model.input_embed(x, cond, torch.where(no_text[:, None, None], nothing, text))
    t = model.time_embed(time_)
    rope = model.rotary_embed.forward_from_seq_len(x.shape[1])
    for block in model.transformer_blocks:
        hidden = block(hidden, t, rope=rope)
    return model.proj_out(model.norm_out(hidden, t))


def stratified_times(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) in 0..1: every batch sees early and late solver steps."""
    t = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return t[torch.randperm(count, generator=generator)]


def loss_of(forward, batch, generator: torch.Generator, precision) -> torch.Tensor:
    mel, tokens, unknown = batch
    count = len(mel)
    t = stratified_times(count, generator).to(mel.device)
    noise = torch.randn(mel.shape, generator=generator).to(mel.device)
    x = torch.lerp(noise, mel, t[:, None, None])
    chance = torch.rand(count, generator=generator).to(mel.device)
    cond = mel.masked_fill((unknown | (chance < DROP_ALL + DROP_AUDIO)[:, None])[..., None], 0.0)
    with precision():
        flow = forward(x, cond, tokens, t, chance < DROP_ALL)
    return F.mse_loss(flow.float()[unknown], (mel - noise)[unknown])


def optimizers(model, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "blocks" in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


def build(vocab: list[str]) -> torch.nn.Module:
    from f5_tts.model.backbones.dit import DiT

    return DiT(**ARCH, dropout=0.0, mel_dim=100, text_num_embeds=len(vocab)).to(loop.device())


def heard(model: torch.nn.Module, batch: list[torch.Tensor]) -> list[list[tuple[str, np.ndarray]]]:
    """Teacher and model side by side, for the first sequences of a batch: seven solver steps without guidance."""
    mel, tokens, unknown = (part[:3] for part in batch)
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
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    place = loop.device()
    path = out / "flow.pt"
    data = Data(data_folder)
    print(data.minutes(), flush=True)
    model = build(reader.VOCABULARY)
    with torch.no_grad():
        model.get_parameter("proj_out.bias").copy_(
            torch.from_numpy(data.mean)
        )  # log mels lie around -6: saves the first hundreds of steps

    def forward(*inputs):
        return velocity(model, *inputs)

    forward = torch.compile(forward, dynamic=False) if compiled else forward
    precision = loop.precision_of(place)

    def loss(draw: random.Random, generator: torch.Generator) -> torch.Tensor:
        length = draw.choices(list(LENGTHS), list(LENGTHS.values()))[0]
        batch = [part.to(place) for part in data.batch(draw, length, BATCH_FRAMES // length)]
        return loss_of(forward, batch, generator, precision)

    def watch() -> float:
        same, fixed = random.Random(0), torch.Generator().manual_seed(0)
        batches = [[part.to(place) for part in data.batch(same, 384, WATCHED, held_back=True)] for _ in range(2)]
        picture.spectrograms(out / "heard.png", heard(model, batches[0]))
        return sum(loss_of(forward, batch, fixed, precision).item() for batch in batches) / len(batches)

    with attention():
        return loop.run(
            "flow",
            path,
            model,
            optimizers(model, lr),
            loss,
            minutes,
            lr,
            seed,
            max_steps,
            watch,
            dict(vocab=reader.VOCABULARY, arch=ARCH),
        )


if __name__ == "__main__":
    chosen = loop.options(__doc__, minutes=75, lr=2e-3).parse_args()
    train(
        chosen.corpus, chosen.out, chosen.minutes, chosen.lr, chosen.seed, chosen.compile, chosen.threads, chosen.steps
    )
