"""The files of a run, and that none of them is another's: nothing that is read or kept is ever written over."""

import os
import re
from pathlib import Path

from subtitles import captions
from subtitles.options import BadUsage, RunOptions, check
from subtitles.track import part_of

_OURS = re.compile(r"\.lock|\.checkpoint\.json(?:\.part)?|audio_\d{4,}\.wav|\.audio_.*\.part", re.IGNORECASE)
"""Names in the output folder that belong to the run."""
KINDS = {
    "--track": ("WAV file", (b"RIFF", b"RF64")),
    "--captions": ("file of captions from here", (captions.HEADER.encode(),)),
}
"""What each may take the place of, and how that begins: a subtitle of yours is WebVTT too."""


def refuse_overlaps(options: RunOptions) -> None:
    """Raises BadUsage where a name leads to a file that has another use here, also by links and letter case."""
    read = {"--srt": options.srt, "--voices": options.voices_file}
    made = {"--track": options.track, "--captions": options.captions}
    named = {option: file for option, file in (read | made).items() if file}
    for option, file in named.items():
        if _is_ours(file, options.output):
            raise BadUsage(f"{option} {file} is a file that the run keeps in {options.output}; name another")
    for option, out in made.items():
        if out is None:
            continue
        for other, file in named.items():
            taken = other != option and any(_is_same(ours, file) for ours in (out, part_of(out)))
            check(not taken, f"{option} {out} is what {other} names and would be lost; name another")
        if out.exists():
            kind, begins = KINDS[option]
            check(not out.is_dir(), f"{option} {out} is a folder; name a file in it")
            check(out.is_file() and _begins(out, begins), f"{option} {out} is there and is no {kind}; name another")


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


def _begins(file: Path, ways: tuple[bytes, ...]) -> bool:
    """In one of these ways, or not at all."""
    with file.open("rb") as opened:
        start = opened.read(max(map(len, ways)))
    return not start or start.startswith(ways)
