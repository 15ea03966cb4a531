"""English dates and hours as words: rules for english.py."""

import re
from dataclasses import replace

from speech.reading import english_words as words
from speech.reading.english_numbers import cardinal, ordinal, year
from speech.reading.rules import Match, Rule, numeric

_MONTH = (
    r"(January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan\.?|Feb\.?|Mar\.?|Apr\.?|Jun\.?|Jul\.?|Aug\.?|Sept?\.?|Oct\.?|Nov\.?|Dec\.?)"
)
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_HALF = r"(?:\s?([AaPp])\.?\s?[Mm]\b(\.)?)"


def _month(text: str) -> str:
    return words.MONTH_OF[text[:3].lower()]


def _date(y: str | None, month: int, day: int) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{words.MONTHS[month - 1]} {ordinal(day)}" + (f", {year(y)}" if y else "")


def _iso(m: Match) -> str:
    return _date(m.group(1), int(m.group(2)), int(m.group(3))) or m.group()


def _full_year(text: str) -> str:
    return text if len(text) == 4 else ("19" if int(text) > 40 else "20") + text


def _slashed(m: Match, british: bool = False) -> str:
    first, second, y = int(m.group(1)), int(m.group(2)), _full_year(m.group(3))
    month, day = (second, first) if first > 12 or (british and second <= 12) else (first, second)
    return _date(y, month, day) or m.group()


def _british(m: Match) -> str:
    return _slashed(m, british=True)


def _dotted(m: Match) -> str:
    return _date(_full_year(m.group(3)), int(m.group(2)), int(m.group(1))) or m.group()


def _month_day(m: Match) -> str:
    month, day, last, y = m.groups()
    if not 1 <= int(day) <= 31:
        return m.group()
    until = f" to {ordinal(last)}" if last else ""
    return f"{_month(month)} {ordinal(day)}{until}" + (f", {year(y)}" if y else "")


def _day_month(m: Match) -> str:
    the, day, last, month, y = m.groups()
    if not 1 <= int(day) <= 31:
        return m.group()
    until = f" to {ordinal(last)}" if last else ""
    if the is None and not re.search(r"\d(?:st|nd|rd|th)", m.group()):
        return f"{_month(month)} {ordinal(day)}{until}" + (f", {year(y)}" if y else "")
    return f"{the or 'the '}{ordinal(day)}{until} of {_month(month)}" + (f", {year(y)}" if y else "")


def _month_year(m: Match) -> str:
    return f"{_month(m.group(1))} {year(m.group(2))}"


def _month_alone(m: Match) -> str:
    return _month(m.group(1))


def _weekday(m: Match) -> str:
    return words.DAYS[m.group(1).lower()]


def _minutes(minutes: str) -> str:
    return f"oh {cardinal(minutes)}" if minutes[0] == "0" else cardinal(minutes)


def _stop(m: Match) -> str:
    """The dot of `p.m.` that also ends a sentence."""
    if not m.group().endswith("."):
        return ""
    rest = m.string[m.end() :]
    if not rest.strip(" \"'”’)]"):
        return "."
    after = re.match(r"[\"'”’)]*\s+[\"'“‘(]*([A-Z][a-z]*)", rest)
    follows = after and (after.group(1)[:3].lower() in words.MONTH_OF or after.group(1).endswith("day"))
    return "." if after and not follows and not re.match(r"\s+[A-Z]{2,}\b", rest) else ""


def _clock(hour: str, minutes: str | None, plain: bool = False) -> str:
    if not minutes or minutes == "00":
        if minutes is None or plain:
            return cardinal(int(hour))
        return f"{cardinal(int(hour))} o'clock" if 0 < int(hour) < 13 else f"{cardinal(int(hour))} hundred"
    return f"{cardinal(int(hour))} {_minutes(minutes)}"


def _time(m: Match) -> str:
    hour, minutes, seconds, half = m.group(1), m.group(2), m.group(3), m.group(4)
    if int(hour) > 24 or int(minutes or 0) > 59:
        return m.group()
    if seconds:
        said = (
            f"{cardinal(int(hour))} {_minutes(minutes) if minutes != '00' else 'oh oh'} and {cardinal(int(seconds))} "
        )
        said += "second" if int(seconds) == 1 else "seconds"
    else:
        said = _clock(hour, minutes, plain=bool(half) or bool(re.match(r"\s+o['’]?clock", m.string[m.end() :])))
    return said + (f" {half.lower()} m{_stop(m)}" if half else "")


def _times(m: Match) -> str:
    """`9:00-17:00`, `9am-5pm`, `9-5 p.m.`"""
    h1, m1, half1, h2, m2, half2 = m.group(1), m.group(2), m.group(3), m.group(5), m.group(6), m.group(7)
    if int(h1) > 24 or int(h2) > 24 or not (half2 or (m1 and m2)):
        return m.group()
    first = _clock(h1, m1, plain=True) + (f" {half1.lower()} m" if half1 else "")
    return f"{first} to {_clock(h2, m2, plain=True)}" + (f" {half2.lower()} m{_stop(m)}" if half2 else "")


DATES: list[Rule] = [
    *numeric(
        Rule(r"(?<![\w-])(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?=T\d\d:|\b)(?![-/.]\d)", _iso),
        Rule(r"(?<![\w/.])(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})(?![\w/]|[.-]\d)", _slashed),
        Rule(r"(?<![\w/.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w/]|\.\d)", _dotted),
        Rule(
            rf"\b((?:the|The)\s)?{_DAY}(?:\s?[-–]\s?{_DAY})?(?:\sof)?[\s-]{_MONTH}(?![a-z])(?:,?[\s-](\d{{4}}))?(?![\w:])",
            _day_month,
        ),
        Rule(
            rf"\b{_MONTH}[\s]{_DAY}(?:\s?[-–]\s?{_DAY})?(?![\d:%]|\s?[ap]\.?m\b)(?:,?\s(\d{{4}})(?![\d:]))?",
            _month_day,
            re.ASCII,
        ),
        Rule(rf"\b{_MONTH},?\s(\d{{4}})\b", _month_year),
    ),
    Rule(r"\b(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\b\.?(?![\w'’])", _month_alone),
    Rule(
        r"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\.(?=,?\s)|(?<!\w)(?:(?=(?:Mon|Tue|Wed|Thu|Fri), [A-Z])(\w+))",
        lambda m: words.DAYS[(m.group(1) or m.group(2)).lower()],
    ),
]
BRITISH_DATES = [replace(rule, by=_british) if rule.by is _slashed else rule for rule in DATES]
TIMES = numeric(
    Rule(
        rf"(?<![\w:.])(\d{{1,2}})(?::(\d{{2}}))?{_HALF}?\s?[-–]\s?(\d{{1,2}})(?::(\d{{2}}))?{_HALF}?(?![\w:])",
        _times,
    ),
    Rule(rf"(?:(?<=[T\s])|(?<![\w:.]))(\d{{1,2}})[:.](\d{{2}})(?::(\d{{2}})(?:\.\d+)?)?{_HALF}(?!\w)", _time),
    Rule(r"(?:(?<=[a-z]T)|(?<![\w:.]))(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?()(?![\w:]|\.\d)Z?", _time),
    Rule(rf"(?<![\w:.])(\d{{1,2}})()(){_HALF}(?!\w)", _time),
)
