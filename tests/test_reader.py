"""The readers' one promise: whatever the two libraries write becomes symbols that the model knows, and is heard."""

import importlib.resources
import json
import re
import sys
import threading
import unicodedata
from pathlib import Path
from typing import Any

import pytest

import tts_core
from engine import readers
from engine.checkpoint import read_vocab
from engine.durations import DurationPredictor
from engine.phonemes import phonemes
from engine.symbols import NOT_HEARD, PAUSES, VOCABULARY, WORD_END, english_symbols, placed, vietnamese_symbols
from engine.tokenizers import PhonemeTokenizer
from engine.weights import ModelUnavailable

HUNSPELL = Path("/usr/share/hunspell/vi_VN.dic")
HEARD = frozenset(VOCABULARY) - NOT_HEARD
WRITTEN = HEARD.union(PAUSES, [WORD_END])
IPA = "aɐɑɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢ"
UNHEARD = "ᵝʰʲːˈˌ"
"""Letters to Unicode, that say how another one sounds."""


def hibari(name: str) -> Any:
    return json.loads((importlib.resources.files("hibari") / "assets" / name).read_text(encoding="utf-8"))


def test_every_letter_of_the_english_reader_is_heard() -> None:
    letters = set(hibari("vocab.json")) | {c for c in hibari("oov.json")["out"]} | set(IPA)
    for letter in sorted(letters):
        symbols = english_symbols(f"b{letter}d")
        assert WRITTEN.issuperset(symbols), (letter, symbols)
        if letter.isalpha() and letter not in UNHEARD:
            assert len(symbols) >= 3, f"{letter!r} is silence between b and d: {symbols}"


def test_every_letter_there_is_becomes_a_known_symbol() -> None:
    letters = "".join(c for c in map(chr, range(0x20, 0x30000)) if unicodedata.category(c) in ("Lu", "Ll", "Lo", "Lt"))
    assert len(letters) > 100_000
    assert HEARD.union([WORD_END]).issuperset(english_symbols(letters))
    for letter in letters[::37]:
        for symbols in (english_symbols(f"b{letter}d"), vietnamese_symbols(f"b{letter}d")):
            assert len(symbols) >= 3 and WRITTEN.issuperset(symbols), (letter, symbols)


def test_every_place_of_a_phoneme_string_belongs_to_one_symbol() -> None:
    for text in ("ˌɪt kˈɔsts ˈATi dˈɑləɹz, ænd!", "“ə” —", "ˈ", "?! ə", "(ˈɹʔː)", ""):
        covered = sorted(place for _, places in placed(text) for place in places)
        assert covered == list(range(len(text))) or not english_symbols(text), text


@pytest.mark.skipif(not HUNSPELL.exists(), reason="needs Debian's hunspell-vi")
def test_every_vietnamese_syllable_is_read() -> None:
    words = [w.split("/")[0] for w in HUNSPELL.read_text(encoding="utf-8").split()[1:]]
    for word in (w for w in words if re.fullmatch("[a-zà-ỹđăâêôơư]+", w)):
        symbols = phonemes(word, "vi")
        assert symbols and WRITTEN.issuperset(symbols), (word, symbols)


@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith paid $5.20 on 3/4/2024?!",
        "Giá 25.000 đồng, tải file Windows về…",
        "naïve café — “Zürich”",
        "COVID-19 & HTML5",
        "x²+1=0",
        "🙂 ok",
        "a",
        "đ",
        "supercalifragilisticexpialidociousandthensome " * 3,
    ],
)
def test_any_text_becomes_known_symbols(text: str, language: str) -> None:
    symbols = phonemes(text, language)
    assert symbols and WRITTEN.issuperset(symbols) and symbols[0] in HEARD


@pytest.mark.parametrize("text", ["", "...", "  ", "?!"])
def test_nothing_to_speak_is_no_symbol(text: str) -> None:
    assert phonemes(text, "en") == phonemes(text, "vi") == []


def test_a_word_longer_than_its_net_reads_is_heard_to_its_end() -> None:
    symbols = phonemes("zqx" * 40, "en")
    assert len(symbols) > 3 * len(phonemes("zqx" * 8, "en"))


def test_english_inside_vietnamese_is_read_as_english() -> None:
    assert phonemes("Tôi dùng Windows.", "vi")[-7:] == "w ˈɪ n d O z .".split()


def test_vietnamese_tones_stand_on_their_vowels() -> None:
    assert phonemes("ma má mà mả mã mạ", "vi") == "m aː1 m aː3 m aː2 m aː4 m aː5 m aː6".split()


def test_the_embedded_model_has_a_token_for_every_symbol() -> None:
    assert set(read_vocab(tts_core.EMBEDDED_MODEL / "vocab.txt")) == set(VOCABULARY)


def test_a_vocabulary_that_lacks_symbols_is_refused() -> None:
    durations = tts_core.EMBEDDED_MODEL / "durations.safetensors"
    with pytest.raises(ModelUnavailable, match=r"vocab\.txt lacks ˈO: its reader says 1 such"):
        PhonemeTokenizer([symbol if symbol != "ˈO" else "oʊ" for symbol in VOCABULARY], durations)
    with pytest.raises(ModelUnavailable, match=r"knows .* tokens"):
        DurationPredictor(durations, 5)


def test_a_reader_is_loaded_once_and_in_no_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks while it is loaded waits for the same one. Its net computes in who calls it: no pool, nothing spins."""
    readers._load_english.cache_clear()
    readers._load_vietnamese.cache_clear()
    found: list[object] = []
    asking = [threading.Thread(target=lambda: found.append(readers._english())) for _ in range(3)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(found) == 3 and len(set(map(id, found))) == 1
    assert "scipy" not in getattr(sys.modules["hibari_g2p"], "__dict__", {})
