"""Finished sound is never removed before its replacement is in place, and never sound that is not about to be made
again."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from films import asked, checkpoint, command, make_film, sounds, until, work, working
from scripted import Reply, scripted, speech

from subtitles import cues

NO = Reply(400, b'{"error": {"message": "no"}}', "application/json")

# Changed options


def test_retry_failed_with_a_changed_option_removes_nothing(film: Path, out: Path) -> None:
    """It removed every file, because each was of other settings, and spoke none, because none had failed."""
    with scripted() as server:
        work(film, out, servers=[server])
        before = sounds(out)
        done = work(film, out, "--retry-failed", "--speed", "1.2", servers=[server], expect=1)
        assert sounds(out) == before and len(server.asked) == 12
        assert "not tried: audio_0003.wav" in done.stderr and "of other words or settings" in done.stderr
        work(film, out, servers=[server])
        assert sounds(out) == before and len(server.asked) == 12, "with the option taken back, everything is done"


@pytest.mark.parametrize("harm", ["refused", "away", "killed", "interrupted"])
def test_a_file_stays_until_its_replacement_is_there(film: Path, out: Path, harm: str) -> None:
    with scripted() as server:
        work(film, out, servers=[server])
        before = sounds(out)
        if harm == "refused":
            server.script = lambda server, line: NO
            done = work(film, out, "--voice", "michael", servers=[server], expect=1)
            assert "failed: audio_0000.wav" in done.stderr
        elif harm == "away":
            server.script = lambda server, line: Reply(503, b"full", headers={"retry-after": "1"})
            work(film, out, "--voice", "michael", "--patience", "1", servers=[server], expect=1)
        else:
            server.script = lambda server, line: 30.0
            with working(film, out, "--voice", "michael", servers=[server]) as process:
                until(lambda: len(server.asked) == 14)
                process.send_signal(signal.SIGKILL if harm == "killed" else signal.SIGINT)
                process.communicate(timeout=20)
        assert sounds(out) == before
        server.script = None
        server.asked.clear()
        work(film, out, servers=[server])
        assert server.asked == [], "what was there before is still known"


def test_sound_of_cues_that_are_gone_or_silent_now_is_kept_and_named(film: Path, out: Path) -> None:
    with scripted() as server:
        work(film, out, servers=[server])
        before = sounds(out)
        whole = film.read_text()
        film.write_text(whole[: whole.index("10\n00:00:18")].replace("Line 4.", "[music]"))
        done = work(film, out, servers=[server])
        named = "audio_0004.wav, audio_0009.wav, audio_0010.wav, audio_0011.wav"
        assert f"kept, though no cue of film.srt speaks there now: {named}" in done.stdout
        assert sounds(out) == before and "8/8 completed" in done.stdout
        film.write_text(whole)
        work(film, out, servers=[server])
        assert len(server.asked) == 12


# Another film


def other_film(folder: Path) -> Path:
    return make_film(folder / "other.srt", ["Other 0.", "Other 1.", "Line 2."])


def test_another_film_is_refused_in_words(film: Path, out: Path, tmp_path: Path) -> None:
    """Its files took the place of the first one's, which were removed before."""
    with scripted() as server:
        work(film, out, "--speed", "1.1", servers=[server])
        before, kept = sounds(out), (out / ".checkpoint.json").read_bytes()
        done = work(other_film(tmp_path), out, servers=[server], expect=2)
        assert (
            f"{out} has the speech of another film, {film}" in done.stderr and "choose another --output" in done.stderr
        )
        assert len(done.stderr.splitlines()) == 1 and len(server.asked) == 12
        assert sounds(out) == before and (out / ".checkpoint.json").read_bytes() == kept
        work(other_film(tmp_path), tmp_path / "own", servers=[server])
        (out / ".checkpoint.json").unlink()
        work(other_film(tmp_path), out, servers=[server])
        assert sorted(asked(server)[15:]) == ["Line 2.", "Other 0.", "Other 1."], "the way out that was named"
        assert sounds(out).items() >= {name: before[name] for name in before if name > "audio_0002.wav"}.items()


def test_another_film_under_the_same_name_is_refused(film: Path, out: Path) -> None:
    with scripted() as server:
        work(film, out, servers=[server])
        make_film(film, ["Other 0.", "Other 1.", "Other 2."], slot=1.7)
        assert "another film" in work(film, out, servers=[server], expect=2).stderr
        assert len(sounds(out)) == 12


