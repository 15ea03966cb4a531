"""Text read into phonemes, the tokens of the embedded model. Knows nothing of audio, models or HTTP; loads no torch.

Try: python -m engine.phonemes "Numbers like 42 are spoken."
Or:  python -m engine.phonemes --json < lines of {"text", "language"?, "normalize"?}
"""

import argparse
import functools
import json
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from speech.reading.passages import joined, read
from speech.text import chunks_of, clean

PAUSES = {c: "," for c in ",;:–—…，、；"} | {c: c for c in ".?!"} | {"。": ".", "！": "!", "？": "?"}
"""Punctuation that is heard, and the pause symbol it becomes."""
SHOWN_CHUNK_BYTES = 300
"""The command's own limit of a chunk; a server's follows from its checkpoint and voice."""

_PAUSE_AT = re.compile(
    r"([,;:.?!…]+(?=\s|$|[\"'”’)\]}])|[–—。，、！？；]+|\s-+\s"
    r"|(?:(?<=[\s\"'“‘(\[{])|^)[,;:.?!…]+(?=[^\W\d_])|(?<=[^\W_])[;?!…]+(?=[^\W_]))"
)
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.(?=\s)")
_UNSPOKEN = re.compile(r"[\"“”„«»‹›()\[\]{}<>|*_~^`#\\¡¿]+")
# espeak's Vietnamese ends the process at some words behind a hyphen that it takes for a mark, as in `?-xm`. A minus
# stays.
_VIETNAMESE_HYPHEN = re.compile(r"-(?!\d)|(?<=\S)-")
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")
# espeak takes a letter A for the article, wherever it stands among other letters.
_LETTER_A = re.compile(r"(?<=\b[A-Za-z]\s)[Aa]\b(?!['’])|\b[Aa](?=\s[B-HJ-Zb-hj-z]\b(?!['’]))")
_TO_LATIN = str.maketrans(
    dict(zip("абвгдезийклмнопрстуфыэіїєґўёъь", "abvgdeziyklmnoprstufyeiiegue", strict=False))
    | {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ю": "yu", "я": "ya", "ъ": "", "ь": ""}
    | dict(zip("αβγδεζηικλμνξοπρστυφςω", "avgdeziiklmnxoprstifso", strict=True))
    | {"θ": "th", "χ": "ch", "ψ": "ps", "ё": "yo"}
)
_NOT_LATIN = re.compile(r"[^\W\d_A-Za-zªµºÀ-ɏɐ-ʯḀ-ỿⱠ-ⱿꜢ-ꟿ]")
_NEAREST = {
    "q": "k",
    "χ": "x",
    "β": "v",
    "ɸ": "f",
    "ç": "h",
    "ʝ": "j",
    "ɟ": "dʒ",
    "c": "tʃ",
    "ʎ": "l",
    "ʁ": "ɹ",
    "ʀ": "ɹ",
    "ɾ": "d",
    "ɫ": "l",
    "ɭ": "l",
    "ɬ": "l",
    "ʂ": "ʃ",
    "ɕ": "ʃ",
    "ʑ": "ʒ",
    "ʈ": "t",
    "ɖ": "d",
    "t": "t",
    "ħ": "h",
    "ʕ": "ʔ",
    "ɱ": "m",
    "ɳ": "n",
    "ɴ": "ŋ",
    "ɥ": "j",
    "ɰ": "w",
    "ʋ": "v",
    "g": "ɡ",
    "ɪ": "i",
    "i": "ɪ",
    "ʏ": "u",
    "ø": "ɜː",
    "œ": "ɜː",
    "ɶ": "æ",
    "ɘ": "ə",
    "ɵ": "ə",
    "ɤ": "ʌ",
    "ɯ": "u",
    "ɨ": "ᵻ",
    "ʉ": "uː",
    "ɑ": "ɑː",
    "ɐ": "ə",
    "a": "ɑː",
    "e": "ɛ",
    "o": "oʊ",
    "ɒ": "ɑː",
    "ɜ": "ɜː",
    "u": "uː",
    "y": "i",
    "ɔ": "ɔː",
    "ɛ": "e",
    "æ": "ɛ",
    "ʊ": "u",
    "ʌ": "ə",
    "ə": "ɐ",
    "j": "iː",
    "w": "uː",
    "x": "k",
    "ts": "s",
    "pf": "f",
    "r": "ɹ",
    "ʲ": "j",
    "ʰ": "h",
}
"""What stands in for a symbol that a vocabulary lacks; tried one after another."""


@functools.cache
def _espeak(language: str) -> Any:
    # Imported here: checkpoints with other tokenizers need no espeak.
    import espeakng_loader
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    wrapper = EspeakWrapper()
    wrapper.set_voice(language)
    return wrapper


def phonemes(text: str, language: str) -> list[str]:
    """espeak's IPA symbols with primary stress kept on the vowel, and a pause symbol for each heard punctuation.

    Vietnamese vowels carry their tone digit instead of stress. An empty list when nothing can be spoken."""
    language = "vi" if language.startswith("vi") else "en-us"
    text = _NOT_LATIN.sub(" ", _latin(clean(text)))
    symbols: list[str] = []
    for part in _PAUSE_AT.split(_TITLE.sub(r"\1", text)):
        pause = PAUSES.get(part.strip()[:1]) or ("," if part and not part.strip("- ") else None)
        if pause and not re.search(r"[^\W_]", part):
            if symbols and symbols[-1] not in ",.?!":
                symbols.append(pause)
            continue
        spoken = _UNSPOKEN.sub(" ", part).strip()
        spoken = _VIETNAMESE_HYPHEN.sub(" ", spoken).strip() if language == "vi" else _LETTER_A.sub("eigh", spoken)
        if spoken:
            symbols += _symbols(spoken, language)
    return symbols


def _symbols(spoken: str, language: str) -> list[str]:
    ipa = _LANGUAGE_SWITCH.sub("", _espeak(language).text_to_phonemes(spoken))
    symbols = [s.replace("ˌ", "").replace("ˈ", "" if language == "vi" else "ˈ") for s in re.split(r"[_\s]+", ipa)]
    return [symbol for symbol in symbols if symbol.strip("ˈ")]


def _latin(text: str) -> str:
    """Cyrillic and Greek in Latin letters; one Greek letter alone keeps its name."""
    if text.isascii() or not re.search("[\u0370-\u052f]", text):
        return text
    lower = unicodedata.normalize(
        "NFC", re.sub("(?<=[\u0370-\u03ff])[\u0301\u0308]+", "", unicodedata.normalize("NFD", text.lower()))
    )
    return re.sub("[\u0370-\u052f]+", lambda m: m.group().translate(_TO_LATIN), lower)


def unspoken(text: str) -> list[str]:
    """The words of `text` in letters that have no phonemes here, at most a part of each."""
    text = _latin(clean(text))
    return [word for word in re.findall(r"[^\W\d_]+", text) if _NOT_LATIN.search(word)]


def known(symbols: Iterable[str], vocabulary: Collection[str]) -> list[str]:
    """`symbols` in those of `vocabulary`: what is not among them becomes the nearest that is, never silence."""
    return [near for symbol in symbols for near in ([symbol] if symbol in vocabulary else _near(symbol, vocabulary))]


def _near(symbol: str, vocabulary: Collection[str]) -> list[str]:
    bare = symbol.replace("ˈ", "")
    for other in (bare, "ˈ" + bare, bare.rstrip("ː"), bare + "ː", "ˈ" + bare + "ː", bare.rstrip("0123456789ɜ")):
        if other and other in vocabulary:
            return [other]
    for size in range(len(bare) - 1, 0, -1):
        if bare[:size] in vocabulary and bare[:size] not in ",.?! ":
            rest = bare[size:].strip("ː0123456789̩̃ʲʰ")
            return [
                bare[:size],
                *(_near(rest, vocabulary) if rest and rest not in vocabulary else [rest] if rest else []),
            ]
    other = _NEAREST.get(bare[:1], "")
    if other and len(bare) > 1:
        return [
            other if other in vocabulary else next(iter(_near(other, vocabulary)), ""),
            *known([bare[1:]], vocabulary),
        ]
    if other and other in vocabulary:
        return [other]
    return ["ə"] if "ə" in vocabulary and bare[:1].isalpha() else []


def heard(text: str, language: str | None = None, normalize: bool = True) -> dict[str, Any]:
    """What is heard of a text: its language, words, phonemes and chunks."""
    passages = joined(read(text, language, normalize))
    return {
        "language": max(passages, key=lambda p: len(p.words)).language,
        "words": " ".join(p.words for p in passages),
        "phonemes": " ".join(s for p in passages for s in phonemes(p.words, p.language)),
        "chunks": [chunk for p in passages for chunk in chunks_of(p.words, SHOWN_CHUNK_BYTES)],
    }


def _answers(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.strip():
            asked = json.loads(line)
            answer = heard(asked["text"], asked.get("language"), asked.get("normalize", True))
            yield json.dumps(answer, ensure_ascii=False)


def main() -> None:
    options = argparse.ArgumentParser(description="Show what is heard of a text.")
    options.add_argument("text", nargs="?")
    options.add_argument("--language", help="en, vi, …; default: by its words")
    options.add_argument("--no-normalize", action="store_true", help="leave the text as it is written")
    options.add_argument("--json", action="store_true", help="read one JSON object a line, write one for each")
    chosen = options.parse_args()
    if chosen.json:
        sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        for answer in _answers(sys.stdin):
            print(answer, flush=True)
        return
    if chosen.text is None:
        options.error("a text, or --json")
    for name, value in heard(chosen.text, chosen.language, not chosen.no_normalize).items():
        print(f"{name}: {' | '.join(value) if isinstance(value, list) else value}")


if __name__ == "__main__":
    main()
