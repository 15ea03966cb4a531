"""How good the embedded voice is: teachers, copy synthesis and voices side by side, by the same judges, in one table.

Rows are kept under build/judges/rows.json as they are made: a killed run goes on, and what has not changed is not
judged again.
Try: python -m train.evaluate --sentences 8 --voices default       The model's card: python -m train.evaluate --card
"""

import argparse
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tts_core
from engine.mel import log_mel
from speech import audio
from speech.request import Speech
from train import card, references, texts
from train.engine_vocoder import Vocoder
from train.judges import cloning, table
from train.judges.sound import JudgeMissing

ENGLISH, VIETNAMESE = ["default", "bella", "michael", "fenrir"], ["an"]
TEACHER_OF = {"default": "hibari", "an": "espeak"}
ENGINE = Path("engine")
ROWS = Path("build/judges/rows.json")
CLONING_VOICES = Path("build/judges/cloning/voices")


def fingerprint(folder: Path) -> str:
    """Of everything in it that a model's speech depends on; the engine's own code too."""
    digest = hashlib.sha256()
    for path in sorted(
        p for p in folder.rglob("*") if p.suffix in (".safetensors", ".bin", ".yaml", ".txt", ".wav", ".py")
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def spoken(tts: tts_core.TTS, sentence: str, voice: str, **settings: Any) -> np.ndarray:
    plan = tts.plan(Speech(sentence, voice, **settings))
    return np.concatenate(list(tts.samples(plan)))


Kept = dict[str, Any]


def kept(key: str, make: Callable[[], Kept]) -> Kept:
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    if key not in rows:
        made = make()
        rows = (json.loads(ROWS.read_text()) if ROWS.exists() else {}) | {key: made}
        ROWS.parent.mkdir(parents=True, exist_ok=True)
        partial = ROWS.with_suffix(".partial")
        partial.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
        os.replace(partial, ROWS)
    found: Kept = rows[key]
    return found


def row(key: str, speeches: Callable[[], list[np.ndarray]], said: list[str], language: str) -> table.Row:
    return table.Row(**kept(f"{key} {len(said)}", lambda: table.as_dict(table.judge(speeches(), said, language))))


def copies(model: Path, teacher: str, count: int) -> list[np.ndarray]:
    """The teacher's own mels through the model's vocoder."""
    vocoder = Vocoder(model / "vocoder", torch.device("cpu"))
    with torch.inference_mode():
        return [vocoder.samples(log_mel(torch.from_numpy(s))).numpy() for s in references.speeches(teacher)[:count]]


def _first(teacher: str, count: int) -> list[np.ndarray]:
    return references.speeches(teacher)[:count]


def _speeches(tts: tts_core.TTS, voice: str, said: list[str], settings: Kept) -> list[np.ndarray]:
    return [spoken(tts, sentence, voice, seed=i, **settings) for i, sentence in enumerate(said)]


def teachers(model: Path, count: int) -> dict[str, table.Row]:
    """Each teacher itself, and copied."""
    rows = {}
    mark = fingerprint(model / "vocoder") + fingerprint(ENGINE)
    for teacher, language in references.TEACHERS.items():
        said = references.sentences(teacher)[:count]
        rows[f"{teacher}, the teacher itself"] = row(
            f"teacher {teacher}", functools.partial(_first, teacher, count), said, language
        )
        rows[f"{teacher}, copy synthesis"] = row(
            f"copy {mark} {teacher}", functools.partial(copies, model, teacher, count), said, language
        )
    return rows


def voices(
    tts: tts_core.TTS, mark: str, names: list[str], count: int, **settings: int | float | None
) -> dict[str, table.Row]:
    rows = {}
    for name in names:
        language = "vi" if name in VIETNAMESE else "en"
        said = texts.held_out(language)[:count]
        key = f"voice {mark} {name} {sorted(settings.items())}"
        rows[name] = row(key, functools.partial(_speeches, tts, name, said, settings), said, language)
    return rows


def cloned(model: Path, mark: str, plot: Path | None) -> dict[str, Kept]:
    """resemblyzer's ranks of the teacher and of the model, for speakers never trained on."""
    cloning.write_references(CLONING_VOICES)
    first = next(iter(cloning.teacher()))
    for suffix in (".wav", ".txt"):  # a server has a default voice
        (CLONING_VOICES / f"default{suffix}").write_bytes((CLONING_VOICES / f"{first}{suffix}").read_bytes())

    def by_model() -> Kept:
        tts = tts_core.TTS(model, CLONING_VOICES)
        said = {
            name: [spoken(tts, s, name, seed=i) for i, s in enumerate(cloning.sentences())]
            for name in cloning.teacher()
        }
        return vars(cloning.ranks(said, plot))

    return {
        "teacher": kept(
            "clones teacher", lambda: vars(cloning.ranks({name: said[1:] for name, said in cloning.teacher().items()}))
        ),
        "model": kept(f"clones {mark}", by_model),
    }


def speed(tts: tts_core.TTS, voice: str = "default") -> float:
    """CPU seconds per second of speech on one thread: the least of five."""
    torch.set_num_threads(1)
    sentence = " ".join(texts.held_out("en")[:3])
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        samples = spoken(tts, sentence, voice, seed=0)
        best = min(best, (time.process_time() - began) / (len(samples) / audio.SAMPLE_RATE))
    return best


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, default=tts_core.EMBEDDED_MODEL)
    options.add_argument("--folder", type=Path, default=tts_core.VOICES, help="of the voices")
    options.add_argument("--sentences", type=int, default=references.SENTENCES)
    options.add_argument("--voices", nargs="*", default=[*ENGLISH, *VIETNAMESE])
    options.add_argument("--steps", type=int)
    options.add_argument("--cfg-strength", type=float)
    options.add_argument("--no-teachers", action="store_true")
    options.add_argument("--no-clones", action="store_true")
    options.add_argument("--show", action="store_true", help="print what was heard")
    options.add_argument(
        "--card", action="store_true", help="write table, samples and spectrograms into the model's folder"
    )
    chosen = options.parse_args()
    settings = {"steps": chosen.steps, "cfg_strength": chosen.cfg_strength}
    tts = tts_core.TTS(chosen.model, chosen.folder)
    mark = fingerprint(chosen.model) + fingerprint(chosen.folder) + fingerprint(ENGINE)
    try:
        rows = {} if chosen.no_teachers else teachers(chosen.model, chosen.sentences)
        rows |= voices(tts, mark, [v for v in chosen.voices if v in tts.voices], chosen.sentences, **settings)
        clones = (
            {}
            if chosen.no_clones
            else cloned(chosen.model, mark, chosen.model / "speakers.png" if chosen.card else None)
        )
    except JudgeMissing as missing:
        raise SystemExit(str(missing)) from None
    text = "\n".join([table.HEAD, *(table.line(name, found) for name, found in rows.items())])
    print(text)
    for who, ranks in clones.items():
        print(f"speakers never trained on, {who}: {ranks}")
    cost = speed(tts)
    print(f"CPU seconds per second of speech, one thread: {cost:.3f}")
    if chosen.show:
        for name, found in rows.items():
            print("\n".join([name, *(f"   {heard}" for heard in found.heard)]))
    if chosen.card:
        card.write(chosen.model, tts, text, clones, cost, chosen.sentences)


if __name__ == "__main__":
    main()
