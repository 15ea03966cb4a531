"""What a recogniser hears: word error rate of the teacher and of the embedded voice over the held-out sentences.

Try: python -m train.evaluate --sentences 10
"""

import argparse
import re

import jiwer
import numpy as np
import soxr
from pocketsphinx import Decoder
from rich.progress import track

import audio
import tts_core
from train import corpus, export, texts

RECOGNISER_RATE = 16_000


class Recogniser:
    """pocketsphinx with its own general English model."""

    def __init__(self) -> None:
        self._decoder = Decoder(samprate=RECOGNISER_RATE, loglevel="FATAL")

    def hear(self, samples: np.ndarray) -> str:
        """float samples at 24 kHz → words."""
        pcm = audio.pcm16(soxr.resample(np.pad(samples, 4800), audio.SAMPLE_RATE, RECOGNISER_RATE))
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


def spoken(tts: tts_core.TTS, sentence: str, voice: str, **settings) -> np.ndarray:
    plan = tts.plan(tts_core.Speech(sentence, voice, **settings))
    return np.concatenate([piece for piece in tts.speak(plan) if piece is not None])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default=str(tts_core.EMBEDDED_MODEL))
    options.add_argument("--sentences", type=int, default=40)
    options.add_argument("--voices", nargs="+", default=["default", "rms", "awb"])
    options.add_argument("--steps", type=int)
    options.add_argument("--cfg-strength", type=float)
    options.add_argument("--no-teacher", action="store_true")
    options.add_argument("--show", action="store_true", help="print what was said and heard")
    chosen = options.parse_args()
    sentences = texts.held_out("en")[: chosen.sentences]
    recogniser, tts = Recogniser(), tts_core.TTS(chosen.model)
    for voice in chosen.voices:
        if not chosen.no_teacher:
            flite_voice = export.REFERENCES[voice][0]
            heard = []
            for s in sentences:
                said = corpus.flite(s, flite_voice, "flite")
                heard.append(recogniser.hear(audio.resample(said.samples, said.rate)))
            print(f"{voice:8s} teacher  WER {word_errors(sentences, heard):.3f}")
        heard = []
        for i, s in enumerate(track(sentences, description=voice, transient=True)):
            heard.append(recogniser.hear(spoken(tts, s, voice, seed=i, steps=chosen.steps, cfg_strength=chosen.cfg_strength)))
            if chosen.show:
                print(f"   {s}\n > {heard[-1]}")
        print(f"{voice:8s} {tts.model:8s} WER {word_errors(sentences, heard):.3f}", flush=True)


if __name__ == "__main__":
    main()
