"""What the reader finds is heard: pauses to the sample, every word in its tokens, and what has no sound is named."""

import urllib.parse

import httpx
import numpy as np
import pytest
from conftest import serving, small_checkpoint

from speech.request import BadSpeech, Speech
from tts_core import TTS, Plan

RATE = 24_000


def heard(tts: TTS, text: str, **choices: object) -> tuple[Plan, np.ndarray]:
    plan = tts.plan(Speech(text, seed=1, steps=1, **choices))  # type: ignore[arg-type]
    return plan, np.concatenate(list(tts.samples(plan)))


def silent_at(samples: np.ndarray, start: int, length: int) -> bool:
    return not samples[start : start + length].any() and bool(samples[start - 1]) and bool(samples[start + length])


@pytest.mark.parametrize("seconds", ["0.5s", "333ms", "0.0417s"])
def test_a_pause_is_exact_to_the_sample_and_part_of_the_plan(tts: TTS, seconds: str) -> None:
    n = round(float(seconds.rstrip("ms")) / (1000 if "ms" in seconds else 1) * RATE)
    alone = [tts.plan(Speech(text, seed=1, steps=1)).samples for text in ("Good morning.", "Come in.")]
    plan, samples = heard(tts, f'Good morning.<break time="{seconds}"/>Come in.')
    assert plan.samples == len(samples) == sum(alone) + n
    assert silent_at(samples, alone[0], n)


def test_pauses_at_either_end_count(tts: TTS) -> None:
    n = RATE // 2
    bare = tts.plan(Speech("Good morning.", seed=1, steps=1)).samples
    plan, samples = heard(tts, "[pause:0.5s] Good morning. [pause:0.5s]")
    assert plan.samples == len(samples) == bare + 2 * n
    assert not samples[:n].any()
    assert not samples[-n:].any()


def test_a_duration_counts_the_pauses(tts: TTS) -> None:
    plan, samples = heard(tts, 'Good morning.<break time="1s"/>Come in, it is warm here. [pause:0.5s]', duration=5.0)
    assert plan.samples == len(samples) == 5 * RATE
    assert not samples[-RATE // 2 :].any()
    assert plan.chunks[1].pause == RATE
    with pytest.raises(BadSpeech, match="duration"):
        tts.plan(Speech('Good morning.<break time="3s"/>', duration=3.0))


def test_texts_without_pauses_are_cut_as_before(tts: TTS) -> None:
    text = "The ship reached the island early in the morning. Nobody knew why. " * 4
    plain, read = tts.plan(Speech(text, seed=1, normalize=False)), tts.plan(Speech(text, seed=1))
    assert [c.tokens.tolist() for c in plain.chunks] == [c.tokens.tolist() for c in read.chunks]


@pytest.mark.parametrize("text", [".", "...", "!!!", "😀", "---", "[pause:0.5s]"])
def test_marks_alone_are_a_short_silence(tts: TTS, text: str) -> None:
    """Home Assistant tries a server with "."."""
    plan, samples = heard(tts, text)
    assert 0 < plan.samples == len(samples) < 2 * RATE


def test_leading_dots_are_followed_by_speech(tts: TTS) -> None:
    """`...and then he left.` lasted 0.16 s, all of it silence."""
    assert heard(tts, "...and then he left.")[0].seconds > 0.7


def test_what_has_no_sounds_is_refused_or_said(tts: TTS) -> None:
    with pytest.raises(BadSpeech, match="no word"):
        tts.plan(Speech("日本語 中文"))
    plan = tts.plan(Speech("She said 你好 to Иван and left."))
    assert plan.unspoken == ("你好",)
    assert tts.plan(Speech("She said hello and left.")).unspoken == ()


def test_the_reply_names_what_is_not_spoken(client: httpx.Client) -> None:
    reply = client.post("/tts", json={"text": "She said 你好 and left.", "steps": 1})
    assert reply.status_code == 200
    assert urllib.parse.unquote(reply.headers["x-unspoken"]) == "你好"
    assert "x-unspoken" not in client.post("/tts", json={"text": "Hello.", "steps": 1}).headers
    refused = client.post("/tts", json={"text": "日本語"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "text")


def test_normalize_and_language_are_fields_of_a_request(client: httpx.Client) -> None:
    seconds = {
        choice: float(
            client.get("/tts", params={"text": "It is 5'10\" tall.", "steps": "1", **asked}).headers["x-audio-duration"]
        )
        for choice, asked in {
            "read": {},
            "left": {"normalize": "false"},
            "vi": {"language": "vi"},
        }.items()
    }
    assert len(set(seconds.values())) == 3, seconds
    assert client.post("/tts", json={"text": "Hi", "language": "English!"}).status_code == 400


@pytest.mark.parametrize("tokenizer", ["char", "pinyin"])
def test_checkpoints_of_letters_hear_words_too(tokenizer: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    tts = TTS(small_checkpoint(tmp_path / "small", tokenizer))
    said, words = (tts.plan(Speech(text, seed=1)) for text in ("It costs $5.", "It costs five dollars."))
    assert said.samples == words.samples
    assert [c.tokens.tolist() for c in said.chunks] == [c.tokens.tolist() for c in words.chunks]
    left = tts.plan(Speech("It costs $5.", seed=1, normalize=False))
    assert left.samples < words.samples


def test_a_server_may_leave_texts_as_they_are(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = small_checkpoint(tmp_path / "small")
    with serving(tmp_path / "log", TTS_MODEL=str(model), TTS_NORMALIZE="false") as address:
        asked = [{"text": "It costs $5."}, {"text": "It costs $5.", "normalize": True}]
        seconds = [float(httpx.post(f"{address}/tts", json=a).headers["x-audio-duration"]) for a in asked]
    assert seconds[0] < seconds[1]
