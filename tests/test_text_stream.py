"""Text in while it is written, sound out from the first clause on: /tts/stream as an agent uses it."""

import json
import re
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import FIGURES, serving, wait_until
from streams import listen, open_stream, posted, say

TEXT = (
    "The ship reached the island early, in the morning of a day in May. Two men were standing in front of the hotel, "
    "and nobody knew why. It cost them $5.20 and 1,000 steps to be there."
)
ENDLESS = "Two men were standing in front of the hotel, and nobody knew why. " * 200
HOW: dict[str, Any] = {"seed": 7, "steps": 2}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream") / "log"


@pytest.fixture(scope="module")
def quick(log: Path, small_folder: Path) -> Iterator[str]:
    """A server with a model that speaks minutes of noise in a second."""
    with serving(log, TTS_MODEL=str(small_folder)) as address:
        yield address


def stats(server: str) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{server}/health").json()["stats"]
    return told


def test_the_first_clause_is_spoken_while_the_rest_is_written(server: str) -> None:
    """With the real model: its sound is that of the clause alone, so it took the steps of the clause alone."""
    first = "Good evening,"
    with open_stream(server) as stream:
        say(stream, HOW | {"text": "Good evening, "})
        heard = listen(stream, frames=1)
        assert heard.chunks == [first] and len(heard.sound) > 12_000
        assert posted(server, first, **HOW).startswith(heard.sound[:12_000])
        started, told = heard.all("started")[0], heard.all("chunk")[0]
        assert (started["seed"], started["sample_rate"], started["format"]) == (7, 24_000, "pcm")
        assert told["start"] == 0.0 and told["end"] == pytest.approx((len(heard.sound) + 7200) / 48_000, abs=1e-4)
        say(stream, {"text": "and good night."}, {"end": True})
        rest = listen(stream)
    assert rest.closed == (1000, "") and rest.chunks == ["and good night."]
    assert heard.sound + rest.sound == posted(server, f"{first} and good night.", **HOW)


@pytest.mark.parametrize(
    "pieces", [[TEXT], re.findall(r"\s*\S{1,4}", TEXT), list(TEXT)], ids=["whole", "tokens", "letters"]
)
def test_a_text_that_comes_before_it_is_needed_is_the_same_bytes_as_by_post(quick: str, pieces: list[str]) -> None:
    with open_stream(quick) as stream:
        say(stream, HOW, *({"text": piece} for piece in pieces), {"end": True})
        heard = listen(stream)
    assert heard.sound == posted(quick, TEXT, **HOW) and len(heard.chunks) > 2
    assert heard.all("done")[0]["seconds"] == round(len(heard.sound) / 48_000, 3)
    assert heard.all("chunk")[-1]["end"] == pytest.approx(len(heard.sound) / 48_000, abs=1e-3)


def test_pieces_cut_where_post_cuts_are_the_same_bytes_however_slowly_they_come(quick: str) -> None:
    text = (
        "The ship reached the island, early in the morning of a cold and windy day in spring. Two men were standing "
        "there in front of the hotel, and nobody knew why. They did not speak to anybody who asked about the harbour."
    )
    fast = HOW | {"speed": 4}  # a clause waits for others while there is much to play
    with open_stream(quick) as stream:
        say(stream, fast | {"text": text, "flush": True})
        whole = listen(stream, ["done"])
        assert whole.sound == posted(quick, text, **fast) and len(whole.chunks) > 2
        sound = b""
        for chunk in whole.chunks[:-1]:
            say(stream, {"text": f"{chunk} "})
            heard = listen(stream, ["chunk"])
            assert heard.chunks == [chunk]
            sound += heard.sound
        say(stream, {"text": whole.chunks[-1]}, {"flush": True})
        assert sound + listen(stream, ["done"]).sound == whole.sound


def test_each_flush_ends_an_utterance_which_is_a_post_of_its_own(quick: str) -> None:
    utterances = ["It costs $5", ".20 and no more.", "Yes.", "👍", "Good evening, and [pause:0.5s] good night."]
    with open_stream(quick) as stream:
        say(stream, HOW, *({"text": text, "flush": True} for text in utterances))
        for text in utterances:
            heard = listen(stream, ["done"])
            assert heard.sound == posted(quick, text, **HOW), text
        say(stream, {"flush": True})
        assert listen(stream, ["done"]).all("done") == [{"seconds": 0.0, "chunks": 0}]


