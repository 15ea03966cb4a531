"""POST /tts/plan: when each word is heard, before any of it is made; judged by a recogniser's forced alignment."""

import io
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from conftest import FIGURES
from pocketsphinx import Decoder
from recogniser import words

import tts_core
from engine.stepping import run_to_end
from engine.word_times import Timing
from speech.alignment import owners
from speech.audio import SAMPLE_RATE, pcm16
from speech.reading.passages import Passage
from speech.reading.written import written_words
from speech.request import Speech
from train import texts

JUDGE_RATE = 16_000
PADDING = 0.2
"""Seconds of silence before and behind what the judge hears."""


@pytest.fixture(scope="module")
def judge() -> Decoder:
    return Decoder(samprate=JUDGE_RATE, loglevel="FATAL")


def aligned(judge: Decoder, samples: np.ndarray, said: list[str]) -> list[tuple[float, float]]:
    """Start and end of each word, in seconds, to 10 ms."""
    padded = np.pad(samples, round(PADDING * SAMPLE_RATE))
    judge.set_align_text(" ".join(said))
    judge.start_utt()
    judge.process_raw(pcm16(soxr.resample(padded, SAMPLE_RATE, JUDGE_RATE)), full_utt=True)
    judge.end_utt()
    found = [one for one in judge.seg() if one.word[0] not in "<[("]
    assert [re.sub(r"\(\d\)$", "", one.word) for one in found] == said
    return [(one.start_frame / 100 - PADDING, (one.end_frame + 1) / 100 - PADDING) for one in found]


def errors(client: httpx.Client, judge: Decoder, sentences: list[str], voice: str) -> list[float]:
    """Seconds by which each planned start and end is beside the judge's."""
    beside: list[float] = []
    for seed, sentence in enumerate(sentences):
        said = words(sentence).split()
        if any(judge.lookup_word(word) is None for word in said):
            continue
        asked = {"text": sentence, "voice": voice, "seed": seed}
        planned = client.post("/tts/plan", json=asked).json()
        samples, _ = soundfile.read(io.BytesIO(client.post("/tts", json=asked).content), dtype="float32")
        assert planned["exact"] and [word["word"] for word in planned["words"]] == sentence.split()
        for word, (start, end) in zip(planned["words"], aligned(judge, samples, said), strict=True):
            beside += [abs(word["start"] - start), abs(word["end"] - end)]
    return beside


def test_words_are_heard_when_the_plan_says(client: httpx.Client, judge: Decoder) -> None:
    beside = errors(client, judge, texts.held_out("en")[:5], "default")
    assert len(beside) > 40
    assert np.median(beside) <= 0.04 and np.quantile(beside, 0.9) <= 0.1, np.quantile(beside, [0.5, 0.9, 1])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("voice", ["default", "michael", "fenrir"])
def test_words_of_forty_sentences_are_heard_when_the_plan_says(
    client: httpx.Client, judge: Decoder, voice: str
) -> None:
    beside = errors(client, judge, texts.held_out("en")[:40], voice)
    FIGURES[f"word times of {voice} beside forced alignment, median ms"] = round(1000 * float(np.median(beside)), 1)
    assert np.median(beside) <= 0.04, np.quantile(beside, [0.5, 0.9, 1])


def planned(client: httpx.Client, text: str, **choices: object) -> dict[str, Any]:
    reply = client.post("/tts/plan", json={"text": text, **choices})
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


LONG = (
    "The ship reached the island early in the morning, and it cost $5. Two men were standing in front of the hotel at "
    "3:30 p.m.; nobody knew why. [pause:0.7s] A third came later."
)


@pytest.mark.parametrize("choices", [{}, {"speed": 1.7, "voice": "michael"}, {"duration": 16.5}])
def test_the_plan_is_of_the_sound_that_follows(client: httpx.Client, choices: dict[str, Any]) -> None:
    told = planned(client, LONG, seed=1, steps=1, **choices)
    with client.stream("POST", "/tts", json={"text": LONG, "seed": 1, "steps": 1, **choices}) as reply:
        assert int(reply.headers["content-length"]) == 44 + 2 * told["samples"]
    assert told["seconds"] == told["samples"] / SAMPLE_RATE
    chunks = told["chunks"]
    assert len(chunks) > 2 and chunks[0]["start"] == 0 and chunks[-1]["end"] == pytest.approx(told["seconds"], abs=1e-4)
    gaps = [after["start"] - before["end"] for before, after in pairwise(chunks)]
    assert [round(gap, 3) for gap in gaps if gap > 0.001] == [0.7] and min(gaps) >= 0, gaps
    assert [word for chunk in chunks for word in chunk["words"]] == told["words"]
    assert [word["word"] for word in told["words"]] == LONG.replace("[pause:0.7s] ", "").split()
    ascending = [0.0, *(word[edge] for word in told["words"] for edge in ("start", "end")), told["seconds"]]
    assert ascending == sorted(ascending)


