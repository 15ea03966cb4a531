"""English abbreviations, initials, Roman numerals and capitals as words: rules for english.py."""

import re

from speech.reading import english_words as words
from speech.reading.english_numbers import cardinal, ordinal
from speech.reading.rules import Match, Rule, alternatives

_ROMAN = r"(M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def spell(letters: str) -> str:
    return " ".join(letters)


def roman(text: str) -> int:
    """The value of a Roman numeral."""
    values = [_VALUES[c] for c in text]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def _roman_name(m: Match) -> str:
    name, numeral = m.group(1), m.group(2)
    if not numeral:
        return m.group()
    if name in ("of", "and", "to", "or") and len(numeral) > 1 and not set(numeral) - set("IVX"):
        return f"{name} {cardinal(roman(numeral))}"
    after = m.string[m.end() :]
    if name.lower() in words.ROMAN_AFTER:
        return f"{name} {cardinal(roman(numeral))}"
    crowned = re.search(rf"\b(?:{words.CROWNED})\s$", m.string[: m.start()]) and len(numeral) > 1
    if (name in words.REGNAL or crowned) and numeral[0] in "IVX":
        if numeral == "I" and not re.match(r"\s+(?:of|was|is|had|ruled|reigned|died|became)\b|[,.;:’']", after):
            return m.group()
        return f"{name} the {ordinal(roman(numeral))}"
    if len(numeral) > 1 and not set(numeral) - set("IVX") and name[0].isupper():
        return f"{name} {cardinal(roman(numeral))}"
    return m.group()


def _roman_century(m: Match) -> str:
    return ordinal(roman(m.group(1))) + m.group(2) if m.group(1) else m.group()


def _ends(m: Match, always: bool = True) -> str:
    """The full stop that an abbreviation's dot also is: before a new sentence or at the text's end."""
    if not m.group().endswith("."):
        return ""
    rest = m.string[m.end() :]
    if not rest.strip(" \"'”’)]"):
        return "."
    after = re.match(r"[\"'”’)\]]*\s+[\"'“‘(\[]*([A-Z][\w’']*)", rest)
    return "." if after and (always or after.group(1) in words.STARTERS) else ""


def _abbreviation(m: Match) -> str:
    name = m.group()
    if name in words.BEFORE_MORE and m.string[m.end() :].strip():
        return words.ABBREVIATIONS[name]
    return words.ABBREVIATIONS[name] + _ends(m, always=name[0].islower())


def _initials(m: Match) -> str:
    letters = spell(m.group().replace(".", "").replace(" ", "").replace("&", ""))
    return letters + _ends(m, always=False)


def _title(m: Match) -> str:
    return words.TITLES[m.group(1)]


def _street(m: Match) -> str:
    return words.STREETS[m.group(2)] if not m.group(1) else f"{m.group(1)}{words.STREETS[m.group(2)]}{_ends(m, False)}"


def _wordlike(word: str) -> bool:
    """Could be said as a word: vowels, and no heap of consonants."""
    lower = word.lower()
    return bool(re.search("[aeiouy]", lower)) and not re.search(
        r"[bcdfghjklmnpqrstvwxz]{4}|^[bcdfghjklmnpqrstvwxz]{3}(?<!sch)(?<!str)(?<!scr)(?<!spr)(?<!thr)(?<!spl)(?<!shr)"
        r"(?<!chr)(?<!phr)",
        lower,
    )


def _capital_word(word: str, shouted: bool) -> str:
    """A word of capitals alone: said as a word or letter by letter."""
    lower = word.lower()
    if word in words.WORD_ACRONYMS:
        return word.capitalize()
    if word in words.SPELLED_ACRONYMS and not (shouted and lower in words.SHORT_WORDS):
        return spell(word)
    if word in ("US", "WHO", "IT") and not shouted:
        return spell(word)
    if lower in words.SHORT_WORDS or (_wordlike(word) and (shouted or len(word) > 4)):
        return lower
    return spell(word) if len(word) < 7 or not _wordlike(word) else lower


