"""Vietnamese dates and hours as words: rules for vietnamese.py."""

import re

from speech.reading.rules import Match, Rule
from speech.reading.vietnamese_numbers import cardinal


def _before(m: Match, pattern: str) -> bool:
    return bool(re.search(rf"(?:{pattern})\s*$", m.string[: m.start()], re.IGNORECASE))


def _date(m: Match) -> str:
    day, month, y = m.groups()
    if not (1 <= int(day) <= 31 and 1 <= int(month) <= 12):
        return m.group()
    head = "" if _before(m, "ngày|mùng|mồng|hôm|đến ngày") else "ngày "
    return f"{head}{cardinal(int(day))} tháng {cardinal(int(month))} năm {cardinal(_full_year(y))}"


def _full_year(y: str) -> str:
    return y if len(y) == 4 else ("19" if int(y) > 40 else "20") + y


def _iso(m: Match) -> str:
    y, month, day = m.groups()
    head = "" if _before(m, "ngày|mùng|hôm") else "ngày "
    return f"{head}{cardinal(int(day))} tháng {cardinal(int(month))} năm {cardinal(y)}"


def _days(m: Match) -> str:
    """`5-10/9`: two days of a month."""
    first, last, month, y = m.groups()
    tail = f" năm {cardinal(y)}" if y else ""
    return f"{cardinal(int(first))} đến {cardinal(int(last))} tháng {cardinal(int(month))}{tail}"


def slashed(m: Match) -> str:
    """`2/9`: a day of a month where one is spoken of, else a fraction."""
    above, below = int(m.group(1)), int(m.group(2))
    dated = re.search(
        r"\b(?:ngày|mùng|mồng|hôm|sáng|trưa|chiều|tối|đêm|lễ|dịp|từ|đến|tết|nay|mai|qua|kỷ niệm)\b[^.!?]{0,16}$",
        m.string[: m.start()],
        re.IGNORECASE,
    )
    scored = re.match(r"\s(?:điểm|sao)\b", m.string[m.end() :])
    day = 1 <= above <= 31 and 1 <= below <= 12
    if day and (dated or above > 12 or (above >= below and below > 2)):
        head = "" if _before(m, "ngày|mùng|mồng|hôm") or dated else "ngày "
        return f"{head}{cardinal(above)} tháng {cardinal(below)}"
    part = not scored and (above < below <= 10 or below % 100 == 0)
    return f"{cardinal(m.group(1))} {'phần' if part else 'trên'} {cardinal(m.group(2))}"


def _month(m: Match) -> str:
    return f"{m.group(1)} {cardinal(int(m.group(2)))} năm {cardinal(m.group(3))}"


def _weekday(m: Match) -> str:
    names = {"2": "hai", "3": "ba", "4": "tư", "5": "năm", "6": "sáu", "7": "bảy", "1": "nhất"}
    return f"{m.group(1)} {names[m.group(2)]}"


def _time(m: Match) -> str:
    hour, minutes, seconds = m.group(1), m.group(2), m.group(3)
    if int(hour) > 24 or int(minutes or 0) > 59:
        return m.group()
    said = f"{cardinal(int(hour))} giờ"
    if minutes and (int(minutes) or seconds):
        said += f" {cardinal(int(minutes))}" + (" phút" if seconds else "")
    return said + (f" {cardinal(int(seconds))} giây" if seconds else "")


def _day(m: Match) -> str:
    """`ngày 15-6`; but `ngày 15-6 tháng 7` is two days."""
    day, month = int(m.group(2)), int(m.group(3))
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return m.group()
    return f"{m.group(1)} {cardinal(day)} tháng {cardinal(month)}"


DATES_AND_HOURS: list[Rule] = [
    Rule(r"(?<![\w/.,])(\d{1,2}(?:[hg:]\d{0,2}|/\d{1,2}(?:/\d{4})?))\s?[-–]\s?(?=\d{1,2}(?:[hg:]|/\d))", r"\1 đến "),
    Rule(r"(?<!\w)(?<!\d\s)km/h(?!\w)", "ki lô mét trên giờ"),
    Rule(r"\b([Qq]uý)\s([IVX]+)/(\d{4})", r"\1 \2 năm \3"),
    Rule(r"(?<!\w)T([2-7])\s?[-–]\s?T([2-7])(?!\w)", r"thứ \1 đến thứ \2"),
    Rule(r"(?<=\d)['’′](?!\w)", " phút"),
    Rule(r"(?<![\w/.,])(\d{1,2})\s?[-–]\s?(\d{1,2})/(\d{1,2})(?:/(\d{4}))?(?![\w/])", _days),
    Rule(r"(?<![\w/.,])(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?![\w/]|[.-]\d)", _date),
    Rule(r"(?<![\w/.,])(\d{4})-(\d{2})-(\d{2})(?!\w)", _iso),
    Rule(r"\b((?:[Nn]gày|[Mm]ùng|[Mm]ồng)) (\d{1,2})-(\d{1,2})(?![\w/-]|[.,]\d|\s(?:tháng|âm)\b)", _day),
    Rule(r"\b([Tt]háng|[Qq]uý)\s(\d{1,2})\s?[/-]\s?(\d{4})(?!\w)", _month),
    Rule(r"\b(\d{1,2})(?:[hg]|\sgiờ\s?)(\d{1,2})(?:\sphút|'|ph|p)?(?:\s?(\d{1,2})(?:s|\sgiây))(?!\w)", _time),
    Rule(r"(?<![\w:.,])(\d{1,2})[hg](\d{2})?()(?:ph|p|')?(?!\w)", _time),
    Rule(r"(?<![\w:.,])(\d{1,2}):(\d{2})(?::(\d{2}))?(?![\w:])", _time),
    Rule(r"(?<=giờ)\s?[-–]\s?(?=\w)|(?<=phút)\s?[-–]\s?(?=\w)|(?<=giờ \w{2})\s?[-–]\s?(?=\w+\sgiờ)", " đến "),
    Rule(r"\b((?:[Ll]ần\s)?[Tt]hứ)\s([1-7])(?![\w/-]|[.,]\d)", _weekday),
    Rule(r"(?<![\w.,])(\d)m(\d{2}|[04-9])(?!\w)", lambda m: f"{cardinal(m.group(1))} mét {cardinal(m.group(2))}"),
]
