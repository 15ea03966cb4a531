"""Text read into phonemes, the tokens of the embedded model. Knows nothing of audio, models or HTTP; loads no torch.

Try: python -m engine.phonemes "Numbers like 42 are spoken."
Or:  python -m engine.phonemes --json < lines of {"text", "language"?, "normalize"?}
"""

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from engine import readers
from engine.symbols import PAUSE_OF, PAUSES, english_symbols, vietnamese_symbols
from speech.reading.passages import joined, read
from speech.text import chunks_of, clean

SHOWN_CHUNK_BYTES = 300
"""The command's own limit of a chunk; a server's follows from its checkpoint and voice."""

_PAUSE_AT = re.compile(
    r"([,;:.?!…]+(?=\s|$|[\"'”’)\]}])|[–—。，、！？；]+|\s-+\s"
    r"|(?:(?<=[\s\"'“‘(\[{])|^)[,;:.?!…]+(?=[^\W\d_])|(?<=[^\W_])[;?!…]+(?=[^\W_]))"
)
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.(?=\s)")
_UNSPOKEN = re.compile(r"[\"“”„«»‹›()\[\]{}<>|*_~^`#\\¡¿]+")
_APART = re.compile(r"\s+(?=['’](?:s|re|ll|ve|d|m)\b)")
_TO_LATIN = str.maketrans(
    dict(zip("абвгдезийклмнопрстуфыэіїєґўёъь", "abvgdeziyklmnoprstufyeiiegue", strict=False))
    | {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ю": "yu", "я": "ya", "ъ": "", "ь": ""}
    | dict(zip("αβγδεζηικλμνξοπρστυφςω", "avgdeziiklmnxoprstifso", strict=True))
    | {"θ": "th", "χ": "ch", "ψ": "ps", "ё": "yo"}
)
_NOT_LATIN = re.compile(r"[^\W\d_A-Za-zªµºÀ-ɏɐ-ʯḀ-ỿⱠ-ⱿꜢ-ꟿ]")


def phonemes(text: str, language: str) -> list[str]:
    """Symbols of engine.symbols.VOCABULARY, without the silence around; stops as they are heard.

    `language`: Vietnamese, or English whatever else it says. An empty list when nothing can be spoken."""
    text = _NOT_LATIN.sub(" ", _latin(clean(text)))
    # With a blank before it: the dot of "vitamin C." would be taken for an initial's.
    text = _PAUSE_AT.sub(lambda m: f" {PAUSE_OF.get(m[0].strip()[0], ',')} ", _TITLE.sub(r"\1", text))
    text = _APART.sub("", _UNSPOKEN.sub(" ", text).lstrip(" " + PAUSES))
    if language.startswith("vi"):
        return vietnamese_symbols(readers.vietnamese(text))
    return english_symbols(readers.english(text))


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