def capitals(text: str) -> str:
    found = re.findall(r"[^\W\d_]{2,}", text)
    loud = [w for w in found if w.isupper()]
    shouted = len(loud) == len(found) and (
        len(found) > 1 and any(w.lower() in words.SHORT_WORDS or len(w) > 4 for w in found)
    )

    def said(m: Match) -> str:
        stem, tail = m.group(1), m.group(2) or ""
        if shouted and tail.upper() in (
            "'S",
            "’S",
            "'T",
            "’T",
            "'RE",
            "’RE",
            "'LL",
            "’LL",
            "'M",
            "’M",
            "'VE",
            "’VE",
            "'D",
            "’D",
        ):
            return stem.lower() + tail.lower()
        return _capital_word(stem, shouted) + tail

    text = re.sub(r"(?<![^\W\d_])([A-Z]{2,})(['’][A-Za-z]+|s(?![a-z]))?(?![^\W\d_])", said, text)
    return re.sub(r"\bI\b(?!['’])", "I", text)


def _stretched(m: Match) -> str:
    """`sooo` as `so`, `Hmmm` as `Hmm`, `coool` as `cool`."""
    word = m.group()
    if word.lower().startswith("www") or not set(word) - set("IVX") or not re.search(r"([a-zA-Z])\1\1", word):
        return word
    twice, once = (re.sub(r"([a-zA-Z])\1{2,}", by, word, flags=re.IGNORECASE) for by in (r"\1\1", r"\1"))
    if word.lower().strip("hm") == "":
        return word[:1] + "mm"
    return (
        twice
        if twice.lower() in words.SHORT_WORDS or twice.lower() in ("hello", "really", "sleep", "sweet", "please")
        else once
    )


ABBREVIATIONS: list[Rule] = [
    Rule(r"(?<![\w.])[A-Z]\.(?=\s+(?:[A-Z]\.\s+)*[A-Z][a-z])", lambda m: m.group()[:1]),
    Rule(
        rf"\b((?:[A-Z\d]\w*(?:['’]s)?|\w+(?:th|rst|ond|rd))\s)({alternatives(words.STREETS)})\b\.?(?!\s+[A-Z](?!\w*\.?$)(?!(?:nd|he|t|n|s)\b)\w*)(?![\w'’])",
        _street,
    ),
    Rule(rf"(?<![\w.'’-])({alternatives(words.TITLES)})\b\.?(?=\s+[A-Z])(?![\w'’])", _title),
    Rule(r"(?<![\w.'’-])(Mr|Mrs|Ms|Dr|Prof)\b\.?(?=\s+[\w&])(?![\w'’])", _title),
    Rule(rf"(?<![\w.])(?:{alternatives(words.ABBREVIATIONS)})(?<=[./A-Za-z])(?![\w'’])", _abbreviation),
    Rule(
        r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)|(?<![\w.&])[A-Z]{1,3}(?:&[A-Z]{1,3})+(?!\w)",
        lambda m: _initials(m) if "&" not in m.group() else " and ".join(spell(part) for part in m.group().split("&")),
    ),
    Rule(r"\b((?:X{1,2}(?:IX|IV|V?I{0,3})|IX|IV|V?I{2,3}|VI))(\s[Cc]entur)", _roman_century),
    Rule(r"\bWW(II?)\b", lambda m: f"World War {cardinal(roman(m.group(1)))}"),
    Rule(r"\b([Aa]n|[Tt]he) IV(?=\s[a-z])", r"\1 I V"),
    Rule(rf"\b([A-Z]?[a-z]+)\s{_ROMAN}\b(?![.'’]\w|-\w)(?<![a-z]\s)", _roman_name),
]
STRETCHED: list[Rule] = [
    Rule(r"\b[A-Za-z]*([A-Za-z])\1\1[A-Za-z]*\b", _stretched, re.IGNORECASE),
]
