"""English as it is written, in the words that are said. One function, `read`; its rules are tried in the order they stand.

Only what has digits, signs, capitals or dots is touched: plain words come out as they went in."""

import functools
import re
from collections.abc import Callable

from speech.reading import english_words as words
from speech.reading import links
from speech.reading.english_numbers import cardinal, digits, number, ordinal, pair, plural, year
from speech.reading.english_times import DATES, TIMES

Match = re.Match[str]
_NUM = r"(?:\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_START = r"(?<![\w.,])"
_MARKS = {
    ".": "dot", "/": "slash", "\\": "backslash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "@": "at", "~": "tilde", "+": "plus", "%": "percent", "*": "star",
}  # fmt: skip
_VOWELLESS = re.compile(r"^[bcdfghjklmnpqrstvwxz]{1,4}$|^(?:uk|us|eu|io|ai|au|ie|py|avi|exe|html?|https?)$", re.IGNORECASE)
_SCALE = r"(?:\s?(hundred|thousand|million|billion|trillion|bn|mn|mil|tn|[kKmMbBtT])\b(?!['’]))?"


def _alternatives(names: object) -> str:
    return "|".join(re.escape(str(n)) for n in sorted(names, key=lambda n: -len(str(n))))  # type: ignore[call-overload]


def _spell(letters: str) -> str:
    return " ".join(letters)


def _link_word(word: str) -> str:
    return _spell(word.lower()) if _VOWELLESS.match(word) else word


def _link_digits(text: str) -> str:
    return digits(text) if text[0] == "0" or len(text) > 4 else year(text) if text[:2] in ("19", "20") and len(
        text) == 4 else digits(text) if len(text) == 4 else cardinal(text)


def _link(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, _link_digits)


def _ip(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, digits)


# --- money, units -------------------------------------------------------------------------------------------------
def _is_one(text: str) -> bool:
    return text in ("1", "-1", "1.0")


def _counted(amount: str, name: str, singular: bool = False) -> str:
    """`2`, `foot` as `two feet`."""
    if singular or _is_one(amount) or name.split()[-1] in words.UNCHANGED_PLURALS:
        return f"{number(amount)} {name}"
    if name.endswith("foot"):
        return f"{number(amount)} {name[:-4]}feet"
    head, of, rest = name.partition(" per ")
    return f"{number(amount)} {plural(head)}{of}{rest}"


def _adjective(m: Match) -> bool:
    """`a $5 ticket`: what is counted stands before its noun, in the singular."""
    before = re.search(r"\b(?:an?|A|An)\s$", m.string[: m.start()])
    after = re.match(r"[\s-](?!of\b|in\b|per\b|and\b|or\b|to\b|a\b|for\b|on\b|at\b|from\b|each\b|is\b)[a-z]",
                     m.string[m.end() :])
    return bool(before and after)


def _money_words(sign: str, amount: str, scale: str | None, name: tuple[str, str], singular: bool) -> str:
    minus = "minus " if sign in ("-", "−") else ""
    whole, part = name
    if scale:
        return f"{minus}{number(amount)} {words.SCALES[scale]} {whole if singular else _many(whole)}"
    units, _, cents = amount.replace(",", "").partition(".")
    if not part or len(cents) != 2 or cents == "00":
        amount = amount.removesuffix(".00")
        return minus + _counted(amount, whole, singular)
    value, one = int(cents), {"pence": "penny"}.get(part, part)
    small = f"{cardinal(value)} {one if value == 1 else part if part in words.UNCHANGED_PLURALS else plural(part)}"
    return minus + (f"{_counted(units, whole, singular)} and {small}" if int(units or 0) else small)


def _many(name: str) -> str:
    return name if name.split()[-1] in words.UNCHANGED_PLURALS else plural(name)


def _money(m: Match) -> str:
    sign, symbol, low, scale_low, high, scale, per = m.groups()
    name = words.MONEY.get(symbol) or words.CURRENCY_CODES[symbol]
    tail = f" per {words.PER.get(per, per)}" if per else ""
    if high:
        return f"{number(low)}{' ' + words.SCALES[scale_low] if scale_low else ''} to " + _money_words(
            "", high, scale, name, False) + tail
    return _money_words(sign, low, scale_low, name, _adjective(m)) + tail


def _money_after(m: Match) -> str:
    amount, scale, symbol = m.groups()
    return _money_words("", amount, scale, words.MONEY.get(symbol) or words.CURRENCY_CODES[symbol], False)


