"""English money, measures and percentages as words: rules for english.py."""

import re

from speech.reading import english_units as units
from speech.reading.english_numbers import cardinal, number, plural, year
from speech.reading.english_patterns import NUM, RANGE_SIGN, START
from speech.reading.rules import Match, Rule, alternatives, numeric

_SCALE = r"(?:\s?(hundred|thousand|million|billion|trillion|bn|mn|mil|tn|[kKmMbBtT])\b(?!['’]))?"
_NOT_A_NOUN = (
    "of|in|per|and|or|to|a|an|the|for|on|at|from|each|is|was|were|are|has|had|have|he|she|it|we|they|you|that|which|who"
    "|between|into|by|with|away|long|tall|high|wide|deep|more|less|ahead|apart|left|off|if|when|as|will|would|can|could"
)
_SYMBOL_NAMES = alternatives(units.MONEY)
_CODES = alternatives(units.CURRENCY_CODES)
_UNIT_NAMES = alternatives([*units.UNITS, *units.RATES])
_OVER = alternatives([*units.UNITS, *units.PER, "day", "week", "month", "year", "hour", "minute", "second", "person"])


def _is_one(text: str) -> bool:
    return text in ("1", "-1", "1.0")


def counted(amount: str, name: str, singular: bool = False) -> str:
    """`2`, `foot` as `two feet`."""
    if singular or _is_one(amount) or name.split()[-1] in units.UNCHANGED_PLURALS:
        return f"{number(amount)} {name}"
    if name.endswith("foot"):
        return f"{number(amount)} {name[:-4]}feet"
    head, of, rest = name.partition(" per ")
    return f"{number(amount)} {plural(head)}{of}{rest}"


def _adjective(m: Match) -> bool:
    """`a $5 ticket`: what is counted stands before its noun, in the singular."""
    before = re.search(
        r"\b(?:an?|the|this|that|another|each|every|my|his|her|our|their)\s$", m.string[: m.start()], re.I
    )
    after = re.match(rf"[\s-](?!(?:{_NOT_A_NOUN})\b)[a-z]", m.string[m.end() :])
    return bool(before and after)


def _money_words(sign: str, amount: str, scale: str | None, name: tuple[str, str], singular: bool) -> str:
    minus = "minus " if sign in ("-", "−") else ""
    whole, part = name
    if scale:
        return f"{minus}{number(amount)} {units.SCALES[scale]} {whole if singular else _many(whole)}"
    coins, _, cents = amount.replace(",", "").partition(".")
    if not part or len(cents) != 2 or cents == "00":
        amount = amount.removesuffix(".00")
        return minus + counted(amount, whole, singular)
    value, one = int(cents), {"pence": "penny"}.get(part, part)
    small = f"{cardinal(value)} {one if value == 1 else part if part in units.UNCHANGED_PLURALS else plural(part)}"
    return minus + (f"{counted(coins, whole, singular)} and {small}" if int(coins or 0) else small)


def _many(name: str) -> str:
    return name if name.split()[-1] in units.UNCHANGED_PLURALS else plural(name)


def _money(m: Match) -> str:
    sign, symbol, low, scale_low, high, scale, per = m.groups()
    name = units.MONEY.get(symbol) or units.CURRENCY_CODES[symbol]
    tail = f" per {units.PER.get(per, per)}" if per else ""
    if high:
        return (
            f"{number(low)}{' ' + units.SCALES[scale_low] if scale_low else ''} to "
            + _money_words("", high, scale, name, False)
            + tail
        )
    return _money_words(sign, low, scale_low, name, _adjective(m)) + tail


def _money_after(m: Match) -> str:
    amount, scale, symbol = m.groups()
    return _money_words("", amount, scale, units.MONEY.get(symbol) or units.CURRENCY_CODES[symbol], False)


def _unit(m: Match) -> str:
    low, high, unit, over = m.group("low"), m.group("high"), m.group("unit"), m.group("over")
    name = units.RATES.get(unit) or units.UNITS[unit]
    if unit not in units.RATES and over:
        name += f" per {units.UNITS.get(over) or units.PER.get(over, over)}"
    elif unit in units.RATES:  # these are plural already
        one = re.sub(r"s (per|in)|(?<=mile|part|inch|beat)s\b", r" \1", name)
        name = name if not _is_one(high or low) else one
        return f"{number(low)} to {number(high)} {name}" if high else f"{number(low)} {name}"
    prefix = f"{number(low)} to " if high else ""
    return prefix + counted(high or low, name, m.group("join") == "-" or _adjective(m))