def test_options_hold_until_they_are_changed_and_wav_frames_are_files(quick: str) -> None:
    with open_stream(quick) as stream:
        say(
            stream,
            HOW | {"voice": "michael", "speed": 1.5, "format": "wav"},
            {"text": "Good evening, everyone.", "flush": True},
        )
        heard = listen(stream, ["done"])
        asked = HOW | {"voice": "michael", "speed": 1.5}
        for frame in heard.frames:
            assert frame[:4] == b"RIFF" and int.from_bytes(frame[40:44], "little") == len(frame) - 44
        assert b"".join(frame[44:] for frame in heard.frames) == posted(quick, "Good evening, everyone.", **asked)
        say(stream, {"text": "Good ni"}, {"text": "ght.", "flush": True})
        assert b"".join(f[44:] for f in listen(stream, ["done"]).frames) == posted(quick, "Good night.", **asked)
        say(stream, {"voice": "default", "format": "pcm", "text": "Good night."}, {"end": True})
        assert listen(stream, ["done"]).sound == posted(quick, "Good night.", **asked | {"voice": "default"})


def test_a_character_that_comes_in_halves_is_one(quick: str) -> None:
    with open_stream(quick) as stream:
        stream.send('{"text": "Good \\ud83d"}')
        stream.send('{"text": "\\ude00 night.", "flush": true}')
        heard = listen(stream, ["done", "error"])
    assert heard.chunks == ["Good night."]


BAD: list[tuple[str | bytes, str | None]] = [
    ("not json", None),
    (b"bytes", None),
    ("[]", None),
    ("[" * 100_000, None),
    ('{"text": 5}', "text"),
    ('{"text": "a\\u0000b"}', "text"),
    ('{"text": "\\udc00"}', "text"),
    (json.dumps({"text": "a" * 20_001}), "text"),
    ('{"pitch": 2}', "pitch"),
    ('{"duration": 2}', "duration"),
    ('{"speed": 9}', "speed"),
    ('{"speed": NaN}', "speed"),
    ('{"voice": "nobody"}', "voice"),
    ('{"voice": null}', "voice"),
    ('{"format": "mp3"}', "format"),
    ('{"flush": 1}', "flush"),
    ('{"flush": true, "end": true}', "end"),
    ('{"text": "a", "cancel": true}', "cancel"),
]


def test_a_bad_message_is_an_error_and_changes_nothing(quick: str) -> None:
    with open_stream(quick) as stream:
        for message, param in BAD:
            stream.send(message)
            heard = listen(stream, ["error"], frames=1)
            [error] = heard.all("error")
            assert error["param"] == param and len(error["message"]) < 300, (message[:40], error)
            assert heard.events[0][0] == "error" and not heard.sound
        say(stream, HOW | {"text": "It costs $5"})
        for message, _ in BAD:
            stream.send(message)
            assert listen(stream, ["error"]).all("error")
        stream.send('{"voice": "default"}')  # in the middle of an utterance
        assert listen(stream, ["error"]).all("error")[0]["param"] == "voice"
        say(stream, {"text": ".20."}, {"end": True}, {"text": "more"})
        heard = listen(stream)
        assert heard.sound == posted(quick, "It costs $5.20.", **HOW)
        assert "connect again" in heard.all("error")[0]["message"] and heard.closed == (1000, "")


@pytest.mark.timing
def test_cancel_frees_the_model_and_drops_what_waits(quick: str) -> None:
    with open_stream(quick) as stream:
        say(stream, HOW | {"text": ENDLESS}, {"flush": True}, {"text": "Never spoken."})
        assert listen(stream, frames=1).sound
        say(stream, {"cancel": True})
        cancelled = listen(stream, ["cancelled"])
        assert not cancelled.all("done") and cancelled.all("cancelled")[0]["seconds"] > 0
        assert stats(quick)["queue_size"] == 0
        made = made_seconds(quick)
        say(stream, {"text": "Good night."}, {"flush": True})
        heard = listen(stream, ["done"])
        assert heard.sound == posted(quick, "Good night.", **HOW) and len(heard.events) == 3
        assert made_seconds(quick) < made + 20
        say(stream, {"cancel": True}, {"cancel": True})
        assert [listen(stream, ["cancelled"]).events for _ in "12"] == [[("cancelled", {"seconds": 0.0})]] * 2