def _unit_name(unit: str) -> str:
    return words.UNITS[unit]


def _unit(m: Match) -> str:
    low, high, unit, over = m.group("low"), m.group("high"), m.group("unit"), m.group("over")
    name = words.RATES.get(unit) or words.UNITS[unit]
    if unit not in words.RATES and over:
        name += f" per {words.UNITS.get(over) or words.PER.get(over, over)}"
    elif unit in words.RATES:  # these are plural already
        one = re.sub(r"s (per|in)|(?<=mile|part|inch|beat)s\b", r" \1", name)
        name = name if not _is_one(high or low) else one
        return f"{number(low)} to {number(high)} {name}" if high else f"{number(low)} {name}"
    prefix = f"{number(low)} to " if high else ""
    return prefix + _counted(high or low, name, _adjective(m))


def _degrees(m: Match) -> str:
    low, high, scale = m.groups()
    name = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin"}.get((scale or "").upper(), "")
    return (f"{number(low)} to " if high else "") + _counted(high or low, "degree", _adjective(m)) + name


def _feet(m: Match) -> str:
    feet, inches = m.groups()
    return f"{cardinal(feet)} foot {number(inches)}" if inches else _counted(feet, "foot")


def _inches(m: Match) -> str:
    return _counted(m.group(1), "inch") if m.string[: m.start()].count('"') % 2 == 0 else m.group()


def _percent(m: Match) -> str:
    low, high = m.groups()
    return (f"{number(low)} to " if high else "") + f"{number(high or low)} percent"


# --- numbers ------------------------------------------------------------------------------------------------------
def _fraction_words(above: str, below: str) -> str:
    over, under = int(above), int(below)
    if over == under == 50:
        return "fifty fifty"
    if not 1 < under <= 100 or over >= under or (under > 20 and under % 10):
        return f"{cardinal(above)} {'out of' if over == under or under == 10 else 'over'} {cardinal(below)}"
    name = words.FRACTIONS.get(under) or ordinal(under)
    return f"{cardinal(over)} {name if over == 1 else 'halves' if under == 2 else name + 's'}"


def _mixed_fraction(m: Match) -> str:
    whole, above, below = m.groups()
    part = _fraction_words(above, below)
    return f"{cardinal(whole)} and {part.replace('one half', 'a half')}" if whole else part


def _out_of(m: Match) -> str:
    return f"{cardinal(m.group(1))} out of {cardinal(m.group(2))}"


def _version(m: Match) -> str:
    label, numbers = m.group(1), m.group(2).split(".")
    label = "" if re.search(r"version\s$", m.string[: m.start()], re.IGNORECASE) else "version " if label else ""
    return label + " point ".join(cardinal(n) for n in numbers)


def _phone(m: Match) -> str:
    groups = re.findall(r"\d+", m.group())
    plus = "plus " if m.group().lstrip("(").startswith("+") else ""
    said = [cardinal(g) if g in ("800", "900") else digits(g, "oh") for g in groups]
    return plus + ", ".join(said)


def _range(m: Match) -> str:
    low, high = m.groups()
    if _is_year(low) and _is_year(high):
        return f"{year(low)} to {year(high)}"
    if _is_year(low) and len(high) == 2:
        return f"{year(low)} to {cardinal(high)}"
    return f"{number(low)} to {number(high)}"


def _is_year(text: str) -> bool:
    return len(text) == 4 and "1000" <= text <= "2099"


def _year(m: Match) -> str:
    """A bare number of four digits: a year where a year stands, else a number."""
    before = re.search(r"([A-Za-z]+)[,.]?\s+$|([(\[])$", m.string[: m.start()])
    word = (before.group(1) or "").lower() if before else ""
    after = re.match(r"\s+([a-z]+)", m.string[m.end() :])
    counts = after is not None and after.group(1).endswith("s") and after.group(1) not in ("was", "is", "has", "does")
    if counts or (after and after.group(1) in ("people", "men", "women", "children", "million", "more", "times")):
        return cardinal(m.group())
    if word in words.YEAR_BEFORE or word[:3] in words.MONTH_OF or (before and before.group(2)):
        return year(m.group())
    said = m.group()[:1] in "12" and m.group()[:2] in ("17", "18", "19", "20") and m.group()[-2:] != "00"
    return year(m.group()) if said or (not m.string[: m.start()].strip() and after) else cardinal(m.group())


def _decade(m: Match) -> str:
    text = next(g for g in m.groups() if g)
    return plural(cardinal(text) if len(text) == 2 else year(text))


