"""Chinese as it is said: numbers, dates, amounts and units in words, by WeText's grammars.

Loading them takes a quarter of a second: whoever speaks Chinese imports this when it starts."""

import re

from wetext import Normalizer

from speech.reading import links

_GRAMMARS = Normalizer(lang="zh", operator="tn")
_DIGITS = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
_MARKS = dict(zip("./:@-_#?=", "点 斜杠 冒号 艾特 杠 下划线 井号 问号 等于".split(), strict=True))
# What the grammars read as a number or a fraction: an address of four numbers, a link's port and date.
_LINK = re.compile("|".join((links.MAIL, links.URL.removeprefix("(?ia)"), links.IP)), re.IGNORECASE | re.ASCII)
_MANY_DIGITS = re.compile(r"\d{20,}")
"""No number has a name so long; the grammars would take a millisecond for each digit."""
_LEFT = re.compile(r"\d")


_PART = re.compile(r".{1,100}(?<![0-9A-Za-z.,:/$￥-])(?![0-9A-Za-z.,:/%年月日号时分])|.{1,100}", re.DOTALL)


def parts(sentence: str) -> list[str]:
    """At most 100 characters each, cut outside of numbers where there is such a place. At least one."""
    return _PART.findall(sentence) or [sentence]


def _digits(number: str) -> str:
    return "".join(_DIGITS[str(int(digit))] for digit in number)


def _link(found: re.Match[str]) -> str:
    return f" {links.spoken(found.group(), _MARKS, str, _digits)} "


def read(sentence: str) -> str:
    """No digit is left: those that no grammar reads are said one by one."""
    sentence = _MANY_DIGITS.sub(lambda found: _digits(found.group()), _LINK.sub(_link, sentence))
    read_aloud: str = _GRAMMARS.normalize(sentence)
    return _LEFT.sub(lambda found: _digits(found.group()), read_aloud)
