"""Rolling captions: each cue shows again what the one before showed, and something new. Each word is said once."""

import itertools

MAX_GAP_SECONDS = 0.1
"""Between a caption and the one that rolls on from it."""
MAX_FLASH_SECONDS = 0.05
"""YouTube ends every line with a cue of 10 ms that shows it once more; nobody reads that, and nobody says it."""
MIN_SHARE = 1 / 3
"""Of the neighbours in a file that must roll: two people who both say "No." are no rolling captions."""

Shown = tuple[float, float, str]
"""Start, end, text."""


def without_repeats(shown: list[Shown]) -> list[str]:
    """The text of each without the words that it repeats; all of it where the file does not roll."""
    repeated = [0, *(_repeated_words(before, cue) for before, cue in itertools.pairwise(shown))]
    if not _rolls(shown, repeated):
        return [text for _, _, text in shown]
    return [_without_words(text, count) for (_, _, text), count in zip(shown, repeated, strict=True)]


def _rolls(shown: list[Shown], repeated: list[int]) -> bool:
    grown = flashed = 0
    for (start, end, text), count in zip(shown, repeated, strict=True):
        grown += 0 < count < len(text.split())
        flashed += 0 < count == len(text.split()) and end - start <= MAX_FLASH_SECONDS
    return flashed > 0 or (grown >= 2 and grown >= MIN_SHARE * (len(shown) - 1))


def _repeated_words(before: Shown, cue: Shown) -> int:
    """How many words at the start of `cue` are the last lines of the one before, or all of it."""
    if not before[0] <= cue[0] <= before[1] + MAX_GAP_SECONDS:
        return 0
    words, lines = cue[2].split(), [line for line in before[2].split("\n") if line.strip()]
    for first in range(len(lines)):
        last = " ".join(lines[first:]).split()
        if words[: len(last)] == last:
            return len(last)
    return 0


def _without_words(text: str, count: int) -> str:
    kept = []
    for line in text.split("\n"):
        words = line.split()
        if count:
            line = " ".join(words[count:])
            count = max(0, count - len(words))
            if not line:
                continue
        kept.append(line)
    return "\n".join(kept)
