"""English fractions, versions, ranges, years, sums and what else is made of digits: rules for english.py."""

import re

from speech.reading import english_units as units
from speech.reading import english_words as words
from speech.reading.english_numbers import cardinal, digits, number, ordinal, pair, plural, year
from speech.reading.english_patterns import NUM, RANGE_SIGN, START
from speech.reading.rules import Match, Rule, alternatives, numeric

_MEASURES = [unit for unit in units.UNITS if len(unit) > 1 and unit not in ("in", "as", "at")]


def _fraction_words(above: str, below: str) -> str:
    over, under = int(above), int(below)
    if over == under == 50:
        return "fifty fifty"
    if not 1 < under <= 100 or over >= under or (under > 20 and under % 10):
        return f"{cardinal(above)} {'out of' if over == under or under == 10 else 'over'} {cardinal(below)}"
    name = words.FRACTIONS.get(under) or ordinal(under)
    return f"{cardinal(over)} {name if over == 1 else 'halves' if under == 2 else name + 's'}"


def _mixed_fraction(m: Match) -> str:
    whole, above, below, unit = m.groups()
    part = _fraction_words(above, below)
    name = f" {plural(units.UNITS[unit]) if whole else units.UNITS[unit]}" if unit else ""
    return (f"{cardinal(whole)} and {part.replace('one half', 'a half')}" if whole else part) + name


def _out_of(m: Match) -> str:
    return f"{cardinal(m.group(1))} out of {cardinal(m.group(2))}"


def _version(m: Match) -> str:
    label, numbers = m.group(1), m.group(2).split(".")
    label = "" if re.search(r"version\s$", m.string[: m.start()], re.IGNORECASE) else "version " if label else ""
    return label + " point ".join(cardinal(n) for n in numbers)


def _phone(m: Match) -> str:
    groups = re.findall(r"\d+|[A-Z]+", m.group())
    plus = "plus " if m.group().lstrip("(").startswith("+") else ""
    said = [g.lower() if g.isalpha() else cardinal(g) if g in ("800", "900") else digits(g, "oh") for g in groups]
    return plus + ", ".join(said)


def _range(m: Match) -> str:
    low, high = m.groups()
    if is_year(low) and is_year(high):
        return f"{year(low)} to {year(high)}"
    if is_year(low) and len(high) == 2 and high.isdecimal():
        return f"{year(low)} to {cardinal(high)}"
    return f"{number(low)} to {number(high)}"


def is_year(text: str) -> bool:
    return len(text) == 4 and text.isdecimal() and "1000" <= text <= "2099"


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


def _short_year(m: Match) -> str:
    return cardinal(m.group(1)) if m.group(1)[0] != "0" else digits(m.group(1), "oh")


def _spelled_number(m: Match) -> str:
    if m.group(1).lower() not in words.SPELLED_NUMBER:
        return m.group()
    said = pair(m.group(2)) if len(m.group(2)) == 3 else year(m.group(2))
    return f"{m.group(1)} {said}"


def _power(m: Match) -> str:
    base, exponent = m.groups()
    return f"{base} " + {"2": "squared", "3": "cubed"}.get(exponent, f"to the power of {number(exponent)}")


def _arithmetic(m: Match) -> str:
    """`2 + 2 = 4`, `5 x 3`, `x - 1 = 2`: signs between numbers."""
    said = {
        "+": "plus",
        "-": "minus",
        "−": "minus",
        "–": "minus",
        "x": "times",
        "X": "times",
        "*": "times",
        "×": "times",
        "/": "divided by",
        "÷": "divided by",
        "=": "equals",
    }
    return re.sub(r"\s*(?<=[\w)\s])([+−–xX*×/÷=-])\s*(?=[\w(\s.])", lambda s: f" {said[s.group(1)]} ", m.group())


def _letters_and_digits(m: Match) -> str:
    """`B12`, `CO2`, `iPhone15`, `4K`: the number apart from the letters."""
    return re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", m.group())


def _letter(m: Match) -> str:
    """`5M users`, but `Apt. 4B` and `221B Baker Street`."""
    amount, letter = m.groups()
    before = re.search(r"([A-Za-z]+)\.?\s$", m.string[: m.start()])
    place = before and before.group(1).lower() in words.LETTERED
    if letter == "K" or place or (letter in "BT" and re.match(r"\s[A-Z]", m.string[m.end() :])):
        return f"{number(amount)} {letter}"
    return f"{number(amount)} {units.SCALES[letter]}"


def _dimensions(m: Match) -> str:
    """`5 x 7 photo` is by, `5 x 3 is 15` is times."""
    sums = re.match(r"\s*(?:=|is\b|equals\b)", m.string[m.end() :])
    return f" {'times' if sums else 'by'} ".join(number(n) for n in re.findall(NUM, m.group()))


def _series(m: Match) -> str:
    """`1-2-3`, `123-45-6789`: every digit by itself."""
    parts = m.group().split("-")
    return " ".join(map(cardinal, parts)) if max(map(len, parts)) < 3 else ", ".join(map(digits, parts))


