"""The teachers read sentences; samples, the frames of every phoneme and the pitch go into shards.

A shard is a file, written whole or not at all, and made from its name alone: kill and start again at will, on any
machine.
Try: python -m train.corpus --hibari 1 --kokoro 1 --out build/toy
"""

import argparse
import contextlib
import functools
import itertools
import json
import math
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speech import audio
from train import everyday, kokoro, reader, speakers, texts

LEADING_FRAMES, TRAILING_FRAMES = 6, 18
EARLY_FRAMES = 2
"""Of 600 samples: so much earlier than their graphs' durations say are Kokoro and hibari heard. The noise of s and ʃ
fits its symbols best 5 mel frames earlier (hibari -4 to -8, Kokoro -4 to -7; espeak-ng 0)."""
LEAST_SECONDS, MOST_SECONDS = 1.0, 11.0
HIBARI_UTTERANCES, VIETNAMESE_UTTERANCES = 150, 100
KOKORO_SPEAKERS, SPEAKER_UTTERANCES = 4, 6
"""Of a shard; six utterances are enough to be one another's reference, and more speakers teach more than more of
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


@dataclass(frozen=True)
class Line:
    """What a teacher is to say."""

    text: str
    phonemes: str
    speaker: str
    speed: float = 1.0
    seed: int = 0
    mix: tuple[Any, ...] = ()
    """Of Kokoro's: the speaker's sound and rhythm."""


@dataclass(frozen=True)
class Task:
    kind: str
    number: int
    out: Path
    most: int | None
    until: float  # time.time()


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
    ends[:-1] -= EARLY_FRAMES
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


def _hibari_lines(draw: random.Random, sentence: Callable[[], str]) -> Iterator[Line]:
    from hibari.g2p import G2P

    read = G2P()
    for _ in range(HIBARI_UTTERANCES):
        text = sentence()
        yield Line(text, read(text), "hibari", draw.uniform(0.9, 1.1), draw.randrange(2**31))


def _kokoro_lines(draw: random.Random, sentence: Callable[[], str]) -> Iterator[Line]:
    from hibari.g2p import G2P

    read = G2P()
    for _ in range(KOKORO_SPEAKERS):
        shipped = draw.random() < 1 / SHIPPED_EVERY
        speaker = speakers.single(draw.choice(speakers.SHIPPED)) if shipped else speakers.drawn(draw)
        for _ in range(SPEAKER_UTTERANCES):
            text = sentence()
            if len(text) < SHORT_LETTERS:  # Kokoro spends most of a second on the silence around whatever it says
                text += " " + sentence()
            yield Line(text, read(text), speaker.name, draw.uniform(0.9, 1.1), mix=(speaker.sound, speaker.rhythm))


def _vietnamese_lines(draw: random.Random, sentence: Callable[[], str]) -> Iterator[Line]:
    from train import vietnamese

    for text, voice in vietnamese.sentences(draw, VIETNAMESE_UTTERANCES):
        yield Line(text, " ".join(reader.vietnamese(text)), voice)


@functools.cache
def _hibari() -> kokoro.Hibari:
    return kokoro.Hibari()


@functools.cache
def _kokoro() -> kokoro.Kokoro:
    return kokoro.Kokoro()


def _hibari_says(line: Line) -> Utterance | None:
    return cut(line.text, line.speaker, _hibari().say(line.phonemes, line.speed, line.seed)) if line.phonemes else None


def _kokoro_says(line: Line) -> Utterance | None:
    speaker = speakers.Speaker(line.speaker, *line.mix)
    style = speaker.style(kokoro.styles())
    return cut(line.text, line.speaker, _kokoro().say(line.phonemes, style, line.speed)) if line.phonemes else None


def _vietnamese_says(line: Line) -> Utterance | None:
    from train import vietnamese
    from train.espeak import Espeak

    return vietnamese.cut(line.text, line.speaker, Espeak(line.speaker).say(line.text), line.phonemes.split(" "))


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


Lines = Callable[[random.Random, Callable[[], str]], Iterator[Line]]
MAKERS: dict[str, tuple[Lines, Callable[[Line], Utterance | None]]] = {
    "hibari": (_hibari_lines, _hibari_says),
    "kokoro": (_kokoro_lines, _kokoro_says),
    "vi": (_vietnamese_lines, _vietnamese_says),
}
"""Of each teacher: what it is to read, and how it says a line."""


def script(kind: str, number: int, most: int | None = None) -> list[Line]:
    draw = random.Random(f"{kind} {number}")
    words, packages = texts.dictionary(), texts.package_sentences()
    held = {s.lower() for s in texts.held_out("en")}

    def sentence() -> str:
        while (made := english(draw, words, packages)).lower() in held:
            pass
        return made

    return list(itertools.islice(MAKERS[kind][0](draw, sentence), most))


def _script_path(out: Path, kind: str, number: int) -> Path:
    return out / f"{kind}-{number:04d}.json"


def _write_script(task: Task) -> int:
    lines = script(task.kind, task.number, task.most)
    _script_path(task.out, task.kind, task.number).write_text(json.dumps([asdict(line) for line in lines]))
    return len(lines)


def _speak(task: Task) -> int:
    """Writes a shard, from its script where one lies there already; nothing when the time is over."""
    if time.time() > task.until:
        return 0
    path = _script_path(task.out, task.kind, task.number)
    lines = (
        [Line(**row) for row in json.loads(path.read_text())]
        if path.exists()
        else script(task.kind, task.number, task.most)
    )
    says = MAKERS[task.kind][1]
    kept = [u for u in map(says, lines) if u is not None]
    write(task.out / f"{task.kind}-{task.number:04d}.npz", kept)
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


def make(
    out: Path,
    counts: dict[str, int],
    processes: int,
    most: int | None = None,
    seconds: float = math.inf,
    work: Callable[[Task], int] = _speak,
) -> None:
    """So many shards of each kind under `out`, of at most `most` utterances (a toy); those already there are kept.

    With `work` = `_write_script` what is to be said alone: a machine without readers can say it."""
    out.mkdir(parents=True, exist_ok=True)
    if counts.get("kokoro") and work is _speak:
        kokoro.styles(), kokoro.fp32()  # once, before several processes want them
    ending = "npz" if work is _speak else "json"
    tasks = [
        Task(kind, number, out, most, time.time() + seconds)
        for kind, count in counts.items()
        for number in range(count)
    ]
    tasks = [task for task in tasks if not (out / f"{task.kind}-{task.number:04d}.{ending}").exists()]
    with (
        multiprocessing.get_context("spawn").Pool(processes) as pool,
        contextlib.suppress(KeyboardInterrupt),
    ):
        for done, kept in enumerate(pool.imap_unordered(work, tasks), 1):
            print(f"{done} of {len(tasks)} shards, {kept} utterances", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("build/voice/corpus"))
    for name in MAKERS:
        options.add_argument(f"--{name}", type=int, default=0, help="shards")
    options.add_argument("--processes", type=int, default=cpu_count())
    options.add_argument("--seconds", type=float, default=math.inf, help="begin no shard later than that")
    options.add_argument("--scripts", action="store_true", help="write down what is to be said, and say nothing")
    chosen = options.parse_args()
    counts = {name: getattr(chosen, name) for name in MAKERS}
    make(chosen.out, counts, chosen.processes, None, chosen.seconds, _write_script if chosen.scripts else _speak)
