"""Mel frames in, samples out: a pulse train and what does not follow it, shaped bin by bin, one inverse STFT.

What hibari does itself: pitch is read from the mel, a band-limited pulse train follows it, and for every bin of every
frame a Vocos backbone (arXiv 2306.00814) says how loud the pulses are there, by which angle they are turned, and how
loud the rest is:

    spectrum = e^(base + h + iδ) · STFT(pulses) + e^(base + r) · Z          base: the mel's own level at that bin

Z has random phases. Drawn for each bin alone they are the spectrum of no sound, and its magnitudes do not come out as
written: one round of Griffin and Lim's (IEEE TASSP 32, 1984) over pulses and noise settles them. Trained through that
round, copies of a teacher gain 0.35 by Distill-MOS.

Knows nothing of text, voices or training.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from engine.istft import istft
from engine.stepping import to_device
from speech.audio import FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS, SAMPLE_RATE

BINS = FFT_SAMPLES // 2 + 1
F0_BINS, F0_LOW, F0_HIGH = 192, 50.0, 600.0
"""Pitch is a choice among 192 steps of 22 cents, refined by its neighbours; one more class says that there is none."""
NEAR_BINS = 3
MAX_LOG_GAIN = 6.0
TOP_HZ = 11_500.0
"""Harmonics above are left to the noise: the pulse train is band-limited by construction."""
CONTEXT = FFT_SAMPLES // 2 // HOP_SAMPLES
"""Frames of pitch that the window reaches to each side."""
SINGULAR = 2e-3
NOISE_SEED = 0
NOISE_KEPT = -math.log(2) / 2
"""Log gain of noise: what the inverse STFT keeps of independent bins."""
LEAST_POWER = 1e-12
"""So that training has a slope where there is nothing."""


@dataclass(frozen=True)
class Parts:
    """What the network says of each frame: (…, frames, BINS), the pitch (…, frames, F0_BINS + 1)."""

    harmonic: torch.Tensor  # log gain
    angle: torch.Tensor  # rad
    rest: torch.Tensor  # log gain
    pitch: torch.Tensor  # logits, the last class: unvoiced


OUTPUTS = 3 * BINS + F0_BINS + 1


def parts_of(out: torch.Tensor, mel: torch.Tensor) -> Parts:
    """`out`: (…, frames, OUTPUTS) of the head; `mel`: (…, frames, 100)."""
    harmonic, angle, rest, pitch = torch.split(out, [BINS, BINS, BINS, F0_BINS + 1], dim=-1)
    base = mel @ _levels(mel.device)
    gains = (base + harmonic).clamp(max=MAX_LOG_GAIN), (base + rest).clamp(max=MAX_LOG_GAIN)
    return Parts(gains[0], angle, gains[1], pitch)


@functools.cache
def _levels(device: torch.device) -> torch.Tensor:
    """(100, BINS): each bin's log magnitude, read off the log mel between the middles of its bands."""
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    place = 2595 * torch.log10(1 + torch.linspace(0, SAMPLE_RATE / 2, BINS) / 700) / (top / (MEL_BANDS + 1)) - 1
    place = place.clamp(0, MEL_BANDS - 1)
    low = place.floor().long().clamp(max=MEL_BANDS - 2)
    levels = torch.zeros(MEL_BANDS, BINS)
    levels[low, torch.arange(BINS)] = 1 - (place - low)
    levels[low + 1, torch.arange(BINS)] = place - low
    return levels.to(device)


@functools.cache
def f0_grid(device: torch.device) -> torch.Tensor:
    """(F0_BINS,) Hz."""
    return torch.exp(torch.linspace(math.log(F0_LOW), math.log(F0_HIGH), F0_BINS)).to(device)


def contour(pitch: torch.Tensor) -> torch.Tensor:
    """(frames, F0_BINS + 1) logits → (frames,) Hz.

    Straight lines where unvoiced, since the gains say what is heard there."""
    steps = torch.arange(F0_BINS, device=pitch.device)
    best = pitch[:, :F0_BINS].argmax(dim=1)
    near = pitch[:, :F0_BINS].masked_fill((steps[None] - best[:, None]).abs() > NEAR_BINS, -torch.inf).softmax(dim=1)
    f0 = (near @ f0_grid(pitch.device).log()).exp()
    voiced = pitch.argmax(dim=1) < F0_BINS
    return bridged(f0, voiced)


def bridged(f0: torch.Tensor, voiced: torch.Tensor) -> torch.Tensor:
    """(frames,) Hz with straight lines between voiced frames; without any, one pitch throughout."""
    count = len(f0)
    at = torch.arange(count, device=f0.device)
    before = torch.where(voiced, at, -1).cummax(dim=0).values
    after = torch.where(voiced, at, count).flip(0).cummin(dim=0).values.flip(0)
    left = torch.where(before < 0, after, before).clamp(0, count - 1)
    right = torch.where(after >= count, before, after).clamp(0, count - 1)
    share = ((at - left) / (right - left).clamp(min=1)).clamp(0, 1)
    return torch.lerp(f0[left], f0[right], share.to(f0.dtype))


