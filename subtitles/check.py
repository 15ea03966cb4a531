"""`--check`: what is odd in a subtitle file, and what will not be spoken. Needs no server."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from subtitles.cues import Cue, in_time, length, rooms

BYTES_PER_SECOND = 16
"""Of UTF-8 text at a voice's own pace: F5's measure, which holds for English as for Chinese."""


def report(cues: list[Cue], path: Path, voices: Mapping[str, str], fastest: float) -> Iterator[str]:
    """What --check prints. README's section and examples/README.md say what each line means."""
    silent = [cue for cue in cues if not cue.text]
    room = rooms(cues)
    yield f"{path}: {len(cues)} cues, {len(cues) - len(silent)} with something to say, {length(cues):.1f} s"
    for cue in silent:
        yield f"line {cue.line}: " + (f"nothing to say in {cue.shown!r}" if cue.shown else "empty")
    for before, cue in itertools.pairwise(cues):
        if cue.start < before.start:
            yield f"line {cue.line}: starts before the cue above it (line {before.line})"
    film = sorted(cues, key=in_time)
    for before, cue in itertools.pairwise(film):
        if cue.start < before.end:
            yield f"line {cue.line}: overlaps line {before.line} by {before.end - cue.start:.2f} s"
    for cue in cues:
        seconds = len(cue.text.encode()) / BYTES_PER_SECOND
        if cue.text and seconds > room[cue.index] * fastest:
            yield f"line {cue.line}: too much text: about {seconds:.1f} s at a voice's own pace, and {room[cue.index]:.1f} s until the next cue"
    if unknown := unmapped_speakers(cues, voices):
        yield unknown


def unmapped_speakers(cues: list[Cue], voices: Mapping[str, str]) -> str:
    """Who speaks without a voice of his own, where a map of voices was given."""
    counted = Counter(cue.speaker for cue in cues if cue.text and cue.speaker and cue.speaker.casefold() not in voices)
    return (
        "no voice of their own: " + ", ".join(f"{name} ({many})" for name, many in counted.items())
        if voices and counted
        else ""
    )
