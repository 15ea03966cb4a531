"""Train the vocoder of pulses and noise on every teacher's own mels, pitch and phase as the teachers had them:
regression, and where asked for discriminators beside it.

Try: python -m train.vocoder --minutes 40
"""

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engine.mel import log_mel
from speech import audio
from train import corpus, discriminators, loop, source_filter
from train.source_filter import CONTEXT
from train.speech_data import mels_of

SHAPE = dict(dim=320, intermediate_dim=960, num_layers=6)
SEGMENT, EDGE, BATCH, GPU_BATCH = 56, 4, 10, 32
"""Frames of a training segment, and those at each end that are context only."""
KINDS = {"hibari": 0.35, "kokoro": 0.45, "vi": 0.2}
"""How often each teacher is drawn, of those whose shards are there."""
SHIFT = {"kokoro": 0.25}
"""Cycles: Kokoro's fundamental is a sine, hibari's and ours a cosine. So shifted, the two have the same phases for the
same voice:
2 a1 - a2 of the first two harmonics is -1.61 and -1.55 rad, and the first one's own angles differ by 0.23 cycles
without it."""
HELD_BACK = 20
"""Utterances of each kind, the last ones of its first shard, that are never trained on."""
RESOLUTIONS = [(128, 32), (256, 64), (512, 128), (1024, 256), (2048, 512)]
RESOLUTIONS_A_STEP = 2
MEL_WEIGHT, SPECTRAL_WEIGHT, PITCH_WEIGHT, PHASE_WEIGHT = 15.0, 0.5, 0.3, 1.0
FOOLED_WEIGHT, APART_WEIGHT = 1.0, 2.0
COMPRESSION = 0.3
LOUDEST_GAIN, QUIETEST_GAIN = 1.1, 0.4
"""Voices are scaled by their reference's loudness at inference."""


class SourceFilter(torch.nn.Module):
    """For training: Vocos' backbone and a head of source_filter.OUTPUTS numbers a frame. Keys as Vocos saves them."""

    def __init__(self, dim: int, intermediate_dim: int, num_layers: int):
        super().__init__()
        from vocos.models import VocosBackbone  # here: upstream's imports take seconds

        self.backbone = VocosBackbone(audio.MEL_BANDS, dim, intermediate_dim, num_layers)
        out = torch.nn.Linear(dim, source_filter.OUTPUTS)
        self.head = torch.nn.ModuleDict({"out": out})
        with torch.no_grad():
            out.weight.mul_(0.1)
            out.bias.zero_()
            out.bias[2 * source_filter.BINS : 3 * source_filter.BINS] = -2.0

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(batch, frames, 100) → (batch, frames, OUTPUTS)."""
        hidden = self.backbone(mel.transpose(1, 2))
        return self.head["out"](hidden)

    @torch.inference_mode()
    def samples(self, mel: torch.Tensor) -> np.ndarray:
        """(frames, 100) → ((frames − 1) · 256,)."""
        return source_filter.speak(self(mel[None])[0].float(), mel).numpy()


@dataclass(frozen=True)
class Clip:
    start: int  # frame in Sounds
    length: int
    known: bool
    """Whether the phase is the teacher's own."""


class Sounds:
    """All clips of all teachers, one after the other, where the model is."""

    def __init__(self, folder: Path, held_back: bool = False):
        self.pools: dict[str, list[Clip]] = {}
        self._parts: list[tuple[torch.Tensor, ...]] = []
        self._total = 0
        for kind in KINDS:
            for shard in _shards(folder, kind, held_back):
                self.pools.setdefault(kind, []).extend(self._clips(kind, shard))
        mel, pcm, f0, voiced, phase = (torch.cat(part) for part in zip(*self._parts, strict=True))
        self._parts = []
        self.mel, self.pcm = mel, pcm
        """(frames, 100) float16; (frames, 256) int16."""
        self.f0, self.voiced, self.phase = f0, voiced, phase
        """(frames,) Hz with straight lines where unvoiced; bool; cycles."""

    def _clips(self, kind: str, shard: list[corpus.Utterance]) -> Iterator[Clip]:
        place = loop.device()
        mels = mels_of(shard, [len(u.f0) for u in shard], 1.0, place)
        for u, mel in zip(shard, mels, strict=True):
            count, voiced = len(u.f0), u.f0 > 0
            at = np.arange(count)
            f0 = np.exp(np.interp(at, at[voiced], np.log(u.f0[voiced]))).astype(np.float32)
            known = bool(u.phase[0] >= 0)
            phase = (u.phase - SHIFT.get(kind, 0.0)) % 1.0 if known else source_filter.phase_of(torch.from_numpy(f0))
            pcm = torch.from_numpy(u.pcm).to(place).view(count, audio.HOP_SAMPLES)
            rows = (torch.as_tensor(part).to(place) for part in (f0, voiced, phase))
            self._parts.append((mel, pcm, *rows))
            yield Clip(self._total, count, known)
            self._total += count

    def minutes(self) -> dict[str, str]:
        per_frame = audio.HOP_SAMPLES / audio.SAMPLE_RATE / 60
        return {kind: f"{sum(c.length for c in found) * per_frame:.0f} min" for kind, found in self.pools.items()}


