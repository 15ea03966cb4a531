"""All judges over a set of speeches: one row of the table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from train import pitch
from train.judges import quality, whisper


@dataclass
class Row:
    distill_mos: float
    ovrl: float
    p808: float
    errors: float
    """Words for English, characters for Vietnamese."""
    f0_spread: float
    """Semitones: the mean over speeches of the standard deviation within each."""
    heard: list[str]


HEAD = "| | Distill-MOS | OVRL | P.808 | WER (vi: CER) | F0 spread |\n|---|---|---|---|---|---|"


def judge(speeches: Iterable[np.ndarray], said: list[str], language: str = "en") -> Row:
    """`speeches`: 24 kHz samples of each sentence of `said`."""
    distill: list[float] = []
    ovrl: list[float] = []
    p808: list[float] = []
    spread: list[float] = []
    heard: list[str] = []
    for samples in speeches:
        distill.append(quality.distill_mos(samples))
        one, two = quality.dnsmos(samples)
        ovrl.append(one)
        p808.append(two)
        spread.append(pitch.spread_semitones(pitch.track(samples)))
        heard.append(whisper.hear(samples, language))
    errors = whisper.character_errors(said, heard, language) if language == "vi" else whisper.word_errors(said, heard)
    return Row(_mean(distill), _mean(ovrl), _mean(p808), errors, _mean(spread), heard)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def line(name: str, row: Row) -> str:
    return (
        f"| {name} | {row.distill_mos:.2f} | {row.ovrl:.2f} | {row.p808:.2f} | {row.errors:.1%} | {row.f0_spread:.1f} |"
    )


def as_dict(row: Row) -> dict[str, Any]:
    return asdict(row)