def _short_year(m: Match) -> str:
    return cardinal(m.group(1)) if m.group(1)[0] != "0" else digits(m.group(1), "oh")


def _spelled_number(m: Match) -> str:
    if m.group(1).lower() not in words.SPELLED_NUMBER:
        return m.group()
    return f"{m.group(1)} {pair(m.group(2))}"


def _power(m: Match) -> str:
    base, exponent = m.groups()
    return f"{base} " + {"2": "squared", "3": "cubed"}.get(exponent, f"to the power of {number(exponent)}")


def _arithmetic(m: Match) -> str:
    """`2 + 2 = 4`, `5 x 3`, `x - 1 = 2`: signs between numbers."""
    said = {"+": "plus", "-": "minus", "−": "minus", "–": "minus", "x": "times", "X": "times", "*": "times",
            "×": "times", "/": "divided by", "÷": "divided by", "=": "equals"}  # fmt: skip
    return re.sub(r"\s*(?<=[\w)\s])([+−–xX*×/÷=-])\s*(?=[\w(\s.])", lambda s: f" {said[s.group(1)]} ", m.group())


# --- Roman numerals, abbreviations, capitals ----------------------------------------------------------------------
_ROMAN = r"(M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(text: str) -> int:
    """The value of a Roman numeral."""
    values = [_VALUES[c] for c in text]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def _roman_name(m: Match) -> str:
    name, numeral = m.group(1), m.group(2)
    if not numeral:
        return m.group()
    after = m.string[m.end() :]
    if name.lower() in words.ROMAN_AFTER:
        return f"{name} {cardinal(roman(numeral))}"
    if name in words.REGNAL and numeral[0] in "IVX":
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
    return words.ABBREVIATIONS[name] + _ends(m, always=name in ("etc.", "vs.") or name[0].islower())


def _initials(m: Match) -> str:
    letters = _spell(m.group().replace(".", "").replace(" ", "").replace("&", ""))
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
        r"(?<!chr)(?<!phr)", lower)


def _capitals(word: str, shouted: bool) -> str:
    """A word of capitals alone: said as a word or letter by letter."""
    lower = word.lower()
    if word in words.WORD_ACRONYMS:
        return word.capitalize()
    if word in words.SPELLED_ACRONYMS and not (shouted and lower in words.SHORT_WORDS):
        return _spell(word)
    if word in ("US", "WHO", "IT") and not shouted:
        return _spell(word)
    if lower in words.SHORT_WORDS or (_wordlike(word) and (shouted or len(word) > 4)):
        return lower
    return _spell(word) if len(word) < 7 or not _wordlike(word) else lower


def _all_capitals(text: str) -> str:
    found = re.findall(r"[^\W\d_]{2,}", text)
    loud = [w for w in found if w.isupper()]
    shouted = len(loud) == len(found) and (
        len(found) > 1 and any(w.lower() in words.SHORT_WORDS or len(w) > 4 for w in found))

    def said(m: Match) -> str:
        stem, tail = m.group(1), m.group(2) or ""
        if shouted and tail.upper() in ("'S", "’S", "'T", "’T", "'RE", "’RE", "'LL", "’LL", "'M", "’M", "'VE", "’VE",
                                        "'D", "’D"):
            return stem.lower() + tail.lower()
        return _capitals(stem, shouted) + tail

    text = re.sub(r"(?<![^\W\d_])([A-Z]{2,})(['’][A-Za-z]+|s(?![a-z]))?(?![^\W\d_])", said, text)
    return re.sub(r"\bI\b(?!['’])", "I", text)


def _stretched(m: Match) -> str:
    """`sooo` as `so`, `Hmmm` as `Hmm`, `coool` as `cool`."""
    word = m.group()
    if word.lower().startswith("www") or not re.search(r"([a-zA-Z])\1\1", word):
        return word
    twice, once = (re.sub(r"([a-zA-Z])\1{2,}", by, word, flags=re.IGNORECASE) for by in (r"\1\1", r"\1"))
    if word.lower().strip("hm") == "":
        return word[:1] + "mm"
    return twice if twice.lower() in words.SHORT_WORDS or twice.lower() in ("hello", "really", "sleep", "sweet", "please"
                                                                           ) else once


def _camel(m: Match) -> str:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", m.group(1))
    return f"hashtag {name}"


def _letters_and_digits(m: Match) -> str:
    """`B12`, `CO2`, `iPhone15`, `4K`: the number apart from the letters."""
    return re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", m.group())


