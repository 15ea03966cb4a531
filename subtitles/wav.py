"""A reply that must be a WAV file, checked while it comes, and several joined into one. Knows nothing of servers."""

import io
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import soundfile

MAX_HEADER_BYTES = 65_536
"""Tags may stand before the samples, but not more than this."""
MAX_TRAILER_BYTES = 65_536
"""And after them."""
MAX_BYTES = 500_000_000
"""Of samples: 2.9 hours at 24 kHz. No cue is so long; a header that promises more is one that does not know."""
MAX_CHANNELS = 8
RATES = 4_000, 384_000


class BadWav(ValueError):
    """What is wrong with it, to be read after "it sent"."""


class WavReceiver:
    """Bytes in, in any pieces; they go into `file` while they can be a WAV file, and never more than it promises."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._header = bytearray()
        self._problem = "it ends too soon"
        self._received = 0
        self._samples_at = 0
        self._sample_bytes: int | None = None
        """None until the header is whole."""
        self._frame_bytes, self._rate = 1, 1

    def write(self, piece: bytes) -> None:
        """Raises BadWav; OSError when the disk is full."""
        self._received += len(piece)
        if self._sample_bytes is None:
            self._header += piece
            self._parse()
        elif self._received > self._samples_at + self._sample_bytes + MAX_TRAILER_BYTES:
            raise BadWav(f"more than the {self._sample_bytes} bytes of sound that its WAV header promises")
        self._file.write(piece)

    def _parse(self) -> None:
        opened = io.BytesIO(self._header)
        try:
            with wave.open(opened) as sound:
                _, _, rate, frames, _, _ = sound.getparams()
                channels, width = sound.getnchannels(), sound.getsampwidth()
                self._samples_at = opened.tell()
        except (wave.Error, EOFError) as error:  # or it has not all come yet
            self._problem = str(error) or "it ends too soon"
            if len(self._header) > MAX_HEADER_BYTES:
                raise BadWav(f"audio that is no PCM WAV file: {self._problem}") from None
            return
        if not 1 <= channels <= MAX_CHANNELS or not 1 <= width <= 4 or not RATES[0] <= rate <= RATES[1]:
            raise BadWav(f"a WAV file of {channels} channels, {8 * width} bits and {rate} Hz, which is no speech")
        self._frame_bytes, self._rate = channels * width, rate
        self._sample_bytes = frames * self._frame_bytes
        if self._sample_bytes > MAX_BYTES:
            raise BadWav(f"a WAV file whose header promises {self._sample_bytes} bytes of sound, too many for a cue")

    def seconds(self, part: Path) -> float:
        """After the last piece, with the file closed: the sound's length. Raises BadWav unless every frame has come."""
        if self._sample_bytes is None:
            raise BadWav(f"audio that is no PCM WAV file: {self._problem}")
        promised = self._sample_bytes // self._frame_bytes
        held = min(promised, max(0, self._received - self._samples_at) // self._frame_bytes)
        if held != promised or not held:
            raise BadWav(f"a WAV file of {held} frames whose header promises {promised}")
        try:
            told = soundfile.info(part).frames  # what will mix it must read it alike
        except soundfile.LibsndfileError as error:
            raise BadWav(f"a WAV file that cannot be read: {error}") from None
        if told != promised:
            raise BadWav(f"a WAV file of {told} frames whose header promises {promised}")
        return promised / self._rate


def join(files: Sequence[Path], pause: float, out: Path) -> None:
    """One after the other, with `pause` seconds of silence between. Raises BadWav where their formats differ."""
    with wave.open(str(out), "wb") as joined:
        for number, file in enumerate(files):
            with wave.open(str(file)) as sound:
                form = sound.getparams()[:3]
                if number == 0:
                    joined.setparams((*form, 0, "NONE", "not compressed"))
                    first = form
                    # In 8 bits, and there alone, silence is in the middle of the unsigned values.
                    silence = (b"\x80" if form[1] == 1 else b"\0") * form[0] * form[1] * round(pause * form[2])
                elif form != first:
                    raise BadWav("the voices of one cue in different formats")
                else:
                    joined.writeframesraw(silence)
                while block := sound.readframes(65_536):
                    joined.writeframesraw(block)
