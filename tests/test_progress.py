"""A checkpoint edited by hand: it is read as one of ours, or it is a sentence, and nothing is lost."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from films import checkpoint, make_film, sounds, work
from scripted import Reply, scripted

from subtitles.progress import BadCheckpoint, Progress


def edits(kept: dict[str, Any]) -> dict[str, Any]:
    """Every field with every wrong type, and numbers out of their range."""
    wrong: list[Any] = [None, True, 7, -1, 1.5, 1e400, "x", "", [], [[]], [7.5], {}, {"x": 1}, 10**30]
    changed: dict[str, Any] = {f"the whole is {value!r:.20}": value for value in wrong if value != {}}
    for path in (
        ("completed",),
        ("in_progress",),
        ("failed",),
        ("last_updated",),
        ("cues",),
        ("replacing",),
        ("film",),
    ):
        for value in wrong:
            changed[f"{path} is {value!r:.20}"] = put(kept, path, value)
    for name in ("fingerprint", "digest", "seconds", "natural"):
        for value in wrong:
            changed[f"{name} is {value!r:.20}"] = put(kept, ("cues", "3", name), value)
    for name in ("index", "error", "timestamp"):
        for value in wrong:
            changed[f"{name} of a failure is {value!r:.20}"] = put(kept, ("failed", 0, name), value)
    for name in ("path", "words", "starts"):
        for value in wrong:
            changed[f"{name} of the film is {value!r:.20}"] = put(kept, ("film", name), value)
    for value in (-1, True, 1.0, "1", 10**9, None):
        changed[f"completed holds {value!r}"] = put(kept, ("completed",), [0, value])
        changed[f"in_progress holds {value!r}"] = put(kept, ("in_progress",), [value])
        changed[f"a cue called {value!r}"] = put(kept, ("cues",), {str(value): kept["cues"]["3"]})
    return changed


def put(kept: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(kept)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def test_a_checkpoint_edited_by_hand_is_a_sentence_or_changes_nothing(tmp_path: Path, out: Path) -> None:
    """In this process: hundreds of edits; each either reads as one of ours or is BadCheckpoint, and nothing else."""
    film = make_film(tmp_path / "film.srt", [f"Line {i}." for i in range(5)])
    with scripted(lambda server, line: Reply(400, b"no") if line["text"] == "Line 4." else None) as server:
        work(film, out, "--fit", servers=[server], expect=1)
    kept, refused = checkpoint(out), 0
    for what, edit in edits(kept).items():
        (out / ".checkpoint.json").write_text(json.dumps(edit))
        try:
            read = Progress(out)
            read.save(at_once=True)
            Progress(out)
        except BadCheckpoint as error:
            refused += 1
            assert "delete it to start over" in str(error) and len(str(error)) < 300, what
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    assert refused > 150


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"{half",
        b"[" * 100_000,
        b'{"completed": ' + b"[" * 100_000,
        b"\xff\xfe\0",
        b"null",
        b'{"completed": [0]}',
        b'{"completed": [], "failed": [], "cues": {"0": {"fingerprint": "x", "digest": "y", "seconds": NaN}}}',
        b'{"completed": [' + b"9" * 5000 + b'], "failed": []}',
    ],
    ids=["empty", "half", "brackets", "brackets inside", "UTF-16", "null", "a field missing", "NaN", "a long number"],
)
def test_a_checkpoint_that_is_none_is_a_sentence_and_stays(film: Path, out: Path, written: bytes) -> None:
    with scripted() as server:
        work(film, out, servers=[server])
        before = sounds(out)
        (out / ".checkpoint.json").write_bytes(written)
        done = work(film, out, servers=[server], expect=2)
        assert "delete it to start over" in done.stderr and len(done.stderr.splitlines()) == 1
        assert (out / ".checkpoint.json").read_bytes() == written and sounds(out) == before
        assert len(server.asked) == 12
