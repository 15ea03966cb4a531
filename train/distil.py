"""Guidance and solver steps learned into the model: few steps of one forward each instead of many of two.

The student starts as the teacher and learns, at the times of its own grid, the mean of the teacher's guided velocity
over the whole step (Meng et al., arXiv 2210.03142; Salimans and Ho, arXiv 2202.00512): in half of the batches from
where noise and speech are mixed, in the other half from where its own steps have led it. The target has no noise in
it, so a few hundred steps are enough.   Try: python -m train.distil --minutes 20 --solver-steps 3
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from engine.sampler import time_grid
from train import flow, loop, reader
from train.speech_data import Data

STRENGTH = 1.0
TEMPERATURE = 0.5
OWN_STEPS = 0.5
"""How often a batch begins where the student itself comes to."""
SOLVER_STEPS = 4
SUBSTEPS = 3
"""Of the teacher within a step of the student."""
WARM_UP_STEPS = 20


def mean_velocity(guided, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """x (b, n, 100), moved by Euler steps of `guided(x, t)` through `times` (steps + 1, b); the velocity that goes
    there at once."""
    here = x
    for t, later in pairwise(times):
        here = here + (later - t)[:, None, None] * guided(here, t)
    return (here - x) / (times[-1] - times[0])[:, None, None]


def finer(grid: torch.Tensor, substeps: int) -> torch.Tensor:
    """(substeps + 1, steps): each step of a grid cut as the whole is, the more finely the earlier."""
    even = torch.acos(1 - grid) * (2 / torch.pi)
    share = torch.linspace(0, 1, substeps + 1, device=grid.device)[:, None]
    return 1 - torch.cos(torch.pi / 2 * torch.lerp(even[:-1], even[1:], share))


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


def led(
    student: Callable[..., torch.Tensor], noise: torch.Tensor, grid: torch.Tensor, step: torch.Tensor
) -> torch.Tensor:
    """(b, n, 100): where the student's own steps lead from noise, at grid[step]; step (b,)."""
    x = reached = noise
    for number, (t, later) in enumerate(pairwise(grid[:-1]), 1):
        x = x + (later - t) * student(x, t.expand(len(x)))
        reached = torch.where((step == number)[:, None, None], x, reached)
    return reached


def lesson(
    data: Data, taught: Callable[..., torch.Tensor], student: torch.nn.Module, grid: torch.Tensor
) -> Callable[[loop.Batch, torch.Generator], torch.Tensor]:
    """How far the student is from the teacher's mean velocity over a step of `grid`, where the mel is not given."""
    place, solver_steps = grid.device, len(grid) - 1
    precision = loop.precision_of(place)
    times = finer(grid, SUBSTEPS)

    def loss(batch: loop.Batch, generator: torch.Generator) -> torch.Tensor:
        mel, tokens, unknown = flow.looked_up(data, batch)
        count = len(mel)
        first, own = (torch.randint(n, (1,), generator=generator, device=place) for n in (solver_steps, 100))
        step = (torch.arange(count, device=place) + first).remainder(solver_steps)
        noise = TEMPERATURE * torch.randn(mel.shape, generator=generator, device=place)
        given = mel.masked_fill(unknown[..., None], 0.0)
        told = torch.zeros(count, dtype=torch.bool, device=place)

        def spoken(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return flow.velocity(student, x, given, tokens, t, told).float()

        with precision():
            with torch.no_grad():
                if own < 100 * OWN_STEPS:
                    x = led(spoken, noise, grid, step)
                else:
                    x = torch.lerp(noise, mel, grid[step][:, None, None])
                target = mean_velocity(lambda at, t: taught(at, given, tokens, t), x, times[:, step])
            made = spoken(x, grid[step])
        return flow.masked_mean((made - target).square(), unknown)

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
    facts = dict(
        vocab=reader.VOCABULARY,
        arch=flow.ARCH,
        solver_steps=solver_steps,
        taught_steps=saved["step"],
        taught_seconds=saved["elapsed"],
    )
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
