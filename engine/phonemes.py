"""Text read into phonemes, the tokens of the embedded model. Knows nothing of audio, models or HTTP.

Try: python -m engine.phonemes "Numbers like 42 are spoken."
"""

import functools
import re
import sys

from speech.text import clean, language_of

PAUSES = {c: "," for c in ",;:–—…，、；"} | {c: c for c in ".?!"} | {"。": ".", "！": "!", "？": "?"}
"""Punctuation that is heard, and the pause symbol it becomes."""

_PAUSE_AT = re.compile(r"([,;:.?!…]+(?=\s|$|[\"'”’)\]}])|[–—。，、！？；]+|\s-+\s)")
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|No|Jr|Sr)\.(?=\s)")
_UNSPOKEN = re.compile(r"[\"“”„«»‹›()\[\]{}<>|*_~^`#\\¡¿]+")
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")


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
