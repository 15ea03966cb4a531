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


def similarities(file: Path, names: list[str], cosines: np.ndarray) -> None:
    """Speeches of each speaker (rows) against each reference (columns)."""
    figure, axis = pyplot.subplots(figsize=(9, 8), layout="constrained")
    shown = axis.imshow(cosines, vmin=0.4, vmax=1.0)
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=6)
    axis.set(xlabel="reference", ylabel="speech behind it")
    figure.colorbar(shown, label="resemblyzer's cosine")
    figure.savefig(file, dpi=80)
    pyplot.close(figure)
