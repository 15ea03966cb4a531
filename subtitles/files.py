"""The files of a run, and that none of them is another's: nothing that is read or kept is ever written over."""

import os
import re
from pathlib import Path

from subtitles.options import BadUsage, RunOptions, check

_OURS = re.compile(r"\.lock|\.checkpoint\.json(?:\.part)?|audio_\d{4,}\.wav|\.audio_.*\.part", re.IGNORECASE)
"""Names in the output folder that belong to the run."""


def refuse_overlaps(options: RunOptions) -> None:
    """Raises BadUsage where a name leads to a file that has another use here, also by links and letter case."""
    for option, file in (("--srt", options.srt), ("--voices", options.voices_file), ("--track", options.track)):
        if file and _is_ours(file, options.output):
            raise BadUsage(f"{option} {file} is a file that the run keeps in {options.output}; name another")
    track = options.track
    if track is None:
        return
    for option, file in (("--srt", options.srt), ("--voices", options.voices_file)):
        check(
            not (file and _is_same(track, file)),
            f"--track {track} is what {option} names and would be lost; name another",
        )
    if track.exists():
        check(not track.is_dir(), f"--track {track} is a folder; name a file in it")
        check(track.is_file() and _is_sound(track), f"--track {track} is there and is no WAV file; name another")


def _is_ours(file: Path, output: Path) -> bool:
    resolved = file.resolve()
    if _OURS.fullmatch(resolved.name) and _is_same(resolved.parent, output):
        return True
    if not file.exists() or not output.is_dir():
        return False
    behind = file.stat()
    kept = (entry for entry in os.scandir(output) if _OURS.fullmatch(entry.name) and entry.is_file())
    return any(os.path.samestat(entry.stat(), behind) for entry in kept)


def _is_same(one: Path, other: Path) -> bool:
    """The same file by name, whatever the case of its letters, or by what lies behind a link."""
    if str(one.resolve()).casefold() == str(other.resolve()).casefold():
        return True
    return one.exists() and other.exists() and one.samefile(other)


def _is_sound(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) in (b"RIFF", b"RF64", b"")
