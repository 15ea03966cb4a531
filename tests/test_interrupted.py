"""The subtitle client when something goes wrong: servers that break, 503, kill -9, Ctrl+C, a full disk. Nothing is lost, nothing false kept."""

import contextlib
import random
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from films import asked, checkpoint, command, completed, leftovers, make_film, sounds, until, work, working
from scripted import Reply, Scripted, scripted, speech

# Failures


def test_a_failed_cue_is_recorded_named_and_retried_alone(film: Path, out: Path) -> None:
    ill = {"Line 3.", "Line 7."}
    refusal = Reply(
        400, b'{"error": {"message": "text is too sad", "type": "x", "param": null, "code": null}}', "application/json"
    )
    with scripted(lambda server, line: refusal if line["text"] in ill else None) as server:
        done = work(film, out, servers=[server], expect=1)
        assert asked(server).count("Line 3.") == 1, "a 400 will be a 400 again"
        assert "10/12 completed, 2 failed, 0 in progress" in done.stdout
        assert f"failed: audio_0003.wav (film.srt, line 14): {server.url} answered 400: text is too sad" in done.stderr
        failed = checkpoint(out)["failed"]
        assert [failure["index"] for failure in failed] == [3, 7] and "too sad" in failed[0]["error"]
        assert re.match(r"\d{4}-\d\d-\d\dT", failed[0]["timestamp"])
        ill.remove("Line 3.")
        (out / "audio_0001.wav").unlink()
        server.asked.clear()
        again = work(film, out, "--retry-failed", servers=[server], expect=1)
        assert asked(server) == ["Line 3.", "Line 7."] and "not tried: audio_0001.wav" in again.stderr
        ill.clear()
        work(film, out, servers=[server])
        assert sorted(asked(server)[2:]) == ["Line 1.", "Line 7."] and checkpoint(out)["failed"] == []


def odd(kind: str) -> Reply:
    whole = speech({"text": "odd"})
    return {
        "JSON with status 200": Reply(200, b'{"error": "out of memory"}', "application/json"),
        "JSON called audio": Reply(200, b'{"error": "out of memory"}'),
        "a connection cut": Reply(200, whole, cut=9000),
        "a file cut with a matching length": Reply(200, whole[:9000]),
        "a header alone": Reply(200, whole[:44]),
        "nothing": Reply(200, b""),
        "half a header": Reply(200, whole[:20]),
        "MP3": Reply(200, b"\xff\xfb\x90\x00" * 500, "audio/mpeg"),
        "a web page": Reply(200, b"<html>Welcome</html>", "text/html"),
        "500": Reply(500, b'{"error": {"message": "a bug"}}', "application/json"),
        "502": Reply(502, b"Bad Gateway", "text/plain"),
    }[kind]


ODD = [
    "JSON with status 200",
    "JSON called audio",
    "a connection cut",
    "a file cut with a matching length",
    "a header alone",
    "nothing",
    "half a header",
    "MP3",
    "a web page",
    "500",
    "502",
]


def test_no_odd_reply_is_kept_and_the_cue_is_asked_for_again(tmp_path: Path, out: Path) -> None:
    """Every kind of false answer once, for a cue of its own: all are spoken in the end, and no file is anything but its speech."""
    film, given = make_film(tmp_path / "film.srt", ODD), set()

    def script(server: Scripted, line: dict[str, Any]) -> Reply | None:
        if line["text"] in given:
            return None
        given.add(line["text"])
        return odd(line["text"])

    with scripted(script) as server:
        work(film, out, servers=[server])
    assert sounds(out) == {f"audio_{i:04d}.wav": speech({"text": text, "speed": 1.0}) for i, text in enumerate(ODD)}


