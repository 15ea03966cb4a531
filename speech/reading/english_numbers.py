"""English numbers as words: cardinals, ordinals, years, decimals, digits."""

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    "- thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
).split()
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MAX_DIGITS = 18
"""Longer ones are read digit by digit: nobody hears what a quintillion is."""


def cardinal(number: int | str) -> str:
    """`1234` or `"1,234"` in words; more than MAX_DIGITS digits one by one."""
    text = str(number).replace(",", "")
    if len(text) > MAX_DIGITS:
        return digits(text)
    value = int(text)
    if value < 1000:
        return _below_1000(value)
    groups: list[str] = []
    for scale in range(len(_SCALES)):
        value, group = divmod(value, 1000)
        if group:
            groups.append(_below_1000(group) + (f" {_SCALES[scale]}" if scale else ""))
    return " ".join(reversed(groups))


def _below_1000(value: int) -> str:
    words = [_ONES[value // 100], "hundred"] if value >= 100 else []
    value %= 100
    if value >= 20:
        words.append(_TENS[value // 10])
        value %= 10
    if value or not words:
        words.append(_ONES[value])
    return " ".join(words)


def ordinal(number: int | str) -> str:
    """`22` as `twenty second`."""
    head, _, last = cardinal(number).rpartition(" ")
    said = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return f"{head} {said}".strip()


def year(number: int | str) -> str:
    """`1905` as `nineteen oh five`, `2007` as `two thousand seven`, `2025` as `twenty twenty five`."""
    high, low = divmod(int(number), 100)
    if high < 10 or high > 99 or (high % 10 == 0 and low < 10):
        return cardinal(number)
    return f"{cardinal(high)} " + ("hundred" if not low else f"oh {_ONES[low]}" if low < 10 else cardinal(low))


def digits(text: str, zero: str = "zero") -> str:
    """Every digit of `text` by itself."""
    return " ".join(zero if c == "0" else _ONES[int(c)] for c in text if c.isdecimal())


def number(text: str) -> str:
    """`1,234.5`, `.5`, `-3`, `007` in words."""
    text = text.replace("−", "-")
    if text[0] in "+-":
        return f"{'minus' if text[0] == '-' else 'plus'} {number(text[1:])}"
    whole, point, fraction = text.replace(",", "").partition(".")
    if len(whole) > 1 and whole[0] == "0" and not point:
        return digits(whole)
    words = cardinal(whole) if whole else ""
    return f"{words} point {digits(fraction)}".strip() if point and fraction else words


def pair(text: str) -> str:
    """Three or four digits as people say rooms and flights: `101` one oh one, `370` three seventy, `1080` ten
    eighty."""
    head, tail = text[:-2], text[-2:]
    if tail == "00":
        return cardinal(text)
    return f"{cardinal(head)} " + (f"oh {_ONES[int(tail)]}" if tail[0] == "0" else cardinal(tail))


def plural(word: str) -> str:
    """`ten` as `tens`, `twenty` as `twenties`, `inch` as `inches`."""
    head, _, last = word.rpartition(" ")
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "es" if last.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{head} {last}".strip()
