"""The teachers read sentences; samples, the frames of every phoneme and the pitch go into shards.

A shard is a file, written whole or not at all, and made from its name alone: kill and start again at will, on any
machine.
Try: python -m train.corpus --hibari 1 --kokoro 1 --out build/toy
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech import audio
from train import everyday, kokoro, reader, speakers, texts

LEADING_FRAMES, TRAILING_FRAMES = 3, 18
LEAST_SECONDS, MOST_SECONDS = 1.0, 11.0
HIBARI_UTTERANCES, VIETNAMESE_UTTERANCES, FLITE_UTTERANCES = 150, 100, 100
KOKORO_SPEAKERS, SPEAKER_UTTERANCES = 3, 8
"""Of a shard; eight utterances are enough to be one another's reference, and more speakers teach more than more of
each."""
SHORT_LETTERS = 60
SHIPPED_EVERY = 5
"""Each so many Kokoro shards the speakers are named voices of the server."""
UNKNOWN_PHASE = -1.0


@dataclass
class Utterance:
    text: str
    speaker: str
    symbols: list[str]
    frames: list[int]  # of each symbol
    pcm: np.ndarray  # int16, 256 samples a frame
    f0: np.ndarray  # (frames,) float32 Hz, 0 where the teacher has none
    phase: np.ndarray
    """(frames,) float32 cycles of the teacher's source at the middle of each frame, or UNKNOWN_PHASE."""


Made = Iterator[Utterance | None]


def _int16(samples: np.ndarray) -> np.ndarray:
    return np.frombuffer(audio.pcm16(samples), "<i2")


def english(draw: random.Random, words: list[str], packages: list[str]) -> str:
    """A sentence: half of them as people write, the rest patterns, dictionary words and package descriptions."""
    return everyday.sentence(draw) if draw.random() < 0.5 else texts.english_sentence(draw, words, packages)


def cut(text: str, speaker: str, said: kokoro.Said) -> Utterance | None:
    """One loudness, silence around it cut to what inference has; None for what is too short, too long or too loud
    for its RMS."""
    named = reader.placed(said.phonemes)
    ends = np.cumsum(said.durations)
    edges = [0, int(ends[0]), *(int(ends[max(places) + 1]) for _, places in named), int(ends[-1])]
    total = len(said.samples) // audio.HOP_SAMPLES
    at = np.minimum(np.round(np.array(edges) * (kokoro.FRAME_SAMPLES / audio.HOP_SAMPLES)).astype(int), total)
    frames = np.diff(at).tolist()
    names = [reader.SILENCE, *(name for name, _ in named), reader.SILENCE]
    first = max(0, frames[0] - LEADING_FRAMES)
    frames[0] -= first
    frames[-1] = min(
        frames[-1], max(0, TRAILING_FRAMES - frames[-2] if names[-2] in reader.PAUSES else TRAILING_FRAMES)
    )
    length = sum(frames)
    if not LEAST_SECONDS <= length * audio.HOP_SAMPLES / audio.SAMPLE_RATE <= MOST_SECONDS:
        return None
    samples = said.samples[first * audio.HOP_SAMPLES : (first + length) * audio.HOP_SAMPLES]
    samples = samples * (audio.REFERENCE_RMS / max(1e-4, float(np.sqrt(np.mean(samples**2)))))
    if not np.abs(samples).max() < 1.5:
        return None
    middle = np.arange(first, first + length) * audio.HOP_SAMPLES
    f0 = np.interp((middle + 0.5) / kokoro.F0_SAMPLES - 0.5, np.arange(len(said.f0)), said.f0)
    f0 = np.where(f0 > kokoro.LEAST_F0, f0, 0.0).astype(np.float32)
    phase = (said.phase[np.minimum(middle, len(said.phase) - 1)] % 1.0).astype(np.float32)
    return Utterance(text, speaker, names, frames, _int16(samples), f0, phase)


def _hibari(draw: random.Random, sentence: Callable[[], str]) -> Made:
    from hibari.g2p import G2P

    reader, teacher = G2P(), kokoro.Hibari()
    for _ in range(HIBARI_UTTERANCES):
        text = sentence()
        phonemes = reader(text)
        yield (
            cut(text, "hibari", teacher.say(phonemes, draw.uniform(0.9, 1.1), draw.randrange(2**31)))
            if phonemes
            else None
        )


def _kokoro(draw: random.Random, sentence: Callable[[], str]) -> Made:
    from hibari.g2p import G2P

    reader, teacher, folder = G2P(), kokoro.Kokoro(), kokoro.styles()
    for _ in range(KOKORO_SPEAKERS):
        shipped = draw.random() < 1 / SHIPPED_EVERY
        speaker = speakers.single(draw.choice(speakers.SHIPPED)) if shipped else speakers.drawn(draw)
        style = speaker.style(folder)
        for _ in range(SPEAKER_UTTERANCES):
            text = sentence()
            if len(text) < SHORT_LETTERS:  # Kokoro spends most of a second on the silence around whatever it says
                text += " " + sentence()
            phonemes = reader(text)
            yield cut(text, speaker.name, teacher.say(phonemes, style, draw.uniform(0.9, 1.1))) if phonemes else None


