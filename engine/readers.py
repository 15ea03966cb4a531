"""Words become phonemes: English by hibari's G2P (misaki's lexicon and rules), Vietnamese by sea-g2p, which reads
English among it as English. Knows nothing of alphabets, audio or models; loads no torch.

Each is loaded with the first text that needs it, or by `load`, in a thread: the lexicons take 0.3 s and 130 MB."""

import functools
import importlib.util
import re
import sys
import threading
import unicodedata
from pathlib import Path
from typing import Any

PACKAGES = {"hibari": "hibari-tts", "sea_g2p": "sea-g2p"}
_loading = threading.RLock()
"""Who asks for a reader that is being loaded waits for it, and does not load another."""
_FIGURES = re.compile(r"[^\w\s,.?!'-]|\d")
"""What is not words yet: text that was to be left as it is written."""
_LONG_NUMBER = re.compile(r"\d[\d,.]{12,}")
"""Read digit by digit: hibari has no name for 10^36 and fails at it."""
_LONG_WORD = re.compile(r"\w{24}(?=\w)")
"""sea-g2p looks for words in a word, which takes the square of its letters: 700 held it for a second."""
_VIETNAMESE_LETTERS = frozenset(
    (marked := "àáạảãâầấậẩẫăằắặẳẵèéẹẻẽêềếệểễìíịỉĩòóọỏõôồốộổỗơờớợởỡùúụủũưừứựửữỳýỵỷỹđ") + marked.upper()
)
_LETTER_NAME = re.compile(r"LATIN (?:SMALL |CAPITAL )?(?:LETTER|LIGATURE) (?:SMALL CAPITAL |SMALL |CAPITAL )?(\w+)")
# It takes a letter A for the article, wherever it stands among other letters.
_LETTER_A = re.compile(r"(?<=\b[A-Za-z]\s)[Aa]\b(?!['’])|\b[Aa](?=\s[B-HJ-Zb-hj-z]\b(?!['’]))")
_LONE_LETTER = re.compile(r"(?<![\w'])[A-Za-z](?![\w'])")


def lacking() -> list[str]:
    """Packages of theirs that are not installed."""
    return [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]


def load() -> None:
    """Both, now."""
    _english()
    _vietnamese()


def english(text: str) -> str:
    """Latin text and figures → Kokoro's letters, with its stops among them. No word is left out."""
    reader = _english()
    text = _folded(text, reader.oov.letters)
    if _FIGURES.search(text):
        text = reader.normalized(_LONG_NUMBER.sub(lambda m: " ".join(re.findall(r"\d", m[0])), text))
    return str(reader.read(_LETTER_A.sub("[A](/ˈA/)", text)))


def vietnamese(text: str) -> str:
    """Latin text and figures → espeak's symbols, English words' too, with its stops among them."""
    normalizer, reader = _vietnamese()
    text = _LONG_WORD.sub(r"\g<0> ", _folded(text, _VIETNAMESE_LETTERS))
    if _FIGURES.search(text) or _LONE_LETTER.search(text):
        text = normalizer.normalize(text)
    return str(reader.convert(text))


def _folded(text: str, known: frozenset[str]) -> str:
    """In ASCII and `known` letters: others by what they are written with, signs of other alphabets left out."""
    if text.isascii():
        return text
    return re.sub(r"[^\x00-\x7f]", lambda m: m[0] if m[0] in known else _plain(m[0]), text)


@functools.lru_cache(1000)
def _plain(c: str) -> str:
    """In ASCII: ễ is e, ß is ss, ① is 1, ʒ is ezh."""
    if c in "’ʼ＇":
        return "'"
    for form in (c, c.casefold()):
        if plain := "".join(p for p in unicodedata.normalize("NFKD", form) if p.isascii() and p.isalnum()):
            return plain
    number = unicodedata.numeric(c, -1.0)
    if number >= 0 and number.is_integer():
        return str(int(number))
    named = _LETTER_NAME.match(unicodedata.name(c, ""))
    if named:
        return named[1].lower()
    return "e" if c.isalpha() else " "


def _sound(phonemes: str) -> bool:
    return any(c.isalpha() and c not in "ˈˌː" for c in phonemes)


class _Unknown:
    """hibari's net for words that no lexicon has; longer ones than it reads are read in parts."""

    def __init__(self, net: Any, lexicon: Any):
        self._net, self._lexicon = net, lexicon
        self.letters = frozenset(c for c in net.cin if not c.isascii())

    def __call__(self, word: str) -> str:
        size = self._net.maxlen
        parts = (word[start : start + size] for start in range(0, len(word), size))
        return "".join(self._read(part) for part in parts)

    def _read(self, part: str) -> str:
        phonemes = self._net(part) or ""
        if _sound(phonemes):
            return str(phonemes)
        letters = "".join(c for c in map(_plain, part) if c.isalpha())
        return str(self._lexicon.get_NNP(letters)[0]) if letters else "ə"


class _English:
    def __init__(self) -> None:
        g2p = _hibari()
        self._g2p = g2p.G2P()
        net = importlib.import_module(f"{g2p.__name__}.oov").OOV()
        self.oov = _Unknown(net, self._g2p.lexicon)
        self._g2p._oov = self.oov
        self.normalized = g2p.normalize

    def read(self, text: str) -> str:
        tokens = self._g2p.phonemize_tokens(self._g2p.tokenize(text))
        return "".join(self._heard(token) + (" " if token.whitespace else "") for token in tokens).strip()

    def _heard(self, token: Any) -> str:
        """A mark's tag or a currency's may be given to what is a word or a figure: it is read all the same."""
        phonemes = token.phonemes or ""
        silent = not _sound(phonemes) and any(c.isalnum() for c in token.text)
        return str(self._g2p.fallback(token)[0] or "") if silent else str(phonemes)


def _hibari() -> Any:
    """Its package's own front would import scipy for its voices: half a second and 20 MB."""
    name = "hibari_g2p"
    if name not in sys.modules:
        package = importlib.util.find_spec("hibari")
        assert package is not None and package.submodule_search_locations
        folder = Path(package.submodule_search_locations[0]) / "g2p"
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def _english() -> _English:
    with _loading:
        return _load_english()


def _vietnamese() -> tuple[Any, Any]:
    with _loading:
        return _load_vietnamese()


@functools.cache
def _load_english() -> _English:
    return _English()


@functools.cache
def _load_vietnamese() -> tuple[Any, Any]:
    """What writes figures as words, and what reads words."""
    from sea_g2p import G2P, Normalizer

    return Normalizer("vi"), G2P("vi")
