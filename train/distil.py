"""Guidance and solver steps learned into the model: few steps of one forward each instead of many of two.

The student starts as the teacher and learns, at the times of its own grid, the mean of the teacher's guided velocity
over the whole step (Meng et al., arXiv 2210.03142; Salimans and Ho, arXiv 2202.00512); the target has no noise in it,
so a few hundred steps are enough. What is exported is halfway between the two (train/export.py).

Try: python -m train.distil --minutes 20 --solver-steps 3
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from engine.sampler import time_grid
from train import flow, loop, reader
from train.speech_data import Data

STRENGTH = 2.0
SOLVER_STEPS = 4
SUBSTEPS = 3
"""Of the teacher within a step of the student."""
WARM_UP_STEPS = 20


def mean_velocity(guided, x: torch.Tensor, start: torch.Tensor, end: torch.Tensor, substeps: int) -> torch.Tensor:
    """x (b, n, 100) at the times `start` (b,), moved to `end` by Euler steps of `guided(x, t)`; the velocity that
    goes there at once."""
    here, dt = x, (end - start) / substeps
    for sub in range(substeps):
        here = here + dt[:, None, None] * guided(here, start + sub * dt)
    return (here - x) / (end - start)[:, None, None]


def guided(teacher: torch.nn.Module) -> Callable[..., torch.Tensor]:
    """Its velocity with and without its conditions, as one batch, and beyond the first by STRENGTH."""

    def taught(x, given, tokens, t):
        untold = torch.arange(2 * len(x), device=x.device) >= len(x)
        both = flow.velocity(
            teacher,
            x.repeat(2, 1, 1),
            torch.cat([given, torch.zeros_like(given)]),
            tokens.repeat(2, 1),
            t.repeat(2),
            untold,
        )
        with_all, without = both.float().chunk(2)
        return with_all + (with_all - without) * STRENGTH

    return taught


def lesson(
    data: Data, taught: Callable[..., torch.Tensor], student: torch.nn.Module, grid: torch.Tensor
) -> Callable[[loop.Batch, torch.Generator], torch.Tensor]:
    """How far the student is from the teacher's mean velocity over a step of `grid`, where the mel is not given."""
    place, solver_steps = grid.device, len(grid) - 1
    precision = loop.precision_of(place)

    def loss(batch: loop.Batch, generator: torch.Generator) -> torch.Tensor:
        mel, tokens, unknown = flow.looked_up(data, batch)
        count = len(mel)
        first = torch.randint(solver_steps, (1,), generator=generator, device=place)
        step = (torch.arange(count, device=place) + first).remainder(solver_steps)
        noise = torch.randn(mel.shape, generator=generator, device=place)
        x = torch.lerp(noise, mel, grid[step][:, None, None])
        given = mel.masked_fill(unknown[..., None], 0.0)
        told = torch.zeros(count, dtype=torch.bool, device=place)
        with precision():
            with torch.no_grad():
                target = mean_velocity(
                    lambda at, t: taught(at, given, tokens, t), x, grid[step], grid[step + 1], SUBSTEPS
                )
            made = flow.velocity(student, x, given, tokens, grid[step], told)
        return flow.masked_mean((made.float() - target).square(), unknown)

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
    solver_steps: int = SOLVER_STEPS,
) -> list[float]:
    place = loop.prepare(seed, threads)
    saved = loop.read(out / "flow.pt")
    if saved is None:
        raise FileNotFoundError(f"{out}/flow.pt: train the flow model first")
    data = Data(data_folder)
    teacher = flow.build(reader.VOCABULARY, compiled).requires_grad_(False)
    student = flow.build(reader.VOCABULARY, compiled)
    for model in (teacher, student):
        model.load_state_dict(model.state_dict() | saved["ema"])  # train.keep leaves out rope's tables
    facts = dict(vocab=reader.VOCABULARY, arch=flow.ARCH, solver_steps=solver_steps)
    with flow.attention():
        return loop.run(
            loop.Trained("distil", out / "distilled.pt", student, flow.optimizers(student, lr), facts=facts),
            partial(flow.drawn, data, flow.batch_frames(place) // 2),
            lesson(data, guided(teacher), student, time_grid(solver_steps).to(place)),
            minutes,
            lr,
            seed,
            max_steps,
            warm_up_steps=WARM_UP_STEPS,
        )


if __name__ == "__main__":
    parser = loop.options(__doc__, minutes=20, lr=5e-4)
    parser.add_argument("--solver-steps", type=int, default=SOLVER_STEPS)
    chosen = parser.parse_args()
    train(
        chosen.corpus,
        chosen.out,
        chosen.minutes,
        chosen.lr,
        chosen.seed,
        chosen.compile,
        chosen.threads,
        chosen.steps,
        chosen.solver_steps,
    )
