"""Vietnamese as it is written, in the words that are said. One function, `read`; its rules are tried in the order they
stand."""

import re

from speech.reading import links
from speech.reading import vietnamese_words as words
from speech.reading.english_letters import roman
from speech.reading.language import is_syllable
from speech.reading.rules import Match, Rule, alternatives, applied, numeric
from speech.reading.vietnamese_dates import DATES_AND_HOURS, slashed
from speech.reading.vietnamese_numbers import cardinal, digits, number

_NUM = r"(?:\d+(?:[.,]\d+)*)"
_START = r"(?<![\w.,])"
_TO = r"\s?[-–—]\s?"
_NUMBERED = re.compile(
    r"\b(?:tầng|phòng|lớp|số|nhà|căn|hộ|lô|toà|tòa|khu|cửa|cổng|ghế|hàng|đường|tuyến|xe|mục|khoản|hẻm|ngõ|block)\s$",
    re.IGNORECASE,
)
_MARKS = {
    ".": "chấm",
    "/": "xuyệt",
    "\\": "xuyệt ngược",
    "-": "gạch ngang",
    "_": "gạch dưới",
    ":": "hai chấm",
    "?": "hỏi",
    "=": "bằng",
    "&": "và",
    "#": "thăng",
    "@": "a còng",
    "~": "ngã",
    "+": "cộng",
    "%": "phần trăm",
}


def _spell(letters: str) -> str:
    return " ".join(words.LETTERS.get(c, c) for c in letters.lower())


def _link_word(word: str) -> str:
    return word if re.search("[aeiouy]", word, re.IGNORECASE) and len(word) > 2 else _spell(word)


def _link_digits(text: str) -> str:
    return digits(text) if text[0] == "0" or len(text) > 3 else cardinal(text)


def _link(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, _link_digits)


def _ip(m: Match) -> str:
    return links.spoken(m.group(), _MARKS, _link_word, digits)


def _phone(m: Match) -> str:
    return ("cộng " if "+" in m.group() else "") + digits(m.group())


def _money(m: Match) -> str:
    low, scale_low, high, scale, name, over = m.groups()
    said = f"{number(low)}{' ' + words.SCALES[scale_low] if scale_low else ''}"
    if high:
        said += f" đến {number(high)}" + (f" {words.SCALES[scale]}" if scale else "")
    return f"{said} {words.MONEY[name]}" + (
        f" trên {words.UNITS.get(over) or words.PER.get(over, over)}" if over else ""
    )


def _money_before(m: Match) -> str:
    name, low, high, scale = m.groups()
    said = number(low) + (f" đến {number(high)}" if high else "") + (f" {words.SCALES[scale]}" if scale else "")
    return f"{said} {words.MONEY[name]}"


def _scaled(m: Match) -> str:
    """`50k`, `5tr`, `1tr5`."""
    low, high, scale, rest = m.groups()
    if scale == "K" and low in ("2", "4", "8"):  # pictures
        return f"{number(low)} ca"
    said = f"{number(low)} đến {number(high)}" if high else number(low)
    return f"{said} {words.SCALES[scale]}" + (f" {cardinal(rest)}" if rest else "")


def _unit(m: Match) -> str:
    low, high, unit, over = m.groups()
    if unit == "A" and _NUMBERED.search(m.string[: m.start()]):  # `tầng 12A`, no amperes
        return f"{cardinal(low)} a"
    name = words.UNITS[unit] + (f" trên {words.UNITS.get(over) or words.PER.get(over, over)}" if over else "")
    return (f"{number(low)} đến {number(high)}" if high else number(low)) + f" {name}"


def _degrees(m: Match) -> str:
    low, high, scale = m.groups()
    name = {"C": " xê", "F": " ép", "K": " ca"}.get((scale or "").upper(), "")
    return (f"{number(low)} đến {number(high)}" if high else number(low)) + f" độ{name}"


def _percent(m: Match) -> str:
    low, high = m.groups()
    return (f"{number(low)} đến {number(high)}" if high else number(low)) + " phần trăm"


def _range(m: Match) -> str:
    low, high = m.groups()
    between = re.search(
        r"\b(?:tỷ số|tỉ số|tỷ lệ|tỉ lệ|thắng|thua|hòa|hoà|dẫn|số)\b[^.,!?\d]{0,24}$",
        m.string[: m.start()],
        re.IGNORECASE,
    )
    return f"{number(low)} {number(high)}" if between else f"{number(low)} đến {number(high)}"


def _arithmetic(m: Match) -> str:
    said = {
        "+": "cộng",
        "-": "trừ",
        "−": "trừ",
        "–": "trừ",
        "x": "nhân",
        "X": "nhân",
        "*": "nhân",
        "×": "nhân",
        ":": "chia",
        "/": "chia",
        "÷": "chia",
        "=": "bằng",
    }
    return re.sub(r"\s*(?<=[\w)\s])([+−–xX*×/÷:=-])\s*(?=[\w(\s])", lambda s: f" {said[s.group(1)]} ", m.group())


