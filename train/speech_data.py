"""The corpus as the flow model sees it: sequences of one speaker with their tokens, what is given and what is to be
generated.

Mels are computed once and mapped from disk, so that a restarted run goes on at once and two runs share the memory."""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch

from engine.mel import log_mel
from speech import audio
from train import corpus, reader

SHARES = {"hibari": 0.25, "kokoro": 0.5, "vi": 0.25}
"""How often a teacher is drawn, of those whose shards are there."""
WARPS = {"hibari": 0.35, "kokoro": 0.35, "vi": 0.0}
"""How often a speaker is warped into a new one: played faster or slower, pitch and formants together. Costs nothing
and keeps every
alignment exact. Not the espeak voices: their own timbres do the same, and better."""
WARP_RATIOS = [0.86, 0.9, 0.94, 1.06, 1.11, 1.17]
HELD_BACK = 16
"""Utterances of each teacher, the last ones of its first shard, whose loss is watched and never trained on."""
REFERENCE_FIRST = 0.5
"""How often one utterance is given and the next ones are to be spoken, as at inference; else a span anywhere."""
JITTERED = 0.5
LEAST_GENERATED = 100


@dataclass(frozen=True)
class Said:
    mel: np.ndarray  # (frames, 100) float16
    tokens: np.ndarray  # int16, of each symbol
    frames: np.ndarray  # int32, of each symbol