def _shards(folder: Path, kind: str, held_back: bool) -> Iterator[list[corpus.Utterance]]:
    for number, path in enumerate(corpus.shards(folder, kind)[: 1 if held_back else None]):
        said = list(corpus.read(path))
        if number == 0:
            said = said[-HELD_BACK:] if held_back else said[:-HELD_BACK]
        yield [u for u in said if len(u.f0) >= SEGMENT + 2 and (u.f0 > 0).any()]


@dataclass
class Batch:
    mel: torch.Tensor  # (b, SEGMENT, 100)
    wave: torch.Tensor  # (b, (SEGMENT - 1) * 256)
    f0: torch.Tensor  # (b, SEGMENT + 2 CONTEXT) float64
    phase: torch.Tensor  # the same
    voiced: torch.Tensor  # (b, SEGMENT)
    known: torch.Tensor
    """(b,) whether the phase is the teacher's own."""


def drawn(pools: dict[str, list[Clip]], size: int, draw: random.Random) -> loop.Batch:
    """Places of the frames around each segment (b, SEGMENT + 2 CONTEXT), loudness (b,), known (b,)."""
    rows = []
    for kind in draw.choices(list(pools), [KINDS[k] for k in pools], k=size):
        clip = draw.choice(pools[kind])
        at = draw.randrange(clip.length - SEGMENT)
        around = np.clip(np.arange(at - CONTEXT, at + SEGMENT + CONTEXT), 0, clip.length - 1)
        rows.append((around + clip.start, draw.uniform(QUIETEST_GAIN, LOUDEST_GAIN), clip.known))
    places, gains, knowns = zip(*rows, strict=True)
    return torch.from_numpy(np.stack(places)), torch.tensor(gains), torch.tensor(knowns)


def looked_up(sounds: Sounds, batch: loop.Batch) -> Batch:
    places, gain, known = batch
    inner = places[:, CONTEXT:-CONTEXT]
    mel = (sounds.mel[inner].float() + gain.log()[:, None, None]).clamp(min=math.log(1e-5))
    wave = sounds.pcm[inner[:, :-1]].flatten(1).float() * (gain[:, None] / 32767)
    return Batch(mel, wave, sounds.f0[places].double(), sounds.phase[places].double(), sounds.voiced[inner], known)


def spectral_loss(made: torch.Tensor, real: torch.Tensor, draw: random.Random) -> torch.Tensor:
    """L1 of the log mel, and log-magnitude L1 plus spectral convergence at RESOLUTIONS_A_STEP of RESOLUTIONS,
    drawn anew each time."""
    total = MEL_WEIGHT * F.l1_loss(log_mel(made), log_mel(real))
    for size, hop in draw.sample(RESOLUTIONS, RESOLUTIONS_A_STEP):
        window = torch.hann_window(size, device=made.device)
        a, b = (
            torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp(min=1e-5) for x in (made, real)
        )
        part = (a.log() - b.log()).abs().mean() + torch.linalg.norm(a - b) / torch.linalg.norm(b)
        total = total + SPECTRAL_WEIGHT * part / RESOLUTIONS_A_STEP
    return total


