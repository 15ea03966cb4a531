"""The subtitle client among addresses, replies, checkpoints and environments that are wrong: a sentence each, nothing
lost."""

import concurrent.futures
import json
import os
import signal
import struct
import subprocess
import time
import wave
from pathlib import Path
from typing import Any

import pytest
from films import asked, checkpoint, command, completed, leftovers, make_film, sounds, until, work, working
from scripted import Reply, Scripted, scripted, speech

# Addresses and proxies


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:-1",
        "http://127.0.0.1:0",
        "http://127.0.0.1:http",
        "http://[::1",
        "http://[::1]x",
        "http://[fe80::g]:8000",
        "http://",
        "http:8000",
        "ftp://127.0.0.1",
        "http://127.0.0.1:8000/?a=b",
        "http://x\x1b[31m:8000",
        "//127.0.0.1",
    ],
)
def test_an_address_that_is_none_is_refused_in_a_sentence(film: Path, out: Path, url: str) -> None:
    done = work(film, out, servers=[url], expect=2)
    assert "needs the form http://127.0.0.1:8000" in done.stderr and len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr and not out.exists()


@pytest.mark.parametrize(
    "url", [f"http://{'a' * 70}.example", "http://a..b", "http://xn--.example", "http://\u2603..x"]
)
def test_a_name_that_cannot_be_asked_for_is_no_server(film: Path, out: Path, url: str) -> None:
    done = work(film, out, servers=[url], expect=2)
    assert len(done.stderr.splitlines()) == 1 and (
        "no server answers" in done.stderr or "needs the form" in done.stderr
    )


PROXIES = [
    "http://127.0.0.1:9",
    "http://127.0.0.1:99999",
    "socks5://127.0.0.1:9",
    "socks4://x",
    "nonsense",
    "http://[::1",
]


