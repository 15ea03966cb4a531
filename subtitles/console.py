"""Words for people. What a server, a file's name or a subtitle wrote cannot steer the terminal they are printed on."""

import sys
import unicodedata


def printable(text: object) -> str:
    """One line: controls (escape sequences begin with one), invisible characters and line ends are written out."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c
        for c in str(text)
    )


def say(*lines: object) -> None:
    for line in lines:
        print(printable(line), flush=True)


def warn(*lines: object) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr, flush=True)
