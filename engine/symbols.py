"""The alphabet of the reader `kokoro-vi`, and what its two libraries write, in it. Knows neither text nor models.

Kokoro's letters for English, espeak's for Vietnamese with the tone on its vowel; whatever else turns up becomes the
nearest known symbol, never silence."""

import re
import unicodedata

SILENCE, WORD_END = " ", "_"
"""Around speech, and between English words; Vietnamese syllables need none, each has its tone."""
PAUSES = ",.?!"
NOT_HEARD = frozenset([SILENCE, WORD_END, *PAUSES])
PAUSE_OF = {c: "," for c in ",;:–—…，、；："} | {c: c for c in ".?!"} | {"。": ".", "！": "!", "？": "?"}
"""Punctuation that is heard, and the pause symbol it becomes."""
STRESS = "ˈˌ"

CONSONANTS = "b d f h j k l m n p s t v w z ɡ ŋ ɹ ʃ ʒ ð θ ʤ ʧ T t̪ ɗ ɲ x ɣ c".split()
"""English and Vietnamese together; T is the American flap."""
_ENGLISH_VOWELS = "A I O W Y i u æ ɑ ɐ ɔ ə ɛ ɜ ɪ ʊ ʌ ᵊ ᵻ".split()
_NUCLEI = "a aː ə əː əɪ e e- i iə iɛ o u uə y yə ɔ ɛ".split()
_TONES = {"": "1", "1": "1", "7": "1", "2": "2", "ɜ": "3", "3": "3", "4": "4", "5": "5", "6": "6"}
"""Of sea-g2p and of espeak; the level tone goes unwritten in one and is 1 or 7 in the other."""
VOCABULARY = [
    SILENCE,
    WORD_END,
    *PAUSES,
    *CONSONANTS,
    *(stress + vowel for vowel in _ENGLISH_VOWELS for stress in ("", "ˈ", "ˌ")),
    *(nucleus + tone for nucleus in _NUCLEI for tone in "123456"),
]
"""In the order of the embedded model's vocab.txt."""
_KNOWN = frozenset(VOCABULARY)

_VIETNAMESE_SYLLABLE = re.compile(r"([^ˈˌ\d]*?)[ˈˌ]?(uə|uo|iɛ|iə|yə|əɪ|aː|əː|e-|[aəeiouyɔɛ])([ɜ1-7]?)([wjmnŋɲptkc̪]*)")
_ONSET = re.compile(r"tʃ|t̪|dʒ|.")
_CODA = re.compile(r"t̪|.")
# espeak's English letters inside Vietnamese, and what lexicons abroad hold, in Kokoro's alphabet
_ENGLISH_SPELLINGS = [
    pair.split(">")
    for pair in (
        "eɪ>A aɪɚ>Iəɹ aɪə>Iə aɪ>I əʊ>O oʊ>O aʊ>W ɔɪ>Y tʃ>ʧ dʒ>ʤ ɜː>ɜɹ ɚ>əɹ ɝ>ɜɹ oː>ɔ n̩>ᵊn l̩>ᵊl m̩>ᵊm əl>ᵊl ɑːɹ>ɑɹ"
    ).split()
]
_NEAREST = {
    pair[0]: pair[1]
    for pair in (
        "QO ɒɑ aæ eɛ oO yi ɨᵻ ɯu øɜ œɜ ɤʌ ɾT ʔt rɹ ɻɹ ʁɹ ɽT gɡ qk χx çh ɕʃ ʂʃ ʐʒ ʑʒ ʝj ɟʤ ʎj ɥw ʋv βv ɸf ɳn ɴŋ ɖd ʈt "
        "ɰw ʍw ɬl ɫl ɭl ʣz ʥʤ ʦs ʨʧ ꭧʧ Sʃ ɱm ħh ɦh ʕh ʙb ɓb ɠɡ ʄʤ ʉu ɘə ɵə ɞɜ ɶæ ʏɪ ɚə ɝɜ đɗ"
    ).split()
}
"""A letter that is no symbol, and the symbol nearest to it."""
_LOUD_VOWELS = frozenset(_ENGLISH_VOWELS)
_FALLBACK = "ə"
"""For a letter that no table knows: heard, short, and of no colour."""


