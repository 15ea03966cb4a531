"""Copy synthesis: the teachers' own mels through a vocoder, beside the teachers themselves. The vocoder's test, before
any flow.

Try: python -m train.copies build/voice/vocoder.pt --teachers hibari kokoro"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.mel import log_mel
from train import references
from train.judges import table
from train.vocoder import SourceFilter

Voice = Callable[[torch.Tensor], np.ndarray]
KEPT = Path("build/judges/teachers.json")


def vocoder_of(path: Path) -> Voice:
    """A checkpoint of train.vocoder (averaged weights), or the folder of a Vocos."""
    if path.is_dir():
        from engine.vocoder import Vocoder

        vocos = Vocoder(path, torch.device("cpu"))
        return lambda mel: vocos.samples(mel).numpy()
    saved = torch.load(path, map_location="cpu", weights_only=False)
    model = SourceFilter(**saved["shape"])
    model.load_state_dict(saved["ema"])
    return model.eval().samples


def themselves(teacher: str) -> table.Row:
    """Judged once: teachers do not change."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if teacher not in kept:
        row = table.judge(references.speeches(teacher), references.sentences(teacher), references.TEACHERS[teacher])
        kept[teacher] = table.as_dict(row)
        KEPT.write_text(json.dumps(kept, ensure_ascii=False))
    return table.Row(**kept[teacher])


def copied(voice: Voice, teacher: str) -> list[np.ndarray]:
    with torch.inference_mode():
        return [voice(log_mel(torch.from_numpy(s))) for s in references.speeches(teacher)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("vocoders", type=Path, nargs="+")
    options.add_argument("--teachers", nargs="+", default=list(references.TEACHERS))
    options.add_argument("--no-teacher", action="store_true")
    options.add_argument("--wav", type=Path, help="keep the first two copies of each here")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    print(table.HEAD, flush=True)
    for teacher in chosen.teachers:
        if not chosen.no_teacher:
            print(table.line(f"{teacher}, itself", themselves(teacher)), flush=True)
        for path in chosen.vocoders:
            speeches = copied(vocoder_of(path), teacher)
            row = table.judge(speeches, references.sentences(teacher), references.TEACHERS[teacher])
            print(table.line(f"{teacher}, {path}", row), flush=True)
            if chosen.wav:
                import soundfile

                chosen.wav.mkdir(parents=True, exist_ok=True)
                for i, samples in enumerate(speeches[:2]):
                    soundfile.write(chosen.wav / f"{teacher}-{path.parent.name}-{i}.wav", samples, 24_000)


if __name__ == "__main__":
    main()
