"""Whose voice Kokoro speaks with: single voices, halves of two, and wide mixtures; who is never trained on.

A style vector has two halves: the first 128 numbers steer the sound, the last 128 rhythm and melody. The sound of one
voice with
the rhythm of another is a new speaker that resemblyzer tells apart nearly as well as single voices (57 of 60 against
60 of 60).
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ENGLISH = """af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky
am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis""".split()
FOREIGN = """ef_dora em_alex ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola jf_alpha jf_gongitsune
jf_nezumi
jf_tebukuro jm_kumo pf_dora pm_alex zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia
zm_yunyang""".split()
"""Their sound, under an English voice's rhythm: no accent to speak of, and twice as many timbres."""
HELD_OUT = ["af_sarah", "bf_emma", "am_echo", "bm_george"]
"""In no mixture and no training: two women, two men."""
SHIPPED = ["af_heart", "af_bella", "am_michael", "am_fenrir"]
"""Named voices of the server: more of their speech than of anybody else's."""
TRAINED = [name for name in ENGLISH if name not in HELD_OUT]

SOUND = 128
STYLE_ROWS, STYLE_NUMBERS = 510, 256


@dataclass(frozen=True)
class Speaker:
    """Sound and rhythm, each a weighted sum of voices."""

    name: str
    sound: tuple[tuple[str, float], ...]
    rhythm: tuple[tuple[str, float], ...]

    def style(self, folder: Path) -> np.ndarray:
        """(510, 256): a row for every number of tokens. `folder` holds kokoro-js' voices."""
        return np.concatenate([_sum(self.sound, folder)[:, :SOUND], _sum(self.rhythm, folder)[:, SOUND:]], axis=1)


def _sum(parts: tuple[tuple[str, float], ...], folder: Path) -> np.ndarray:
    rows = [
        weight * np.fromfile(folder / f"{name}.bin", np.float32).reshape(STYLE_ROWS, STYLE_NUMBERS)
        for name, weight in parts
    ]
    total: np.ndarray = np.sum(rows, axis=0)
    return total


def single(name: str) -> Speaker:
    return Speaker(name, ((name, 1.0),), ((name, 1.0),))


def halves(sound: str, rhythm: str) -> Speaker:
    return Speaker(f"{sound}~{rhythm}", ((sound, 1.0),), ((rhythm, 1.0),))


def wide(first: str, second: str, weight: float) -> Speaker:
    """`weight` of the second in −0.35 to 1.35: outside 0 to 1 they part instead of crowding together."""
    mix = ((first, round(1 - weight, 3)), (second, round(weight, 3)))
    return Speaker(f"{first}{1 - weight:+.2f}{second}{weight:+.2f}", mix, mix)


def held_out_halves() -> list[Speaker]:
    """20 pairs that `drawn` never gives, each voice in at most two of them."""
    draw = random.Random("held out")
    sounds, rhythms = draw.sample(TRAINED, 20), draw.sample(TRAINED, 20)
    while any(a == b for a, b in zip(sounds, rhythms, strict=True)):
        draw.shuffle(rhythms)
    return [halves(a, b) for a, b in zip(sounds, rhythms, strict=True)]


def drawn(draw: random.Random) -> Speaker:
    """A speaker to train on: half of them halves, a quarter wide mixtures, the rest single voices."""
    kind = draw.random()
    if kind < 0.2:
        return single(draw.choice(TRAINED))
    if kind < 0.45:
        first, second = draw.sample(TRAINED, 2)
        weight = draw.choice([draw.uniform(-0.35, 0.1), draw.uniform(0.3, 0.7)])
        return wide(first, second, round(weight, 2))
    never = {speaker.name for speaker in held_out_halves()}
    while True:
        sound, rhythm = draw.choice(TRAINED + FOREIGN if kind > 0.7 else TRAINED), draw.choice(TRAINED)
        if sound != rhythm and f"{sound}~{rhythm}" not in never:
            return halves(sound, rhythm)