def english_symbols(phonemes: str) -> list[str]:
    """A string of Kokoro's letters as symbols; pauses once, and never at the beginning."""
    out: list[str] = []
    for symbol, _ in placed(phonemes):
        _append(out, symbol)
    return _trimmed(out)


def vietnamese_symbols(phonemes: str) -> list[str]:
    """sea-g2p's words as symbols, those that are no syllable as English ones."""
    out: list[str] = []
    previous_english = False
    for word in phonemes.split():
        spoken = word.rstrip("".join(PAUSE_OF) + "\"'()“”")
        syllable = _syllable(spoken)
        is_english = bool(spoken) and syllable is None
        if is_english and previous_english:
            _append(out, WORD_END)
        for symbol in english_symbols(_kokoro_letters(spoken)) if is_english else syllable or []:
            _append(out, symbol)
        for c in word[len(spoken) :]:
            if c in PAUSE_OF:
                _append(out, PAUSE_OF[c])
        previous_english = is_english and spoken == word
    return _trimmed(out)


def _syllable(word: str) -> list[str] | None:
    """A Vietnamese syllable's onset, nucleus with tone, and coda; None for what is not one."""
    match = _VIETNAMESE_SYLLABLE.fullmatch(word)
    if match is None:
        return None
    onset, nucleus, tone, coda = match.groups()
    letters = [{"tʃ": "ʧ", "dʒ": "ʤ"}.get(letter, letter) for letter in _ONSET.findall(onset)]
    named = [*letters, {"uo": "uə"}.get(nucleus, nucleus) + _TONES[tone], *_CODA.findall(coda)]
    return named if all(symbol in _KNOWN for symbol in named) else None


def placed(phonemes: str) -> list[tuple[str, list[int]]]:
    """(symbol, places in `phonemes` that it covers), for a teacher's durations.

    Every place is covered: a mark by its vowel, what is not heard (quotes, length) by what stands before it."""
    out: list[tuple[str, list[int]]] = []
    held: list[int] = []  # places that wait for the next symbol
    stress = ""
    for at, c in enumerate(phonemes):
        if c in STRESS:
            held.append(at)
            stress = c
        elif c.isspace() or c in PAUSE_OF:
            name = WORD_END if c.isspace() else PAUSE_OF[c]
            if out and out[-1][0] in (*PAUSES, WORD_END):  # a pause ends the word already, and one pause is enough
                before, places = out[-1]
                out[-1] = (before if name == WORD_END or before in ".?!" else name, [*places, *held, at])
            else:
                out.append((name, [*held, at]))
            held, stress = [], ""
        elif (letter := _letter(c)) is not None:
            out.append((stress + letter if letter in _LOUD_VOWELS else letter, [*held, at]))
            held = []
            stress = "" if letter in _LOUD_VOWELS else stress
        elif out:
            out[-1][1].extend([*held, at])
            held = []
        else:
            held.append(at)
    if held and out:
        out[-1][1].extend(held)
    return out


def _letter(c: str) -> str | None:
    """The symbol of one letter; None for what is not heard by itself."""
    if c in _KNOWN:
        return c
    if c in _NEAREST:
        return _NEAREST[c]
    if not c.isalpha() or unicodedata.category(c) == "Lm":  # modifier letters: aspiration, length
        return None
    plain = unicodedata.normalize("NFD", c)[0].lower()
    return plain if plain in _KNOWN else _NEAREST.get(plain, _FALLBACK)


def _kokoro_letters(ipa: str) -> str:
    for spelling, letters in _ENGLISH_SPELLINGS:
        ipa = ipa.replace(spelling, letters)
    return ipa


def _append(out: list[str], symbol: str) -> None:
    if symbol in PAUSES and out and out[-1] in (*PAUSES, WORD_END):
        out[-1] = symbol if out[-1] in (",", WORD_END) else out[-1]
    elif symbol != WORD_END or (out and out[-1] not in (*PAUSES, WORD_END)):
        out.append(symbol)


def _trimmed(symbols: list[str]) -> list[str]:
    start = next((i for i, s in enumerate(symbols) if s not in (*PAUSES, WORD_END)), len(symbols))
    end = len(symbols) - (symbols[-1:] == [WORD_END])
    return symbols[start:end]