@pytest.mark.parametrize("proxy", PROXIES)
def test_no_proxy_stands_between_a_machine_and_itself(
    film: Path, out: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, proxy)
    with scripted() as server:
        work(film, out, servers=[server])
        work(film, out, "--speed", "1.1", servers=[server.url.replace("127.0.0.1", "localhost")])
        assert len(server.asked) == 24


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used_is_a_sentence(
    film: Path, out: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    done = work(film, out, servers=["http://server.example:8000"], expect=2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "unset it" in done.stderr or "no server answers" in done.stderr


# Replies


def header(channels: int = 1, rate: int = 24_000, bits: int = 16, size: int = 48_000, before: bytes = b"") -> bytes:
    frame = channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, (rate * frame) % 2**32, frame % 2**16, bits)
    body = before + form + struct.pack("<4sI", b"data", size)
    return struct.pack("<4sI4s", b"RIFF", min(2**32 - 1, 4 + len(body) + size), b"WAVE") + body


BRACKETS = b"[" * 100_000
ODD: dict[str, Reply] = {
    "brackets": Reply(200, BRACKETS, "application/json"),
    "brackets, called audio": Reply(200, BRACKETS),
    "brackets in a 400": Reply(400, b'{"error": ' + BRACKETS, "application/json"),
    "objects in a 500": Reply(500, b'{"error":' * 50_000, "application/json"),
    "an error that is a number": Reply(400, b'{"error": {"message": 7}}', "application/json"),
    "an error of a million letters": Reply(400, json.dumps({"error": "x" * 999_000}).encode(), "application/json"),
    "an endless error": Reply(500, b"", "text/plain", endless=b"wrong " * 10_000),
    "endless zeros": Reply(200, b"", endless=bytes(65_536)),
    "sound without end": Reply(200, header(size=48_000), endless=bytes(65_536)),
    "tags without end": Reply(200, b"RIFF\xff\xff\xff\x7fWAVE", endless=b"LIST\x04\0\0\0abcd" * 4096),
    "a header of 4 GiB": Reply(200, header(size=2**32 - 1), endless=bytes(65_536)),
    "2000 channels": Reply(200, header(channels=2000) + bytes(48_000)),
    "no channel": Reply(200, header(channels=0) + bytes(48_000)),
    "1 Hz": Reply(200, header(rate=1) + bytes(48_000)),
    "4 GHz": Reply(200, header(rate=2**32 - 1) + bytes(48_000)),
    "64 bits": Reply(200, header(bits=64) + bytes(48_000)),
    "half a second of two": Reply(200, header(size=96_000) + bytes(24_000)),
    "a compressed bomb": Reply(200, b"\x1f\x8b\x08\0" + bytes(1000), headers={"content-encoding": "gzip"}),
    "a redirect": Reply(302, b"", "text/html", {"location": "http://127.0.0.1:9/"}),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_reply_that_is_no_speech_is_a_sentence_and_costs_no_disk(tmp_path: Path, out: Path, kind: str) -> None:
    film = make_film(tmp_path / "film.srt", ["Good.", "Odd."])
    with scripted(lambda server, line: ODD[kind] if line["text"] == "Odd." else None) as server:
        began = time.monotonic()
        done = work(film, out, "--track", str(tmp_path / "track.wav"), servers=[server], expect=1)
        assert time.monotonic() - began < 20 and server.sent_bytes < 300_000_000
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: audio_0001.wav")]
    assert len(failed) == 1 and len(failed[0]) < 600, done.stderr
    assert list(sounds(out)) == ["audio_0000.wav"] and not leftovers(out)
    assert [failure["index"] for failure in checkpoint(out)["failed"]] == [1]


def test_a_file_with_tags_around_its_sound_is_kept(tmp_path: Path, out: Path) -> None:
    tags = b"LIST" + struct.pack("<I", 1000) + bytes(1000)
    odd = Reply(200, header(size=48_000, before=tags) + b"\1" * 48_000 + tags)
    with scripted(lambda server, line: odd) as server:
        work(make_film(tmp_path / "film.srt", ["Hello."]), out, servers=[server])
    assert sounds(out) == {"audio_0000.wav": odd.body}


HEALTH = {
    "brackets": Reply(200, BRACKETS, "application/json"),
    "a list": Reply(200, b"[1, 2]", "application/json"),
    "words": Reply(200, b"fine", "text/plain"),
    "nothing": Reply(200, b""),
    "odd fields": Reply(200, b'{"model": [[1]], "voices": [7, null, {"name": {}}, [[]]]}', "application/json"),
    "endless": Reply(200, b"", "application/json", endless=b"[" * 65_536),
}


@pytest.mark.parametrize("kind", HEALTH)
def test_a_server_that_tells_nothing_of_itself_may_still_speak(film: Path, out: Path, kind: str) -> None:
    with scripted(health=HEALTH[kind]) as server:
        work(film, out, servers=[server])
        assert len(sounds(out)) == 12


@pytest.mark.parametrize("told", ["inf", "nan", "-1", "0", "9" * 400, "1e9", "\u00b2", ""])
def test_a_length_that_is_none_is_not_believed(tmp_path: Path, out: Path, told: str) -> None:
    def natural(text: str) -> Any:
        class Told(float):
            def __format__(self, spec: str) -> str:
                return told.encode("latin-1").decode("latin-1")

        return Told(1)

    with scripted(natural=natural) as server:
        work(make_film(tmp_path / "film.srt", ["Hello."]), out, "--fit", servers=[server])
        assert "duration" not in server.asked[0]


def test_a_server_that_says_come_back_now_is_not_asked_without_end(film: Path, tmp_path: Path) -> None:
    """227 requests in five seconds. Each waits as long as its patience: all at once."""

    def ask(name: str, headers: dict[str, str]) -> None:
        with scripted(lambda server, line: Reply(503, b"full", "text/plain", headers)) as server:
            done = work(film, tmp_path / name, "--patience", "4", "--workers", "4", servers=[server], expect=1)
            assert "gave up" in done.stderr and len(server.asked) <= 24, (headers, len(server.asked))

    told: list[dict[str, str]] = [{"retry-after": "0"}, {"retry-after": "0.0"}, {"retry-after": "00"}, {}]
    with concurrent.futures.ThreadPoolExecutor(len(told)) as pool:
        for asking in [pool.submit(ask, f"out{number}", headers) for number, headers in enumerate(told)]:
            asking.result()


SEQUENCE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil"
SAYS = json.dumps({"error": {"message": SEQUENCE}}).encode()
STEERING = {
    "an error": Reply(400, SAYS, "application/json"),
    "an error in raw bytes": Reply(500, SEQUENCE.encode(), "text/plain"),
    "a content type": Reply(200, b"x", f"text/{SEQUENCE[:-5].encode().decode('latin-1')}"[:20]),
}


@pytest.mark.parametrize("kind", STEERING)
def test_no_escape_sequence_of_a_server_reaches_the_terminal(tmp_path: Path, out: Path, kind: str) -> None:
    film = make_film(tmp_path / "film.srt", ["Odd."])
    with scripted(lambda server, line: STEERING[kind]) as server:
        done = work(film, out, servers=[server], expect=1)
        assert_harmless(done)
        assert_harmless(work(film, out, "--retry-failed", servers=[server], expect=1))


def test_no_escape_sequence_of_a_name_reaches_the_terminal(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / f"film{SEQUENCE[:4]}.srt", [f"[{SEQUENCE}] Hello.", f"♪ {SEQUENCE} ♪"])
    (tmp_path / "map.toml").write_text('anna = "michael"')
    with scripted(voices=[SEQUENCE]) as server:
        assert_harmless(work(film, out, "--voice", "none", servers=[server], expect=2))
        assert_harmless(work(film, out, "--voices", str(tmp_path / "map.toml"), servers=[server]))
    with scripted(model=SEQUENCE) as server, scripted(model="other") as other:
        assert_harmless(work(film, out, servers=[server, other], expect=2))
        assert_harmless(work(film, out, "--check", servers=[server]))


def assert_harmless(done: subprocess.CompletedProcess[str]) -> None:
    said = (done.stdout + done.stderr).replace("\n", "")
    assert said and all(c.isprintable() for c in said), said


# Ctrl+C


@pytest.mark.parametrize("gap", [0.0, 0.005, 0.03, 0.1])
def test_two_quick_ctrl_c_are_one(film: Path, out: Path, gap: float) -> None:
    with scripted(lambda server, line: 0.05) as server, working(film, out, servers=[server]) as process:
        until(lambda: completed(out) >= 3)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(gap)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130 and "Traceback" not in errors and "Exception" not in errors, errors
        assert errors.count("interrupted: ") == 1
        kept = checkpoint(out)
        assert kept["in_progress"] == [] and not leftovers(out)
        server.asked.clear()
        work(film, out, servers=[server])
        assert len(server.asked) == 12 - len(kept["completed"])


@pytest.mark.parametrize("loaded", ["_socket", "_ssl", "_multiarray_umath", "libsndfile", "soxr"])
def test_ctrl_c_while_modules_are_loaded_is_quiet(film: Path, out: Path, loaded: str) -> None:
    with scripted(lambda server, line: 0.2) as server, working(film, out, servers=[server]) as process:
        until(lambda: loaded in Path(f"/proc/{process.pid}/maps").read_text())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130 and "Traceback" not in errors, errors


def test_ctrl_c_while_the_track_is_mixed_leaves_no_half_of_one(film: Path, out: Path, tmp_path: Path) -> None:
    make_film(film, [f"Line {i}." for i in range(12)], slot=3000)
    track = tmp_path / "track.wav"
    with scripted() as server, working(film, out, "--track", str(track), servers=[server]) as process:
        until(lambda: (tmp_path / ".track.wav.part").exists() and (tmp_path / ".track.wav.part").stat().st_size > 9_000)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130 and "Traceback" not in errors, errors
    assert not track.exists() and not (tmp_path / ".track.wav.part").exists()
    assert len(checkpoint(out)["completed"]) == 12


def test_words_that_the_terminal_lacks_stop_nothing(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "phim.srt", ["[tiếng cửa] Xin chào."])
    with scripted() as server:
        environment = os.environ | {"PYTHONIOENCODING": "ascii"}
        line = command(film, out, "--check", servers=[server.url])
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stderr


def test_two_voices_of_one_cue_in_different_formats_fail_in_words(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["- [Bob] Hi.\n- [Amy] Bye."])
    (tmp_path / "map.toml").write_text('Bob = "default"\nAmy = "michael"')

    def script(server: Scripted, line: dict[str, Any]) -> Reply | None:
        return Reply(200, header(rate=16_000, size=32_000) + b"\1" * 32_000) if line["voice"] == "michael" else None

    with scripted(script) as server:
        done = work(film, out, "--voices", str(tmp_path / "map.toml"), servers=[server], expect=1)
        assert "in different formats" in done.stderr and not sounds(out) and not leftovers(out)


def test_two_voices_of_one_cue_share_its_room(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["- [Bob] Hello there.\n- [Amy] Bye.", "[Bob] Yes."], slot=1.5, speaks=1.2)
    (tmp_path / "map.toml").write_text('Bob = "default"\nAmy = "michael"')
    with scripted() as server:
        for _ in range(2):
            work(film, out, "--workers", "1", "--fit", "--voices", str(tmp_path / "map.toml"), servers=[server])
        said = [(line["voice"], line["text"]) for line in server.asked]
        assert said == [("default", "Hello there."), ("michael", "Bye."), ("default", "Yes.")]
        hello, bye = (line["duration"] for line in server.asked[:2])
        assert hello + bye == pytest.approx(1.25, abs=0.002) and hello / bye == pytest.approx(0.9 / 0.5, abs=0.01)
        with wave.open(str(out / "audio_0000.wav")) as sound:
            assert sound.getnframes() == round(hello * 24_000) + 6000 + round(bye * 24_000)
            frames = sound.readframes(sound.getnframes())
        first, second = speech(server.asked[0])[44:], speech(server.asked[1])[44:]
        assert frames == first + bytes(12_000) + second
    assert asked(server)[3:] == [] and Path(out / ".checkpoint.json").exists()
