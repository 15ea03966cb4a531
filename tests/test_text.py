"""Chunks, symbols and upstream's duration rule."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import phonemes
from engine import tokenizers as tokens
from speech import text


@settings(deadline=None)
@given(st.text(max_size=600), st.integers(20, 200))
def test_chunks_lose_nothing_and_keep_the_limit(said: str, limit: int) -> None:
    chunks = list(text.chunks_of(text.clean(said), limit))
    assert "".join(chunks).replace(" ", "") == text.clean(said).replace(" ", "")
    assert all(text.utf8_bytes(chunk) <= limit for chunk in chunks)
    assert chunks


def test_first_chunk_is_the_first_clause_and_later_ones_grow() -> None:
    said = (
        "Good evening, Dr. Smith. The weather was warm and clear when we left the harbor. Nobody knew why the lights "
        "went out. " * 4
    )
    chunks = list(text.chunks_of(text.clean(said), 180))
    assert chunks[0] == "Good evening,"
    sizes = [text.utf8_bytes(c) for c in chunks]
    assert max(sizes) > 120
    assert all(b <= max(text.SECOND_CHUNK_BYTES, text.CHUNK_GROWTH * a) for a, b in pairwise(sizes)), sizes
    assert all(c[-1] in ".," for c in chunks), chunks


@settings(deadline=None)
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=60))
def test_no_sentences_last_words_are_spoken_alone(words: list[str]) -> None:
    """ "… the lights went out during", then "dinner." as a sentence of its own, is how a first sentence was said."""
    chunks = list(text.chunks_of(" ".join(words) + ".", 10_000))
    assert len(chunks) == 1 or text.utf8_bytes(chunks[-1]) >= text.LAST_WORDS_BYTES, chunks
    if text.utf8_bytes(" ".join(words)) < text.FIRST_CHUNK_BYTES[1] + text.LAST_WORDS_BYTES:
        assert len(chunks) == 1, chunks


@pytest.mark.parametrize(
    "said,language,expected",
    [
        ("Hello, world!", "en-us", "h ə l ˈO , w ˈɜ ɹ l d !"),
        ("Dr. Smith paid 3.50.", "en-us", "d ˈɑ k t ə ɹ _ s m ˈɪ θ _ p ˈA d _ θ ɹ ˈi _ p Y n t _ f ˈI v ."),
        ("Xin chào.", "vi", "s i1 n ʧ aː2 w ."),
        ("...", "en-us", ""),
        ('"(Well)" — so?', "en-us", "w ˈɛ l , s ˌO ?"),
        ("I read what she read yesterday.", "en-us", "ˌI _ ɹ ˈɛ d _ w ˌʌ t _ ʃ i _ ɹ ˈɛ d _ j ˈɛ s t ə ɹ d ˌA ."),
        ("Vitamins A, B and C.", "en-us", "v ˈI T ə m ə n z _ ˈA , b ˈi _ æ n d _ s ˈi ."),
        ("In the ninety 's.", "en-us", "ɪ n _ ð ə _ n ˈI n d i z ."),
        ("Tôi dùng Windows.", "vi", "t̪ o1 j z u2 ŋ w ˈɪ n d O z ."),
        ("Привет, Zürich!", "en-us", "p ɹ ˈɪ v ə t , z ˈu ɹ ɪ ʧ !"),
    ],
)
def test_phonemes_are_those_of_its_reader_with_pauses_where_punctuation_is_heard(
    said: str, language: str, expected: str
) -> None:
    assert " ".join(phonemes.phonemes(said, language)) == expected


def test_upstreams_length_rule() -> None:
    """f5_tts.infer.utils_infer, by hand: 300 frames for 32 bytes ("…lake." and two spaces), 24 bytes to say, pace
    1.2."""
    prompt = tokens.CharTokenizer(" abc", "char").prompt("The old bridge over the lake.", 300)
    assert text.utf8_bytes(prompt.text) == 31
    assert prompt.chunk("Fresh snow on mountains.", 1.2, joined=False).frames == 300 + int(300 / 31 * 24 / 1.2)
    assert prompt.chunk("Yes.", 1.0, joined=False).frames == 300 + int(300 / 31 * 4 / 0.3)
