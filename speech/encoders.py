"""Encoders: 16-bit samples in, bytes out as soon as they are known. Knows nothing of who asks for what.

libsndfile makes all but AAC, which it cannot: that is PyAV's, imported when it is asked for. What a file's head says of
its length is true, because an encoder is made for a number of samples.
"""

import zlib
from struct import pack, pack_into, unpack_from

import numpy as np
import soundfile

from speech.audio import SAMPLE_RATE

MP3_KBPS, MP3_FRAME_SAMPLES, MP3_DELAY = 64, 576, 576
MP3_FRAME_BYTES = MP3_FRAME_SAMPLES // 8 * MP3_KBPS * 1000 // SAMPLE_RATE
OGG_PAGE_MS = 100.0
"""At most so much sound waits for its page to be full. libsndfile's own is a second."""
AAC_BITS_PER_SECOND, AAC_FRAME_SAMPLES, AAC_RATE_INDEX = 64_000, 1024, 6
AAC_MAX_LEAD = SAMPLE_RATE // 20
"""Samples of silence before the speech, at most: 50 ms."""


class Plain:
    """The samples as they are, after a header."""

    def __init__(self, header: bytes):
        self._header = header

    def write(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def end(self) -> bytes:
        return b""


class _Sink:
    """A file for libsndfile that only grows. What it goes back for in the end, totals in a head, is left out."""

    def __init__(self) -> None:
        self._fresh = bytearray()
        self._end = self._at = 0

    def write(self, data: bytes) -> int:
        if self._at == self._end:
            self._fresh += data
            self._end += len(data)
        self._at += len(data)
        return len(data)

    def read(self, size: int) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        fresh, self._fresh = bytes(self._fresh), bytearray()
        return fresh


class _Sndfile:
    """libsndfile's encoder."""

    def __init__(self, container: str, subtype: str, **how: object):
        self._sink = _Sink()
        self._file = soundfile.SoundFile(self._sink, "w", SAMPLE_RATE, 1, subtype, format=container, **how)

    def write(self, pcm: bytes) -> bytes:
        self._file.buffer_write(pcm, "int16")
        return self._sink.take()

    def end(self) -> bytes:
        self._file.close()
        return self._sink.take()


class Flac:
    """STREAMINFO is the first block of the file; the last 36 bits of its bytes 18 to 26 are the number of samples."""

    def __init__(self, samples: int):
        self._encoder, self._samples, self._begun = _Sndfile("FLAC", "PCM_16"), samples, False

    def write(self, pcm: bytes) -> bytes:
        data = self._encoder.write(pcm)
        if self._begun or not data:
            return data
        self._begun = True
        head = bytearray(data)
        pack_into(">Q", head, 18, unpack_from(">Q", head, 18)[0] | self._samples)
        return bytes(head)

    def end(self) -> bytes:
        return self._encoder.end()


def _mp3_frames(samples: int) -> int:
    """After the first, which tells the length: LAME pads the end with one frame or more, less than two."""
    return (samples + MP3_DELAY) // MP3_FRAME_SAMPLES + (2 if samples % MP3_FRAME_SAMPLES else 1)


def mp3_bytes(samples: int) -> int:
    return (1 + _mp3_frames(samples)) * MP3_FRAME_BYTES


class Mp3:
    """All frames have one size. LAME leaves the first one empty for its Info tag, which it would come back for."""

    def __init__(self, samples: int):
        constant = (160 - MP3_KBPS) / 152  # libsndfile's scale: 160 kbit/s at 0, 8 at 1
        self._encoder = _Sndfile("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=constant)
        self._samples, self._begun = samples, False

    def write(self, pcm: bytes) -> bytes:
        data = self._encoder.write(pcm)
        if self._begun or not data:
            return data
        self._begun = True
        return self._info(data[:4]) + data[MP3_FRAME_BYTES:]

    def end(self) -> bytes:
        return self._encoder.end()

    def _info(self, header: bytes) -> bytes:
        """How long it is and where the speech begins and ends in it (gabriel.mp3-tech.org/mp3infotag.html)."""
        frames = _mp3_frames(self._samples)
        padding = frames * MP3_FRAME_SAMPLES - MP3_DELAY - self._samples
        # The file's size, which could stand here too, makes FFmpeg doubt all of it when it reads from a pipe.
        tag = pack(">4sII", b"Info", 1, frames) + b"LAME3.100"
        tag += pack(">BBfHHBB", 1, 0, 0.0, 0, 0, 0, MP3_KBPS) + (MP3_DELAY << 12 | padding).to_bytes(3, "big")
        tag += pack(">BBHIH", 0, 0, 0, mp3_bytes(self._samples), 0)
        frame = header + bytes(9) + tag
        return (frame + pack(">H", _crc16(frame))).ljust(MP3_FRAME_BYTES, b"\0")


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


class Opus:
    """In Ogg. libsndfile draws the stream's serial number; here it follows from the sound, as all other bytes do."""

    def __init__(self, samples: int):
        self._encoder, self._serial = _Sndfile("OGG", "OPUS"), 0
        latency = soundfile._ffi.new("double *", OGG_PAGE_MS)
        set_page_latency_ms = 0x1302  # of sndfile.h; soundfile has no word for it
        soundfile._snd.sf_command(self._encoder._file._file, set_page_latency_ms, latency, 8)

    def write(self, pcm: bytes) -> bytes:
        self._serial = self._serial or zlib.crc32(pcm)
        return self._with_serial(self._encoder.write(pcm))

    def end(self) -> bytes:
        return self._with_serial(self._encoder.end())

    def _with_serial(self, pages: bytes) -> bytes:
        """Whole pages (RFC 3533): a serial number at 14, a checksum at 22, a table of sizes from 27."""
        data, start = bytearray(pages), 0
        while start < len(data):
            table = data[start + 27 : start + 27 + data[start + 26]]
            end = start + 27 + len(table) + sum(table)
            pack_into("<II", data, start + 14, self._serial, unpack_from("<I", data, start + 18)[0])
            pack_into("<I", data, start + 22, 0)
            pack_into("<I", data, start + 22, _ogg_crc(bytes(data[start:end])))
            start = end
        return bytes(data)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page: bytes) -> int:
    """Ogg's checksum has zlib's polynomial; its bits go the other way, and it begins and ends with 0."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


class Aac:
    """In ADTS, which has no word for the 1024 samples of silence that decoders of AAC begin with.

    So that the decoded length is the planned one, the packet that makes them is left out. The first one sent is then
    faded in; as much silence as fits into AAC_MAX_LEAD goes before the speech, and fills up the last packet."""

    def __init__(self, samples: int):
        import av

        self._av, self._codec = av, av.CodecContext.create("aac", "w")
        self._codec.sample_rate, self._codec.layout, self._codec.format = SAMPLE_RATE, "mono", "fltp"
        self._codec.bit_rate = AAC_BITS_PER_SECOND
        self._codec.open()
        lead = -samples % AAC_FRAME_SAMPLES
        lead += AAC_FRAME_SAMPLES if lead + AAC_FRAME_SAMPLES <= AAC_MAX_LEAD else 0
        self._waiting, self._packets = bytes(2 * lead), 0

    def write(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(self._waiting + pcm, "<i2")
        whole = len(samples) // AAC_FRAME_SAMPLES * AAC_FRAME_SAMPLES
        self._waiting = samples[whole:].tobytes()
        frames = (samples[:whole] / np.float32(32768)).reshape(-1, 1, AAC_FRAME_SAMPLES)
        return b"".join(self._packed(frame) for frame in frames)

    def end(self) -> bytes:
        return self._packed(None)

    def _packed(self, samples: np.ndarray | None) -> bytes:
        """The packets that one frame gives; None: those still kept back."""
        frame = None
        if samples is not None:
            frame = self._av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = SAMPLE_RATE
        sent = b""
        for packet in self._codec.encode(frame):
            self._packets += 1
            sent += _adts_header(packet.size) + bytes(packet) if self._packets > 1 else b""
        return sent


def _adts_header(size: int) -> bytes:
    """Of a packet of `size` bytes: MPEG-4, AAC LC, mono, no checksum (ISO/IEC 13818-7, 6.2)."""
    bits = 0xFFF1 << 40 | 1 << 38 | AAC_RATE_INDEX << 34 | 1 << 30 | (7 + size) << 13 | 0x7FF << 2
    return bits.to_bytes(7, "big")
