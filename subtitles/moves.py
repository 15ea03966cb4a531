"""Sounds whose cues have another number now: a cue put in above them costs one speaking, not the whole film's."""

from collections import Counter, deque
from collections.abc import Mapping


def in_safe_order(moves: Mapping[int, int]) -> list[tuple[int, int]]:
    """(target, source) pairs in an order in which no target is written over while it is still another's source.

    Circles have no such order: they are left out, and spoken again."""
    pending = dict(moves)
    needed = Counter(pending.values())
    free = deque(target for target in pending if not needed[target])
    ordered = []
    while free:
        target = free.popleft()
        source = pending.pop(target)
        ordered.append((target, source))
        needed[source] -= 1
        if not needed[source] and source in pending:
            free.append(source)
    return ordered
