"""Text as it is written becomes text as it is said: markup off, numbers, signs and abbreviations in words.

Knows nothing of audio, models or HTTP. A language's rules are loaded with the first text that needs them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from speech.reading import markup
from speech.reading.language import language_of
from speech.text import chunks_of, clean, utf8_bytes

_SENTENCE_END = re.compile(
    r"[.!?…]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\d_a-z])|(?:。|(?<=[\u3400-\u9fff])[!?])[。!?]*[\"'”’)\]」』]*\s*(?=\S)"
)
_NOT_AN_END = re.compile(
    r"(?:^|[\s(\"'“‘])(?:[^\W\d_]|[^\W\d_]{1,2}\.\S*|[A-ZĐ][a-z]{0,4}|[A-Za-z]*\.[A-Za-z.]*|etc|approx|dept|est|max|min|vs|vv|tel|ext"
    r"|apt|misc|fig|vol|ch|pp|no|nos|al|[A-ZĐ]{1,3})\.[\"'”’)\]]*\s+$"
)
MAX_SENTENCE = 1000
"""Characters that are read into words at once, some 5 ms."""
_ABBREVIATION = 80
"""So many characters before a mark say whether it ends a sentence."""
SAMPLE = 4000
"""Characters that a text's language is told from."""


_PLAIN_ENGLISH = re.compile(r"[A-Z]?[a-z]*(?:(?:[,;]? |['’])[a-z]+)*[.!?]?")
_NOT_PLAIN = re.compile(r"([a-z])\1\1| vs\b| aka\b")


@dataclass(frozen=True, slots=True)
class Passage:
    """Words of one language, after so many seconds of silence."""

    words: str
    language: str
    pause: float = 0.0
    written: str = field(default="", compare=False)
    """The sentence that was read, its markup off; "" where the words stand as they were written."""


def main_language(text: str, normalize: bool, otherwise: str, chinese: bool = False) -> str:
    """Told by its beginning."""
    return _language_of_parts(markup.segments(text) if normalize else [(0.0, text)], otherwise, chinese)


def _language_of_parts(parts: Iterable[tuple[float, str]], otherwise: str, chinese: bool) -> str:
    return language_of(" ".join(part for _, part in parts)[:SAMPLE], otherwise, chinese)


def read(
    text: str,
    language: str | None = None,
    normalize: bool = True,
    otherwise: str = "en-us",
    main: str | None = None,
    chinese: bool = False,
) -> Iterator[Passage]:
    """A text in words, about a sentence at a time; `joined` makes few long passages of them. At least one.

    `language`: of the whole text; None: each sentence's own, by its words, and `otherwise` where they do not say.
    `main`: of a longer text that this is a part of; None: this is the whole.
    `chinese`: who speaks it can say what Chinese reading gives; else its letters stay as they are."""
    parts = markup.segments(text) if normalize else [(0.0, text)]
    main = language or main or _language_of_parts(parts, otherwise, chinese)
    if not normalize:
        yield Passage(clean(text), main)
        return
    for pause, part in parts:
        for sentence in _sentences(clean(part)):
            own = language or language_of(sentence, main, chinese)
            for some in _at_once(sentence, own, chinese):
                yield Passage(words(some, own, chinese), own, pause, some)
                pause = 0.0


def joined(passages: Iterable[Passage]) -> list[Passage]:
    """Neighbours of one language without a pause between them made one."""
    found: list[tuple[Passage, list[str]]] = []
    for passage in passages:
        last, texts = found[-1] if found else (None, [])
        if last and not passage.pause and (passage.language == last.language or not passage.words):
            texts.append(passage.words)
        elif last and not any(texts):
            found[-1] = replace(passage, pause=last.pause + passage.pause), [passage.words]
        else:
            found.append((passage, [passage.words]))
    return [
        replace(passage, words=("" if passage.language == "zh" else " ").join(filter(None, texts)), written="")
        for passage, texts in found
    ]


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one chunk, its language, and the seconds of silence before it."""

    text: str
    language: str
    pause: float = 0.0


def pieces(passages: Iterable[Passage], limit: int) -> Iterator[Piece]:
    """Passages in chunks of at most `limit` bytes, cut when they are asked for. At least one; the last may be empty,
    after the silence that ends the text."""
    before = None
    for passage in passages:
        pause = passage.pause
        for text in chunks_of(passage.words, limit, before) if passage.words else [""]:
            yield Piece(text, passage.language, pause)
            before, pause = utf8_bytes(text), 0.0


def _at_once(sentence: str, language: str, chinese: bool) -> Iterable[str]:
    """What is read at once of a sentence: all of it, or of Chinese a part, since its grammars take the square of it."""
    if not (chinese and language.startswith("zh")):
        return [sentence]
    from speech.reading import chinese as rules

    return rules.parts(sentence)


def words(sentence: str, language: str, chinese: bool = False) -> str:
    """One sentence as it is said. Languages without rules are only cleaned."""
    if language.startswith("en"):
        if _PLAIN_ENGLISH.fullmatch(sentence) and not _NOT_PLAIN.search(sentence):
            return sentence
        from speech.reading import english

        return unglued(english.read(sentence, british=language == "en-gb"))
    if language.startswith("vi"):
        from speech.reading import vietnamese

        return unglued(vietnamese.read(sentence))
    if chinese and language.startswith("zh"):
        from speech.reading import chinese as rules

        return unglued(rules.read(sentence))
    return sentence


_GLUED = re.compile(r"(?<=[^\W_])([!?;:…]+|,|\.{2,})(?=[^\W\d_])|(?<=[a-zà-ỹ])(\.)(?=[A-ZĐ][a-zà-ỹ])")
_LEADING = re.compile(r"(?:(?<=\s)|^)((?:[.!?…,;:]+))(?=[^\W_])")


def unglued(text: str) -> str:
    """A blank after marks that touch the next word: `Stop!Go`, `...and`."""
    return _LEADING.sub(r"\1 ", _GLUED.sub(r"\1\2 ", text))


def _sentences(text: str) -> Iterator[str]:
    """Cut only where a sentence surely ends: what is doubtful stays together and is settled by the language's rules.

    None is longer than MAX_SENTENCE: rules take their time over one, and the event loop waits for it."""
    start = 0
    for end in sentence_ends(text):
        yield from _short(text[start:end].strip())
        start = end
    yield from _short(text[start:].strip())


def sentence_ends(text: str) -> Iterator[int]:
    """Where the next sentence begins, for those that surely end: what follows the last one may yet decide on it."""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if not _NOT_AN_END.search(_last_words(text[max(start, end.end() - _ABBREVIATION) : end.end()])):
            start = end.end()
            yield start


def _last_words(text: str) -> str:
    """Without the word that the beginning of a slice may have cut."""
    return text[text.find(" ") :] if len(text) == _ABBREVIATION and " " in text[:-1] else text


def _short(sentence: str) -> Iterator[str]:
    """At blanks where there are some."""
    while len(sentence) > MAX_SENTENCE:
        at = sentence.rfind(" ", MAX_SENTENCE // 2, MAX_SENTENCE) + 1 or MAX_SENTENCE
        yield sentence[:at].strip()
        sentence = sentence[at:].strip()
    yield sentence