def warped_mels(path: Path, ratio: float) -> list[np.ndarray]:
    """Each utterance's mel, played at `ratio` times its rate; (frames, 100) float16, from disk when it has been
    made before."""
    kept = path.with_suffix(f".{ratio:.2f}.mel.npy")
    said = list(corpus.read(path))
    lengths = [round_frames(np.array(u.frames), ratio).sum() for u in said]
    if not kept.exists():
        mels = []
        for u, length in zip(said, lengths, strict=True):
            samples = u.pcm.astype(np.float32) / 32767
            if ratio != 1.0:
                samples = soxr.resample(samples, audio.SAMPLE_RATE * ratio, audio.SAMPLE_RATE).astype(np.float32)
            samples = np.pad(samples, (0, max(0, int(length) * audio.HOP_SAMPLES - len(samples))))
            mels.append(log_mel(torch.from_numpy(samples))[:length].numpy().astype(np.float16))
        partial = kept.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, np.concatenate(mels))
        os.replace(partial, kept)
    whole = np.load(kept, mmap_mode="r")
    ends = np.cumsum(lengths)
    return [whole[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def round_frames(frames: np.ndarray, ratio: float) -> np.ndarray:
    """Lengths of the symbols when all is played `ratio` times as fast."""
    return np.diff(np.round(np.concatenate([[0], np.cumsum(frames)]) / ratio).astype(np.int32))


class Data:
    def __init__(self, folder: Path, kinds: dict[str, float] | None = None):
        index = {symbol: i for i, symbol in enumerate(reader.VOCABULARY)}
        self.speakers: dict[str, list[list[Said]]] = {}
        """Of each kind, the speakers, each a list of what it says; warped ones apart, under `kind~`."""
        self.held_back: list[list[Said]] = []
        for kind in kinds or SHARES:
            plain: dict[str, list[Said]] = {}
            for number, path in enumerate(corpus.shards(folder, kind)):
                said = list(corpus.read(path))
                tokens = [np.array([index[s] for s in u.symbols], np.int16) for u in said]
                ratios = [1.0] if not WARPS[kind] else [1.0, WARP_RATIOS[number % len(WARP_RATIOS)]]
                for ratio in ratios:
                    for u, ids, mel in zip(said, tokens, warped_mels(path, ratio), strict=True):
                        # Kokoro's speakers return in other shards under the same name; a warped one is somebody else.
                        name = u.speaker if ratio == 1.0 else f"~{u.speaker} {ratio}"
                        plain.setdefault(name, []).append(Said(mel, ids, round_frames(np.array(u.frames), ratio)))
                if number == 0:
                    kept = plain[said[-1].speaker] if kind == "kokoro" else plain[said[-1].speaker][-HELD_BACK:]
                    self.held_back.append(list(kept))
                    del plain[said[-1].speaker][-len(kept) :]
            for warped in (False, True):
                found = [us for name, us in plain.items() if name.startswith("~") == warped and len(us) > 1]
                if found:
                    self.speakers[kind + "~" * warped] = found
        some = [said for group in self.speakers.values() for speaker in group for said in speaker[:20]]
        self.mean = np.mean([said.mel.mean(axis=0, dtype=np.float64) for said in some], axis=0)

    def minutes(self) -> dict[str, str]:
        per_frame = audio.HOP_SAMPLES / audio.SAMPLE_RATE / 60
        return {
            name: f"{len(group)} speakers, {sum(len(s.mel) for speaker in group for s in speaker) * per_frame:.0f} min"
            for name, group in self.speakers.items()
        }

    def speaker(self, draw: random.Random) -> list[Said]:
        kinds = [kind for kind in SHARES if kind in self.speakers]
        kind = draw.choices(kinds, [SHARES[k] for k in kinds])[0]
        if draw.random() < WARPS[kind] and kind + "~" in self.speakers:
            kind += "~"
        group = self.speakers[kind]
        # A speaker with much to say is drawn more often, but not in proportion.
        return draw.choices(group, [len(said) ** 0.5 for said in group])[0]

    def sequence(self, draw: random.Random, length: int, held_back: bool) -> tuple[np.ndarray, np.ndarray, int]:
        """Utterances of one speaker end to end, cut to `length`: mel, tokens, and the frames of the reference
        (0: a span instead)."""
        pool = draw.choice(self.held_back) if held_back else self.speaker(draw)
        mels: list[np.ndarray] = []
        tokens: list[np.ndarray] = []
        first = 0
        total = 0
        while total < length:
            said = draw.choice(pool)
            frames = said.frames
            if not mels:
                first = len(said.mel)
                if draw.random() < JITTERED:  # at inference a reference's own durations are a guess
                    frames = _jitter(frames, draw)
            mels.append(said.mel)
            tokens.append(np.repeat(said.tokens, frames))
            total += len(said.mel)
        mel, token = np.concatenate(mels), np.concatenate(tokens).astype(np.int64)
        if draw.random() < 1 - REFERENCE_FIRST:
            at = draw.randrange(total - length + 1)
            return mel[at : at + length], token[at : at + length], 0
        return mel[:length], token[:length], first if first < length - LEAST_GENERATED else 0

    def batch(self, draw: random.Random, length: int, count: int, held_back: bool = False) -> tuple[torch.Tensor, ...]:
        """mel (b, n, 100), tokens (b, n), unknown (b, n): the frames to be generated."""
        rows = [self.sequence(draw, length, held_back) for _ in range(count)]
        unknown = torch.ones(len(rows), length, dtype=torch.bool)
        for row, (_, _, reference) in enumerate(rows):
            if reference:
                unknown[row, :reference] = False
            else:
                size = int(length * draw.uniform(0.6, 1.0))
                start = draw.randint(0, length - size)
                unknown[row, :start] = False
                unknown[row, start + size :] = False
        return (
            torch.from_numpy(np.stack([r[0] for r in rows])).float(),
            torch.from_numpy(np.stack([r[1] for r in rows])),
            unknown,
        )


def _jitter(frames: np.ndarray, draw: random.Random) -> np.ndarray:
    """The same total, each length off by about a third."""
    wild = frames * np.exp([draw.gauss(0, 0.3) for _ in frames])
    edges = np.round(np.concatenate([[0], np.cumsum(wild)]) * (frames.sum() / wild.sum())).astype(int)
    return np.diff(edges)
