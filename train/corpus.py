"""Free synthesizers read sentences; samples, mels and the frames of every phoneme are kept in shards.

Resumable: a shard is a file, written whole or not at all.   Try: python -m train.corpus --utterances 50 --out build/toy
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.progress import track

from engine.mel import log_mel
from engine.phonemes import phonemes
from speech import audio
from train import align, texts
from train.espeak import Espeak, Spoken

SHARD_UTTERANCES = 250
LEADING_FRAMES = 3
TRAILING_FRAMES = 18


@dataclass(frozen=True)
class Teacher:
    name: str
    language: str
    program: str
    """flite or espeak."""
    voice: str


TEACHERS = [
    Teacher("slt", "en-us", "flite", "slt"),
    Teacher("rms", "en-us", "flite", "rms"),
    Teacher("awb", "en-us", "flite", "awb"),
    Teacher("an", "vi", "espeak", "vi"),
]


@dataclass
class Utterance:
    text: str
    symbols: list[str]
    frames: list[int]  # of each symbol
    pcm: np.ndarray  # int16, 256 samples a frame
    mel: np.ndarray  # (frames, 100) float16


def flite(sentence: str, voice: str, programs: Path = Path("/")) -> Spoken:
    """`programs` holds usr/bin/flite and its libraries. Raises CalledProcessError or FileNotFoundError where they fail
    or are missing."""
    libraries = ":".join(str(folder) for folder in programs.glob("usr/lib/*-linux-*"))
    environment = os.environ | ({"LD_LIBRARY_PATH": libraries} if programs != Path("/") else {})
    with tempfile.NamedTemporaryFile(suffix=".wav", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as wav:
        command = [str(programs / "usr/bin/flite"), "-voice", voice, "-psdur", "-t", sentence, "-o", wav.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        samples, rate = audio.read_mono(wav.name)
    segments = [(name, float(end)) for name, end in re.findall(r"(\w+):([\d.]+)", said.stdout)]
    return Spoken(samples, rate, segments)


def utterance(sentence: str, teacher: Teacher, spoken: Spoken) -> Utterance | None:
    """None when the teacher said nothing, or something far from the symbols."""
    symbols = phonemes(sentence, teacher.language)
    if len(symbols) < 4 or len(spoken.segments) < 4:
        return None
    samples = audio.resample(spoken.samples, spoken.rate)
    samples = samples * (audio.REFERENCE_RMS / max(1e-4, float(np.sqrt(np.mean(samples**2)))))
    total = len(samples) // audio.HOP_SAMPLES
    ends = [(name, min(total, round(end * audio.SAMPLE_RATE / audio.HOP_SAMPLES))) for name, end in spoken.segments]
    ends[-1] = (ends[-1][0], total)
    symbols, frames = align.frames_of(ends, symbols)
    skip = 0
    if symbols[0] == align.SILENCE:
        skip = max(0, frames[0] - LEADING_FRAMES)
        frames[0] -= skip
    if symbols[-1] in ".?!,":
        frames[-1] = min(frames[-1], TRAILING_FRAMES)
    total = sum(frames)
    samples = samples[skip * audio.HOP_SAMPLES : (skip + total) * audio.HOP_SAMPLES].clip(-1, 1)
    if max(frames) > 80 or total < 40:
        return None
    mel = log_mel(torch.from_numpy(samples))[:total].numpy().astype(np.float16)
    return Utterance(sentence, symbols, frames, (samples * 32767).astype(np.int16), mel)


def _shard(task: tuple[Teacher, list[str], Path, Path]) -> int:
    teacher, sentences, path, programs = task
    torch.set_num_threads(1)
    espeak = Espeak(teacher.voice) if teacher.program == "espeak" else None
    kept = []
    for sentence in sentences:
        spoken = espeak.say(sentence) if espeak else flite(sentence, teacher.voice, programs)
        made = utterance(sentence, teacher, spoken)
        if made:
            kept.append(made)
    table = [{"text": u.text, "symbols": u.symbols, "frames": u.frames} for u in kept]
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        table=json.dumps(table),
        pcm=np.concatenate([u.pcm for u in kept]),
        mel=np.concatenate([u.mel for u in kept]),
    )
    partial.rename(path)
    return len(kept)


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make(out: Path, utterances: int, seed: int, programs: Path | None) -> None:
    """`utterances` of each teacher under `out`; shards already there are kept."""
    root = programs or Path("/")
    dictionary, hunspell = root / "usr/share/dict/american-english", root / "usr/share/hunspell/vi_VN.dic"
    if missing := [part for part in (root / "usr/bin/flite", dictionary, hunspell) if not part.exists()]:
        raise SystemExit(
            f"{missing[0]} is missing: apt-get install flite wamerican hunspell-vi, "
            "or unpack them into a folder for --programs"
        )
    out.mkdir(parents=True, exist_ok=True)
    held = {language: {s.lower() for s in texts.held_out(language)} for language in ("en", "vi")}
    packages = texts.package_descriptions()
    tasks = []
    for number, teacher in enumerate(TEACHERS):
        if teacher.language == "vi":
            said = texts.vietnamese(
                utterances, seed + number, held["vi"], hunspell, root / "usr/share/locale/vi/LC_MESSAGES"
            )
        else:
            said = texts.english(utterances, seed + number, held["en"], dictionary, packages)
        for start in range(0, len(said), SHARD_UTTERANCES):
            path = out / f"{teacher.name}-{start // SHARD_UTTERANCES:03d}.npz"
            if not path.exists():
                tasks.append((teacher, said[start : start + SHARD_UTTERANCES], path, root))
    random.Random(seed).shuffle(tasks)
    # A fresh process per shard: espeak-ng's state is global to its process.
    with multiprocessing.get_context("spawn").Pool(cpu_count(), maxtasksperchild=1) as pool:
        for _ in track(pool.imap_unordered(_shard, tasks), description="corpus", total=len(tasks)):
            pass


def load(folder: Path, teacher: str) -> Iterator[Utterance]:
    for path in sorted(folder.glob(f"{teacher}-[0-9]*.npz")):
        if path.name.endswith(".partial.npz"):
            continue
        with np.load(path) as shard:
            table, pcm, mel = json.loads(str(shard["table"])), shard["pcm"], shard["mel"]
        start = 0
        for row in table:
            end = start + sum(row["frames"])
            yield Utterance(
                row["text"],
                row["symbols"],
                row["frames"],
                pcm[start * audio.HOP_SAMPLES : end * audio.HOP_SAMPLES],
                mel[start:end],
            )
            start = end


def write_wav(path: Path, pcm: np.ndarray) -> None:
    soundfile.write(path, pcm, audio.SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("build/voice/corpus"))
    options.add_argument("--utterances", type=int, default=2500, help="of each teacher")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--programs", type=Path, help="folder with flite and the word lists, unpacked, instead of /")
    chosen = options.parse_args()
    make(chosen.out, chosen.utterances, chosen.seed, chosen.programs)