def test_what_is_asked_for_later_or_in_a_browser_is_planned_alike(client: httpx.Client) -> None:
    told = planned(client, "Good evening.")
    assert planned(client, "Good evening.", **{"async": True, "priority": "low"}) == told
    assert client.get("/health").json()["jobs"]["queued"] == 0
    assert client.get("/tts/plan").status_code == 405


def test_words_stand_as_they_were_written_with_the_time_of_what_is_said(client: httpx.Client) -> None:
    text = "Chapter One\nIt cost $12.50 on 3/4/2024 — **too much**, said Dr. Smith & Co. 😀"
    told = planned(client, text)
    assert [word["word"] for word in told["words"]] == (
        "Chapter|One|It|cost|$12.50|on|3/4/2024|too|much|said|Dr.|Smith|&|Co.".split("|")
    )
    assert " ".join(chunk["text"] for chunk in told["chunks"]).startswith("Chapter One, It cost twelve dollars and")
    length = {word["word"]: word["end"] - word["start"] for word in told["words"]}
    assert length["3/4/2024"] > 3 * length["cost"]
    at = 0
    for word in told["words"]:
        at = text.index(word["word"], at) + len(word["word"])


def test_the_language_and_what_is_not_spoken_are_told(client: httpx.Client) -> None:
    told = planned(client, "She said 你好 and left.")
    assert told["unspoken"] == ["你好"] and told["language"] == "en-us"
    assert [word["word"] for word in told["words"]] == ["She", "said", "and", "left."]
    assert planned(client, "Hôm nay trời rất đẹp.")["language"] == "vi"
    assert planned(client, "...")["words"] == []


def timed(tts: tts_core.TTS, text: str, **choices: Any) -> tuple[tts_core.Plan, Timing]:
    plan = tts.plan(Speech(text, seed=1, **choices))
    return plan, run_to_end(tts.timing(plan, text))


def test_without_a_duration_model_words_share_their_chunk_by_bytes(small: tts_core.TTS) -> None:
    plan, timing = timed(small, "Good evening to all of you. The river is quiet tonight, and so is the town.")
    assert not timing.exact and timing.phonemes is None
    found = [word for chunk in timing.chunks for word in chunk.words]
    assert " ".join(word.word for word in found) == plan.passages[0].written + " " + plan.passages[1].written
    for chunk in timing.chunks:
        assert chunk.words[0].start == chunk.start and chunk.words[-1].end == pytest.approx(chunk.end)
        sizes = [(word.end - word.start) / len(word.word) for word in chunk.words]
        assert max(sizes) - min(sizes) < 1e-4


PIECES = (
    "hello|World.|e.g.|$5|3:30 p.m.|12/25/2024|10%|—|&|...and|Stop!Go|I|a|\n|\n\n|[pause:0.2s]|**bold**|<b>tag</b>"
    "|https://example.org/a?b=1|😀|你好世界|xin chào|các bạn,|№|x²|1 000 000|C3PO|NASA|don't|rock 'n' roll|Привет"
    "|(aside)|-|co-op"
).split("|")


def random_texts(count: int, seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    for _ in range(count):
        yield " ".join(draw.choice(PIECES) for _ in range(draw.randint(1, 40)))


def check_random_texts(tts: tts_core.TTS, count: int, seed: int) -> None:
    for text in random_texts(count, seed):
        try:
            plan, timing = timed(tts, text)
        except tts_core.BadSpeech:
            continue
        found = [word for chunk in timing.chunks for word in chunk.words]
        times = [0.0, *(edge for word in found for edge in (word.start, word.end)), plan.seconds]
        assert times == sorted(times), text
        for passage in plan.passages:  # nothing that is said is nobody's, and nothing is said twice
            said = [token for word in run_to_end(written_words(passage)) for token in word.said]
            assert "".join(said) == "".join(passage.words.split()), text
        assert len(found) >= sum(chunk.text.count(" hello ") for chunk in timing.chunks), text


def test_every_word_that_is_said_has_its_time(tts: tts_core.TTS, small: tts_core.TTS) -> None:
    check_random_texts(tts, 60, 1)
    check_random_texts(small, 60, 2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_word_of_many_texts_has_its_time(tts: tts_core.TTS) -> None:
    check_random_texts(tts, 3000, 3)


def test_what_a_whole_adds_stands_beside_its_neighbours() -> None:
    alone = [["it"], ["five", "dollars"], ["million"], ["people"]]
    assert owners(alone, ["it", "five", "dollars", "million", "people"]) == [0, 1, 1, 2, 3]
    assert owners(alone, ["so", "it", "is", "people", "too"]) == [0, 0, 1, 3, 3]
    assert owners([], ["a"]) == [] and owners([["a"]], []) == []


def test_words_said_as_one_stand_as_one() -> None:
    passage = Passage("a well-known man", "en-us", written="a well -known man")
    assert [word.written for word in run_to_end(written_words(passage))] == ["a", "well -known", "man"]