@pytest.mark.parametrize("kind", ["JSON with status 200", "a file cut with a matching length"])
def test_a_reply_that_stays_odd_fails_in_words(tmp_path: Path, out: Path, kind: str) -> None:
    film = make_film(tmp_path / "film.srt", ["Good.", "Bad."])
    with scripted(lambda server, line: odd(kind) if line["text"] == "Bad." else None) as server:
        done = work(film, out, servers=[server], expect=1)
        assert 2 <= asked(server).count("Bad.") <= 10
    assert list(sounds(out)) == ["audio_0000.wav"] and not leftovers(out)
    assert {"JSON with status 200": "instead of audio: out of memory", "a file cut with a matching length": "promises"}[
        kind
    ] in done.stderr


def test_a_storm_of_503_is_waited_out_as_long_as_it_says(film: Path, out: Path) -> None:
    times: list[float] = []

    def script(server: Scripted, line: dict[str, Any]) -> Reply | None:
        times.append(time.monotonic())
        return (
            Reply(503, b'{"error": {"message": "full"}}', "application/json", {"retry-after": "1"})
            if len(times) in range(3, 9)
            else None
        )

    with scripted(script) as server:
        work(film, out, "--workers", "2", servers=[server])
        assert sorted(server.spoken, key=lambda line: int(line["text"][5:-1])) == [
            {"text": f"Line {i}.", "speed": 1.0} for i in range(12)
        ]
    refused = times[2:8]
    assert max(b - a for a, b in zip(refused, times[3:9], strict=True)) >= 0.99, "Retry-After: 1 was not honoured"
    assert len(sounds(out)) == 12


@pytest.mark.parametrize("seconds", [1.5, pytest.param(10, marks=pytest.mark.slow)])
def test_a_server_that_is_down_for_a_while_loses_nothing(film: Path, out: Path, seconds: float) -> None:
    with scripted(lambda server, line: 0.05) as server, working(film, out, servers=[server]) as process:
        until(lambda: len(server.spoken) >= 4)
        server.down()
        time.sleep(seconds)  # the downtime itself
        server.up()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        again = [text for text in asked(server) if asked(server).count(text) > 1]
        assert len(set(again)) <= 2, f"only what was in flight may be asked again, not {set(again)}"
    assert len(sounds(out)) == 12 and checkpoint(out)["completed"] == list(range(12))


def test_when_one_server_fails_its_cues_go_elsewhere(film: Path, out: Path) -> None:
    with scripted(lambda server, line: 0.02) as good, scripted(lambda server, line: Reply(500, b"bug")) as bad:
        work(film, out, "--workers", "2", servers=[bad, good])
        assert len(good.spoken) == 12 and 1 <= len(bad.asked) <= 6
    with scripted() as good:
        (out / ".checkpoint.json").unlink()
        done = work(film, out, servers=["http://127.0.0.1:9", good.url])
        assert "http://127.0.0.1:9 does not answer" in done.stderr and len(good.spoken) == 12


def test_the_run_gives_up_on_servers_that_stay_away_and_goes_on_later(film: Path, out: Path) -> None:
    with (
        scripted(lambda server, line: 0.05) as server,
        working(film, out, "--patience", "1", servers=[server]) as process,
    ):
        until(lambda: completed(out) >= 3)
        server.down()
        _, errors = process.communicate(timeout=30)
        assert (
            process.returncode == 1
            and "gave up: nothing was spoken for 1 s" in errors
            and "not tried: audio_0011.wav" in errors
        )
        before = len(checkpoint(out)["completed"])
        assert before >= 3
        server.up()
        server.asked.clear()
        work(film, out, servers=[server])
        assert len(server.asked) == 12 - before


def test_a_server_restarted_with_another_model_is_not_mixed_in(film: Path, out: Path) -> None:
    with scripted(lambda server, line: 0.3) as server, working(film, out, servers=[server]) as process:
        until(lambda: completed(out) >= 2 and server.now == 2)
        server.down()
        server.model = "another"
        server.up()
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1 and "stopped" in errors and "speaks with the model 'another'" in errors


# Kill and interrupt


