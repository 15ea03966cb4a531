"""What a rule is: a pattern, and the words that take the place of what it finds."""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

Match = re.Match[str]


@dataclass(frozen=True)
class Rule:
    """Compiled with the first text that it is tried on: a language's hundred patterns at once take as long as a solver
    step."""

    pattern: str
    by: str | Callable[[Match], str]
    flags: int = 0
    numeric: bool = False
    """Finds nothing where there is no digit."""

    @functools.cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self.flags)


def numeric(*rules: Rule) -> list[Rule]:
    return [replace(rule, numeric=True) for rule in rules]


def alternatives(names: Iterable[str]) -> str:
    """A pattern for any of the names, the longest first."""
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: -len(name)))


def applied(rules: Iterable[Rule], text: str) -> str:
    has_digit = re.search(r"\d", text) is not None
    for rule in rules:
        if has_digit or not rule.numeric:
            text = rule.compiled.sub(rule.by, text)
    return text


def table(lines: str) -> dict[str, str]:
    """`a b: words` a line: every name left of the colon is said as the words right of it."""
    return {
        name: words.strip()
        for line in lines.strip().splitlines()
        for names, _, words in [line.partition(":")]
        for name in names.split()
    }