PHONES = numeric(
    Rule(r"(?<![\w.+(])\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}(?<=\d)(?![\w]|\.\d)", _phone),
    Rule(r"(?<![\w.])\(\d{3,5}\)\s?\d{3,4}[\s.-]\d{3,4}(?!\w)", _phone),
    Rule(r"(?<![\w.-])(?:1[-. ])?\d{3}[-. ]\d{3}[-. ]\d{4}(?![\w]|[-.]\d)", _phone),
    Rule(r"(?<![\w.-])\d{3}-\d{4}(?![\w]|[-.]\d)", _phone),
    Rule(r"(?<![\w.-])0\d{2,4}[ -]\d{3,4}[ -]\d{3,4}(?!\w)", _phone),
    Rule(r"(?<![\w.-])(?:1-)?(?:800|888|877|866|900)-(?=[A-Z0-9-]*[A-Z])[A-Z0-9]{3}-?[A-Z0-9]{4}(?!\w)", _phone),
    Rule(r"(?<=[Cc]all )(?:911|999|112|411)\b|(?<=[Dd]ial )\d{3}\b", lambda m: digits(m.group())),
)
SHAPES: list[Rule] = [
    Rule(
        r"(?<![\w./])(?:(\d+)[\s-])?(\d{1,3})[/⁄](\d{1,4})(?![\w/]|\.\d)(?!\sstars)"
        rf"(?:[\s-]?({alternatives(_MEASURES)})\b\.?)?",
        _mixed_fraction,
    ),
    Rule(r"(?<![\w./])(\d{1,3})/(\d{1,3})(?=\sstars)", _out_of),
    Rule(r"(?<![\w.])([vV])(?:er)?\.?\s?(\d+(?:\.\d+)+)(?![\w]|\.\d)", _version),
    Rule(r"(?<![\w.])()(\d+(?:\.\d+){2,})(?![\w]|\.\d)", _version),
    Rule(r"(?<![\w])['’‘](\d{2})(?![\w'’]|[.,]\d)", _short_year),
    Rule(r"(?<![\w.,-])(\d[\d,]*)(?:st|nd|rd|th|ST|ND|RD|TH)\b", lambda m: ordinal(m.group(1))),
    Rule(r"(?<![\w.-])\d+(?:-\d+){2,}(?![\w-]|\.\d)", _series),
    Rule(
        rf"{START}({NUM})[eE]([+-]?\d+)\b",
        lambda m: f"{number(m.group(1))} times ten to the power of {number(m.group(2))}",
    ),
    Rule(rf"{START}{NUM}(?:\s?[x×]\s?{NUM})+(?![\w])", _dimensions),
    Rule(r"(?<![\w.])[vV](\d+)(?!\w|\.\d)", lambda m: f"version {cardinal(m.group(1))}"),
    Rule(r"(?<![\w.])([A-Za-z]|\d+)\s?\^\s?(-?\d+)\b", _power),
    Rule(
        rf"(?<![\w.])(?:{NUM}|[a-z])(?:\s?[+×÷*]\s?|\s[−–-]\s|\s?x\s?(?=\d))(?:{NUM}|[a-z])\b"
        rf"(?:\s?[+×÷*=]\s?(?:{NUM}|[a-z])\b|\s[−–-]\s(?:{NUM}|[a-z])\b)+|"
        rf"(?<![\w.])(?:{NUM}|[a-z]\b)(?:\s?[+×÷*]\s?|\s?x\s?(?=\d)|\s/\s)(?:{NUM}|[a-z]\b)(?:\s?=\s?\S+)?|"
        rf"(?<![\w.])(?:{NUM}|[a-z])\s?[−–-]\s?(?:{NUM}|[a-z])\s?=\s?(?=\w)",
        _arithmetic,
    ),
    Rule(rf"{START}({NUM}){RANGE_SIGN}({NUM})(?![\w]|[-–.,/]\d)", _range),
    Rule(
        r"(?<![\w.:])(\d{1,4}):(\d{1,4})(?![\w:]|\.\d)",
        lambda m: f"{cardinal(m.group(1))} to {cardinal(m.group(2))}",
    ),
    Rule(rf"{START}({NUM})\s?([KMBT])\b(?!['’])", _letter),
    Rule(rf"{START}({NUM})\s?k\b", lambda m: f"{number(m.group(1))} k"),
    Rule(rf"{START}({NUM})\s?bn\b", lambda m: f"{number(m.group(1))} billion"),
    Rule(rf"{START}({NUM})\s?[x×](?![\w])", lambda m: f"{number(m.group(1))} times"),
    Rule(r"(?<![\w.])(\d{3,4})p\b", lambda m: f"{pair(m.group(1))} p"),
]
DIGITS = numeric(
    Rule(r"\b([A-Za-z]+)\s(\d{3,4})(?![\w]|[.,]\d|%)", _spelled_number),
    Rule(r"\b[A-Za-z]+(?:-?\d+[A-Za-z]*)+\b|\b\d+[A-Za-z]+\d*\b", _letters_and_digits),
    Rule(r"(?<![\w.,-])(?:1\d|20)\d{2}(?![\w]|[.,]\d|-\d)", _year),
    Rule(rf"(?:(?<=\s)|^|(?<=[(\[\"'“‘]))[-−]\s?(?={NUM})", "minus "),
    Rule(NUM.replace(r"\d+(?:\.\d+)?|\.", r"\d+(?:\.\d+)?|(?<!\w)\."), lambda m: f" {number(m.group())} "),
)
"""Whatever digits the other rules have left."""
