"""A subtitle file in, cues out: what is said, when, and by whom. Knows nothing of servers or sound.

Try: python tts_worker.py --srt examples/harbour.srt --check
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from subtitles.blocks import BadSubtitle, Block, parse_blocks, read_bytes
from subtitles.rolling import without_repeats
from subtitles.spoken import Part, as_shown, joined, parts_of, without_markup

__all__ = ["BadSubtitle", "Cue", "file_name", "in_time", "length", "parse", "read", "rooms"]


@dataclass(frozen=True, slots=True)
class Cue:
    index: int
    """Its place among all cues of the file, from 0: audio_0007.wav belongs to index 7."""
    line: int
    """Where its time stands in the file, from 1."""
    start: float  # seconds
    end: float
    shown: str
    """As on the screen, tags of style taken off."""
    parts: tuple[Part, ...]
    """Who says what; none when there is nothing to say."""
    unsaid: tuple[str, ...]
    """What of `shown` is not spoken, each with its reason."""

    @property
    def text(self) -> str:
        """What is spoken; a line end is a pause."""
        return functools.reduce(joined, (part.text for part in self.parts)) if self.parts else ""

    @property
    def speaker(self) -> str:
        """Of its first words."""
        return self.parts[0].speaker if self.parts else ""

    @property
    def file_name(self) -> str:
        return file_name(self.index)


def file_name(index: int) -> str:
    return f"audio_{index:04d}.wav"


def in_time(cue: Cue) -> tuple[float, int]:
    """The order of the film: by start, then by place in the file."""
    return cue.start, cue.index


def read(path: Path) -> tuple[list[Cue], str]:
    """All cues in the order of the file, and the encoding they were read with. Raises BadSubtitle, OSError."""
    return parse(path, read_bytes(path))


def parse(path: Path, raw: bytes) -> tuple[list[Cue], str]:
    """As `read`, of what was in the file; `path` is its name in errors. Raises BadSubtitle."""
    blocks, encoding = parse_blocks(path, raw)
    if not blocks:
        raise BadSubtitle(f"{path} has no cue that is text")
    texts = [without_markup(block.text) for block in blocks]
    kept = without_repeats([(block.start, block.end, text) for block, text in zip(blocks, texts, strict=True)])
    read_cues = zip(blocks, texts, kept, strict=True)
    return [_cue(index, block, text, new) for index, (block, text, new) in enumerate(read_cues)], encoding


def _cue(index: int, block: Block, text: str, new: str) -> Cue:
    parts, unsaid = parts_of(new, block.actor)
    if new != text:
        unsaid = [*unsaid, "what the cue before shows too is spoken once"]
    return Cue(index, block.line, block.start, block.end, as_shown(text), tuple(parts), tuple(unsaid))


def rooms(cues: Sequence[Cue]) -> dict[int, float]:
    """Seconds that the speech of each cue may last: its slot and the silence after it, up to the next that speaks."""
    speaking = sorted((cue for cue in cues if cue.parts), key=in_time)
    following = itertools.pairwise(speaking)
    return {cue.index: after.start - cue.start for cue, after in following} | {
        cue.index: cue.end - cue.start for cue in speaking[-1:]
    }


def length(cues: Sequence[Cue]) -> float:
    """Seconds until the last cue ends."""
    return max(cue.end for cue in cues)
