"""Markdown, HTML, SSML and pictures taken off a text; what they mean for speech (pauses, line ends, spelling) is
kept."""

import html
import re
import unicodedata
from collections.abc import Callable

MAX_PAUSE_SECONDS = 10.0
_PAUSE = "\0"
"""Stands around a pause's seconds while a text is worked on: no request has it."""
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.0}
_TAG = re.compile(
    r"<(/?)([A-Za-z][\w:-]*)((?:\s+[\w:.-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))?)*)\s*(/?)>"
    r"|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE[^>]*>",
    re.DOTALL,
)
_BLOCKS = set(
    "p s div h1 h2 h3 h4 h5 h6 li ul ol table tr blockquote section article header footer title pre hr speak body head "
    "html dl dt dd figure figcaption nav main".split()
)
_INLINE = set(
    "a abbr b big br bdi bdo cite code del dfn em font i img input ins kbd label mark q rp rt ruby samp script small "
    "span strike strong style sub sup td th thead tbody tt u var video audio iframe svg button form option select wbr "
    "break say-as phoneme prosody emphasis voice lang lexicon meta link w token desc par seq media details summary c v "
    "center time data object source picture".split()
)
_SILENT_CONTENT = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_SUB = re.compile(r"<sub\s[^<>]*alias\s*=\s*(?:\"([^\"]*)\"|'([^']*)')[^<>]*>.*?</sub\s*>", re.DOTALL | re.IGNORECASE)
_SAY_AS = re.compile(r"<say-as\s([^<>]*)>([^<>]*)</say-as\s*>", re.IGNORECASE)
_ATTRIBUTE = r"\b{}\s*=\s*[\"']?\s*([\w.+-]+)"
_BRACKET_PAUSE = re.compile(r"\[(?:pause|break)(?:[:\s=]+(\d+(?:\.\d+)?|\.\d+)\s*(ms|s)?)?\]", re.IGNORECASE)
_PICTURES = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\u25a0-\u25ff\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f\u200d]+"
)
_STYLED = re.compile(
    "[\u00bc-\u00be\u2100-\u214f\u2150-\u218f\u2460-\u24ff\u3300-\u33ff\ufb00-\ufb06\uff01-\uff5e\uffe0-\uffe6\U0001d400-\U0001d7ff]"
)
"""Full-width and mathematical letters, fractions, Roman numerals, circled numbers, ligatures, squared units."""
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile("[⁻⁺]?[⁰¹²³⁴-⁹]+")
_EMOTICON = re.compile(r"(?<!\S)(?:[:;][-'^]?[)(DPpOo3|\\/*\]\[]|=[-']?[)(DPp]|8-\)|[xX]D|\^_?\^|[Tt]_[Tt]|-_-)(?!\S)")
_SENTENCE_MARK = re.compile(r"[.!?…:;,。！？，；：—–\0-][\"'”’)\]]*$")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:<[^<>]*>|(?:[^()\s]|\([^()]*\))*)(?:\s+(?:\"[^\"]*\"|'[^']*'))?\)")
_EMPHASIS = [
    re.compile(r"(?<![\\*])(\*{1,3})(?=[^\s*])(.+?)(?<=[^\s*\\])\1(?!\*)"),
    re.compile(r"(?<![\w\\])(_{1,3})(?=[^\s_])(.+?)(?<=[^\s_\\])\1(?!\w)"),
    re.compile(r"(?<!~)(~~)(?=\S)(.+?)(?<=\S)~~"),
    re.compile(r"(`{1,3})(?=\S)([^`]+?)(?<=\S)\1(?!`)"),
]
WRAPPED_AT = 50
"""A line so long whose next one begins with a small letter was wrapped, not ended."""


def segments(text: str) -> list[tuple[float, str]]:
    """(seconds of silence before, plain text) of every part between pauses, markup off; a text without pauses is
    one."""
    text = text.replace(_PAUSE, "")
    parts = _lines(_entities(_tags(text))).split(_PAUSE)
    found: list[tuple[float, str]] = []
    pause = 0.0
    for i, part in enumerate(parts):
        if i % 2:
            pause += float(part)
        elif part.strip() or i == len(parts) - 1:
            found.append((pause, part.strip()))
            pause = 0.0
    return found


def _pause(seconds: float) -> str:
    return f"{_PAUSE}{min(seconds, MAX_PAUSE_SECONDS):.6f}{_PAUSE}"


def _seconds(amount: str | None, unit: str | None) -> float:
    return 0.5 if amount is None else float(amount) / (1000 if (unit or "").lower() == "ms" else 1)


def _tags(text: str) -> str:
    text = _BRACKET_PAUSE.sub(lambda m: _pause(_seconds(m.group(1), m.group(2))), text)
    if "<" not in text:
        return text
    text = _SILENT_CONTENT.sub(" ", text)
    text = _SUB.sub(lambda m: m.group(1) or m.group(2) or "", text)
    text = _SAY_AS.sub(lambda m: _say_as(m.group(1), m.group(2)), text)
    return _TAG.sub(_tag, text)


def _tag(m: re.Match[str]) -> str:
    if m.group(2) is None:
        return " "
    name = m.group(2).lower()
    if name == "break":
        time = re.search(r"\btime\s*=\s*[\"']?\s*\+?(\d+(?:\.\d+)?|\.\d+)\s*(ms|s)\b", m.group(3), re.IGNORECASE)
        strength = re.search(_ATTRIBUTE.format("strength"), m.group(3))
        if time:
            return _pause(_seconds(time.group(1), time.group(2)))
        return _pause(_STRENGTHS.get(strength.group(1), 0.4) if strength else 0.4)
    if name in _BLOCKS:
        return "\n\n"
    if name == "br":
        return "\n"
    if name in ("td", "th"):
        return " "
    if name in _INLINE or ":" in name:
        return ""
    return f" {m.group(2)}{m.group(3)} " if not m.group(1) else f" {m.group(2)} "


def _say_as(attributes: str, said: str) -> str:
    kind = re.search(_ATTRIBUTE.format("interpret-as"), attributes)
    match kind.group(1).lower() if kind else "":
        case "characters" | "spell-out" | "verbatim":
            return " ".join(c.upper() for c in said if c.isalnum())
        case "digits" | "telephone":
            return re.sub(r"(?<=\d)(?=\d)", " ", said)
        case "ordinal" if said.strip().isascii() and said.strip().isdecimal():
            number = said.strip()
            tail = "th" if number[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
            return number + tail
    return said


def _entities(text: str) -> str:
    text = re.sub(r"&(?:[A-Za-z]\w{1,30}|#\d{1,7}|#x[0-9A-Fa-f]{1,6});", lambda m: html.unescape(m.group()), text)
    return text.replace("\xa0", " ") if "\xa0" in text and not re.search(r"\d\xa0\d", text) else text


def _lines(text: str) -> str:
    """Lines joined to one, a pause where a line ends without a mark; headings, lists, quotes, tables without their
    signs."""
    text = re.sub(r"\r\n?|[\u2028\u2029\x85\x0b\x0c]", "\n", text)
    text = re.sub(r"(?<=[^\W\d_A-Z])[-\u2010]\n[ \t]*(?=[^\W\d_A-Z])", "", text)
    said = ""
    last, ended = "", False
    for raw in text.split("\n"):
        line, alone = _block(raw.strip())
        if not line:
            ended = ended or not raw.strip() or alone
            continue
        line = _inline(line)
        if said:
            said += _join(last, line, ended or alone)
        said += line
        last, ended = line, alone
    return said


def _join(last: str, line: str, ended: bool) -> str:
    if _SENTENCE_MARK.search(last.rstrip()) or not last.strip():
        return " "
    if ended:
        return ". "
    return " " if len(last) >= WRAPPED_AT and line[:1].islower() else ", "


def stands_alone(line: str) -> bool:
    """Whether a line ends as a heading or an item of a list does."""
    return _block(line.strip())[1]


def _block(line: str) -> tuple[str, bool]:
    """A line without its Markdown sign, and whether it stands alone as a heading or an item does."""
    if re.fullmatch(r"(?:[-*_=]\s*){3,}|(?:```|~~~)\s*[\w+#.-]*|\|?(?:\s*:?-{3,}:?\s*\|)+(?:\s*:?-{3,}:?\s*)?", line):
        return "", True
    line = re.sub(r"^(?:>(?![$£€]?\d)\s?)+", "", line)
    stripped = re.sub(r"^(?:#{1,6}\s+|[-*+•‣◦▪–—]\s+(?:\[[ xX]\]\s+)?(?!\d+\s*[=+*/x-]))", "", line)
    if stripped != line:
        return re.sub(r"\s+#+$", "", stripped), True
    if re.match(r"^\|.*\|$", line):
        return re.sub(r"\s*\|\s*", ", ", line.strip("| ")), True
    numbered = re.match(r"^(\d{1,3})[.)]\s+(?=\S)", line)
    if numbered and line[numbered.end() :]:
        return f"{numbered.group(1)}. {line[numbered.end() :]}", True
    return line, False


def _inline(line: str) -> str:
    line = _LINK.sub(r"\1", line)
    line = re.sub(r"<((?:https?|mailto):[^\s<>]+|[^\s<>@]+@[^\s<>@]+)>", r"\1", line)
    for pattern in _EMPHASIS:
        line = pattern.sub(lambda m: m.group(2), line)
    line = re.sub(r"\\([*_`~#\[\]()])", r"\1", line)
    line = line.translate(_SUBSCRIPTS)
    line = _EMOTICON.sub(" ", line)
    line = _SUPERSCRIPT.sub(lambda m: m.group() if m.group() in "²³" else "^" + m.group().translate(_RAISED), line)
    line = re.sub(r"(?![0-9])\d", lambda m: str(unicodedata.decimal(m.group())), line)
    line = _STYLED.sub(_styled, line)
    return re.sub(r"[ \t]+", " ", _PICTURES.sub(" ", line)).replace(" !", "!").strip()


def _styled(m: re.Match[str]) -> str:
    plain = unicodedata.normalize("NFKC", m.group())
    if m.group() in "™℠":
        return ""
    before = m.string[m.start() - 1 : m.start()]
    return (" " if "⁄" in plain and before.isdigit() else "") + plain.replace("⁄", "/")


Reader = Callable[[str], str]
