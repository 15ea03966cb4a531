"""Train the source-filter vocoder on every teacher's own mels: regression alone, pitch and phase as the teachers had
them.

Try: python -m train.vocoder --minutes 40
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from engine.mel import log_mel
from speech import audio
from train import corpus, loop, source_filter
from train.source_filter import CONTEXT

SHAPE = dict(dim=320, intermediate_dim=960, num_layers=6)
SEGMENT, EDGE, BATCH = 56, 4, 10
"""Frames of a training segment, and those at each end that are context only."""
KINDS = {"hibari": 0.3, "kokoro": 0.4, "slt": 0.1, "vi": 0.2}
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
COMPRESSION = 0.3
LOUDEST_GAIN, QUIETEST_GAIN = 1.1, 0.4
"""Voices are scaled by their reference's loudness at inference."""


class SourceFilter(torch.nn.Module):
    """For training: Vocos' backbone and a head of source_filter.OUTPUTS numbers a frame. Keys as Vocos saves them."""

    def __init__(self, dim: int, intermediate_dim: int, num_layers: int):
        super().__init__()
        from vocos.models import VocosBackbone  # here: upstream's imports take seconds

        self.backbone = VocosBackbone(audio.MEL_BANDS, dim, intermediate_dim, num_layers)
        self.head = torch.nn.ModuleDict({"out": torch.nn.Linear(dim, source_filter.OUTPUTS)})
        with torch.no_grad():
            self.head["out"].weight.mul_(0.1)
            bias = self.head["out"].bias.zero_()
            bias[2 * source_filter.BINS : 3 * source_filter.BINS] = -2.0

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """(batch, frames, 100) → (batch, frames, source_filter.OUTPUTS)."""
        hidden = self.backbone(mel.transpose(1, 2))
        return self.head["out"](hidden)

    @torch.inference_mode()
    def samples(self, mel: torch.Tensor) -> np.ndarray:
        """(frames, 100) → ((frames − 1) · 256,)."""
        return source_filter.speak(self(mel[None])[0].float(), mel).numpy()


@dataclass
class Clip:
    kind: str
    mel: np.ndarray  # (frames, 100) float16
    pcm: np.ndarray
    f0: np.ndarray
    """Hz with straight lines where unvoiced."""
    voiced: np.ndarray
    phase: np.ndarray


def clips(folder: Path, kind: str, held_back: bool = False) -> list[Clip]:
    out = []
    for number, path in enumerate(corpus.shards(folder, kind)):
        said = list(corpus.read(path))
        said = (said[-HELD_BACK:] if held_back else said[:-HELD_BACK]) if number == 0 else [] if held_back else said
        for u in said:
            count = len(u.f0)
            voiced = u.f0 > 0
            if count < 3 or not voiced.any():
                continue
            at = np.arange(count)
            f0 = np.exp(np.interp(at, at[voiced], np.log(u.f0[voiced]))).astype(np.float32)
            mel = log_mel(torch.from_numpy(u.pcm.astype(np.float32) / 32767))[:count].numpy().astype(np.float16)
            phase = u.phase if u.phase[0] < 0 else (u.phase - SHIFT.get(kind, 0.0)) % 1.0
            out.append(Clip(kind, mel, u.pcm, f0, voiced, phase))
    return out


@dataclass
class Batch:
    mel: torch.Tensor  # (b, SEGMENT, 100)
    wave: torch.Tensor  # (b, (SEGMENT - 1) * 256)
    f0: torch.Tensor  # (b, SEGMENT + 2 CONTEXT) float64
    phase: torch.Tensor  # the same
    voiced: torch.Tensor  # (b, SEGMENT)
    known: torch.Tensor
    """(b,) whether the phase is the teacher's own."""


