"""A light recogniser for the server's tests: pocketsphinx with its own English model. The card's judge is Whisper."""

import re

import jiwer
import numpy as np
import soxr
from pocketsphinx import Decoder

from speech import audio

RATE = 16_000


class Recogniser:
    def __init__(self) -> None:
        self._decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def hear(self, samples: np.ndarray) -> str:
        """float samples at 24 kHz → words."""
        pcm = audio.pcm16(soxr.resample(np.pad(samples, 4800), audio.SAMPLE_RATE, RATE))
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return heard.hypstr if heard else ""


def words(sentence: str) -> str:
    return " ".join(re.findall(r"[a-z']+", sentence.lower()))


def word_errors(said: list[str], heard: list[str]) -> float:
    """Errors per word said."""
    return jiwer.wer([words(s) for s in said], [words(h) for h in heard])
