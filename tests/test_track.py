"""Speech that fits its slots, and the track it is mixed into."""

import re
import subprocess
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from films import command, make_film, starts_and_ends, work
from scripted import RATE, Reply, natural_seconds, scripted, speech

from subtitles import track

# Fitting and the track


def test_fit_asks_for_the_natural_length_then_for_the_silence_then_for_speed(tmp_path: Path, out: Path) -> None:
    natural = "x" * 20  # 1.3 s
    film = tmp_path / "film.srt"
    times = ["0:00.0 --> 0:02.0", "0:02.0 --> 0:03.0", "0:04.0 --> 0:04.5", "0:05.1 --> 0:05.2", "0:05.5 --> 0:07.5"]
    film.write_text("".join(f"{time}\n{natural}\n\n" for time in times))
    with scripted() as server:
        done = work(film, out, "--fit", "--workers", "1", servers=[server])
        assert natural_seconds(natural) == 1.3
        assert [line["duration"] for line in server.asked] == [1.3, 1.3, 1.1, 1.0, 1.3]
        assert server.heads == 5
        assert "does not fit: audio_0003.wav (film.srt, line 10): 1.00 s of speech, 0.40 s of room" in done.stdout
        assert done.stdout.count("does not fit") == 1
        work(film, out, "--fit", servers=[server])
        assert len(server.asked) == server.heads == 5, "lengths are kept in the checkpoint"
        film.write_text(film.read_text().replace("0:04.0 -->", "0:04.2 -->"))
        work(film, out, "--fit", servers=[server])
        assert [line["duration"] for line in server.asked[5:]] == [1.0], "only the cue whose room has changed"


def test_speed_is_kept_when_fitting(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["x" * 20, "x" * 20], slot=1.2, speaks=1.2)
    with scripted() as server:
        work(film, out, "--fit", "--workers", "1", "--speed", "1.25", servers=[server])
        work(film, out, "--fit", "--workers", "1", "--speed", "0.8", servers=[server])
        assert [line["duration"] for line in server.asked] == [1.04, 1.04, 1.2, 1.2]


def test_a_server_that_tells_no_lengths_is_asked_twice_where_it_must(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["Short.", "x" * 40, "x" * 20], slot=2.1)
    with scripted(tells_lengths=False) as server:
        work(film, out, "--fit", "--workers", "1", servers=[server])
        assert [line.get("duration") for line in server.asked] == [None, None, 2.1, None]
        work(film, out, "--fit", servers=[server])
        assert len(server.asked) == 4


def test_a_question_for_a_length_is_asked_again_or_left_out(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["Short.", "x" * 4500], slot=300, speaks=299)
    with scripted() as server:
        server.broken_heads = 2
        work(film, out, "--fit", "--workers", "1", servers=[server])
        assert server.heads == 3, "a text too long for an address is not asked about"
        assert [line.get("duration") for line in server.asked] == [natural_seconds("Short."), None]


@pytest.mark.parametrize(
    "field,options", [("duration", ["--fit"]), ("seed", ["--seed", "4"]), ("voice", ["--voice", "michael"])]
)
def test_a_server_without_a_field_says_so_and_is_not_sent_it_unasked(
    film: Path, out: Path, field: str, options: list[str]
) -> None:
    with scripted(refuses=field) as server:
        work(film, out, servers=[server])
        done = work(film, out, *options, servers=[server], expect=1)
        assert f"answered 400: unknown field '{field}'" in done.stderr


def test_the_track_has_every_cue_at_its_time_and_the_films_length(tmp_path: Path, out: Path) -> None:
    film = make_film(
        tmp_path / "film.srt", ["First.", "[music]", "Third, and longer.", "Fourth."], slot=2.5, speaks=2.2
    )
    with scripted() as server:
        done = work(film, out, "--track", str(tmp_path / "track.wav"), servers=[server])
    with wave.open(str(tmp_path / "track.wav")) as file:
        assert file.getparams()[:4] == (1, 2, RATE, round(9.7 * RATE))
    heard = starts_and_ends(tmp_path / "track.wav")
    assert [round(start, 2) for start, _ in heard] == pytest.approx([0, 5, 7.5], abs=0.03), heard
    assert f"{tmp_path}/track.wav: 9.70 s, 3 of 3 cues\n" in done.stdout