def _roman(m: Match) -> str:
    return f"{m.group(1)}{cardinal(roman(m.group(2)))}" if m.group(2) else m.group()


def _abbreviation(m: Match) -> str:
    return words.ABBREVIATIONS[m.group(1)] + " "


def _capitals(text: str) -> str:
    found = re.findall(r"[^\W\d_]{2,}", text)
    shouted = len(found) > 1 and all(w.isupper() for w in found)

    def said(m: Match) -> str:
        word = m.group()
        if shouted and len(word) == 1 and not word.isascii():
            return word.lower()
        if len(word) < 2 or not word.isupper():
            return word
        if word in words.WORD_ACRONYMS:
            return word.lower()
        if is_syllable(word) and (shouted or len(word) > 3 or not word.isascii()):
            return word.lower()
        wordlike = len(word) > 4 and re.search("[aeiouy]", word, re.IGNORECASE)
        return word.lower() if wordlike else _spell(word)

    return re.sub(r"(?<![^\W\d_])[^\W\d_]+(?![^\W\d_])", said, text)


_MONEY = alternatives(words.MONEY)
_SCALE = r"(k|K|tr|triệu|tỷ|tỉ|nghìn|ngàn|trăm|M|B)(?!\w)"
_OVER = alternatives([*words.UNITS, *words.PER])
_ROMAN = r"((?=[IVXLC])(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))"


