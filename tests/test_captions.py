"""Word by word captions: `--captions` asks for times as it asked for the sound, and puts them on the film's clock."""

import json
import re
import signal
import time
from pathlib import Path

import httpx
import pytest
from films import leftovers, make_film, sounds, until, work, working
from scripted import SILENT_SECONDS, Reply, natural_seconds, scripted, seconds_of

from subtitles import captions, cues
from subtitles.track import LEAD_SAMPLES, SAMPLE_RATE

MS = 0.0011
"""What is rounded to a millisecond twice may differ by so much."""


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def read(file: Path) -> list[tuple[float, float, str, list[float]]]:
    """Of each cue: start, end, text, and the times within it."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith(captions.HEADER + "\n\n") and "\n\n\n" not in text
    found = []
    for block in text.split("\n\n")[1:]:
        times, body = block.strip().split("\n", 1)
        start, end = map(seconds, times.split(" --> "))
        stamps = [seconds(clock) for clock in re.findall(r"<([\d:.]+)>", body)]
        assert all(a < b for a, b in zip([start, *stamps], [*stamps, end], strict=True)), block
        found.append((start, end, re.sub(r"<[\d:.]+>", "", body), stamps))
    return found


def test_times_are_asked_for_as_the_sound_was(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["[anna] One two three.", "Four five.", "x" * 50])
    (tmp_path / "map.toml").write_text('anna = "michael"')
    options = ("--seed", "3", "--fit", "--voices", str(tmp_path / "map.toml"), "--captions", str(tmp_path / "c.vtt"))
    with scripted() as server:
        for _ in range(2):
            done = work(film, out, *options, servers=[server])
            assert "c.vtt: 3 cues, 6 words" in done.stdout
        in_order = sorted(server.asked, key=str)
        assert len(server.asked) == 3 and all("duration" in line for line in server.asked)
        assert sorted(server.planned, key=str) == sorted(in_order + in_order, key=str), "each run asks, once a cue"
    told = read(tmp_path / "c.vtt")
    assert [text for _, _, text, _ in told] == ["One two three.", "Four five.", "x" * 50]
    assert [len(stamps) for *_, stamps in told] == [3, 2, 1]
    assert told[1][3][0] == pytest.approx(2 + SILENT_SECONDS, abs=MS)
    assert not leftovers(tmp_path)


def test_every_word_stands_where_the_film_has_it(tmp_path: Path, out: Path) -> None:
    """Two voices in a cue; a cue that is late in the track; what is not spoken; marks that WebVTT would take for its
    own."""
    texts = ["- [Bob] Hi there.\n- [Amy] Bye now.", "Tom & Jerry say a < b --> c.", "♪ la la ♪", "Last."]
    film = make_film(tmp_path / "film.srt", texts, slot=1.5, speaks=1.4)
    (tmp_path / "map.toml").write_text('bob = "b"\namy = "a"')
    with scripted(voices=["a", "b", "default"]) as server:
        options = ("--voices", str(tmp_path / "map.toml"), "--captions", str(tmp_path / "c.vtt"))
        work(film, out, *options, servers=[server])
        alone = read(tmp_path / "c.vtt")
        work(film, out, *options, "--no-fit", "--track", str(tmp_path / "t.wav"), servers=[server])
        mixed = read(tmp_path / "c.vtt")
    assert [text for _, _, text, _ in alone] == [
        "Hi there.\nBye now.",
        "Tom &amp; Jerry say a &lt; b --&gt; c.",
        "♪ la la ♪",
        "Last.",
    ]
    hi, bye = natural_seconds("Hi there."), 0.25 + natural_seconds("Hi there.") + SILENT_SECONDS
    first = [SILENT_SECONDS, SILENT_SECONDS + (hi - SILENT_SECONDS) / 2]
    second = [bye, bye + (natural_seconds("Bye now.") - SILENT_SECONDS) / 2]
    assert alone[0][3] == pytest.approx([*first, *second], abs=MS)
    assert alone[0][1] == pytest.approx(0.25 + hi + natural_seconds("Bye now."), abs=MS), "spoken beyond its end"
    assert alone[2][3] == [] and alone[3][3] == pytest.approx([4.5 + SILENT_SECONDS], abs=MS)
    cut = SILENT_SECONDS - LEAD_SAMPLES / SAMPLE_RATE  # a track begins a cue with its first sound
    late = 0.25 + hi + natural_seconds("Bye now.") - cut - 1.5
    assert mixed[0][3] == pytest.approx([at - cut for at in alone[0][3]], abs=2 * MS)
    assert mixed[1][3] == pytest.approx([at - cut + late for at in alone[1][3]], abs=0.01)
    back, _ = cues.read(tmp_path / "c.vtt")
    assert [cue.shown for cue in back] == ["Hi there.\nBye now.", "Tom & Jerry say a < b --> c.", "♪ la la ♪", "Last."]


def test_the_real_server_tells_them(server: str, client: httpx.Client, tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["It cost $5 & more.", "Good evening."], slot=3.5, speaks=3)
    work(film, out, "--seed", "1", "--captions", str(tmp_path / "c.vtt"), servers=[server])
    for number, (start, _, text, stamps) in enumerate(read(tmp_path / "c.vtt")):
        words = client.post("/tts/plan", json={"text": text.replace("&amp;", "&"), "speed": 1.0}).json()["words"]
        assert [word["word"] for word in words] == text.replace("&amp;", "&").split()
        assert start == 3.5 * number and stamps == pytest.approx([start + w["start"] for w in words], abs=MS)


WRONG = {
    "no such route": Reply(404, b'{"error": {"message": "there is no /tts/plan"}}', "application/json"),
    "not JSON": Reply(200, b"<html>", "text/html"),
    "no words": Reply(200, b'{"seconds": 0.65}', "application/json"),
    "odd words": Reply(200, b'{"seconds": 0.65, "words": [7, {"word": 1}, null]}', "application/json"),
    "odd times": Reply(
        200, b'{"seconds": 0.65, "words": [{"word": "Line", "start": NaN, "end": 1e400}]}', "application/json"
    ),
    "of another length": Reply(200, b'{"seconds": 9.5, "words": []}', "application/json"),
    "too much": Reply(200, b"[" * 2_000_000, "application/json"),
}


@pytest.mark.parametrize("what", WRONG)
def test_without_times_nothing_is_written_and_the_sound_stays(film: Path, out: Path, tmp_path: Path, what: str) -> None:
    file = tmp_path / "c.vtt"
    with scripted() as server:
        work(film, out, "--captions", str(file), servers=[server])
        before, sound = file.read_bytes(), sounds(out)
        server.times = lambda line: WRONG[what]
        done = work(film, out, "--captions", str(file), servers=[server], expect=1)
        assert f"{file} is not written: audio_00" in done.stderr and "the same command goes on" in done.stderr
        assert file.read_bytes() == before and sounds(out) == sound and not leftovers(tmp_path)
        assert "12/12 completed" in done.stdout


def test_words_that_a_server_makes_up_are_not_in_the_file(film: Path, out: Path, tmp_path: Path) -> None:
    word = {"word": "</v>\n\n00:00:00.000 --> 01:00:00.000\n\x1b[31m", "start": 0.1, "end": 0.2}

    def odd(line: dict[str, object]) -> Reply:
        words = [word, {"word": "", "start": 0.2, "end": 0.1}, {"word": "Line", "start": 0.3, "end": 0.4}]
        return Reply(200, json.dumps({"seconds": seconds_of(line), "words": words}).encode(), "application/json")

    with scripted(times=odd) as server:
        work(film, out, "--captions", str(tmp_path / "c.vtt"), servers=[server])
    assert {text for _, _, text, _ in read(tmp_path / "c.vtt")} == {f"Line {number}." for number in range(12)}


def test_captions_take_the_place_of_nothing_but_captions(film: Path, out: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.vtt"
    theirs.write_text("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nMine.\n")
    voices, track = tmp_path / "map.toml", tmp_path / "t.wav"
    voices.write_text('anna = "michael"')
    (tmp_path / "soft.vtt").symlink_to(film)
    with scripted() as server:
        work(film, out, "--track", str(track), servers=[server])
        names = [film, theirs, voices, track, tmp_path / "soft.vtt", out / "audio_0003.wav", out / ".checkpoint.json"]
        names += [out / "audio_0099.wav", tmp_path, Path("/dev/null"), tmp_path / "none" / "c.vtt"]
        before = {name: name.read_bytes() for name in names if name.is_file()}
        for name in names:
            options = ("--voices", str(voices), "--track", str(track), "--captions", str(name))
            done = work(film, out, *options, servers=[server], expect=2)
            assert "name another" in done.stderr or "a file in it" in done.stderr or "No such file" in done.stderr, name
            assert {name: name.read_bytes() for name in before} == before, name
        assert server.planned == []
        for _ in range(2):
            work(film, out, "--captions", str(out / "c.vtt"), servers=[server])
        assert len(read(out / "c.vtt")) == 12


def test_a_file_that_would_be_written_on_the_way_is_not_taken(tmp_path: Path, out: Path) -> None:
    """A track is written beside its name first: a subtitle of that name was removed."""
    film = make_film(tmp_path / ".t.wav.part", ["One."])
    with scripted() as server:
        done = work(film, out, "--track", str(tmp_path / "t.wav"), servers=[server], expect=2)
    assert "name another" in done.stderr and film.exists()


def test_ctrl_c_while_times_are_asked_for_writes_nothing(film: Path, out: Path, tmp_path: Path) -> None:

    def slow(line: dict[str, object]) -> Reply:
        time.sleep(0.3)  # of the scripted server's own loop
        return Reply(503, b"later", "text/plain", {"retry-after": "30"})

    with scripted(times=slow) as server:
        with working(film, out, "--captions", str(tmp_path / "c.vtt"), servers=[server]) as process:
            until(lambda: bool(server.planned))
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        assert not (tmp_path / "c.vtt").exists() and not leftovers(tmp_path) and len(sounds(out)) == 12
