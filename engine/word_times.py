"""When each word of a planned speech is heard, before any inference. Knows nothing of weights, sound or HTTP."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from engine.chunking import CROSS_FADE_SAMPLES
from engine.tokenizers import Chunk, Prompt
from speech.audio import HOP_SAMPLES, SAMPLE_RATE
from speech.reading.passages import Passage
from speech.reading.written import Word, as_in, tokens, written_words
from speech.text import utf8_bytes

Span = tuple[int, int]
"""Samples from the speech's first."""


@dataclass(frozen=True, slots=True)
class WordTime:
    """Seconds from the speech's first sample."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class ChunkTime:
    text: str
    """As it is said."""
    words: list[WordTime]
    """Those that begin in it."""
    start: float
    end: float
    """Both in the middle of a cross-fade, where there is one."""


@dataclass(frozen=True, slots=True)
class Timing:
    exact: bool
    """False where a checkpoint plans no durations: words then share a chunk's time by their bytes."""
    phonemes: str | None
    """All that sounds, with its pauses; None where a checkpoint has none."""
    chunks: list[ChunkTime]


@dataclass(slots=True)
class _Said:
    """A token of a chunk's text."""

    letters: int
    chunk: int
    span: Span | None


def timing(
    text: str, passages: Iterable[Passage], prompt: Prompt, chunks: Sequence[Chunk], samples: int
) -> Generator[None, None, Timing]:
    """Of a text that was read as `passages` and cut into `chunks`, `samples` long without the silence at its end.

    Yields after each chunk, and after each word that is not said as it is written."""
    starts = _starts(prompt.frames, chunks)
    limits = _limits(chunks, starts, samples)
    said, symbols, exact = [], [], True
    for number, chunk in enumerate(chunks):
        cut = tokens(chunk.text)
        heard = prompt.heard(chunk, cut)
        if heard:
            symbols += heard.symbols
            spans = [_samples(starts[number], span) for span in heard.spans]
        else:
            exact, spans = False, _proportional(cut, *limits[number])
        said += [_Said(len(token), number, span) for token, span in zip(cut, spans, strict=True)]
        yield
    words: list[Word] = []
    for passage in passages:
        words += yield from written_words(passage)
    found: list[list[WordTime]] = [[] for _ in chunks]
    for spelling, sounding in zip(as_in(text, words), _said_of(words, said), strict=True):
        if spelling and sounding:
            times = [one.span for one in sounding if one.span]
            end = min(times[-1][1], samples)  # a given duration may cut some milliseconds of the last
            found[sounding[0].chunk].append(WordTime(spelling, times[0][0] / SAMPLE_RATE, end / SAMPLE_RATE))
    told = [
        ChunkTime(chunk.text, own, start / SAMPLE_RATE, end / SAMPLE_RATE)
        for chunk, own, (start, end) in zip(chunks, found, limits, strict=True)
    ]
    return Timing(exact, " ".join(symbols) if exact else None, told)


def _starts(reference_frames: int, chunks: Sequence[Chunk]) -> list[int]:
    """The sample at which each begins, faded in where it is joined: as TTS.speak puts them together."""
    starts, at = [], 0
    for number, chunk in enumerate(chunks):
        at += chunk.pause - (CROSS_FADE_SAMPLES if number and not chunk.pause else 0)
        starts.append(at)
        at += (chunk.frames - reference_frames - 1) * HOP_SAMPLES
    return starts


def _limits(chunks: Sequence[Chunk], starts: Sequence[int], samples: int) -> list[Span]:
    """From where and until where each is heard more than its neighbours."""
    middle = CROSS_FADE_SAMPLES // 2
    joined = [bool(number) and not chunk.pause for number, chunk in enumerate(chunks)]
    begin = [start + middle * fades for start, fades in zip(starts, joined, strict=True)]
    end = [after - chunk.pause for after, chunk in zip(begin[1:], chunks[1:], strict=True)]
    return list(zip(begin, [*end, samples], strict=True))


def _samples(start: int, span: tuple[int, int] | None) -> Span | None:
    return span and (start + span[0] * HOP_SAMPLES, start + span[1] * HOP_SAMPLES)


def _proportional(cut: Sequence[str], start: int, end: int) -> list[Span | None]:
    """Upstream's measure of how long a text takes, its bytes, for the words in it; a blank between two is one."""
    sizes = [utf8_bytes(token) for token in cut]
    whole, before = max(1, sum(sizes) + len(sizes) - 1), 0
    spans: list[Span | None] = []
    for size in sizes:
        spans.append((start + (end - start) * before // whole, start + (end - start) * (before + size) // whole))
        before += size + 1
    return spans


def _said_of(words: Sequence[Word], said: Sequence[_Said]) -> list[list[_Said]]:
    """For each word what is said for it and sounds. A chunk may end within a token: letters are counted, not tokens."""
    found: list[list[_Said]] = []
    letters = number = begun = 0
    for word in words:
        letters += sum(map(len, word.said))
        own: list[_Said] = []
        while number < len(said) and begun < letters:
            own.append(said[number])
            begun += said[number].letters
            number += 1
        found.append([one for one in own if one.span])
    return found
