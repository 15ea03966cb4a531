"""The embedded voice from nothing: corpus → flow model → guidance → vocoder → export.

Try: make voice MINUTES=115"""

import argparse
from pathlib import Path

from train import corpus, export, flow, guide, vocoder

SHARES = {"flow": 0.65, "guide": 0.13, "vocoder": 0.22}
"""Of the minutes."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=115, help="of training; the corpus takes a few more")
    options.add_argument("--utterances", type=int, default=2500, help="of each teacher")
    options.add_argument(
        "--build", type=Path, default=Path("build/voice"), help="everything that a killed run resumes from"
    )
    options.add_argument("--model", type=Path, default=Path("models/tiny"))
    options.add_argument("--voices", type=Path, default=Path("voices"))
    options.add_argument("--programs", type=Path, help="folder with flite and the word lists, unpacked, instead of /")
    options.add_argument("--threads", type=int, default=None)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--steps", type=int, help="a toy run: so many steps of each instead of minutes")
    chosen = options.parse_args()
    threads = chosen.threads or corpus.cpu_count()
    data = chosen.build / "corpus"
    corpus.make(data, chosen.utterances, chosen.seed, chosen.programs)
    compiled = chosen.steps is None
    minutes = {name: share * chosen.minutes for name, share in SHARES.items()}
    losses = {
        "flow": flow.train(data, chosen.build, minutes["flow"], 2e-3, chosen.seed, compiled, threads, chosen.steps),
        "guide": guide.train(data, chosen.build, minutes["guide"], 5e-4, chosen.seed, compiled, threads, chosen.steps),
        "vocoder": vocoder.train(
            data, chosen.build, minutes["vocoder"], 1e-3, chosen.seed, compiled, threads, chosen.steps
        ),
    }
    for name, values in losses.items():
        few = max(1, len(values) // 5)
        if values:
            print(f"{name} loss: {sum(values[:few]) / few:.3f} at first, {sum(values[-few:]) / few:.3f} at last")
    export.model(chosen.build, data, chosen.model, duration_steps=chosen.steps or 1500)
    export.vocoder(chosen.build, chosen.model / "vocoder")
    export.voices(chosen.voices, chosen.programs)


if __name__ == "__main__":
    main()