def killed_run(film: Path, out: Path, server: Scripted, draw: random.Random, whole: dict[str, bytes]) -> None:
    """kill -9 after a random number of cues and a moment more; then the same command finishes and asks for no finished cue again."""
    server.asked.clear()
    server.spoken.clear()
    at, moment = draw.randrange(1, 58), draw.uniform(0, 0.03)
    stop = threading.Event()
    read: list[int] = []

    def reader() -> None:
        while not stop.is_set():
            with contextlib.suppress(FileNotFoundError):  # before the first checkpoint
                sizes = {file.name: file.stat().st_size for file in out.glob("audio_*.wav")}
                kept = checkpoint(out)
                read.append(len(kept["completed"]))
                assert all(size == len(whole[name]) for name, size in sizes.items()), "a file in place is a whole file"
                assert {f"audio_{int(index):04d}.wav" for index in kept["cues"]} >= sizes.keys(), (
                    "a kill now would forget a file in place"
                )
                assert all((out / f"audio_{index:04d}.wav").exists() for index in kept["completed"])

    with working(film, out, "--workers", "3", servers=[server]) as process, contextlib.ExitStack() as after:
        thread = threading.Thread(target=reader)
        thread.start()
        after.callback(thread.join)
        after.callback(stop.set)
        until(lambda: len(server.spoken) >= at)
        time.sleep(moment)
        process.kill()
        process.wait()
    finished = sounds(out)
    assert set(finished.items()) <= set(whole.items()), "a file in place is a whole file"
    assert read == sorted(read) and read
    before = len(server.asked)
    work(film, out, "--workers", "3", servers=[server])
    again = {f"audio_{int(text[5:-1]):04d}.wav" for text in asked(server)[before:]}
    assert not again & finished.keys(), (
        f"killed after {at} cues and {moment:.3f} s: {again & finished.keys()} was finished"
    )
    assert sounds(out) == whole and not leftovers(out)
    assert checkpoint(out)["completed"] == list(range(60))


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_loses_no_finished_cue(
    tmp_path: Path, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier client wrote its checkpoint in place: a kill left half a JSON file, and everything was spoken again."""
    errors: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args.exc_value))
    film = make_film(tmp_path / "film.srt", [f"Line {i}." for i in range(60)])
    draw = random.Random(11)
    with scripted(lambda server, line: draw.uniform(0.003, 0.03)) as server:
        work(film, tmp_path / "whole", "--workers", "3", servers=[server])
        whole = sounds(tmp_path / "whole")
        assert len(whole) == 60
        for number in range(kills):
            killed_run(film, tmp_path / f"out{number}", server, draw, whole)
            assert not errors, errors


def test_ctrl_c_saves_and_says_how_far_it_came(film: Path, out: Path) -> None:
    with scripted(lambda server, line: 0.05) as server, working(film, out, servers=[server]) as process:
        until(lambda: completed(out) >= 4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130 and "Traceback" not in errors
        assert re.search(r"interrupted: \d+/12 completed", errors)
        kept = checkpoint(out)
        assert kept["in_progress"] == [] and len(kept["completed"]) >= 4 and not leftovers(out)
        server.asked.clear()
        work(film, out, servers=[server])
        assert len(server.asked) == 12 - len(kept["completed"])


def test_a_full_disk_stops_the_run_and_keeps_what_is_whole(film: Path, out: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: a write beyond it fails as one to a full disk does."""
    film.write_text(film.read_text().replace("Line 8.", "Much longer than any other line. " * 8))
    with scripted() as server:
        line = command(film, out, "--workers", "1", servers=[server.url])
        limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
        done = subprocess.run(line, capture_output=True, text=True, preexec_fn=limited, timeout=30)
        assert (
            done.returncode == 1
            and "stopped: File too large" in done.stderr
            and "the same command goes on" in done.stderr
        ), done.stderr
        assert checkpoint(out)["completed"] == list(range(8)) and not leftovers(out)
        work(film, out, servers=[server])
        assert len(server.asked) == 13
