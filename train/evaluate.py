"""How good the embedded voice is: what a recogniser hears, whether Vietnamese is the right sentence, who seems to
speak.

Try: python -m train.evaluate --sentences 10        Writes the model's card: python -m train.evaluate --card models/tiny
"""

import argparse
import re
import warnings
from pathlib import Path

import jiwer
import librosa
import numpy as np
import soxr
import torch
from pocketsphinx import Decoder
from rich.progress import track

import tts_core
from engine.mel import log_mel
from speech import audio
from train import card, corpus, export, texts
from train.espeak import Espeak

RECOGNISER_RATE = 16_000
ENGLISH, VIETNAMESE = ["default", "rms", "awb"], "an"
DISTRACTORS = 10


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
    return np.concatenate(list(tts.samples(plan)))


def english(
    tts: tts_core.TTS, voice: str, sentences: list[str], teacher: bool, show: bool, **settings
) -> dict[str, float]:
    """Word error rate of the voice and, on the same sentences, of its teacher."""
    recogniser, rates = Recogniser(), {}
    if teacher:
        said = [corpus.flite(s, export.REFERENCES[voice][0]) for s in sentences]
        rates["teacher"] = word_errors(sentences, [recogniser.hear(audio.resample(s.samples, s.rate)) for s in said])
    heard = [
        recogniser.hear(spoken(tts, s, voice, seed=i, **settings))
        for i, s in enumerate(track(sentences, description=voice, transient=True))
    ]
    if show:
        for sentence, words_heard in zip(sentences, heard, strict=True):
            print(f"   {sentence}\n > {words_heard}")
    return rates | {"voice": word_errors(sentences, heard)}


def vietnamese(tts: tts_core.TTS, sentences: list[str], **settings) -> float:
    """Of the sentences, how many are nearest (DTW over mels) to the teacher's reading of the right one, among all and
    DISTRACTORS more."""
    espeak = Espeak("vi")

    def mel(samples: np.ndarray) -> np.ndarray:
        frames = log_mel(torch.from_numpy(samples))[::2, :80].numpy()
        return (frames - frames.mean(axis=0)).T  # without the channel: what is said, not how loud or how muffled

    def read(sentence: str) -> np.ndarray:
        said = espeak.say(sentence)
        samples = audio.resample(said.samples, said.rate)
        return mel(samples * (audio.REFERENCE_RMS / float(np.sqrt(np.mean(samples**2)))))

    others = [s.removesuffix(".") + " nhé." for s in sentences[:DISTRACTORS]]  # close to the right ones, and wrong
    readings = [read(s) for s in [*sentences, *others]]
    right = 0
    for i, sentence in enumerate(track(sentences, description="vi", transient=True)):
        made = mel(spoken(tts, sentence, VIETNAMESE, seed=i, **settings))
        costs = []
        for reading in readings:
            total, path = librosa.sequence.dtw(made, reading)
            costs.append(total[-1, -1] / len(path))
        right += int(np.argmin(costs)) == i
    return right / len(sentences)


def speakers(tts: tts_core.TTS, sentences: list[str], **settings) -> float:
    """Of all sentences in all voices, how many a speaker encoder finds nearest to their own reference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder

        encoder = VoiceEncoder("cpu", verbose=False)

    def embed(samples: np.ndarray) -> np.ndarray:
        return encoder.embed_utterance(soxr.resample(samples, audio.SAMPLE_RATE, RECOGNISER_RATE))

    voices = [*ENGLISH, VIETNAMESE]
    references = np.stack([embed(audio.read_mono(tts_core.VOICES / f"{name}.wav")[0]) for name in voices])
    right = 0
    for number, voice in enumerate(voices):
        said = texts.held_out("vi")[: len(sentences)] if voice == VIETNAMESE else sentences
        for i, sentence in enumerate(track(said, description=voice, transient=True)):
            right += int(np.argmax(references @ embed(spoken(tts, sentence, voice, seed=i, **settings)))) == number
    return right / (len(voices) * len(sentences))


def edges(tts: tts_core.TTS, sentences: list[str], **settings) -> dict[str, float]:
    """The worst of all voices: RMS of the first 50 ms, peak, and the step at a join as a share of the largest step that
    speech itself makes."""
    first, peak, join = 0.0, 0.0, 0.0
    for voice in [*ENGLISH, VIETNAMESE]:
        said = texts.held_out("vi") if voice == VIETNAMESE else sentences
        for at in range(0, min(len(said), 20), 4):
            plan = tts.plan(tts_core.Speech(" ".join(said[at : at + 4]), voice, seed=at, **settings))
            pieces = list(tts.samples(plan))
            whole = np.concatenate(pieces)
            steps = np.abs(np.diff(whole))
            first = max(first, float(np.sqrt(np.mean(whole[: audio.SAMPLE_RATE // 20] ** 2))))
            peak = max(peak, float(np.abs(whole).max()))
            join = max(join, *(float(steps[end - 1] / steps.max()) for end in np.cumsum([len(p) for p in pieces])[:-1]))
    return {
        "RMS of the first 50 ms, worst": first,
        "peak, worst": peak,
        "step at a join over the largest step in speech, worst": join,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default=str(tts_core.EMBEDDED_MODEL))
    options.add_argument("--sentences", type=int, default=40)
    options.add_argument("--voices", nargs="+", default=ENGLISH)
    options.add_argument("--steps", type=int)
    options.add_argument("--cfg-strength", type=float)
    options.add_argument("--only-english", action="store_true")
    options.add_argument("--no-teacher", action="store_true", help="flite is not here")
    options.add_argument("--show", action="store_true", help="print what was said and heard")
    options.add_argument("--card", type=Path, help="write the figures and spectrograms into this model folder")
    chosen = options.parse_args()
    tts, sentences = tts_core.TTS(chosen.model), texts.held_out("en")[: chosen.sentences]
    settings = dict(steps=chosen.steps, cfg_strength=chosen.cfg_strength)
    figures: dict[str, float] = {}
    for voice in chosen.voices:
        for who, rate in english(tts, voice, sentences, not chosen.no_teacher, chosen.show, **settings).items():
            figures[f"word error rate, {voice}, {who}"] = rate
            print(f"{voice:8s} {who:8s} WER {rate:.3f}", flush=True)
    if not chosen.only_english:
        figures["Vietnamese sentences recognised as themselves"] = vietnamese(
            tts, texts.held_out("vi")[: chosen.sentences], **settings
        )
        figures["speeches whose speaker is the reference's"] = speakers(tts, sentences, **settings)
        figures |= edges(tts, sentences, **settings)
        print("\n".join(f"{name}: {value:.3f}" for name, value in list(figures.items())[-5:]))
    if chosen.card:
        card.write(chosen.card, tts, figures, chosen.sentences)


if __name__ == "__main__":
    main()
