"""The corpus as the flow model sees it: sequences of one speaker with their tokens, what is given and what is to be
generated. All mels are computed at the start and lie beside the model: a batch is a list of places among them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import resample

from engine.mel import log_mel
from speech import audio
from train import corpus, loop, reader

SHARES = {"hibari": 0.4, "kokoro": 0.35, "vi": 0.25}
"""How often a teacher is drawn, of those whose shards are there."""
WARPS = {"hibari": 0.2, "kokoro": 0.35, "vi": 0.0}
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
    start: int  # frame in Data.mels
    tokens: np.ndarray  # int16, of each symbol
    frames: np.ndarray  # int32, of each symbol
    length: int


@torch.no_grad()
def mels_of(said: list[corpus.Utterance], lengths: list[int], ratio: float, place: torch.device) -> list[torch.Tensor]:
    """Of each utterance the log mel (length, 100) float16, played at `ratio` times its rate."""
    most = max(max(lengths) * audio.HOP_SAMPLES, max(len(u.pcm) for u in said))
    padded = np.zeros((len(said), most), np.int16)
    for row, u in zip(padded, said, strict=True):
        row[: len(u.pcm)] = u.pcm
    samples = torch.from_numpy(padded).to(place).float() / 32767
    if ratio != 1.0:
        samples = resample(samples, round(audio.SAMPLE_RATE * ratio), audio.SAMPLE_RATE, lowpass_filter_width=32)
        samples = torch.nn.functional.pad(samples, (0, max(0, most - samples.shape[1])))
    mels = log_mel(samples).half()
    return [mel[:length].clone() for mel, length in zip(mels, lengths, strict=True)]


def round_frames(frames: np.ndarray, ratio: float) -> np.ndarray:
    """Lengths of the symbols when all is played `ratio` times as fast."""
    return np.diff(np.round(np.concatenate([[0], np.cumsum(frames)]) / ratio).astype(np.int32))


class Data:
    def __init__(self, folder: Path):
        index = {symbol: i for i, symbol in enumerate(reader.VOCABULARY)}
        self.speakers: dict[str, list[list[Said]]] = {}
        """Of each kind, the speakers, each a list of what it says; warped ones apart, under `kind~`."""
        self.held_back: list[list[Said]] = []
        self._made: list[torch.Tensor] = []
        self._total = 0
        for kind in SHARES:
            plain: dict[str, list[Said]] = {}
            for number, path in enumerate(corpus.shards(folder, kind)):
                said = list(corpus.read(path))
                for ratio in [1.0] if not WARPS[kind] else [1.0, WARP_RATIOS[number % len(WARP_RATIOS)]]:
                    for u, one in zip(said, self._said(said, ratio, index), strict=True):
                        # Kokoro's speakers return in other shards under the same name; a warped one is somebody else.
                        plain.setdefault(u.speaker if ratio == 1.0 else f"~{u.speaker} {ratio}", []).append(one)
                if number == 0:
                    kept = plain[said[-1].speaker] if kind == "kokoro" else plain[said[-1].speaker][-HELD_BACK:]
                    self.held_back.append(list(kept))
                    del plain[said[-1].speaker][-len(kept) :]
            for warped in (False, True):
                found = [us for name, us in plain.items() if name.startswith("~") == warped and len(us) > 1]
                if found:
                    self.speakers[kind + "~" * warped] = found
        self.mels = torch.cat(self._made)
        """(frames, 100) float16, one utterance after the other, where the model is."""
        self._made = []
        self.mean = self.mels[:: max(1, len(self.mels) // 100_000)].double().mean(dim=0).cpu().numpy()

    def _said(self, shard: list[corpus.Utterance], ratio: float, index: dict[str, int]) -> Iterator[Said]:
        frames = [round_frames(np.array(u.frames), ratio) for u in shard]
        lengths = [int(one.sum()) for one in frames]
        self._made += mels_of(shard, lengths, ratio, loop.device())
        for u, one, length in zip(shard, frames, lengths, strict=True):
            yield Said(self._total, np.array([index[s] for s in u.symbols], np.int16), one, length)
            self._total += length

    def minutes(self) -> dict[str, str]:
        per_frame = audio.HOP_SAMPLES / audio.SAMPLE_RATE / 60
        return {
            name: f"{len(group)} speakers, {sum(s.length for speaker in group for s in speaker) * per_frame:.0f} min"
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
        """Utterances of one speaker end to end, cut to `length`: places in `mels`, tokens, and the frames of the
        reference (0: a span instead)."""
        pool = draw.choice(self.held_back) if held_back else self.speaker(draw)
        places: list[np.ndarray] = []
        tokens: list[np.ndarray] = []
        first = 0
        total = 0
        while total < length:
            said = draw.choice(pool)
            frames = said.frames
            if not places:
                first = said.length
                if draw.random() < JITTERED:  # at inference a reference's own durations are a guess
                    frames = _jitter(frames, draw)
            places.append(np.arange(said.start, said.start + said.length))
            tokens.append(np.repeat(said.tokens, frames))
            total += said.length
        place, token = np.concatenate(places), np.concatenate(tokens)
        if draw.random() < 1 - REFERENCE_FIRST:
            at = draw.randrange(total - length + 1)
            return place[at : at + length], token[at : at + length], 0
        return place[:length], token[:length], first if first < length - LEAST_GENERATED else 0

    def batch(self, draw: random.Random, length: int, count: int, held_back: bool = False) -> tuple[torch.Tensor, ...]:
        """places in `mels` (b, n) int32, tokens (b, n) int16, unknown (b, n): the frames to be generated."""
        rows = [self.sequence(draw, length, held_back) for _ in range(count)]
        unknown = np.ones((len(rows), length), np.bool_)
        for row, (_, _, reference) in enumerate(rows):
            if reference:
                unknown[row, :reference] = False
            else:
                size = int(length * draw.uniform(0.6, 1.0))
                start = draw.randint(0, length - size)
                unknown[row, :start] = False
                unknown[row, start + size :] = False
        return (
            torch.from_numpy(np.stack([r[0] for r in rows]).astype(np.int32)),
            torch.from_numpy(np.stack([r[1] for r in rows])),
            torch.from_numpy(unknown),
        )


def _jitter(frames: np.ndarray, draw: random.Random) -> np.ndarray:
    """The same total, each length off by about a third."""
    wild = frames * np.exp([draw.gauss(0, 0.3) for _ in frames])
    edges = np.round(np.concatenate([[0], np.cumsum(wild)]) * (frames.sum() / wild.sum())).astype(int)
    return np.diff(edges)
