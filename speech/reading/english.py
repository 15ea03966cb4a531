"""English as it is written, in the words that are said. One function, `read`; its rules are tried in the order they
stand.

Only what has digits, signs, capitals or dots is touched: plain words come out as they went in."""

import re

from speech.reading import english_words as words
from speech.reading import links
from speech.reading.english_amounts import AMOUNTS
from speech.reading.english_letters import ABBREVIATIONS, STRETCHED, capitals, spell
from speech.reading.english_numbers import cardinal, digits, year
from speech.reading.english_shapes import DIGITS, PHONES, SHAPES
from speech.reading.english_times import BRITISH_DATES, DATES, TIMES
from speech.reading.rules import Match, Rule, alternatives, applied

_MARKS = {
    ".": "dot",
    "/": "slash",
    "\\": "backslash",
    "-": "dash",
    "_": "underscore",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "@": "at",
    "~": "tilde",
    "+": "plus",
    "%": "percent",
    "*": "star",
}
_VOWELLESS = re.compile(
    r"^[bcdfghjklmnpqrstvwxz]{1,4}$|^(?:uk|us|eu|io|ai|au|ie|py|avi|exe|html?|https?)$", re.IGNORECASE
)


def _link_word(word: str) -> str:
    return spell(word.lower()) if _VOWELLESS.match(word) else word


def _link_digits(text: str) -> str:
    if len(text) == 4 and text[:2] in ("19", "20"):
        return year(text)
    return digits(text) if text[0] == "0" or len(text) > 3 else cardinal(text)


def _link(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, _link_digits)


def _ip(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, digits)


def _camel(m: Match) -> str:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", m.group(1))
    return f"hashtag {name}"


def _symbol(m: Match) -> str:
    return f" {words.SYMBOLS[m.group(1)]} "


def _moment(m: Match) -> str:
    """`2024-02-29T13:45:00Z`, to the minute."""
    return f"{m.group(1)} at {m.group(2)}" + (" UTC" if m.group(3) else "")


_DAYS = alternatives(set(words.DAYS.values()))
_MONTHS = alternatives(words.MONTHS)
_LINKS: list[Rule] = [
    Rule(r"(?<=[A-Za-z])[`´](?=[a-z])", "'"),
    Rule(links.MAIL, _link),
    Rule(links.URL, _link),
    Rule(links.IP, _ip),
    Rule(links.FILE, _link),
    Rule(links.PATH, _link),
    Rule(r"(?<![\w&])#([A-Za-z_]\w*)", _camel),
    Rule(r"(?<![\w.])@(?=[A-Za-z_])", "at "),
    Rule(r"\b([CFJ])#(?!\w)", r"\1 sharp"),
    Rule(r"\b([CGgc])\+\+(?!\w)", r"\1 plus plus"),
    Rule(r"(?<!\w)\.(NET|Net|net)\b", lambda m: "dot net"),
    Rule(r"(?<![\w.])24/7(?![\w/])", "twenty four seven"),
    Rule(r"(?<=\d)\s?[Ll]/100\s?km\b", " liters per hundred kilometers"),
    Rule(r"(?<![\w.)%<>=-])\s?([<>])\s?(?=[$£€]?\d)", _symbol),
    Rule(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z?)(?:[+-]\d\d:?\d\d)?(?!\w)", _moment),
    Rule(r"(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])", " "),
    Rule(
        rf"(?<![\w.])({alternatives(words.BEFORE_NUMBER)})\s?(?=\d|[IVX]+\b)",
        lambda m: words.BEFORE_NUMBER[m.group(1)] + " ",
    ),
    Rule(r"(?<![\w.,])(\d{1,3}(?:[   ]\d{3}){2,})(?![\w]| \d)", lambda m: re.sub(r"\D", "", m.group())),
    Rule(r"(?<![\w.,])(\d{1,3}(?:[  ]\d{3})+)(?![\w]| \d)", lambda m: re.sub(r"\D", "", m.group())),
    Rule(r"(?<![\w.,])\d{1,3}(?:['’]\d{3})+(?!\w)", lambda m: re.sub(r"\D", "", m.group())),
]
_SIGNS: list[Rule] = [
    Rule(r"(?<![\w&#])#\s?(?=\d)", "number "),
]
_SYMBOLS: list[Rule] = [
    Rule(r"\s?(<=|>=|!=|==|[≈≠≤≥])\s?", _symbol),
    Rule(r"(?<=[\w.)%]) ?([=<>]) ?(?=[\w.$(-])", _symbol),
    Rule(r"\s?([&±×÷∞√∑→⇒°%‰§©²³=])\s?", _symbol),
    Rule(r"(?<![\w+])(\+)(?=\s?[\w.])|(?<=\w)\s(\+)\s(?=\w)", lambda m: " plus "),
    Rule(r"(?<!\w)([€£$¥¢])(?!\w)", _symbol),
    Rule(r"(?<=\w)\s@\s(?=\w)|(?<=\w)@(?=\w)", " at "),
    Rule(r"(?<=\w)~(?=\w)", " "),
    Rule(r"(?<!\w)~\s?(?=\d)", "about "),
    Rule(r"[™®]", ""),
    Rule(r"(?<![Ͱ-Ͽ])([πΩΔαβγδεθλμσφω])(?![Ͱ-Ͽ])", _symbol),
    Rule(r"(?<=\w)\s?\+(?!\w)", " plus"),
    Rule(r"\b(and/or)\b", "and or"),
    Rule(r"\b([Hh]e|[Hh]is|him|[Yy]es|[Ss]he)/(she|hers?|no|he|they)\b", r"\1 or \2"),
    Rule(r"(?<=[^\W\d_])/(?=[^\W\d_])", " "),
]
_RULES = [
    *_LINKS,
    *PHONES,
    *DATES,
    Rule(
        r"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b\.?\s?[-–]\s?(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b",
        lambda m: f"{words.DAYS[m.group(1).lower()]} to {words.DAYS[m.group(2).lower()]}",
    ),
    Rule(rf"\b({_DAYS}|{_MONTHS})[-–](?=(?:{_DAYS}|{_MONTHS})\b)", r"\1 to "),
    Rule(r"\b(noon|midnight)[-–](?=\d)", r"\1 to "),
    Rule(r"(?<!\d)9/11(?![\d/])", "nine eleven"),
    *TIMES,
    *AMOUNTS,
    *SHAPES,
    *_SIGNS,
    *ABBREVIATIONS,
    *_SYMBOLS,
    *DIGITS,
    *STRETCHED,
]
_BRITISH_RULES = [dict(zip(DATES, BRITISH_DATES, strict=True)).get(rule, rule) for rule in _RULES]


def read(text: str, british: bool = False) -> str:
    """One line of English in words."""
    text = capitals(applied(_BRITISH_RULES if british else _RULES, text))
    text = re.sub(r"(?<=[a-z]) -(?=[a-z])", "-", re.sub(r"[ \t]+", " ", text))
    return re.sub(r"\s+([,.;:!?])", r"\1", text).strip()
