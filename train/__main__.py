"""The embedded voice from nothing: corpus → vocoder → flow model → export.   Try: make voice MINUTES=540"""

import argparse
from collections.abc import Callable
from pathlib import Path

from train import corpus, durations, export, flow, vocoder

SHARES = {"vocoder": 0.2, "flow": 0.8}
"""Of the minutes."""
SHARDS = {"hibari": 24, "vi": 20, "kokoro": 60}
"""What the embedded voice has heard: half an hour of two cores, half of it Kokoro's."""
TOY_SHARDS, TOY_UTTERANCES = {"hibari": 1, "vi": 1}, 40
"""Kokoro is left out: half a gigabyte for ten sentences."""

Train = Callable[[Path, Path, float, float, int, bool, int, int | None], list[float]]
STAGES: dict[str, tuple[Train, float]] = {
    "vocoder": (vocoder.train, 1e-3),
    "flow": (flow.train, 2e-3),
}
"""What trains, and its learning rate."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=540, help="of training; the corpus takes half an hour more")
    options.add_argument("--build", type=Path, default=Path("build/voice"), help="what a killed run resumes from")
    options.add_argument("--model", type=Path, default=Path("models/tiny"))
    options.add_argument("--voices", type=Path, default=Path("voices"))
    options.add_argument("--threads", type=int, default=None)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--toy", type=int, metavar="STEPS", help="so many steps of each on a toy corpus")
    chosen = options.parse_args()
    threads = chosen.threads or corpus.cpu_count()
    data = chosen.build / "corpus"
    toy = chosen.toy is not None
    corpus.make(data, TOY_SHARDS if toy else SHARDS, threads, TOY_UTTERANCES if toy else None)
    for name, (train, rate) in STAGES.items():
        minutes = SHARES[name] * chosen.minutes
        losses = train(data, chosen.build, minutes, rate, chosen.seed, not toy, threads, chosen.toy)
        few = max(1, len(losses) // 5)
        if losses:
            print(f"{name} loss: {sum(losses[:few]) / few:.3f} at first, {sum(losses[-few:]) / few:.3f} at last")
    export.model(chosen.build, data, chosen.model, duration_steps=chosen.toy or durations.STEPS)
    export.vocoder(chosen.build, chosen.model / "vocoder")
    export.voices(chosen.voices, ["default", "an"] if toy else list(export.REFERENCES))


if __name__ == "__main__":
    main()