def _degrees(m: Match) -> str:
    low, high, scale = m.groups()
    name = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin"}.get((scale or "").upper(), "")
    return (f"{number(low)} to " if high else "") + counted(high or low, "degree", _adjective(m)) + name


def _feet(m: Match) -> str:
    feet, inches = m.groups()
    return f"{cardinal(feet)} foot {number(inches)}" if inches else counted(feet, "foot")


def _inches(m: Match) -> str:
    return counted(m.group(1), "inch") if m.string[: m.start()].count('"') % 2 == 0 else m.group()


def _percent(m: Match) -> str:
    low, high = m.groups()
    return (f"{number(low)} to " if high else "") + f"{number(high or low)} percent"


def _decade(m: Match) -> str:
    text = next(g for g in m.groups() if g)
    return plural(cardinal(text) if len(text) == 2 else year(text))


def _decimal_comma(m: Match) -> str:
    """`1.234,56` as `1234.56`."""
    return m.group().replace(".", "").replace(",", ".")


def _lasting(m: Match) -> str:
    """`3h 20m`, `5m30s`."""
    names = {"h": "hour", "m": "minute", "s": "second"}
    return " ".join(counted(n, names[unit[0]]) for n, unit in re.findall(r"(\d+)\s?([hms])", m.group()))


AMOUNTS = numeric(
    Rule(r"(?<![\w.,])\d{1,3}(?:\.\d{3})+,\d{1,2}(?![\w,]|\.\d)", _decimal_comma),
    Rule(r"(?<![\w.,])\d+\s?h(?:rs?)?\s?\d+\s?m(?:ins?)?(?:\s?\d+\s?s)?\b|(?<![\w.,])\d+m(?:in)?\s?\d+s\b", _lasting),
    Rule(r"(?<![\w])['’‘](\d{2})s\b", _decade),
    Rule(r"(?<![\w.,])(\d{2}\d0)['’]?s\b|(?<![\w.,$£€])([2-9]0)s\b", _decade),
    Rule(
        rf"(?<![\w.])([-−])?({_SYMBOL_NAMES}|(?:{_CODES})(?=\s?\d))\s?({NUM}){_SCALE}"
        rf"(?:{RANGE_SIGN}(?:{_SYMBOL_NAMES})?({NUM}){_SCALE})?(?![\d])(?:\s?/\s?({_OVER})\b)?",
        _money,
    ),
    Rule(rf"{START}({NUM}){_SCALE}\s?({_SYMBOL_NAMES}|(?:{_CODES})\b)", _money_after),
    Rule(rf"{START}({NUM})\s?¢", lambda m: counted(m.group(1), "cent")),
    Rule(r"(?<=\d)\s?(?:sq\.?|square)\s?(ft|m|km|mi|in|cm|yd)\b\.?", r" \1²"),
    Rule(r"(?<=\d)\s?cu\.?\s?(ft|m|cm|in|yd)\b\.?", r" \1³"),
    Rule(r"(?<=\d)\s?in\.(?=\s[a-z]|$)", " inches"),
    Rule(rf"(?<![\w.,])(-?{NUM})(?:{RANGE_SIGN}({NUM}))?\s?°(?:\s?([CFK])(?!\w))?", _degrees),
    Rule(
        r"(?<![\w.])(\d+)\s?['’′](?:\s?(\d{1,2}(?:\.\d+)?)\s?(?:[\"”″]|''|’’)?|(?=\s(?:tall|wide|long|deep|high)))"
        r"(?!\w)",
        _feet,
    ),
    Rule(rf"{START}({NUM})\s?[\"″](?=\s(?:[a-z])|[,.;]|$)", _inches),
    Rule(rf"(?<![\w.,])(-?{NUM})(?:%?{RANGE_SIGN}({NUM}))?\s?%(?!\w)", _percent),
    Rule(r"(?<=\d)\s?‰", " per mille"),
    Rule(
        rf"(?<![\w.,/])(?P<low>[-−]?{NUM})(?:{RANGE_SIGN}(?P<high>{NUM}))?"
        rf"(?P<join>[\s-]?)(?P<unit>{_UNIT_NAMES})(?:\s?/\s?(?P<over>{_OVER}))?(?![\w²³/'’])"
        r"(?:\.(?=\s+[\da-z]))?"
        rf"(?<!\d\sin)(?<!\d\sa)",
        _unit,
    ),
)
