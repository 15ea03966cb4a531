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
    silent = [cue for cue in cues if not cue.parts]
    yield f"{path}: {len(cues)} cues, {len(cues) - len(silent)} with something to say, {length(cues):.1f} s"
    for cue in silent:
        why = f": {'; '.join(cue.unsaid)}" if cue.unsaid else ""
        yield f"line {cue.line}: " + (f"nothing to say in {cue.shown!r}{why}" if cue.shown else "empty")
    for cue in cues:
        if cue.parts and cue.unsaid:
            yield f"line {cue.line}: not spoken: {'; '.join(cue.unsaid)}"
    for before, cue in itertools.pairwise(cues):
        if cue.start < before.start:
            yield f"line {cue.line}: starts before the cue above it (line {before.line})"
    for before, cue in itertools.pairwise(sorted(cues, key=in_time)):
        if cue.start < before.end:
            yield f"line {cue.line}: overlaps line {before.line} by {before.end - cue.start:.2f} s"
    yield from _too_much(cues, fastest)
    if unknown := unmapped_speakers(cues, voices):
        yield unknown


def _too_much(cues: list[Cue], fastest: float) -> Iterator[str]:
    room = rooms(cues)
    for cue in cues:
        seconds = len(cue.text.encode()) / BYTES_PER_SECOND
        if cue.parts and seconds > room[cue.index] * fastest:
            yield (
                f"line {cue.line}: too much text: about {seconds:.1f} s at a voice's own pace, and "
                f"{room[cue.index]:.1f} s until the next cue"
            )


def unmapped_speakers(cues: list[Cue], voices: Mapping[str, str]) -> str:
    """Who speaks without a voice of his own, where a map of voices was given."""
    speakers = [part.speaker for cue in cues for part in cue.parts if part.speaker and part.certain]
    counted = Counter(name for name in speakers if name.casefold() not in voices)
    named = ", ".join(f"{name} ({many})" for name, many in counted.items())
    return f"no voice of their own: {named}" if voices and counted else ""