def batch(pools: dict[str, list[Clip]], draw: random.Random, size: int = BATCH) -> Batch:
    kinds = draw.choices(list(pools), [KINDS[k] for k in pools], k=size)
    rows: list[tuple[Any, ...]] = []
    for kind in kinds:
        while len((clip := draw.choice(pools[kind])).mel) < SEGMENT + 1:
            pass
        at = draw.randrange(len(clip.mel) - SEGMENT)
        gain = draw.uniform(QUIETEST_GAIN, LOUDEST_GAIN)
        around = np.clip(np.arange(at - CONTEXT, at + SEGMENT + CONTEXT), 0, len(clip.f0) - 1)
        known = bool(clip.phase[0] >= 0)
        f0 = torch.from_numpy(clip.f0[around]).double()
        phase = torch.from_numpy(clip.phase[around]).double() if known else source_filter.phase_of(f0)
        rows.append(
            (
                np.maximum(clip.mel[at : at + SEGMENT].astype(np.float32) + math.log(gain), math.log(1e-5)),
                clip.pcm[at * audio.HOP_SAMPLES : (at + SEGMENT - 1) * audio.HOP_SAMPLES].astype(np.float32)
                * (gain / 32767),
                f0,
                phase,
                clip.voiced[at : at + SEGMENT],
                known,
            )
        )
    mel, wave, f0s, phases, voiced, knowns = zip(*rows, strict=True)
    return Batch(
        torch.from_numpy(np.stack(mel)),
        torch.from_numpy(np.stack(wave)),
        torch.stack(f0s),
        torch.stack(phases),
        torch.from_numpy(np.stack(voiced)),
        torch.tensor(knowns),
    )


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


def loss_of(out: torch.Tensor, b: Batch, draw: random.Random) -> torch.Tensor:
    parts = source_filter.parts_of(out, b.mel)
    source = source_filter.source_spectrum(source_filter.pulses(b.f0, b.phase))
    harmonic = source_filter.harmonic_spectrum(parts, source)
    made = source_filter.wave(harmonic + source_filter.noise_spectrum(parts))
    inner = slice(EDGE * audio.HOP_SAMPLES, -EDGE * audio.HOP_SAMPLES)
    loss = spectral_loss(made[:, inner], b.wave[:, inner], draw)
    loss = loss + PITCH_WEIGHT * pitch_loss(parts.pitch, b.f0[:, CONTEXT:-CONTEXT], b.voiced)
    if PHASE_WEIGHT and bool(b.known.any()):
        # The harmonics alone against all of the teacher: what follows the pitch is learned, what does not averages out.
        window = torch.hann_window(audio.FFT_SAMPLES)
        real = torch.stft(
            b.wave[b.known], audio.FFT_SAMPLES, audio.HOP_SAMPLES, window=window, center=True, return_complex=True
        ).transpose(1, 2)
        real = real[:, EDGE:-EDGE]
        miss = _compressed(harmonic[b.known][:, EDGE:-EDGE]) - _compressed(real)
        heard = b.voiced[b.known][:, EDGE:-EDGE, None]
        loss = loss + PHASE_WEIGHT * (torch.view_as_real(miss).square().sum(-1) * heard).mean()
    return loss


def train(
    data_folder: Path,
    out: Path,
    minutes: float,
    lr: float,
    seed: int,
    compiled: bool,
    threads: int,
    max_steps: int | None = None,
) -> list[float]:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    place = loop.device()
    pools = {kind: found for kind in KINDS if (found := clips(data_folder, kind))}
    print(
        {kind: f"{sum(len(c.pcm) for c in found) / audio.SAMPLE_RATE / 60:.0f} min" for kind, found in pools.items()},
        flush=True,
    )
    model = SourceFilter(**SHAPE).to(place)
    forward = torch.compile(model) if compiled else model
    precision = loop.precision_of(place)

    def loss(draw: random.Random, generator: torch.Generator) -> torch.Tensor:
        b = batch(pools, draw)
        with precision():
            made = forward(b.mel)
        return loss_of(made.float(), b, draw)

    optim = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.8, 0.95), weight_decay=0.01)
    facts = dict(shape=SHAPE)
    return loop.run("vocoder", out / "vocoder.pt", model, [optim], loss, minutes, lr, seed, max_steps, facts=facts)


if __name__ == "__main__":
    parser = loop.options(__doc__, minutes=25, lr=1e-3)
    parser.add_argument("--phase-weight", type=float, default=PHASE_WEIGHT)
    chosen = parser.parse_args()
    PHASE_WEIGHT = chosen.phase_weight
    train(
        chosen.corpus, chosen.out, chosen.minutes, chosen.lr, chosen.seed, chosen.compile, chosen.threads, chosen.steps
    )
