"""The embedded voice from nothing: corpus → flow model → vocoder → export → evaluation.   Try: make voice MINUTES=90"""

import argparse
from pathlib import Path

from train import corpus, export, flow, vocoder

FLOW_SHARE = 0.75
"""Of the minutes; the vocoder has the rest."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=90, help="of training; the corpus takes a few more")
    options.add_argument("--utterances", type=int, default=2500, help="of each teacher")
    options.add_argument("--build", type=Path, default=Path("build/voice"), help="everything that a killed run resumes from")
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
    losses = flow.train(data, chosen.build, chosen.minutes * FLOW_SHARE, 2e-3, chosen.seed, chosen.steps is None, threads, chosen.steps)
    heard = vocoder.train(data, chosen.build, chosen.minutes * (1 - FLOW_SHARE), 1e-3, chosen.seed, threads, chosen.steps)
    for name, values in (("flow", losses), ("vocoder", heard)):
        if values:
            print(f"{name} loss: {sum(values[:5]) / len(values[:5]):.3f} at first, {sum(values[-5:]) / len(values[-5:]):.3f} at last")
    export.model(chosen.build, data, chosen.model, duration_steps=chosen.steps or 1500)
    export.vocoder(chosen.build, chosen.model / "vocoder")
    export.voices(chosen.voices, chosen.programs)


if __name__ == "__main__":
    main()