def pitch_loss(logits: torch.Tensor, f0: torch.Tensor, voiced: torch.Tensor) -> torch.Tensor:
    """Cross entropy with a target one step wide around the true pitch, or the unvoiced class."""
    grid = source_filter.f0_grid(logits.device).log()
    step = grid[1] - grid[0]
    near = torch.softmax(-(((grid - f0.float().log()[..., None]) / step) ** 2), dim=-1)
    target = torch.cat([near * voiced[..., None], (~voiced)[..., None].float()], dim=-1)
    return -(target * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


def _compressed(spectrum: torch.Tensor) -> torch.Tensor:
    size = spectrum.abs().clamp(min=1e-4)
    return spectrum * size ** (COMPRESSION - 1)


def spoken(out: torch.Tensor, b: Batch) -> tuple[torch.Tensor, torch.Tensor, source_filter.Parts]:
    """Samples, the harmonics' spectrum, and what the network said; pitch and phase are the teacher's."""
    parts = source_filter.parts_of(out, b.mel)
    source = source_filter.source_spectrum(source_filter.pulses(b.f0, b.phase))
    harmonic = source_filter.harmonic_spectrum(parts, source)
    drawn = torch.rand_like(parts.rest) * (2 * math.pi)
    return source_filter.wave(source_filter.settled(harmonic, parts.rest, drawn)), harmonic, parts


def phase_loss(harmonic: torch.Tensor, b: Batch) -> torch.Tensor:
    """The harmonics alone against all of the teacher: what follows the pitch is learned, what does not averages out."""
    window = torch.hann_window(audio.FFT_SAMPLES, device=b.wave.device)
    real = torch.stft(
        b.wave, audio.FFT_SAMPLES, audio.HOP_SAMPLES, window=window, center=True, return_complex=True
    ).transpose(1, 2)
    miss = _compressed(harmonic[:, EDGE:-EDGE]) - _compressed(real[:, EDGE:-EDGE])
    heard = (b.voiced & b.known[:, None])[:, EDGE:-EDGE, None]
    return (torch.view_as_real(miss).square().sum(-1) * heard).mean()


class Critics:
    """The discriminators and their own optimizer: what they say of a batch, and how they learn from it."""

    def __init__(self, precision: Callable[[], contextlib.AbstractContextManager], lr: float):
        self.all = discriminators.Discriminators().to(loop.device())
        self.optim = torch.optim.AdamW(self.all.parameters(), lr=lr, betas=(0.8, 0.9), fused=True)
        self._precision = precision

    def loss(self, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """They learn to tell `made` from `real` (b, samples); then how far `made` still is from fooling them."""
        with self._precision():
            theirs = discriminators.their_loss(self.all(real), self.all(made.detach()))
        self.optim.zero_grad()
        theirs.backward()
        torch.nn.utils.clip_grad_norm_(self.all.parameters(), 1.0)
        self.optim.step()
        self.all.requires_grad_(False)
        with self._precision():
            with torch.no_grad():
                heard = self.all(real)
            fooled, apart = discriminators.our_loss(heard, self.all(made))
        self.all.requires_grad_(True)
        return FOOLED_WEIGHT * fooled + APART_WEIGHT * apart


def _begun(start: Path, place: torch.device) -> dict[str, torch.Tensor]:
    """Averaged weights of a checkpoint of this module, or those of a vocoder's folder as the server reads it."""
    if start.is_dir():
        found: dict[str, torch.Tensor] = torch.load(start / "pytorch_model.bin", map_location=place, weights_only=True)
        return {name: weight.float() for name, weight in found.items()}
    found = torch.load(start, map_location=place, weights_only=False)["ema"]
    return found


def train(
    data_folder: Path,
    out: Path,
    minutes: float,
    lr: float,
    seed: int,
    compiled: bool,
    threads: int,
    max_steps: int | None = None,
    judged: bool = False,
    start: Path | None = None,
) -> list[float]:
    """`judged`: with discriminators. `start`: whose weights are gone on from, a checkpoint or a vocoder's folder."""
    place = loop.prepare(seed, threads)
    sounds = Sounds(data_folder)
    print(sounds.minutes(), flush=True)
    model = SourceFilter(**SHAPE).to(place)
    if start is not None:
        model.load_state_dict(_begun(start, place))
    precision = loop.precision_of(place)
    critics = Critics(precision, lr) if judged else None
    inner = slice(EDGE * audio.HOP_SAMPLES, -EDGE * audio.HOP_SAMPLES)
    sizes = random.Random(seed)

    def loss(batch: loop.Batch, generator: torch.Generator) -> torch.Tensor:
        b = looked_up(sounds, batch)
        with precision():
            said = model(b.mel)
        made, harmonic, parts = spoken(said.float(), b)
        total = spectral_loss(made[:, inner], b.wave[:, inner], sizes)
        total = total + PITCH_WEIGHT * pitch_loss(parts.pitch, b.f0[:, CONTEXT:-CONTEXT], b.voiced)
        total = total + PHASE_WEIGHT * phase_loss(harmonic, b)
        return total if critics is None else total + critics.loss(made[:, inner], b.wave[:, inner])

    optim = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.8, 0.95), weight_decay=0.01, fused=True)
    beside = {} if critics is None else {"critics": critics.all, "their optimizer": critics.optim}
    return loop.run(
        loop.Trained("vocoder", out / "vocoder.pt", model, [optim], beside, dict(shape=SHAPE)),
        partial(drawn, sounds.pools, GPU_BATCH if place.type == "cuda" else BATCH),
        loss,
        minutes,
        lr,
        seed,
        max_steps,
    )


if __name__ == "__main__":
    parser = loop.options(__doc__, minutes=25, lr=1e-3)
    parser.add_argument(
        "--judged", action="store_true", help="with discriminators: on a CPU each step takes ten times as long"
    )
    parser.add_argument("--start", type=Path, help="a checkpoint, or a vocoder's folder, to go on from")
    chosen = parser.parse_args()
    train(
        chosen.corpus,
        chosen.out,
        chosen.minutes,
        chosen.lr,
        chosen.seed,
        chosen.compile,
        chosen.threads,
        chosen.steps,
        chosen.judged,
        chosen.start,
    )