def _vietnamese(draw: random.Random, sentence: Callable[[], str]) -> Made:
    from train import vietnamese

    yield from vietnamese.utterances(draw, VIETNAMESE_UTTERANCES)


def _slt(draw: random.Random, sentence: Callable[[], str]) -> Made:
    """Samples and pitch without phonemes: for the vocoder alone."""
    from train import flite, pitch

    for _ in range(FLITE_UTTERANCES):
        text = sentence()
        said = flite.say(text, "slt")
        samples = audio.resample(said.samples, said.rate)
        yield untimed(text, "slt", samples, pitch.track(samples))


def untimed(text: str, speaker: str, samples: np.ndarray, f0: np.ndarray) -> Utterance:
    count = min(len(samples) // audio.HOP_SAMPLES, len(f0))
    samples = samples[: count * audio.HOP_SAMPLES]
    samples = samples * (audio.REFERENCE_RMS / max(1e-4, float(np.sqrt(np.mean(samples**2)))))
    return timed(text, speaker, [reader.SILENCE], [count], samples, f0[:count])


def timed(
    text: str, speaker: str, names: list[str], frames: list[int], samples: np.ndarray, f0: np.ndarray
) -> Utterance:
    """Of a teacher whose source is not known to us."""
    return Utterance(
        text,
        speaker,
        names,
        frames,
        _int16(samples),
        f0.astype(np.float32),
        np.full(len(f0), UNKNOWN_PHASE, np.float32),
    )


MAKERS: dict[str, Callable[[random.Random, Callable[[], str]], Made]] = {
    "hibari": _hibari,
    "kokoro": _kokoro,
    "vi": _vietnamese,
    "slt": _slt,
}


def _shard(task: tuple[str, int, Path, int | None]) -> int:
    kind, number, out, most = task
    draw = random.Random(f"{kind} {number}")
    words, packages = texts.dictionary(), texts.package_sentences()
    held = {s.lower() for s in texts.held_out("en")}

    def sentence() -> str:
        while (made := english(draw, words, packages)).lower() in held:
            pass
        return made

    kept = [u for u in itertools.islice(MAKERS[kind](draw, sentence), most) if u is not None]
    write(out / f"{kind}-{number:04d}.npz", kept)
    return len(kept)


def write(path: Path, utterances: list[Utterance]) -> None:
    table = [{"text": u.text, "speaker": u.speaker, "symbols": u.symbols, "frames": u.frames} for u in utterances]
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            table=json.dumps(table, ensure_ascii=False),
            pcm=np.concatenate([u.pcm for u in utterances]),
            f0=np.concatenate([u.f0 for u in utterances]).astype(np.float16),
            phase=np.concatenate([u.phase for u in utterances]),
        )
    os.replace(partial, path)


def read(path: Path) -> Iterator[Utterance]:
    with np.load(path) as shard:
        table, pcm, f0, phase = (
            json.loads(str(shard["table"])),
            shard["pcm"],
            shard["f0"].astype(np.float32),
            shard["phase"],
        )
    start = 0
    for row in table:
        end = start + sum(row["frames"])
        samples = pcm[start * audio.HOP_SAMPLES : end * audio.HOP_SAMPLES]
        yield Utterance(
            row["text"], row["speaker"], row["symbols"], row["frames"], samples, f0[start:end], phase[start:end]
        )
        start = end


def shards(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}-[0-9][0-9][0-9][0-9].npz"))


def load(folder: Path, kind: str) -> Iterator[Utterance]:
    for path in shards(folder, kind):
        yield from read(path)


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make(out: Path, counts: dict[str, int], processes: int, most: int | None = None) -> None:
    """So many shards of each kind under `out`, of at most `most` utterances (a toy); those already there are kept."""
    out.mkdir(parents=True, exist_ok=True)
    if counts.get("kokoro"):
        kokoro.styles(), kokoro.fp32()  # once, before several processes want them
    tasks = [(kind, number, out, most) for kind, count in counts.items() for number in range(count)]
    tasks = [task for task in tasks if not (out / f"{task[0]}-{task[1]:04d}.npz").exists()]
    # A fresh process per shard: espeak-ng's state is global to its process.
    with (
        multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=1) as pool,
        contextlib.suppress(KeyboardInterrupt),
    ):
        for done, kept in enumerate(pool.imap(_shard, tasks), 1):
            print(f"{done} of {len(tasks)} shards, {kept} utterances", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("build/voice/corpus"))
    for name in MAKERS:
        options.add_argument(f"--{name}", type=int, default=0, help="shards")
    options.add_argument("--processes", type=int, default=cpu_count())
    chosen = options.parse_args()
    make(chosen.out, {name: getattr(chosen, name) for name in MAKERS}, chosen.processes)