def phase_of(f0: torch.Tensor) -> torch.Tensor:
    """(…, frames) Hz → (…, frames) cycles at the middle of each frame, added up in float64."""
    steps = (f0[..., 1:] + f0[..., :-1]).double() * (HOP_SAMPLES / 2 / SAMPLE_RATE)
    return F.pad(steps.cumsum(dim=-1), (1, 0)) % 1.0


def pulses(f0: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Pulses band-limited to TOP_HZ: (…, frames) → (…, (frames − 1) · 256), every harmonic a cosine of amplitude 1.

    Σ cos kθ = sin((K + ½)θ) / 2 sin(θ/2) − ½ (Dirichlet's kernel). Between frames the pitch is a straight line, bent so
    that the phase meets each frame's own."""
    share = torch.arange(HOP_SAMPLES, device=f0.device) / HOP_SAMPLES
    here, there = f0[..., :-1, None], f0[..., 1:, None]
    curve = here + (there - here) * share
    expected = (here + there) * (HOP_SAMPLES / 2 / SAMPLE_RATE)
    miss = phase[..., 1:, None] - phase[..., :-1, None] - expected
    miss = miss - miss.round()
    run = (here * share + (there - here) * (share**2 / 2)) * (HOP_SAMPLES / SAMPLE_RATE)
    cycles = phase[..., :-1, None] + run + miss * share
    theta = ((cycles - cycles.floor()) * (2 * math.pi)).float().flatten(-2)
    count = torch.floor(TOP_HZ / curve.float().flatten(-2).clamp(min=F0_LOW / 2)) + 0.5
    half = torch.sin(theta / 2) * 2
    single = half.abs() < SINGULAR
    half = torch.where(single, 1.0, half)
    return torch.where(single, count, torch.sin(count * theta) / half) - 0.5


@functools.cache
def _window(device: torch.device) -> torch.Tensor:
    return torch.hann_window(FFT_SAMPLES, device=device)


def source_spectrum(train: torch.Tensor) -> torch.Tensor:
    """(…, (frames + 2 CONTEXT − 1) · 256) → (…, frames, BINS) complex; a harmonic of amplitude 1 peaks at 1.

    train: CONTEXT frames longer on each side."""
    frames = train.unfold(-1, FFT_SAMPLES, HOP_SAMPLES)
    spectrum: torch.Tensor = torch.fft.rfft(frames * (_window(train.device) / (FFT_SAMPLES / 4)), dim=-1)
    return spectrum


def harmonic_spectrum(parts: Parts, source: torch.Tensor) -> torch.Tensor:
    return torch.polar(parts.harmonic.exp(), parts.angle) * source


def settled(harmonic: torch.Tensor, rest: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """The spectrum of pulses and of noise with the log gain `rest` and the phases `drawn` (rad), all (…, frames, BINS),
    after one round of Griffin and Lim's: phases that fit one another, so that the magnitudes come out as meant."""
    level = (rest + NOISE_KEPT).exp()
    meant = (harmonic.abs().square() + level.square() + LEAST_POWER).sqrt()
    heard = torch.stft(
        wave(harmonic + torch.polar(level, drawn)),
        FFT_SAMPLES,
        HOP_SAMPLES,
        window=_window(level.device),
        pad_mode="constant",  # a chunk may be shorter than the window
        return_complex=True,
    ).transpose(-1, -2)
    return heard * (meant / heard.abs().clamp(min=1e-6))


def wave(spectrum: torch.Tensor) -> torch.Tensor:
    """(…, frames, BINS) → (…, (frames − 1) · 256)."""
    return istft(spectrum.transpose(-1, -2), _window(spectrum.device))


def samples_of(out: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
    """(frames, OUTPUTS) of the head and its mel → ((frames − 1) · 256,). Its noise is the same for each chunk: a
    speech's own seed draws what differs."""
    parts = parts_of(out, mel)
    f0 = contour(parts.pitch)
    f0 = torch.cat([f0[:1].expand(CONTEXT), f0, f0[-1:].expand(CONTEXT)])
    # Apple's devices know no float64.
    phase = phase_of(f0.cpu() if f0.device.type == "mps" else f0).float().to(f0.device)
    harmonic = harmonic_spectrum(parts, source_spectrum(pulses(f0, phase)))
    drawn = torch.rand(parts.rest.shape, generator=torch.Generator().manual_seed(NOISE_SEED)) * (2 * math.pi)
    return wave(settled(harmonic, parts.rest, to_device(drawn, parts.rest.device)))
