"""The reader's one promise: whatever its two libraries write becomes symbols that the model knows, none of them
silence."""

import importlib.resources
import json
import re
from pathlib import Path

import pytest

from train import reader

HUNSPELL = Path("/usr/share/hunspell/vi_VN.dic")
KNOWN = set(reader.VOCABULARY)
IPA = "aɐɑɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢ"


def hibari(name: str) -> dict:
    return json.loads((importlib.resources.files("hibari") / "assets" / name).read_text(encoding="utf-8"))


def test_every_letter_of_the_english_reader_is_heard():
    letters = set(hibari("vocab.json")) | {c for c in hibari("oov.json")["out"]} | set(IPA)
    for letter in sorted(letters):
        symbols = reader.symbols_of(f"b{letter}d")
        assert set(symbols) <= KNOWN - {reader.SILENCE}, (letter, symbols)
        if letter.isalpha() and letter not in "ᵝʰʲːˈˌ":
            assert len(symbols) >= 3, f"{letter!r} is silence between b and d: {symbols}"


def test_every_place_of_a_phoneme_string_belongs_to_one_symbol():
    for phonemes in ("ˌɪt kˈɔsts ˈATi dˈɑləɹz, ænd!", "“ə” —", "ˈ", "?! ə", "(ˈɹʔː)", ""):
        covered = sorted(place for _, places in reader.placed(phonemes) for place in places)
        assert covered == list(range(len(phonemes))) or not reader.symbols_of(phonemes), phonemes


@pytest.mark.skipif(not HUNSPELL.exists(), reason="needs Debian's hunspell-vi")
def test_every_vietnamese_syllable_is_read():
    words = [w.split("/")[0] for w in HUNSPELL.read_text(encoding="utf-8").split()[1:]]
    for word in (w for w in words if re.fullmatch("[a-zà-ỹđăâêôơư]+", w)):
        symbols = reader.vietnamese(word)
        assert symbols and set(symbols) <= KNOWN - {reader.SILENCE}, (word, symbols)


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
    ],
)
def test_any_text_becomes_known_symbols(text, language):
    symbols = reader.phonemes(text, language)
    assert symbols and set(symbols) <= KNOWN - {reader.SILENCE}
    assert symbols[0] not in (*reader.PAUSES, reader.WORD_END)


@pytest.mark.parametrize("text", ["", "...", "  ", "?!"])
def test_nothing_to_speak_is_no_symbol(text):
    assert reader.phonemes(text, "en") == reader.phonemes(text, "vi") == []


def test_english_inside_vietnamese_is_read_as_english():
    assert "ˈɪ n d O z".split() == reader.vietnamese("Tôi dùng Windows.")[-6:-1]


def test_vietnamese_tones_stand_on_their_vowels():
    assert reader.vietnamese("ma má mà mả mã mạ") == "m aː1 m aː3 m aː2 m aː4 m aː5 m aː6".split()
