"""Does a 3-second reference decide who speaks? Speakers never trained on, resemblyzer's ranks, the teacher's own
beside the model's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from speech import audio
from train import picture, speakers, texts
from train.judges import speaker as judge

FOLDER = Path("build/judges/cloning")
REFERENCE_TEXT = "We walked home along the quiet river, and nobody said a word."
SENTENCES = 3


@dataclass
class Ranks:
    halves_first: float
    """Of the held-out halves of two voices: the share of speeches whose own reference is nearest among all of them."""
    singles_first: float
    """Of the held-out single voices, among those."""
    mean_rank: float
    own_cosine: float
    other_cosine: float
    """Of the nearest other reference, on average."""


def cast() -> tuple[list[speakers.Speaker], list[speakers.Speaker]]:
    """The held-out halves and the held-out single voices."""
    return speakers.held_out_halves(), [speakers.single(name) for name in speakers.HELD_OUT]


def everybody() -> list[speakers.Speaker]:
    halves, singles = cast()
    return [*halves, *singles]


def sentences() -> list[str]:
    return texts.held_out("en")[24 : 24 + SENTENCES]


def teacher() -> dict[str, list[np.ndarray]]:
    """Of each speaker the reference, then the sentences; 24 kHz. Made once, three minutes of CPU."""
    path = FOLDER / "teacher.npz"
    if not path.exists():
        from hibari.g2p import G2P

        from train import kokoro

        reader, model, folder = G2P(), kokoro.Kokoro(), kokoro.styles()
        made = {}
        for who in everybody():
            style = who.style(folder)
            for i, text in enumerate([REFERENCE_TEXT, *sentences()]):
                made[f"{who.name} {i}"] = _trimmed(model.say(reader(text), style).samples)
        FOLDER.mkdir(parents=True, exist_ok=True)
        np.savez(path, **made)  # type: ignore[arg-type]
    with np.load(path) as kept:
        return {who.name: [kept[f"{who.name} {i}"] for i in range(1 + SENTENCES)] for who in everybody()}


def _trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the silence around, a twentieth of a second left."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    margin = audio.SAMPLE_RATE // 20
    return samples[max(0, loud[0] - margin) : loud[-1] + margin].astype(np.float32)


def write_references(folder: Path) -> None:
    """Each speaker's reference as a voice of the server's, with its transcript."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, said in teacher().items():
        soundfile.write(folder / f"{name}.wav", said[0], audio.SAMPLE_RATE, subtype="PCM_16")
        (folder / f"{name}.txt").write_text(REFERENCE_TEXT + "\n", encoding="utf-8")


def ranks(said: dict[str, list[np.ndarray]], plot: Path | None = None) -> Ranks:
    """`said`: of each speaker's name, the sentences, by teacher or model."""
    first: list[float] = []
    found: list[int] = []
    own: list[float] = []
    other: list[float] = []
    for number, group in enumerate(cast()):
        names = [who.name for who in group]
        references = np.stack([judge.vector(teacher()[name][0]) for name in names])
        vectors = np.stack([judge.vector(samples) for name in names for samples in said[name]])
        whose = [i for i, name in enumerate(names) for _ in said[name]]
        cosines = vectors @ references.T
        place = judge.ranks(vectors, whose, references)
        first.append(float(np.mean([p == 1 for p in place])))
        if number == 0:
            found, own = place, [float(row[i]) for row, i in zip(cosines, whose, strict=True)]
            other = [float(np.delete(row, i).max()) for row, i in zip(cosines, whose, strict=True)]
            if plot:
                per_speaker = cosines.reshape(len(names), -1, len(names)).mean(axis=1)
                picture.similarities(plot, names, per_speaker)
    return Ranks(first[0], first[1], float(np.mean(found)), float(np.mean(own)), float(np.mean(other)))
