"""Whose is what: a sequence that was made as a whole, shared out among the parts that it was made of."""

from collections.abc import Sequence
from difflib import SequenceMatcher


def owners(expected: Sequence[Sequence[str]], found: Sequence[str]) -> list[int]:
    """For each item of `found` the part that it belongs to; these never descend. No part, no owners.

    `expected`: what each part would give alone. What the whole has otherwise (`$5 million` is read as five million
    dollars) is shared out among the parts where it stands."""
    if not expected:
        return []
    items = [item for part in expected for item in part]
    part_of = [number for number, part in enumerate(expected) for _ in part]
    found_by: list[int] = []
    for kind, start, end, found_start, found_end in SequenceMatcher(None, items, found, False).get_opcodes():
        if kind == "equal":
            found_by += part_of[start:end]
        elif kind == "replace":
            width, wanted = end - start, found_end - found_start
            found_by += [part_of[start + number * width // wanted] for number in range(wanted)]
        elif kind == "insert":
            # Behind what stands before it: letters are added to the end of a word, and words behind a sign.
            found_by += [part_of[start - 1] if start else 0] * (found_end - found_start)
    return found_by
