"""Text that is still being written: what may go on is not cut, what has ended is not kept, nothing is lost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.stepping import run_to_end
from speech.reading.arriving import ArrivingText
from speech.reading.passages import joined, pieces, read

LIMIT = 250


def arrive(parts: list[str], hurry: bool = False, end: bool = True, normalize: bool = True) -> list[str]:
    """The pieces of a text that comes in these parts."""
    text, found = ArrivingText(None, normalize, "en-us"), []
    for number, part in enumerate([*parts, ""]):
        text.add(part)
        text.ended = end and number == len(parts)
        while (piece := run_to_end(text.piece(LIMIT, hurry))) is not None:
            found.append(piece.text)
    return found


def whole(text: str, normalize: bool) -> list[str]:
    return [piece.text for piece in pieces(joined(read(text, None, normalize)), LIMIT)]


@pytest.mark.parametrize(
    "parts",
    [
        ["It costs only $5"],
        ["It costs only $5", "."],
        ["It costs only $5. "],
        ["Now it is 1,", "000,"],
        ["Now it is 10 "],
        ["The good old Dr", "."],
        ["The good old Dr. "],
        ["They live in St. "],
        ["We shall meet at 5 p", ".m", ". "],
        ["Please look at No. "],
        ["We saw J. "],
        ["Many people, e.g. ", "Ann"],
        ["We left on Jan. "],
        ["It weighs 5 oz. "],
        ["Go to www.example.", "com"],
        ["Good evening,"],
        ["Good evening."],
        ["Good even"],
        ["See [this page, if you like "],
        ["Wait <break time='1s' and "],
        ["It was **very, "],
        ["Tôi ở TP. "],
        ["Ngày 5/6/2024 "],
    ],
    ids=repr,
)
def test_what_may_go_on_is_not_cut(parts: list[str]) -> None:
    assert not [piece for piece in arrive(parts, hurry=True, end=False) if piece != "Many people,"]


@pytest.mark.parametrize(
    "text,piece",
    [
        ("Good evening, ", "Good evening,"),
        ("Good evening. ", "Good evening."),
        ("Is that really so? ", "Is that really so?"),
        ("He said: ", "He said:"),
        ("“Good evening!” ", "“Good evening!”"),
        ("Wait for it... ", "Wait for it..."),
        ("The rain stopped — ", "The rain stopped —"),
        ("It costs $5.20 today, ", "It costs five dollars and twenty cents today,"),
        ("Dr. Smith is here, ", "Doctor Smith is here,"),
        ("## A heading\n", "A heading."),
        ("One thing is known\n\n", "One thing is known."),
        ("- Milk from the shop\n", "Milk from the shop."),
        ("<p>Good evening</p>", "Good evening."),
        ("Good evening [pause:1s]", "Good evening"),
        ("你好，世界。", "你好, 世界。"),
        ("Xin chào các bạn, ", "Xin chào các bạn,"),
    ],
)
def test_what_has_surely_ended_is_spoken(text: str, piece: str) -> None:
    assert arrive([text], hurry=True, end=False) == [piece]
    assert " ".join(arrive(list(text), hurry=True, end=False)) == piece


def test_a_clause_waits_for_company_and_not_for_ever() -> None:
    """A tiny first chunk, or one of two words while ten seconds of sound are left, sounds worse than a longer one."""
    assert arrive(["Yes. "], end=False) == []
    assert arrive(["Yes. "], hurry=True, end=False) == ["Yes."]
    assert arrive(["Good evening, ", "dear friends. "], end=False) == ["Good evening,"]
    assert arrive(["Good evening, ", "dear friends. "], hurry=True, end=False) == ["Good evening,", "dear friends."]


def test_flush_says_that_it_has_ended() -> None:
    assert arrive(["It costs $5"]) == ["It costs five dollars"]
    assert arrive(["👍"]) == ["."]
    assert arrive(["  \n "]) == [] and arrive([]) == []


TEXTS = [
    "Good evening, Dr. Smith. It costs $5.20 today, and 1,000,000 people know. No. 5 is alive. We met at 5 p.m. on "
    "Monday.",
    'On May 5, 2020, he came with St. John, Jr. and left in Jan. 2021. Chapter IV begins. He said "Stop!" and ran.',
    "Here are three things:\n- Milk\n- Eggs\n\nThat is all. **Important, please** read [this, now](http://x.org/a). "
    'Wait [pause:1s] then go on. <break time="500ms"/> The end',
    "Xin chào các bạn, hôm nay là ngày 5/6/2024. Tôi có 5 triệu đồng, và bạn? TP. Hồ Chí Minh rất đẹp.",
    "The ship reached the island early in the morning. Two men were standing in front of the hotel, and nobody knew "
    "why. They had been there since the day before, when the lights went out, and they did not speak. " * 3,
    "a long sentence without a mark that goes on and on about nothing " * 5,
]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TEXTS), st.lists(st.integers(1, 40), min_size=1, max_size=40), st.booleans())
def test_however_it_comes_it_is_cut_as_a_whole_text_is(text: str, sizes: list[int], normalize: bool) -> None:
    """As long as nothing hurries."""
    parts, at = [], 0
    for size in sizes * (len(text) // sum(sizes) + 1):
        parts.append(text[at : at + size])
        at += size
    assert arrive(parts, normalize=normalize) == whole(text, normalize)


SAID = "the river runs past Dr. Smith's mill in 1999 at $5.20 or 5 p.m. – No. 7 (see https://a.org/b) 50% 1,000"
words = st.sampled_from(SAID.split())
marks = st.sampled_from([" "] * 8 + [", ", ". ", "? ", "; ", " — ", "\n", "\n\n"])


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(words, marks), min_size=1, max_size=60), st.lists(st.booleans(), min_size=1), st.integers(1, 9)
)
def test_however_it_hurries_no_word_is_lost(said: list[tuple[str, str]], hurries: list[bool], size: int) -> None:
    text = "".join(word + mark for word, mark in said)
    arriving, found = ArrivingText("en-us", True, "en-us"), ""
    for number, at in enumerate(range(0, len(text), size)):
        arriving.add(text[at : at + size])
        while piece := run_to_end(arriving.piece(LIMIT, hurries[number % len(hurries)])):
            found += piece.text
    arriving.ended = True
    while piece := run_to_end(arriving.piece(LIMIT, False)):
        found += piece.text
    plain = re.compile(r"(?:river|runs|past|Smith|mill|see)")
    assert plain.findall(found) == plain.findall(text), (text, found)


def test_a_long_text_that_never_ends_is_read_in_parts_and_in_time() -> None:
    """Each letter that comes may not cost what the whole text costs."""
    text = ArrivingText("en-us", True, "en-us")
    found = ""
    for _ in range(4000):
        text.add("more 7 ")
        while piece := run_to_end(text.piece(LIMIT, False)):
            found += piece.text
    assert text.characters < 3000 and found.count("more") > 3500