_LINKS: list[Rule] = [
    Rule(links.MAIL, _link),
    Rule(links.URL, _link),
    Rule(links.IP, _ip),
    Rule(links.FILE, _link),
    Rule(r"(?<![\w&])#(?=[^\W\d_])", "thăng "),
    Rule(r"(?<![\w.])@(?=[A-Za-z_])", "a còng "),
    Rule(r"(?<![\w.,])(\d{1,3}(?:[   ]\d{3})+)(?=\s(?:đồng|người|đ)\b|₫)", lambda m: re.sub(r"\D", "", m.group())),
]
_PHONES = numeric(
    Rule(r"(?<![\w.(+])(?:\+84|0)(?:[\s.-]?\(?\d\)?){8,10}(?![\w]|[.,]\d)", _phone),
    Rule(r"(?<!\w)\(0\d{1,3}\)[\s.-]?\d{3,4}[\s.-]?\d{3,4}(?!\w)", _phone),
    Rule(r"(?<![\w.])(?:1800|1900)[\s.-]?(?:\d[\s.-]?){3,5}\d(?!\w)", _phone),
    Rule(r"(?<=[Gg]ọi )\d{3}(?!\w|[.,]\d)", lambda m: digits(m.group())),
)
_AMOUNTS = numeric(
    Rule(
        rf"{_START}({_NUM})\s?(?:{_SCALE}\s?)?(?:{_TO}({_NUM})\s?(?:{_SCALE}\s?)?)?({_MONEY})(?:/({_OVER}))?(?!\w)",
        _money,
    ),
    Rule(rf"(?<!\w)(US\$|[$€£¥₩₫])\s?({_NUM})(?:{_TO}({_NUM}))?(?:\s?{_SCALE})?", _money_before),
    Rule(rf"{_START}({_NUM})(?:{_TO}({_NUM}))?(k|K|tr|tỷ|tỉ)(\d+)?(?!\w)", _scaled),
)
_MEASURES: list[Rule] = [
    Rule(rf"(?<![\w.,])([-−]?{_NUM})(?:{_TO}({_NUM}))?\s?°\s?([CFK](?!\w))?", _degrees),
    Rule(rf"(?<![\w.,])([-−]?{_NUM})%?(?:{_TO}({_NUM}))?\s?%", _percent),
    Rule(r"(?<=độ )C(?!\w)", "xê"),
    Rule(r"(?<=độ )F(?!\w)", "ép"),
    Rule(rf"(?<![\w.,])([-−]?{_NUM})(?:{_TO}({_NUM}))?\s?({alternatives(words.UNITS)})(?:/({_OVER}))?(?!\w)", _unit),
    Rule(rf"(?<=\w)/(?=(?:{alternatives(words.PER)})\b)", " trên "),
]
_ABBREVIATIONS: list[Rule] = [
    Rule(r"(?<=[Cc]ông ty )CP\b", "cổ phần"),
    Rule(
        rf"(?<![\w.])({'|'.join(words.BEFORE_NAME)})\.(?=\s?[A-ZĐÀ-Ỹ0-9])",
        lambda m: words.BEFORE_NAME[m.group(1)] + " ",
    ),
    Rule(r"\b(?:T[Pp])\.?\s?HCM\b|\bTPHCM\b", "thành phố Hồ Chí Minh"),
    Rule(
        rf"(?<![\w.])({alternatives(words.DOTTED)})(?!\w(?<![A-ZĐ0-9\W]))",
        lambda m: words.DOTTED[m.group(1)] + " ",
    ),
    Rule(r"\b[Tt][Pp]\s(?=[A-ZĐ][^\W\d_]*[a-zà-ỹ])", "thành phố "),
    Rule(r"\bQ(?=\d)", "quận "),
    Rule(rf"(?<![\w])({alternatives(words.ABBREVIATIONS)})(?:\.(?=\s?\S)|(?![^\W\d_]))", _abbreviation),
]
_ROMAN_NUMERALS: list[Rule] = [
    Rule(rf"\b((?i:(?:{words.ROMAN_AFTER})\s(?:thứ\s)?)){_ROMAN}(?!\w)", _roman),
    Rule(r"\b([^\W\d_]+\s)((?:X{1,2}(?:IX|IV|V?I{0,3})|IX|IV|V?I{2,3}|VI)|XX)(?!\w)", _roman),
]
_NUMBERS_WITH_A_SHAPE: list[Rule] = [
    Rule(
        r"(?<![\w.])[vV]\.?(\d+(?:\.\d+)+)(?!\w)",
        lambda m: "phiên bản " + " chấm ".join(cardinal(n) for n in m.group(1).split(".")),
    ),
    Rule(
        rf"{_START}(?:{_NUM}|[a-z])(?:\s?[+×÷*]\s?|\s[−–:-]\s|\s?x\s?(?=\d))(?:{_NUM}|[a-z])\b"
        rf"(?:\s?[+×÷*=]\s?(?:{_NUM}|[a-z])\b|\s[−–-]\s(?:{_NUM}|[a-z])\b)+|"
        rf"{_START}(?:{_NUM}|[a-z]\b)(?:\s?[+×÷*]\s?|\s?x\s?(?=\d))(?:{_NUM}|[a-z]\b)|"
        rf"{_START}(?:{_NUM}|[a-z])\s?[−–:-]\s?(?:{_NUM}|[a-z])\s?=\s?(?=\w)",
        _arithmetic,
    ),
    Rule(r"(?<![\w/.,])(\d{1,3})/(\d{1,4})(?![\w/]|[.,]\d)", slashed),
    Rule(rf"{_START}({_NUM}){_TO}({_NUM})(?![\w]|[-–.,/]\d)", _range),
    Rule(r"(?<=\d)\s:\s(?=\d)|(?<=\d):(?=\d)", " "),
    Rule(r"(?<=\d)/(?=[A-ZĐ\d])|(?<=[A-ZĐ])/(?=[A-ZĐ])", " trên "),
    Rule(r"(?<![\w])~\s?(?=\d)", "khoảng "),
]
_SIGNS: list[Rule] = [
    Rule(r"\s?(<=|>=|[≈≠≤≥])\s?", lambda m: f" {words.SYMBOLS[m.group(1)]} "),
    Rule(r"(?<=[\w.)%]) ?([=<>]) ?(?=[\w.$(-])", lambda m: f" {words.SYMBOLS[m.group(1)]} "),
    Rule(r"\s?([&±×÷∞√→°%‰§²³=+])\s?", lambda m: f" {words.SYMBOLS.get(m.group(1), '')} "),
    Rule(r"(?<!\w)([€£$₫])(?!\w)", lambda m: f" {words.SYMBOLS[m.group(1)]} "),
    Rule(r"(?<=\w)@(?=\w)|\s@\s", " a còng "),
]
_LETTERS_AND_DIGITS: list[Rule] = [
    Rule(r"\s?\^\s?(?=-?\d)", " mũ "),
    Rule(r"(?<=[a-zà-ỹ])/(?=[a-zà-ỹ])", " "),
    Rule(r"([^\W\d_])\1{2,}", r"\1"),
    Rule(r"(?<=[^\W\d_])-(?=\d)|(?<=\d)-(?=[^\W\d_])", " "),
    Rule(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " "),
    Rule(rf"(?:(?<=\s)|^|(?<=[(\[\"'“‘]))[-−](?={_NUM})", "âm "),
    Rule(_NUM, lambda m: f" {number(m.group())} "),
    Rule(
        r"(?<![^\W\d_])([bcdđfghjklmnpqrstvwxzBCDĐFGHJKLMNPQRSTVWXZ])(?![^\W\d_]|['’.])",
        lambda m: _spell(m.group(1)),
    ),
]
_RULES = [
    *_LINKS,
    *_PHONES,
    *DATES_AND_HOURS,
    *_AMOUNTS,
    *_MEASURES,
    *_ABBREVIATIONS,
    *_ROMAN_NUMERALS,
    *_NUMBERS_WITH_A_SHAPE,
    *_SIGNS,
    *_LETTERS_AND_DIGITS,
]


def read(text: str) -> str:
    """One line of Vietnamese in words."""
    text = _capitals(applied(_RULES, text))
    return re.sub(r"\s+([,.;:!?])", r"\1", re.sub(r"[ \t]+", " ", text)).strip()
