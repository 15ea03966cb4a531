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
from speech.reading.rules import Match, Rule, alternatives, applied, rule

_MARKS = {
    ".": "dot", "/": "slash", "\\": "backslash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "@": "at", "~": "tilde", "+": "plus", "%": "percent", "*": "star",
}  # fmt: skip
_VOWELLESS = re.compile(
    r"^[bcdfghjklmnpqrstvwxz]{1,4}$|^(?:uk|us|eu|io|ai|au|ie|py|avi|exe|html?|https?)$", re.IGNORECASE
)


def _link_word(word: str) -> str:
    return spell(word.lower()) if _VOWELLESS.match(word) else word


def _link_digits(text: str) -> str:
    return (
        digits(text)
        if text[0] == "0" or len(text) > 4
        else year(text)
        if text[:2] in ("19", "20") and len(text) == 4
        else digits(text)
        if len(text) == 4
        else cardinal(text)
    )


def _link(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, _link_digits)


def _ip(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, digits)


def _camel(m: Match) -> str:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", m.group(1))
    return f"hashtag {name}"


def _symbol(m: Match) -> str:
    return f" {words.SYMBOLS[m.group(1)]} "


_LINKS: list[Rule] = [
    rule(r"(?<=[A-Za-z])[`´](?=[a-z])", "'"),
    (links.MAIL, _link),
    (links.URL, _link),
    (links.IP, _ip),
    (links.FILE, _link),
    (links.PATH, _link),
    rule(r"(?<![\w&])#([A-Za-z_]\w*)", _camel),
    rule(r"(?<![\w.])@(?=[A-Za-z_])", "at "),
    rule(r"\b([CFJ])#(?!\w)", r"\1 sharp"),
    rule(r"\b([CGgc])\+\+(?!\w)", r"\1 plus plus"),
    rule(r"(?<!\w)\.(NET|Net|net)\b", lambda m: "dot net"),
    rule(r"(?<![\w.])24/7(?![\w/])", "twenty four seven"),
    rule(r"(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])", " "),
    rule(
        rf"(?<![\w.])({alternatives(words.BEFORE_NUMBER)})\s?(?=\d|[IVX]+\b)",
        lambda m: words.BEFORE_NUMBER[m.group(1)] + " ",
    ),
    rule(r"(?<![\w.,])(\d{1,3}(?:[   ]\d{3}){2,})(?![\w]| \d)", lambda m: re.sub(r"\D", "", m.group())),
    rule(r"(?<![\w.,])(\d{1,3}(?:[  ]\d{3})+)(?![\w]| \d)", lambda m: re.sub(r"\D", "", m.group())),
    rule(r"(?<![\w.,])\d{1,3}(?:['’]\d{3})+(?!\w)", lambda m: re.sub(r"\D", "", m.group())),
]
_SIGNS: list[Rule] = [
    rule(r"(?<![\w&#])#\s?(?=\d)", "number "),
]
_SYMBOLS: list[Rule] = [
    rule(r"\s?(<=|>=|!=|==|[≈≠≤≥])\s?", _symbol),
    rule(r"(?<=[\w.)%]) ?([=<>]) ?(?=[\w.$(-])", _symbol),
    rule(r"\s?([&±×÷∞√∑→⇒°%‰§©²³=])\s?", _symbol),
    rule(r"(?<![\w+])(\+)(?=\s?[\w.])|(?<=\w)\s(\+)\s(?=\w)", lambda m: " plus "),
    rule(r"(?<!\w)([€£$¥¢])(?!\w)", _symbol),
    rule(r"(?<=\w)\s@\s(?=\w)|(?<=\w)@(?=\w)", " at "),
    rule(r"(?<=\w)~(?=\w)", " "),
    rule(r"(?<!\w)~\s?(?=\d)", "about "),
    rule(r"[™®]", ""),
]
_RULES = [
    *_LINKS,
    *PHONES,
    *DATES,
    rule(r"(?<!\d)9/11(?![\d/])", "nine eleven"),
    *TIMES,
    *AMOUNTS,
    *SHAPES,
    *_SIGNS,
    *ABBREVIATIONS,
    *_SYMBOLS,
    *DIGITS,
    *STRETCHED,
]
_PLAIN = re.compile(r"[A-Z]?[a-z]*(?:(?:[,;]? |['’])[a-z]+)*[.!?]?")


_BRITISH_RULES = [dict(zip(DATES, BRITISH_DATES, strict=True)).get(rule, rule) for rule in _RULES]


def read(text: str, british: bool = False) -> str:
    """One line of English in words."""
    if _PLAIN.fullmatch(text) and not re.search(r"([a-z])\1\1| vs\b| aka\b", text):
        return text
    text = capitals(applied(_BRITISH_RULES if british else _RULES, text))
    return re.sub(r"\s+([,.;:!?])", r"\1", re.sub(r"[ \t]+", " ", text)).strip()