def _symbol(m: Match) -> str:
    return f" {words.SYMBOLS[m.group(1)]} "


def _sub(pattern: str, by: str | Callable[[Match], str], flags: int = 0) -> tuple[re.Pattern[str], str | Callable[[Match], str]]:
    return re.compile(pattern, flags), by


_SYMBOL_NAMES = _alternatives(words.MONEY)
_CODES = _alternatives(words.CURRENCY_CODES)
_UNIT_NAMES = _alternatives([*words.UNITS, *words.RATES])
_OVER = _alternatives([*words.UNITS, *words.PER, "day", "week", "month", "year", "hour", "minute", "second", "person"])
_RANGE_SIGN = r"\s?[-–—]\s?"


@functools.cache
def _rules() -> list[tuple[re.Pattern[str], str | Callable[[Match], str]]]:
    return [
        _sub(r"(?<=[A-Za-z])[`´](?=[a-z])", "'"),
        (links.MAIL, _link),
        (links.URL, _link),
        (links.IP, _ip),
        (links.FILE, _link),
        (links.PATH, _link),
        _sub(r"(?<![\w&])#([A-Za-z_]\w*)", _camel),
        _sub(r"(?<![\w.])@(?=[A-Za-z_])", "at "),
        _sub(r"\b([CFJ])#(?!\w)", r"\1 sharp"),
        _sub(r"\b([CGgc])\+\+(?!\w)", r"\1 plus plus"),
        _sub(r"(?<!\w)\.(NET|Net|net)\b", lambda m: "dot net"),
        _sub(r"(?<![\w.])24/7(?![\w/])", "twenty four seven"),
        _sub(r"(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])", " "),
        _sub(rf"(?<![\w.])({_alternatives(words.BEFORE_NUMBER)})\s?(?=\d|[IVX]+\b)",
             lambda m: words.BEFORE_NUMBER[m.group(1)] + " "),
        # thousands
        _sub(r"(?<![\w.,])(\d{1,3}(?:[   ]\d{3}){2,})(?![\w]| \d)", lambda m: re.sub(r"\D", "", m.group())),
        _sub(r"(?<![\w.,])(\d{1,3}(?:[  ]\d{3})+)(?![\w]| \d)", lambda m: re.sub(r"\D", "", m.group())),
        _sub(r"(?<![\w.,])\d{1,3}(?:['’]\d{3})+(?!\w)", lambda m: re.sub(r"\D", "", m.group())),
        # phones
        _sub(r"(?<![\w.+(])\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}(?<=\d)(?![\w]|\.\d)", _phone),
        _sub(r"(?<![\w.])\(\d{3,5}\)\s?\d{3,4}[\s.-]\d{3,4}(?!\w)", _phone),
        _sub(r"(?<![\w.-])(?:1[-. ])?\d{3}[-. ]\d{3}[-. ]\d{4}(?![\w]|[-.]\d)", _phone),
        _sub(r"(?<![\w.-])\d{3}-\d{4}(?![\w]|[-.]\d)", _phone),
        _sub(r"(?<![\w.-])0\d{2,4}[ -]\d{3,4}[ -]\d{3,4}(?!\w)", _phone),
        _sub(r"(?<![\w.-])(?:1-)?(?:800|888|877|866|900)-[A-Z0-9]{3}-?[A-Z0-9]{4}(?!\w)", _phone),
        _sub(r"(?<=[Cc]all )(?:911|999|112|411)\b|(?<=[Dd]ial )\d{3}\b", lambda m: digits(m.group())),
        *DATES,
        _sub(r"(?<!\d)9/11(?![\d/])", "nine eleven"),
        *TIMES,
        _sub(r"(?<![\w])['’‘](\d{2})s\b", _decade),
        _sub(r"(?<![\w.,])(\d{2}\d0)['’]?s\b|(?<![\w.,$£€])([2-9]0)s\b", _decade),
        # money
        _sub(rf"(?<![\w.])([-−])?({_SYMBOL_NAMES}|(?:{_CODES})(?=\s?\d))\s?({_NUM}){_SCALE}"
             rf"(?:{_RANGE_SIGN}(?:{_SYMBOL_NAMES})?({_NUM}){_SCALE})?(?![\d])(?:\s?/\s?({_OVER})\b)?", _money),
        _sub(rf"{_START}({_NUM}){_SCALE}\s?({_SYMBOL_NAMES}|(?:{_CODES})\b)", _money_after),
        _sub(rf"{_START}({_NUM})\s?¢", lambda m: _counted(m.group(1), "cent")),
        # measures
        _sub(r"(?<=\d)\s?(?:sq\.?|square)\s?(ft|m|km|mi|in|cm|yd)\b\.?", r" \1²"),
        _sub(r"(?<=\d)\s?cu\.?\s?(ft|m|cm|in|yd)\b\.?", r" \1³"),
        _sub(r"(?<=\d)\s?in\.(?=\s[a-z]|$)", " inches"),
        _sub(rf"(?<![\w.,])(-?{_NUM})(?:{_RANGE_SIGN}({_NUM}))?\s?°(?:\s?([CFK])(?!\w))?", _degrees),
        _sub(r"(?<![\w.])(\d+)\s?['’′](?:\s?(\d{1,2}(?:\.\d+)?)\s?(?:[\"”″]|''|’’)?|(?=\s(?:tall|wide|long|deep|high)))"
             r"(?!\w)", _feet),
        _sub(rf"{_START}({_NUM})\s?[\"″](?=\s(?:[a-z])|[,.;]|$)", _inches),
        _sub(rf"(?<![\w.,])(-?{_NUM})(?:%?{_RANGE_SIGN}({_NUM}))?\s?%(?!\w)", _percent),
        _sub(r"(?<=\d)\s?‰", " per mille"),
        _sub(rf"(?<![\w.,/])(?P<low>[-−]?{_NUM})(?:{_RANGE_SIGN}(?P<high>{_NUM}))?"
             rf"\s?(?P<unit>{_UNIT_NAMES})(?:\s?/\s?(?P<over>{_OVER}))?(?![\w²³/'’])"
             rf"(?<!\d\sin)(?<!\d\sa)", _unit),
        # numbers with a shape
        _sub(r"(?<![\w./])(?:(\d+)[\s-])?(\d{1,3})[/⁄](\d{1,4})(?![\w/]|\.\d)(?!\sstars)", _mixed_fraction),
        _sub(r"(?<![\w./])(\d{1,3})/(\d{1,3})(?=\sstars)", _out_of),
        _sub(r"(?<![\w.])([vV])(?:er)?\.?\s?(\d+(?:\.\d+)+)(?![\w]|\.\d)", _version),
        _sub(r"(?<![\w.])()(\d+(?:\.\d+){2,})(?![\w]|\.\d)", _version),
        _sub(r"(?<![\w])['’‘](\d{2})(?![\w'’]|[.,]\d)", _short_year),
        _sub(r"(?<![\w.,-])(\d[\d,]*)(?:st|nd|rd|th|ST|ND|RD|TH)\b", lambda m: ordinal(m.group(1))),
        _sub(r"(?<![\w.])([A-Za-z]|\d+)\s?\^\s?(-?\d+)\b", _power),
        _sub(rf"(?<![\w.])(?:{_NUM}|[a-z])(?:\s?[+×÷*]\s?|\s[−–-]\s|\s?x\s?(?=\d))(?:{_NUM}|[a-z])\b"
             rf"(?:\s?[+×÷*=]\s?(?:{_NUM}|[a-z])\b|\s[−–-]\s(?:{_NUM}|[a-z])\b)+|"
             rf"(?<![\w.])(?:{_NUM}|[a-z]\b)(?:\s?[+×÷*]\s?|\s?x\s?(?=\d)|\s/\s)(?:{_NUM}|[a-z]\b)(?:\s?=\s?\S+)?|"
             rf"(?<![\w.])(?:{_NUM}|[a-z])\s?[−–-]\s?(?:{_NUM}|[a-z])\s?=\s?(?=\w)", _arithmetic),
        _sub(rf"{_START}({_NUM}){_RANGE_SIGN}({_NUM})(?![\w]|[-–.,/]\d)", _range),
        _sub(r"(?<![\w.:])(\d{1,4}):(\d{1,4})(?![\w:]|\.\d)", lambda m: f"{cardinal(m.group(1))} to {cardinal(m.group(2))}"),
        _sub(rf"{_START}({_NUM})\s?([KMBT])\b(?!['’])",
             lambda m: f"{number(m.group(1))} " + (words.SCALES[m.group(2)] if m.group(2) != "K" else "K")),
        _sub(rf"{_START}({_NUM})\s?k\b", lambda m: f"{number(m.group(1))} k"),
        _sub(rf"{_START}({_NUM})\s?bn\b", lambda m: f"{number(m.group(1))} billion"),
        _sub(rf"{_START}({_NUM})\s?[x×](?![\w])", lambda m: f"{number(m.group(1))} times"),
        _sub(r"(?<![\w.])(\d{3,4})p\b", lambda m: f"{pair(m.group(1))} p"),
        # abbreviations
        _sub(r"(?<![\w&#])#\s?(?=\d)", "number "),
        _sub(rf"(?<=[a-z] )({_alternatives(words.STREETS)})(?=\s+[A-Z]\w*\s+(?:in|at|is|was)\b)()", lambda m: m.group()),
        _sub(rf"\b((?:[A-Z\d]\w*|\w+(?:th|rst|ond|rd))\s)({_alternatives(words.STREETS)})\b\.?(?!\s+[A-Z](?!\w*\.?$)(?!(?:nd|he|t|n|s)\b)\w*)(?![\w'’])",
             _street),
        _sub(rf"(?<![\w.'’-])({_alternatives(words.TITLES)})\b\.?(?=\s+[A-Z])(?![\w'’])", _title),
        _sub(rf"(?<![\w.'’-])(Mr|Mrs|Ms|Dr|Prof)\b\.?(?=\s+\w)(?![\w'’])", _title),
        _sub(rf"(?<![\w.])(?:{_alternatives(words.ABBREVIATIONS)})(?<=[./A-Za-z])(?![\w'’])", _abbreviation),
        _sub(r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)|(?<![\w.&])[A-Z]{1,3}(?:&[A-Z]{1,3})+(?!\w)", lambda m: _initials(m)
             if "&" not in m.group() else " and ".join(_spell(part) for part in m.group().split("&"))),
        _sub(r"(?<![\w.])[A-Z]\.(?=\s+(?:[A-Z]\.\s+)*[A-Z][a-z])", lambda m: m.group()[:1]),
        # Roman numerals
        _sub(r"\b((?:X{1,2}(?:IX|IV|V?I{0,3})|IX|IV|V?I{2,3}|VI))(\s[Cc]entur)", _roman_century),
        _sub(rf"\b([A-Z]?[a-z]+)\s{_ROMAN}\b(?![.'’]\w|-\w)(?<![a-z]\s)", _roman_name),
        # signs
        _sub(r"\s?(<=|>=|!=|==|[≈≠≤≥])\s?", _symbol),
        _sub(r"(?<=[\w.)%]) ?([=<>]) ?(?=[\w.$(-])", _symbol),
        _sub(r"\s?([&±×÷∞√∑→⇒°%‰§©²³=])\s?", _symbol),
        _sub(r"(?<![\w+])(\+)(?=\s?[\w.])|(?<=\w)\s(\+)\s(?=\w)", lambda m: " plus "),
        _sub(r"(?<!\w)([€£$¥¢])(?!\w)", _symbol),
        _sub(r"(?<=\w)\s@\s(?=\w)|(?<=\w)@(?=\w)", " at "),
        _sub(r"(?<=\w)~(?=\w)", " "),
        _sub(rf"(?<!\w)~\s?(?=\d)", "about "),
        _sub(r"[™®]", ""),
        # capitals, then whatever digits are left
        _sub(r"\b([A-Za-z]+)\s(\d{3})(?![\w]|[.,]\d|%)", _spelled_number),
        _sub(r"\b[A-Za-z]+(?:-?\d+[A-Za-z]*)+\b|\b\d+[A-Za-z]+\d*\b", _letters_and_digits),
        _sub(r"(?<![\w.,-])(?:1\d|20)\d{2}(?![\w]|[.,]\d|-\d)", _year),
        _sub(rf"(?:(?<=\s)|^|(?<=[(\[\"'“‘]))[-−]\s?(?={_NUM})", "minus "),
        _sub(_NUM.replace(r"\d+(?:\.\d+)?|\.", r"\d+(?:\.\d+)?|(?<!\w)\."), lambda m: f" {number(m.group())} "),
        _sub(r"\b[A-Za-z]*([A-Za-z])\1\1[A-Za-z]*\b", _stretched, re.IGNORECASE),
    ]


def read(text: str, british: bool = False) -> str:
    """One line of English in words."""
    if text.isascii() and text.isalpha() and text.islower():
        return text
    for pattern, by in _rules():
        text = pattern.sub(by, text)
    return re.sub(r"\s+([,.;:!?])", r"\1", re.sub(r"[ \t]+", " ", _all_capitals(text))).strip()
