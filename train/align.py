"""Whose frames are whose: a teacher's timed segments laid onto the symbols that inference will see.

flite names its segments in ARPAbet and espeak-ng in IPA; text.phonemes names symbols in espeak's IPA, sometimes one
where the
teacher has two. The cheapest edit script between the two lists hands every frame to exactly one symbol."""

import re

_SAME = {
    "aa": "ɑː ɑ ɑːɹ ɒ",
    "ae": "æ",
    "ah": "ʌ ə ɐ",
    "ao": "ɔː ɔ ɔːɹ oːɹ ɑː",
    "aw": "aʊ",
    "ax": "ə ɐ ᵻ ɪ əl ʌ",
    "ay": "aɪ aɪɚ aɪə",
    "eh": "ɛ ɛɹ",
    "er": "ɚ ɜː ɜ",
    "ey": "eɪ",
    "ih": "ɪ ᵻ ɪɹ i",
    "iy": "iː i iə ɪɹ",
    "ow": "oʊ oːɹ",
    "oy": "ɔɪ",
    "uh": "ʊ ʊɹ",
    "uw": "uː u",
    "ch": "tʃ",
    "dh": "ð",
    "g": "ɡ",
    "hh": "h",
    "jh": "dʒ",
    "ng": "ŋ",
    "r": "ɹ",
    "sh": "ʃ",
    "th": "θ",
    "y": "j",
    "zh": "ʒ",
    "t": "t ɾ ʔ",
    "d": "d ɾ",
    "n": "n n̩",
    "l": "l əl",
    "m": "m m̩",
}
_SAME_SETS = {name: frozenset(symbols.split()) for name, symbols in _SAME.items()}
_VOWELS = frozenset("aeiouyæɑɒɔəɛɜɚɪʊʌɐᵻ")
SILENCE, UNNAMED = " ", "pau"
_SKIP = 0.7


def _mismatch(segment: str, symbol: str) -> float:
    if segment in (UNNAMED, "") or symbol in ",.?!":
        return 0.0 if segment in (UNNAMED, "") and symbol in ",.?!" else 3.0
    symbol, segment = symbol.lstrip("ˈ"), segment.lstrip("ˈˌ")
    if symbol in _SAME_SETS.get(segment, (segment,)) or re.sub(r"[\dɜɪ]$", "", symbol) == segment:
        return 0.0
    vowels = (segment[0] in _VOWELS) + (symbol[0] in _VOWELS)
    return (0.8, 1.5, 0.5)[vowels]


def frames_of(segments: list[tuple[str, int]], symbols: list[str]) -> tuple[list[str], list[int]]:
    """Segments as (name, end frame) and symbols → symbols with pauses where the teacher paused, and frames of each.

    The frames add up to the last end."""
    rows, columns = len(segments), len(symbols)
    cost = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    move = [[""] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows + 1):
        for j in range(columns + 1):
            if i == j == 0:
                continue
            options = []
            if i and j:
                options.append((cost[i - 1][j - 1] + _mismatch(segments[i - 1][0], symbols[j - 1]), "both"))
            if i:
                options.append((cost[i - 1][j] + _SKIP, "segment"))
            if j:
                options.append((cost[i][j - 1] + (0.3 if symbols[j - 1] in ",.?!" else _SKIP), "symbol"))
            cost[i][j], move[i][j] = min(options)
    path: list[tuple[int | None, int | None]] = []
    i, j = rows, columns
    while i or j:
        step = move[i][j]
        i, j = i - (step != "symbol"), j - (step != "segment")
        path.append((i if step != "symbol" else None, j if step != "segment" else None))
    out: list[str] = []
    frames: list[int] = []
    start = 0
    for segment, column in reversed(path):
        length = 0 if segment is None else segments[segment][1] - start
        start += length
        if column is not None:
            out.append(symbols[column])
            frames.append(length)
        elif (
            segment is not None and segments[segment][0] in (UNNAMED, "") and (length > 8 or not out)
        ):  # the teacher paused where nothing was written
            out.append(SILENCE if not out else ",")
            frames.append(length)
        elif out:
            frames[-1] += length
        else:
            out.append(SILENCE)
            frames.append(length)
    for k in range(1, len(out)):  # a symbol the teacher ran together with its neighbour takes half of it
        if frames[k] == 0 and out[k] not in ",.?!" and out[k - 1] not in ",.?! ":
            frames[k] = frames[k - 1] // 2
            frames[k - 1] -= frames[k]
    return out, frames
