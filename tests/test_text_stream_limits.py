"""Who may open /tts/stream, how many, for how long; and how it ends when the server does."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from conftest import FIGURES, ROOT, Server, serving
from streams import Heard, listen, open_stream, posted, say
from test_text_stream import ENDLESS, HOW, made_seconds, stats
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, small_folder: Path) -> Iterator[str]:
    """A server with one place."""
    log = tmp_path_factory.mktemp("narrow") / "log"
    with serving(log, TTS_MODEL=str(small_folder), TTS_MAX_WAITING="1") as address:
        yield address


def refused(server: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, open_stream(server):
        pass
    return caught.value


def stop_reading(stream: ClientConnection, server: str) -> None:
    """It has a place, and keeps it: what the system buffers for it is full."""
    say(stream, HOW | {"text": ENDLESS}, {"flush": True})
    before, end = -1.0, time.monotonic() + 60
    while (made := made_seconds(server)) != before or not stats(server)["running"]:
        assert time.monotonic() < end
        before = made
        time.sleep(0.3)


def test_an_open_socket_takes_a_place_only_while_it_has_something_to_speak(narrow: str) -> None:
    with ExitStack() as open:
        idle = [open.enter_context(open_stream(narrow)) for _ in range(8)]
        response = refused(narrow).response
        assert response.status_code == 503 and response.headers["retry-after"]
        assert b'"code":"full"' in (response.body or b"")
        say(idle[0], HOW | {"text": "Not yet"})
        assert posted(narrow, "Good evening.", **HOW)
        say(idle[0], {"flush": True})
        assert listen(idle[0], ["done"]).sound == posted(narrow, "Not yet", **HOW)


def test_where_all_places_are_taken_an_utterance_is_refused_and_the_next_one_is_not(narrow: str) -> None:
    with open_stream(narrow) as other, open_stream(narrow, narrow=True) as stream:
        stop_reading(stream, narrow)
        say(other, HOW | {"text": "Is there "}, {"text": "a place? "})
        [error] = listen(other, ["error"]).all("error")
        assert error["code"] == "full" and "try again in" in error["message"]
        assert refused(narrow).response.status_code == 503
        say(other, {"text": "No, it seems."}, {"flush": True})
        assert listen(other, ["done"]).all("done") == [{"seconds": 0.0, "chunks": 0}]
        say(stream, {"cancel": True})
        listen(stream, ["cancelled"])
        say(other, {"text": "And now?", "flush": True})
        assert listen(other, ["done"]).sound == posted(narrow, "And now?", **HOW)


def test_who_says_nothing_is_told_so_and_who_listens_is_not(tmp_path: Path, small_folder: Path) -> None:
    with serving(tmp_path / "log", app="tests.impatient_app:app", TTS_MODEL=str(small_folder)) as server:
        with open_stream(server) as silent, open_stream(server) as listening:
            say(listening, HOW | {"text": ENDLESS[:2000]}, {"flush": True})
            say(silent, {"text": "Half a sen"})
            heard = listen(silent)
            assert heard.closed and heard.closed[0] == 1001 and "nothing was said" in heard.closed[1]
            assert listen(listening, ["done"]).all("done")
        with open_stream(server, narrow=True) as stalled:
            stop_reading(stalled, server)
            end = time.monotonic() + 10
            while stats(server)["queue_size"]:
                assert time.monotonic() < end, "who takes nothing keeps its place"
                time.sleep(0.1)


def test_a_message_without_end_ends_the_connection(narrow: str) -> None:
    with open_stream(narrow) as stream:
        stream.send("a" * (2**20 + 1))
        heard = listen(stream)
    assert heard.closed and heard.closed[0] == 1009


def test_sound_is_not_compressed(narrow: str) -> None:
    with open_stream(narrow, compression="deflate") as stream:
        assert not stream.protocol.extensions


def test_the_end_of_the_server_is_told_and_what_has_arrived_is_spoken(tmp_path: Path, small_folder: Path) -> None:
    server = Server(tmp_path / "log")
    server.start(TTS_MODEL=str(small_folder), TTS_GRACE="3")
    expected = posted(server.address, "Half a sentence", **HOW)
    with ExitStack() as open:
        idle, writing, stalled = (
            open.enter_context(open_stream(server.address, narrow)) for narrow in (False, False, True)
        )
        stop_reading(stalled, server.address)
        say(writing, HOW | {"text": "Half a sentence"})
        listen(writing, ["started"])
        server.process.terminate()
        began = time.monotonic()
        spoken, told = listen(writing), listen(idle)
        assert time.monotonic() - began < 2.5
        for heard in (spoken, told):
            assert heard.closed and heard.closed[0] == 1012 and "the server is stopping" in heard.closed[1]
        assert spoken.sound == expected and spoken.all("done")
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 6, "who reads nothing keeps nobody"
    assert "Traceback" not in server.log


def test_the_grace_is_over_for_who_still_listens(tmp_path: Path, small_folder: Path) -> None:
    server = Server(tmp_path / "log")
    server.start(TTS_MODEL=str(small_folder), TTS_GRACE="0")
    with open_stream(server.address) as stream:
        say(stream, {"text": ENDLESS, "steps": 64}, {"flush": True})
        listen(stream, frames=1)
        server.process.terminate()
        heard = listen(stream)
    assert heard.closed and heard.closed[0] == 1012 and not heard.all("done")
    assert heard.all("error")[0]["code"] == "stopping"
    assert server.process.wait(20) == 0 and "Traceback" not in server.log


@pytest.mark.timing
def test_start_up_waits_for_no_door_that_few_use() -> None:
    doors = [
        "server.text_stream",
        "engine.utterance",
        "speech.reading.arriving",
        "starlette.middleware.cors",
        "wyoming",
    ]
    look = f"import sys, app; print([door for door in {doors!r} if door in sys.modules])"
    told = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def one_round(server: str, draw: random.Random) -> Heard:
    with open_stream(server, narrow=draw.random() < 0.5) as stream:
        say(stream, {"steps": 1, "seed": 1})
        for _ in range(draw.randint(1, 12)):
            match draw.choice(["text", "text", "text", "flush", "cancel", "bad", "wait"]):
                case "text":
                    start = draw.randint(0, 500)
                    say(stream, {"text": ENDLESS[start : start + draw.choice([1, 5, 40, 400, 3000])]})
                case "flush":
                    say(stream, {"flush": True})
                case "cancel":
                    say(stream, {"cancel": True})
                case "bad":
                    stream.send(draw.choice(["{", "[]", '{"speed": 1}', '{"text": 1}']))
                case "wait":
                    time.sleep(draw.random() / 20)
        if draw.random() < 0.5:
            say(stream, {"end": True})
            return listen(stream)
    return Heard(closed=(1000, ""))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_agents_do_leaves_nothing(tmp_path: Path, small_folder: Path) -> None:
    draw = random.Random(5)
    with serving(tmp_path / "log", TTS_MODEL=str(small_folder)) as server:
        before = 0.0
        for number in range(200):
            heard = one_round(server, draw)
            assert heard.closed == (1000, ""), heard.closed
            if number == 50:
                before = memory(server)
        end = time.monotonic() + 30
        while stats(server)["queue_size"] and time.monotonic() < end:
            time.sleep(0.1)
        assert stats(server)["queue_size"] == 0
        assert memory(server) < 1.2 * before
        FIGURES["memory after 200 random agents, MB"] = round(memory(server) / 1e6)


def memory(server: str) -> float:
    lines = httpx.get(f"{server}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))