def test_speech_that_does_not_fit_is_placed_whole_never_over_another_and_named(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", ["x" * 50, "Second.", "y" * 60, "Fourth."], slot=1.5, speaks=1.5)
    with scripted() as server:
        done = work(film, out, "--track", str(tmp_path / "track.wav"), servers=[server])
    first, second, third, fourth = (
        2.8 / 1.3 - 0.12,
        0.65 - 0.12,
        3.3 / 1.3 - 0.12,
        0.65 - 0.12,
    )  # less the silence that the server puts in front
    heard = [time for stretch in starts_and_ends(tmp_path / "track.wav") for time in stretch]
    assert heard == pytest.approx([0, first + second, 3, 3 + third + fourth], abs=0.03), (
        "nothing is cut off, nothing sounds at once"
    )
    assert done.stdout.count("does not fit") == 2 and done.stdout.count("late: ") == 2
    assert "late: audio_0003.wav" in done.stdout


def test_cues_out_of_order_are_mixed_in_the_films_order(tmp_path: Path, out: Path) -> None:
    film = tmp_path / "film.srt"
    film.write_text("0:04.0 --> 0:05.5\nLast.\n\n0:00.0 --> 0:01.5\nFirst.\n\n0:02.0 --> 0:03.5\nSecond.\n")
    with scripted() as server:
        work(film, out, "--track", str(tmp_path / "track.wav"), servers=[server])
        assert (out / "audio_0000.wav").read_bytes() == speech(
            {"text": "Last.", "speed": 1.0, "duration": natural_seconds("Last.")}
        )
    assert [start for start, _ in starts_and_ends(tmp_path / "track.wav")] == pytest.approx([0, 2, 4], abs=0.03)


def test_a_failed_cue_leaves_silence_in_the_track_and_is_named(film: Path, out: Path, tmp_path: Path) -> None:
    with scripted(lambda server, line: Reply(400, b"no") if line["text"] == "Line 1." else None) as server:
        done = work(film, out, "--track", str(tmp_path / "track.wav"), servers=[server], expect=1)
    assert "failed: audio_0001.wav" in done.stderr and "11 of 12 cues" in done.stdout
    assert [round(start) for start, _ in starts_and_ends(tmp_path / "track.wav")] == [0, *range(4, 24, 2)]


def test_other_rates_and_channels_are_mixed(tmp_path: Path) -> None:
    time_ = np.arange(44_100) / 44_100
    soundfile.write(tmp_path / "a.wav", np.stack([0.5 * np.sin(2000 * time_)] * 2, axis=1), 44_100, subtype="PCM_24")
    seconds, placed = track.mix([(0.5, tmp_path / "a.wav")], 2.0, tmp_path / "track.wav")
    assert (seconds, [place.late for place in placed]) == (2.0, [0.0])
    ((start, end),) = starts_and_ends(tmp_path / "track.wav")
    assert [start, end] == pytest.approx([0.5, 1.5], abs=0.02)


def peak_megabytes(line: list[str]) -> float:
    """VmHWM, read while it runs: ru_maxrss of a child begins with its parent's."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(0.005)
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.returncode == 0, errors
    return peak / 1000


def test_an_hour_of_track_takes_tens_of_megabytes(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", [f"Line {i}." for i in range(30)], slot=120)
    with scripted() as server:
        megabytes = peak_megabytes(command(film, out, "--track", str(tmp_path / "track.wav"), servers=[server.url]))
    assert (tmp_path / "track.wav").stat().st_size > 160_000_000
    assert megabytes < 100, f"{megabytes:.0f} MB"


@pytest.mark.slow
def test_ten_thousand_cues_in_bounded_memory(tmp_path: Path, out: Path) -> None:
    film = make_film(tmp_path / "film.srt", [f"{i}" for i in range(10_000)], slot=1.0, speaks=0.9)
    with scripted() as server:
        megabytes = peak_megabytes(
            command(film, out, "--workers", "4", "--track", str(tmp_path / "track.wav"), servers=[server.url])
        )
        assert len(server.spoken) == 10_000
    assert megabytes < 120, f"{megabytes:.0f} MB"
