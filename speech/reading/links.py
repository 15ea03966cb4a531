"""Links, mail addresses, file names and IP addresses as words."""

import re
from collections.abc import Callable

_TLD = (
    r"(?:com|org|net|edu|gov|io|dev|app|info|biz|ai|tv|me|co|uk|us|eu|de|fr|vn|jp|cn|ca|au|nz|in|ru|ch|at|nl|es|it"
    r"|se|no|fi|dk|pl|br|gg|xyz|tech|online|site|shop|blog|cloud|store|wiki|news)"
)
_PATH = r"[^\s<>\"'“”‘’()\[\]{}]*[^\s<>\"'“”‘’()\[\]{}.,;:!?…]"
MAIL = r"(?:mailto:)?(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?<![.-])"
URL = (
    rf"(?ia)\b(?:https?|ftps?|file|ssh|wss?)://{_PATH}|\bwww\.{_PATH}"
    rf"|(?<![\w@./-])(?:[a-z0-9][a-z0-9-]*\.)+{_TLD}(?::\d+)?(?![\w-]|\.\w)(?:/{_PATH}|/)?"
    rf"|(?<![\w@./-])localhost(?::\d+)(?:/{_PATH})?"
)
IP = r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5}|/\d{1,2})?(?![\w]|\.\d)"
_EXTENSIONS = (
    r"(?:txt|md|py|js|ts|json|yaml|yml|toml|xml|html?|css|csv|tsv|pdf|docx?|xlsx?|pptx?|zip|gz|tar|jpe?g|png|gif|svg"
    r"|mp3|mp4|wav|flac|ogg|mkv|avi|mov|srt|vtt|exe|dll|sh|bat|ps1|rb|rs|go|java|cpp|c|h|hpp|cs|php|sql|ini|cfg|conf"
    r"|log|lock|bak|tmp|iso|dmg|deb|rpm|apk|ipynb|wasm|vue|jsx|tsx)"
)
FILE = rf"(?a)(?<![\w./\\])(?:[~.]{{0,2}}/)?(?:[\w-]+[/\\])*[\w-]+(?:\.[\w-]+)*\.{_EXTENSIONS}(?![\w-]|\.\w)"
PATH = r"(?<![\w./:\\<])(?:~|\.{1,2})?(?:/[\w.-]*[A-Za-z_][\w-]*(?:\.\w+)*){2,}/?|\b[A-Za-z]:(?:\\[\w. -]*\w)+"
_PIECE = re.compile(r"[^\W\d_]+|\d+|\S")


def spoken(link: str, marks: dict[str, str], word: Callable[[str], str], digits: Callable[[str], str]) -> str:
    """Every part of a link in words: `marks` name its punctuation, `word` and `digits` read what stands between."""
    link = re.sub(r"^(?:https?|ftps?|file|ssh|wss?)://|^mailto:", "", link, flags=re.IGNORECASE)
    if len(link) > 1:
        link = link.removesuffix("/")
    words: list[str] = []
    for piece in _PIECE.findall(re.sub(r"%[0-9A-Fa-f]{2}", " ", link)):
        if piece in marks:
            words.append(marks[piece])
        elif piece.isdecimal():
            words.append(digits(piece))
        elif piece[0].isalpha():
            words.append(word(piece))
    return " ".join(words)
