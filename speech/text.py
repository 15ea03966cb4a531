"""Text cleaned, cut into chunks, and read into phonemes. Knows nothing of audio, models or HTTP.

Try: python -m speech.text "Numbers like 42 are spoken."
"""

import functools
import re
import sys
import unicodedata

FIRST_CHUNK_BYTES = 10, 48
"""The first chunk is the first clause of at least 10 bytes, and cut at a space past 48: its length is the wait for first audio."""
SECOND_CHUNK_BYTES, CHUNK_GROWTH = 72, 3.0
"""A chunk is made while the one before it plays: it may be so many times that one's size, and always 72 bytes (about 4 s)."""
PAUSES = {c: "," for c in ",;:–—…，、；"} | {c: c for c in ".?!"} | {"。": ".", "！": "!", "？": "?"}
"""Punctuation that is heard, and the pause symbol it becomes."""

_PAUSE_AT = re.compile(r"([,;:.?!…]+(?=\s|$|[\"'”’)\]}])|[–—。，、！？；]+|\s-+\s)")
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.(?=\s)")
_TITLE_END = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.$")
_UNSPOKEN = re.compile(r"[\"“”„«»‹›()\[\]{}<>|*_~^`#\\¡¿]+")
_VIETNAMESE = re.compile("[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉĩịọỏốồổỗộớờởỡợụủũứừửữựỳỵỷỹ]", re.IGNORECASE)
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")
_CLAUSE_END = re.compile(r"(?<=[,;:–—])\s+|(?<=[，、；：])")


def clean(text: str) -> str:
    """NFC, without invisible format characters, one space for any run of white space."""
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFC", text).split())


def unspeakable(text: str) -> str | None:
    """The first character that no text has: a control that is not white space, or half of a surrogate pair."""
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") and not c.isspace()), None)


def language_of(text: str, otherwise: str = "en-us") -> str:
    """`vi` when a letter that only Vietnamese has is in the text, else `otherwise`."""
    return "vi" if _VIETNAMESE.search(text) else otherwise


def size(text: str) -> int:
    """Bytes in UTF-8: F5's measure of how long a text takes to say."""
    return len(text.encode())


def chunks_of(text: str, limit: int) -> list[str]:
    """Cleaned text in pieces of at most `limit` bytes, cut after sentences where that fits, else clauses, words, or anywhere.

    The first piece is short and the next ones grow, so that sound starts early and does not starve. At least one piece."""
    rest = clean(text)
    pieces: list[str] = []
    least, room = FIRST_CHUNK_BYTES
    while _exceeds(rest, room := min(room, limit)) or (not pieces and _exceeds(rest, least)):
        at = _cut(rest, room, first=least if not pieces else None)
        pieces.append(rest[:at].strip())
        rest = rest[at:].strip()
        room = max(SECOND_CHUNK_BYTES, int(CHUNK_GROWTH * size(pieces[-1])))
    return [*pieces, rest] if rest or not pieces else pieces


def _exceeds(text: str, room: int) -> bool:
    return size(text[: room + 1]) > room


def _cut(text: str, room: int, first: int | None) -> int:
    """Where to cut: the last sentence end, clause end or space within `room` bytes; or the first end past `first` bytes."""
    start = text[: room + 1].encode()  # no character has less than a byte
    head, fits = start[: room + 1].decode(errors="ignore"), start[:room].decode(errors="ignore")
    sentences = [m.end() for m in _SENTENCE_END.finditer(head) if not _TITLE_END.search(head[: m.start()])]
    clauses = [m.end() for m in _CLAUSE_END.finditer(head)]
    if first is not None:
        return next((at for at in sorted(sentences + clauses) if size(text[:at].strip()) >= first), 0) or _space(
            text, head, fits
        )
    for ends, least in (
        (sentences, len(fits) // 3),
        (clauses, len(fits) // 3),
        (sentences + clauses, FIRST_CHUNK_BYTES[0]),
    ):
        if ends and max(ends) >= least:
            return max(ends)
    return _space(text, head, fits)


def _space(text: str, head: str, fits: str) -> int:
    if fits == text:
        return len(text)
    at = head.rfind(" ")
    return at if at > 0 else max(1, len(fits))


@functools.cache
def _espeak(language: str):
    # Imported here: checkpoints with other tokenizers need no espeak.
    import espeakng_loader
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    wrapper = EspeakWrapper()
    wrapper.set_voice(language)
    return wrapper


def phonemes(text: str, language: str) -> list[str]:
    """espeak's IPA symbols with primary stress kept on the vowel, and a pause symbol for each heard punctuation.

    Vietnamese vowels carry their tone digit instead of stress. An empty list when nothing can be spoken."""
    symbols: list[str] = []
    for part in _PAUSE_AT.split(_TITLE.sub(r"\1", clean(text))):
        pause = PAUSES.get(part.strip()[:1]) or ("," if part and not part.strip("- ") else None)
        if pause:
            if symbols and symbols[-1] not in ",.?!":
                symbols.append(pause)
            continue
        spoken = _UNSPOKEN.sub(" ", part).strip()
        if not spoken:
            continue
        ipa = _LANGUAGE_SWITCH.sub("", _espeak(language).text_to_phonemes(spoken))
        for symbol in re.split(r"[_\s]+", ipa):
            symbol = symbol.replace("ˌ", "").replace("ˈ", "" if language == "vi" else "ˈ")
            if symbol.strip("ˈ"):
                symbols.append(symbol)
    return symbols


if __name__ == "__main__":
    print(" ".join(phonemes(sys.argv[1], language_of(sys.argv[1]))))
