"""Train guidance into the flow model, so that inference needs one forward per solver step instead of two.

The student starts as the teacher and learns its guided velocity, v + (v - v_without) * strength (Meng et al., arXiv
2210.03142); the target has no noise in it, so a few hundred steps are enough.

Try: python -m train.guide --minutes 15
"""

import functools
import random
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from train import flow, loop

STRENGTH = 2.0
WARM_UP_STEPS = 20


def guided(teacher: torch.nn.Module) -> Callable[..., torch.Tensor]:
    """The teacher's velocity with and without its conditions, as one batch, and beyond the first by STRENGTH."""

    def taught(x, given, tokens, t, no_text):
        both = flow.velocity(
            teacher,
            x.repeat(2, 1, 1),
            torch.cat([given, torch.zeros_like(given)]),
            tokens.repeat(2, 1),
            t.repeat(2),
            no_text,
        )
        told, untold = both.float().chunk(2)
        return told + (told - untold) * STRENGTH

    return taught


def lesson(
    data: flow.Data, taught: Callable[..., torch.Tensor], learned: Callable[..., torch.Tensor], place: torch.device
) -> loop.Loss:
    """How far the student is from the teacher's guided velocity, where the mel is not given."""
    precision = loop.precision_of(place)

    def loss(draw: random.Random, generator: torch.Generator) -> torch.Tensor:
        length = draw.choices(list(flow.LENGTHS), list(flow.LENGTHS.values()))[0]
        mel, tokens, unknown = (part.to(place) for part in data.batch(draw, length))
        count = len(mel)
        t = flow.stratified_times(count, generator).to(place)
        x = torch.lerp(torch.randn(mel.shape, generator=generator).to(place), mel, t[:, None, None])
        given = mel.masked_fill(unknown[..., None], 0.0)
        told = torch.zeros(count, dtype=torch.bool, device=place)
        with precision():
            with torch.no_grad():
                target = taught(x, given, tokens, t, torch.cat([told, ~told]))
            made = learned(x, given, tokens, t, told)
        return F.mse_loss(made.float()[unknown], target[unknown])

    return loss


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
    saved = loop.read(out / "flow.pt")
    if saved is None:
        raise FileNotFoundError(f"{out}/flow.pt: train the flow model first")
    data = flow.Data(data_folder, saved["vocab"])
    teacher, student = flow.build(data.vocab).requires_grad_(False), flow.build(data.vocab)
    teacher.load_state_dict(saved["ema"])
    student.load_state_dict(saved["ema"])
    taught: Callable[..., torch.Tensor] = guided(teacher)
    learned: Callable[..., torch.Tensor] = functools.partial(flow.velocity, student)
    if compiled:
        taught, learned = torch.compile(taught, dynamic=False), torch.compile(learned, dynamic=False)
    loss = lesson(data, taught, learned, loop.device())
    facts = dict(vocab=data.vocab, arch=flow.ARCH, taught_steps=saved["step"], taught_seconds=saved["elapsed"])
    path = out / "guided.pt"
    with flow.attention():
        optims = flow.optimizers(student, lr)
        return loop.run(
            "guide", path, student, optims, loss, minutes, lr, seed, max_steps, facts=facts, warm_up_steps=WARM_UP_STEPS
        )


if __name__ == "__main__":
    chosen = loop.options(__doc__, minutes=15, lr=5e-4).parse_args()
    train(
        chosen.corpus, chosen.out, chosen.minutes, chosen.lr, chosen.seed, chosen.compile, chosen.threads, chosen.steps
    )
