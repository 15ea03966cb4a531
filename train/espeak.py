"""espeak-ng speaking into memory, with the start of every phoneme: the Vietnamese teacher.

phonemizer only reads text to phonemes; the synthesis half of the same library is called here."""

import ctypes
import functools
from dataclasses import dataclass

import espeakng_loader
import numpy as np

_SYNCHRONOUS = 2
_PHONEME_EVENTS_IN_IPA = 0b11
_UTF8 = 1
_PHONEME_EVENT = 7
LEADING_SECONDS, TRAILING_SECONDS = 0.07, 0.19
"""Silence added around what espeak-ng says: it starts and ends within a sample of the speech."""


class _Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    ]


@dataclass
class Spoken:
    samples: np.ndarray  # float32
    rate: int
    segments: list[tuple[str, float]]  # (IPA symbol, end in seconds)


_HEARER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@functools.cache
def _library() -> tuple[ctypes.CDLL, int]:
    """The library and its sample rate. Initialised once: a second time in one process ends it without a word."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _PHONEME_EVENTS_IN_IPA)
    if rate <= 0:
        raise RuntimeError("espeak-ng does not start")
    return library, rate


class Espeak:
    """A voice of espeak-ng. Raises RuntimeError where there is none of that name."""

    def __init__(self, voice: str):
        self._library, self.rate = _library()
        self._voice = voice.encode()
        self._pcm: list[np.ndarray] = []
        self._starts: list[tuple[str, int]] = []
        self._heard = _HEARER(self._hear)  # kept: ctypes frees it otherwise

    def _hear(self, wave, count, events) -> int:
        index = 0
        while events[index].type != 0:
            if events[index].type == _PHONEME_EVENT:
                self._starts.append((events[index].id.string.decode("utf-8", "ignore"), events[index].sample))
            index += 1
        if wave and count > 0:
            self._pcm.append(np.ctypeslib.as_array(wave, (count,)).copy())
        return 0

    def say(self, text: str) -> Spoken:
        self._pcm, self._starts = [], []
        if self._library.espeak_SetVoiceByName(self._voice) != 0:
            raise RuntimeError(f"espeak-ng has no voice {self._voice.decode()!r}")
        self._library.espeak_SetSynthCallback(self._heard)
        raw = text.encode()
        self._library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, _UTF8, None, None)
        pcm = np.concatenate(self._pcm) if self._pcm else np.zeros(0, np.int16)
        ends = [start for _, start in self._starts[1:]] + [len(pcm)]
        lead = round(LEADING_SECONDS * self.rate)
        segments: list[tuple[str, float]] = [("", LEADING_SECONDS)]
        for (name, _), end in zip(self._starts, ends, strict=True):
            if name == "" and segments[-1][0] == "":
                segments.pop()
            segments.append((name, (lead + end) / self.rate))
        samples = np.pad(pcm.astype(np.float32) / 32768, (lead, round(TRAILING_SECONDS * self.rate)))
        last = segments.pop()
        segments += [*([last] if last[0] else []), ("", len(samples) / self.rate)]
        return Spoken(samples, self.rate, segments)
