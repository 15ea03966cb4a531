"""What the teachers themselves say of the held-out sentences: made once, kept under build/judges.

Try: python -m train.references"""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speech import audio
from train import speakers, texts

FOLDER = Path("build/judges/teachers")
SENTENCES = 40
VIETNAMESE_VOICE = "vi"
TEACHERS = {"hibari": "en", "kokoro": "en", "espeak": "vi"}
"""`kokoro`: the four held-out single voices in turn."""


def sentences(teacher: str) -> list[str]:
    return texts.held_out(TEACHERS[teacher])[:SENTENCES]


def speeches(teacher: str) -> list[np.ndarray]:
    """24 kHz samples of each sentence, at the loudness of training."""
    path = FOLDER / f"{teacher}.npz"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        made = [np.asarray(s, np.float32) for s in _said(teacher)]
        made = [s * (audio.REFERENCE_RMS / float(np.sqrt(np.mean(s**2)))) for s in made]
        np.savez(path, *made)
    with np.load(path) as kept:
        return [kept[f"arr_{i}"] for i in range(len(kept.files))]


def _said(teacher: str) -> Iterator[np.ndarray]:
    from hibari.g2p import G2P

    from train import kokoro
    from train.espeak import Espeak

    draw = random.Random(teacher)
    if teacher == "hibari":
        hibari, reader = kokoro.Hibari(), G2P()
        yield from (hibari.say(reader(s), seed=draw.randrange(2**31)).samples for s in sentences(teacher))
    elif teacher == "kokoro":
        model, reader, folder = kokoro.Kokoro(), G2P(), kokoro.styles()
        styles = [speakers.single(name).style(folder) for name in speakers.HELD_OUT]
        yield from (model.say(reader(s), styles[i % len(styles)]).samples for i, s in enumerate(sentences(teacher)))
    else:
        espeak = Espeak(VIETNAMESE_VOICE)
        said = [espeak.say(s) for s in sentences(teacher)]
        yield from (audio.resample(s.samples, s.rate) for s in said)


if __name__ == "__main__":
    for name in TEACHERS:
        print(name, f"{sum(len(s) for s in speeches(name)) / audio.SAMPLE_RATE:.0f} s")