def test_the_default_folder_stays_for_the_first_film(film: Path, tmp_path: Path) -> None:
    with scripted() as server:
        line = command(film, Path("unused"), servers=[server.url])
        plain = [part for part in line if part not in ("--output", "unused")]
        assert subprocess.run(plain, cwd=tmp_path).returncode == 0 and len(sounds(tmp_path / "output_audio")) == 12
        other = [str(other_film(tmp_path)) if part == str(film) else part for part in plain]
        done = subprocess.run(other, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2 and "output_audio has the speech of another film" in done.stderr


def edited(film: Path) -> Path:
    film.write_text(film.read_text().replace("Line 5.", "Another line."))
    return film


def renamed_and_edited(film: Path) -> Path:
    return edited(film).rename(film.with_name("film.final.srt"))


def moved_later(film: Path) -> Path:
    return make_film(film.with_name("late.srt"), [f"Line {i}." for i in range(12)], slot=2.1)


def in_another_language(film: Path) -> Path:
    return make_film(film, [f"Câu {i}." for i in range(12)])


def cut_short(film: Path) -> Path:
    return make_film(film, [f"Line {i}." for i in range(4)])


def in_another_case(film: Path) -> Path:
    film.write_text(film.read_text().replace("Line", "<i>LINE</i>"))
    return film


def one_put_in(film: Path) -> Path:
    return make_film(film, ["At first.", *(f"Line {i}." for i in range(12))])


def one_taken_out(film: Path) -> Path:
    return make_film(film, [f"Line {i}." for i in range(12) if i != 3])


def shuffled(film: Path) -> Path:
    return make_film(film, [f"Line {i}." for i in (5, 0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12)])


VERSIONS: list[tuple[Callable[[Path], Path], int]] = [
    (edited, 1),
    (renamed_and_edited, 1),
    (moved_later, 0),
    (in_another_language, 12),
    (cut_short, 0),
    (in_another_case, 12),
    (one_put_in, 1),
    (one_taken_out, 0),
    (shuffled, 7),  # a circle of six has no order in which none is written over
]


@pytest.mark.parametrize("change,new", VERSIONS, ids=[change.__name__ for change, _ in VERSIONS])
def test_another_version_of_the_film_goes_on(film: Path, out: Path, change: Callable[[Path], Path], new: int) -> None:
    with scripted() as server:
        work(film, out, servers=[server])
        work(change(film), out, servers=[server])
        assert len(server.asked) == 12 + new
        assert set(sounds(out)) >= {f"audio_{i:04d}.wav" for i in range(12)}
        for cue in cues.read(film if film.exists() else next(film.parent.glob("*.srt")))[0]:
            assert sounds(out)[cue.file_name] == speech({"text": cue.text, "speed": 1.0})


def test_one_line_corrected_in_the_only_cue_goes_on(out: Path, tmp_path: Path) -> None:
    with scripted() as server:
        film = make_film(tmp_path / "film.srt", ["Helo."])
        work(film, out, servers=[server])
        work(make_film(film, ["Good evening."]), out, servers=[server])
        assert asked(server) == ["Helo.", "Good evening."]


def test_a_checkpoint_without_the_film_still_works(film: Path, out: Path) -> None:
    with scripted() as server:
        work(film, out, servers=[server])
        kept = checkpoint(out)
        for added in ("film", "replacing"):
            kept.pop(added)
        for record in kept["cues"].values():
            record["natural"] = 1.5  # as it was written for one text
        (out / ".checkpoint.json").write_text(json.dumps(kept))
        work(film, out, servers=[server])
        assert len(server.asked) == 12 and checkpoint(out)["film"]["path"] == str(film)


# Names that lead to what is read or kept


def links(folder: Path, target: Path) -> dict[str, Path]:
    (folder / "soft.wav").symlink_to(target)
    os.link(target, folder / "hard.wav")
    return {
        "itself": target,
        "a detour": target.parent / "x" / ".." / target.name,
        "a symbolic link": folder / "soft.wav",
        "a hard link": folder / "hard.wav",
        "other letter case": target.with_name(target.name.upper()),
    }


@pytest.mark.parametrize("what", ["the subtitle", "a cue's file", "the voices' map", "the checkpoint", "the lock"])
def test_a_track_that_names_a_file_in_use_is_refused(film: Path, out: Path, tmp_path: Path, what: str) -> None:
    """The subtitle was overwritten with the track, and the exit code was 0."""
    voices = tmp_path / "map.toml"
    voices.write_text('anna = "michael"')
    with scripted() as server:
        work(film, out, servers=[server])
        (out / ".lock").touch()
        target = {
            "the subtitle": film,
            "a cue's file": out / "audio_0003.wav",
            "the voices' map": voices,
            "the checkpoint": out / ".checkpoint.json",
            "the lock": out / ".lock",
        }[what]
        before = target.read_bytes()
        for how, name in links(tmp_path, target).items():
            options = ("--voices", str(voices), "--track", str(name))
            done = work(film, out, *options, servers=[server], expect=2)
            assert f"--track {name}" in done.stderr and "name another" in done.stderr, (how, done.stderr)
            assert target.read_bytes() == before and len(server.asked) == 12, how


def test_a_track_takes_the_place_of_nothing_but_sound(film: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"\x1aE\xdf\xa3 a film")
    with scripted() as server:
        for name in (tmp_path / "film.mkv", out / "audio_0099.wav", Path("/dev/null")):
            assert "name another" in work(film, out, "--track", str(name), servers=[server], expect=2).stderr
        assert server.asked == [] and (tmp_path / "film.mkv").read_bytes().endswith(b"a film")
        for _ in range(2):
            work(film, out, "--track", str(out / "track.wav"), servers=[server])
        assert (out / "track.wav").stat().st_size > 44
