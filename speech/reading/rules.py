"""What a rule is: a pattern, and the words that take the place of what it finds."""

import re
from collections.abc import Callable, Iterable

Match = re.Match[str]
Rule = tuple[re.Pattern[str], str | Callable[[Match], str]]


def rule(pattern: str, by: str | Callable[[Match], str], flags: int = 0) -> Rule:
    return re.compile(pattern, flags), by


def alternatives(names: Iterable[str]) -> str:
    """A pattern for any of the names, the longest first."""
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: -len(name)))


def applied(rules: Iterable[Rule], text: str) -> str:
    for pattern, by in rules:
        text = pattern.sub(by, text)
    return text


def table(lines: str) -> dict[str, str]:
    """`a b: words` a line: every name left of the colon is said as the words right of it."""
    return {
        name: words.strip()
        for line in lines.strip().splitlines()
        for names, _, words in [line.partition(":")]
        for name in names.split()
    }
