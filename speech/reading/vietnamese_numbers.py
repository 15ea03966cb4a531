"""Vietnamese numbers as words."""

_ONES = "không một hai ba bốn năm sáu bảy tám chín".split()
_SCALES = ["", "nghìn", "triệu", "tỷ", "nghìn tỷ", "triệu tỷ"]
MAX_DIGITS = 18


def cardinal(number: int | str) -> str:
    """`105` as `một trăm linh năm`, `21` as `hai mươi mốt`; more than MAX_DIGITS digits one by one."""
    text = str(number)
    if len(text) > MAX_DIGITS:
        return digits(text)
    value = int(text)
    if not value:
        return "không"
    words: list[str] = []
    groups = [(value // 1000**scale) % 1000 for scale in range(len(_SCALES))]
    top = max(i for i, group in enumerate(groups) if group)
    for scale in range(top, -1, -1):
        if groups[scale]:
            words.append(f"{_below_1000(groups[scale], full=scale < top)} {_SCALES[scale]}".strip())
    return " ".join(words)


def _below_1000(value: int, full: bool) -> str:
    hundreds, tens, ones = value // 100, value // 10 % 10, value % 10
    words = [_ONES[hundreds], "trăm"] if hundreds or full else []
    if tens == 0 and ones and words:
        words.append("linh")
    elif tens == 1:
        words.append("mười")
    elif tens > 1:
        words += [_ONES[tens], "mươi"]
    if ones:
        after_ten = tens > 0
        words.append("lăm" if ones == 5 and after_ten else "mốt" if ones == 1 and tens > 1 else _ONES[ones])
    return " ".join(words)


def digits(text: str) -> str:
    """Every digit of `text` by itself."""
    return " ".join(_ONES[int(c)] for c in text if c.isdecimal())


def number(text: str) -> str:
    """`1.250.000`, `3,5`, `1.5`, `-3`, `007` in words: dots part thousands, a comma decimals; other dots are read as
    such."""
    text = text.replace("−", "-")
    if text[0] in "+-":
        return f"{'âm' if text[0] == '-' else 'cộng'} {number(text[1:])}"
    if text.count(",") > 1 or (text.count(",") == 1 and "." in text and text.index(",") < text.index(".")):
        text = text.replace(",", "\0").replace(".", ",").replace("\0", ".")  # written the English way
    whole, comma, fraction = text.partition(",")
    groups = whole.split(".")
    if len(groups) > 1 and all(len(g) == 3 for g in groups[1:]) and groups[0] not in ("", "0"):
        whole = "".join(groups)
    elif len(groups) > 1:
        return " chấm ".join(_decimals(g) if i else number(g or "0") for i, g in enumerate(groups))
    if len(whole) > 1 and whole[0] == "0" and not comma:
        return digits(whole)
    said = cardinal(whole or "0")
    return f"{said} phẩy {_decimals(fraction)}" if comma and fraction else said


def _decimals(text: str) -> str:
    return cardinal(text) if len(text) == 2 and text[0] != "0" else digits(text)
