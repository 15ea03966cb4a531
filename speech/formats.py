"""The formats of a sound file: one table, from which checks, content types and descriptions follow.

Samples in, bytes out while the samples still come. Knows nothing of models or HTTP.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from speech.audio import SAMPLE_RATE, WAV_HEADER_BYTES, pcm16, wav_header
from speech.encoders import Aac, Flac, Mp3, Opus, Plain, mp3_bytes

ENCODED_AT_ONCE = SAMPLE_RATE // 4
"""Samples between two yield points: Opus, the slowest, takes 10 ms for them."""


class Encoder(Protocol):
    """16-bit samples in, bytes out as soon as they are known."""

    def write(self, pcm: bytes) -> bytes: ...

    def end(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table."""

    name: str
    """Its files' suffix too."""
    content_type: str
    encoder: Callable[[int], Encoder]
    """Made for so many samples."""
    size: Callable[[int], int] | None = None
    """Bytes of the whole for so many samples, where they are known before the sound."""
    at_once: int | None = ENCODED_AT_ONCE
    """Samples between two yield points."""
    needs: str | None = None
    """A package that requirements.txt does not install."""

    @property
    def available(self) -> bool:
        return self.needs is None or find_spec(self.needs) is not None


class Encoded(NamedTuple):
    data: bytes
    samples: int
    """That went in for it. An encoder may keep some of them back: `data` is then of earlier ones, or empty."""


def encoded(pieces: Iterable[np.ndarray | None], format: Format, samples: int) -> Iterator[Encoded | None]:
    """A sound file of `samples` samples as their pieces come, the end of it with the last one; None at yield points.

    RuntimeError where there are fewer: what was sent is then no whole file."""
    encoder, left = format.encoder(samples), samples
    for piece in pieces:
        if piece is None:
            yield None
            continue
        step = format.at_once or max(1, len(piece))
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            left -= len(part)
            data = encoder.write(pcm16(part))
            yield Encoded(data if left else data + encoder.end(), len(part))
    if left:
        raise RuntimeError(f"{left} of {samples} samples were not made")


FORMATS = {
    format.name: format
    for format in (
        Format(
            "wav",
            "audio/wav",
            lambda samples: Plain(wav_header(samples)),
            lambda samples: WAV_HEADER_BYTES + 2 * samples,
            at_once=None,
        ),
        Format("pcm", "audio/pcm", lambda samples: Plain(b""), lambda samples: 2 * samples, at_once=None),
        Format("flac", "audio/flac", Flac),
        Format("mp3", "audio/mpeg", Mp3, mp3_bytes),
        Format("opus", "audio/ogg", Opus),
        Format("aac", "audio/aac", Aac, needs="av"),
    )
}


def named_by(file: Path) -> str:
    """The format that a file's suffix names; WAV where it has none. Raises ValueError."""
    named = file.suffix.lower().removeprefix(".")
    if named and named not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise ValueError(f"{file}: its suffix names no format; there are {known}, or say --format")
    return named or "wav"