def counted(server: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{server}/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def made_seconds(server: str) -> float:
    return counted(server, "tts_audio_seconds_total")


@pytest.mark.timing
def test_who_leaves_frees_the_model(quick: str) -> None:
    gone = 'tts_requests_total{outcome="disconnected"}'
    before = counted(quick, gone)
    for vanish in (False, True):
        with open_stream(quick) as stream:
            say(stream, HOW | {"text": ENDLESS}, {"end": True})
            assert listen(stream, frames=1).sound
            if vanish:
                stream.socket.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + 20
        while stats(quick)["queue_size"] and time.monotonic() < end:
            time.sleep(0.02)
        assert stats(quick)["queue_size"] == 0
        made = made_seconds(quick)
        assert made_seconds(quick) == made
    assert counted(quick, gone) == before + 2


def test_a_reader_that_stops_holds_a_piece_and_cancels_from_there(quick: str) -> None:
    """What the system's buffers hold is made, and not an hour of speech."""
    with open_stream(quick, narrow=True) as stream:
        say(stream, HOW | {"text": ENDLESS}, {"flush": True})
        before, end = -1.0, time.monotonic() + 60
        while (made := made_seconds(quick)) != before or made == 0:
            assert time.monotonic() < end
            before = made
            time.sleep(0.5)
        assert stats(quick)["running"] == 1
        say(stream, {"cancel": True})
        end = time.monotonic() + 20
        while stats(quick)["queue_size"] and time.monotonic() < end:
            time.sleep(0.02)
        assert stats(quick)["queue_size"] == 0
        assert listen(stream, ["cancelled"]).all("cancelled")


def test_an_utterance_is_counted_and_logged_without_its_text(quick: str, log: Path) -> None:
    before = stats(quick)["completed_requests"]
    with open_stream(quick) as stream:
        say(stream, HOW | {"text": "Tell nobody about this. "}, {"text": "Nobody!", "end": True})
        listen(stream)
    assert stats(quick)["completed_requests"] == before + 1
    line = re.compile(r"\w+ completed voice=default characters=31 audio=\S+s first=\d+ms rtf=\S+")
    wait_until(lambda: line.search(log.read_text()) is not None)
    assert "obody" not in log.read_text()


def test_what_is_no_websocket_and_what_asks_by_query_is_told(quick: str) -> None:
    plain = httpx.get(f"{quick}/tts/stream")
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in plain.json()["error"]["message"]
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    upgrade |= {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    asked = httpx.get(f"{quick}/tts/stream?voice=michael", headers=upgrade)
    assert asked.status_code == 400 and "first message" in asked.json()["error"]["message"]


@pytest.mark.slow
@pytest.mark.timing
def test_the_first_sound_comes_as_soon_as_by_post(server: str) -> None:
    """From the piece that ends the first clause on, paired with the clause by POST, one after the other."""
    clause, ratios = "Good evening to all of you,", []
    with open_stream(server) as stream, httpx.Client(base_url=server, timeout=60) as client:
        for _ in range(20):
            began = time.perf_counter()
            with client.stream("POST", "/tts", json={"text": clause, "seed": 7}) as reply:
                body = reply.iter_raw()
                next(body)
                by_post = time.perf_counter() - began
                assert b"".join(body)
            say(stream, {"seed": 7}, {"text": clause[:-7]})
            listen(stream, ["started"])
            began = time.perf_counter()
            say(stream, {"text": f"{clause[-7:]} "})
            listen(stream, frames=1)
            ratios.append((time.perf_counter() - began) / by_post)
            say(stream, {"flush": True})
            listen(stream, ["done"])
    FIGURES["first sound of a stream over that of POST"] = round(statistics.median(ratios), 2)
    assert statistics.median(ratios) <= 1.2, sorted(ratios)
