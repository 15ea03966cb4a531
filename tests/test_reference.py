"""A recording becomes a reference: which part of it is used, and whether a text can be what is said there."""

import contextlib

import numpy as np
import pytest
from recordings import sound_of, speechlike

from speech.reference import check_said, reference_of
from speech.voice_files import BadVoice


def with_pauses(*parts: float) -> np.ndarray:
    """Seconds of sound, of silence, of sound …"""
    made = [speechlike(one) if number % 2 == 0 else np.zeros(round(24_000 * one)) for number, one in enumerate(parts)]
    return np.concatenate(made)


@pytest.mark.parametrize(
    "parts,start,end",
    [
        ((3,), 0, 3),
        ((0, 1, 3, 2), 1, 4),  # silence at the ends
        ((2, 0.5, 2, 0.5, 9), 0, 4.5),  # as much as fits
        ((1.5, 0.4, 2, 3, 3, 0.4, 2), 6.9, 12.3),  # no long silence within
        ((1.2, 0.5, 8, 0.2, 3, 0.2, 3), 9.9, 16.1),  # cut at a shorter pause, as otherwise little is left
    ],
)
def test_the_longest_part_is_used(parts: tuple[float, ...], start: float, end: float) -> None:
    used = reference_of(sound_of(with_pauses(*parts)), "audio", 1.0, 7.2)
    assert (used.start, used.end) == pytest.approx((start, end), abs=0.12)
    assert len(used.wav) == pytest.approx(44 + 48_000 * used.seconds, abs=2)


def test_clipped_parts_are_passed_over() -> None:
    samples = with_pauses(3, 0.5, 2)
    samples[: 3 * 24_000] = (20 * samples[: 3 * 24_000]).clip(-1, 1)
    assert reference_of(sound_of(samples), "audio", 1.0, 7.2).start == pytest.approx(3.5, abs=0.12)


@pytest.mark.parametrize(
    "text,fits",
    [
        ("The boy was there when the sun rose and went.", True),
        ("Trời hôm nay rất đẹp, chúng ta đi dạo nhé.", True),
        ("今天天气很好我们去公园散步吧", True),
        ("It was in 1984.", True),
        ("No.", False),
        ("Everything that was said in an hour. " * 10, False),
    ],
)
def test_a_text_is_weighed_as_it_is_said(text: str, fits: bool) -> None:
    reference = reference_of(sound_of(speechlike(3)), "audio", 1.0, 7.2)
    with contextlib.nullcontext() if fits else pytest.raises(BadVoice, match=r"as it is said, and 3\.0 s of speech"):
        assert check_said(text, "text", reference) == text.strip()


def test_a_text_of_all_is_not_that_of_the_part_that_is_used() -> None:
    """Kept with it, a voice would say the rest of it before each speech."""
    reference = reference_of(sound_of(with_pauses(3, 0.4, 3, 0.4, 3)), "audio", 1.0, 7.2)
    assert reference.seconds < 6.7 and reference.spoken_seconds == pytest.approx(9.8, abs=0.1)
    sentence = "There are some forty letters in this one and no more. "  # 42: 14 a second
    assert check_said(2 * sentence, "text", reference)
    with pytest.raises(
        BadVoice, match=r"seems to be all that is said in the recording, and 6\.\d s of speech \(0\.0 to"
    ):
        check_said(3 * sentence, "text", reference)
