"""Spectrograms and loss curves as PNG: what training sounds like, for eyes."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot


def spectrograms(file: Path, rows: list[list[tuple[str, np.ndarray]]]) -> None:
    """Rows of (title, log mel (frames, 100)), side by side."""
    figure, axes = pyplot.subplots(
        len(rows), len(rows[0]), figsize=(5.5 * len(rows[0]), 2.2 * len(rows)), layout="constrained", squeeze=False
    )
    for line, row in zip(axes, rows, strict=True):
        for axis, (title, mel) in zip(line, row, strict=True):
            axis.imshow(mel.T, origin="lower", aspect="auto", vmin=-10, vmax=2)
            axis.set_title(title, fontsize=8)
            axis.tick_params(labelsize=6)
    figure.savefig(file, dpi=80)
    pyplot.close(figure)


def losses(file: Path, log: list[tuple[int, float, float]]) -> None:
    """`log`: (step, seconds, loss) once a minute."""
    figure, axis = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axis.semilogy([seconds / 60 for _, seconds, _ in log], [loss for _, _, loss in log])
    axis.set(xlabel="minutes", ylabel="loss")
    figure.savefig(file, dpi=80)
    pyplot.close(figure)
