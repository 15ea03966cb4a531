"""Spoken cues and their times in, one sound file out. Written in time order, a cue at a time: a film needs no more
memory than a line. Knows nothing of subtitles or servers: it is handed times and WAV files.

Try: python tts_worker.py --srt examples/harbour.srt --track harbour.wav"""

import os
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

SAMPLE_RATE = 24_000
MAX_SECONDS = 24 * 3600
"""A WAV file's sizes are 32 bits: 24.8 hours of this rate."""
SILENCE = 0.02
"""Of a cue's own peak; below it before the first and after the last sound there is nothing to hear."""
LEAD_SAMPLES, TAIL_SAMPLES = 120, 1200  # 5 ms and 50 ms are kept and faded: a cut in the middle of a wave clicks


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a cue's sound stands in the track, in seconds."""

    late: float
    """Its first sound after the cue's start."""
    file_start: float
    """The first sample of its file, which silence may precede and is then left out."""


def mix(cues: Iterable[tuple[float, Path]], seconds: float, out: Path) -> tuple[float, list[Placed]]:
    """Puts every sound at its time (ascending) and returns the track's seconds and where each cue stands.

    Two never sound at once: where one still speaks, the next waits for its end, and those after it are on time again
    as soon as there is silence. The track lasts `seconds`, longer only when the last sound does. `out` appears whole
    or not at all; OSError when the disk is full."""
    part = part_of(out)
    part.unlink(missing_ok=True)  # whatever it is: a link would be followed
    placed, position = [], 0
    try:
        with wave.open(str(part), "wb") as track:
            track.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
            for start, file in cues:
                due = round(start * SAMPLE_RATE)
                at = max(due, position)
                samples, left_out = speech(file)
                placed.append(Placed((at - due) / SAMPLE_RATE, (at - left_out) / SAMPLE_RATE))
                _silence(track, at - position)
                track.writeframesraw(samples.tobytes())
                position = at + len(samples)
            _silence(track, round(seconds * SAMPLE_RATE) - position)
            position = max(position, round(seconds * SAMPLE_RATE))
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return position / SAMPLE_RATE, placed


def part_of(out: Path) -> Path:
    """What a file is called while it is being written."""
    return out.with_name(f".{out.name}.part")


def _silence(track: wave.Wave_write, samples: int) -> None:
    while samples > 0:
        some = min(samples, SAMPLE_RATE)
        track.writeframesraw(bytes(2 * some))
        samples -= some


def speech(file: Path) -> tuple[npt.NDArray[np.int16], int]:
    """int16 at SAMPLE_RATE, from its first sound to its last, and how many are left out before."""
    samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
    mono: npt.NDArray[np.int16] = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1).astype(np.int16)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    loudness = np.abs(mono.astype(np.int32))
    heard = np.flatnonzero(loudness > SILENCE * loudness.max())
    if not len(heard):
        return np.zeros(0, np.int16), 0
    first, last = max(0, heard[0] - LEAD_SAMPLES), min(len(mono), heard[-1] + 1 + TAIL_SAMPLES)
    cut: npt.NDArray[np.int16] = mono[first:last].copy()
    lead, tail = int(heard[0] - first), int(last - heard[-1] - 1)
    cut[:lead] = cut[:lead] * np.linspace(0, 1, lead)
    cut[len(cut) - tail :] = cut[len(cut) - tail :] * np.linspace(1, 0, tail)
    return cut, int(first)
