"""A text cut into chunks whose lengths are exact, before any inference. Knows nothing of weights, sound or HTTP.

Upstream limits a chunk by its bytes, at the reference's bytes per second. That holds for prose in its script;
of digits, Thai or random letters the same bytes may take many times as long, longer than the model was trained for. So
bytes only say where to cut first: what then takes too many frames is cut again.
"""

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np

from engine.tokenizers import Chunk, Prompt
from speech.audio import HOP_SAMPLES, SAMPLE_RATE
from speech.reading.passages import Passage, Piece, pieces
from speech.request import SPEEDS, BadSpeech
from speech.text import chunks_of, utf8_bytes

CROSS_FADE_SAMPLES = 3600
"""0.15 s, as upstream joins chunks."""
MIN_FRAMES = math.ceil(CROSS_FADE_SAMPLES / HOP_SAMPLES) + 1
"""Of speech in a chunk: what a cross-fade needs."""
FITTING_ROUNDS = 5
SPARE = 1.05
"""A part of a piece that is cut again may be so much longer than an even one: to end with a word."""
Cut = list[tuple[Piece, Chunk]]


@dataclass(frozen=True, slots=True)
class Chunker:
    """Cuts what is spoken behind one prompt; a chunk has at most `max_frames`, the reference's included.

    Both ways yield after each piece of text: an hour of it takes longer than a solver step."""

    prompt: Prompt
    max_frames: int

    def at_speed(self, passages: list[Passage], speed: float) -> Generator[None, None, list[Chunk]]:
        return [chunk for _, chunk in (yield from self._cut(passages, speed, self.max_frames))]

    def to_last(self, passages: list[Passage], duration: float, tail: int) -> Generator[None, None, list[Chunk]]:
        """Chunks that last `duration` s together, their pauses and `tail` samples of silence counted; each at one pace.

        They have at most HOP_SAMPLES - 1 samples more. Raises BadSpeech."""
        usual = yield from self.at_speed(passages, 1.0)
        pauses = sum(chunk.pause for chunk in usual)
        silence = (tail + pauses) / SAMPLE_RATE
        natural = (self.samples(usual) - pauses) / SAMPLE_RATE
        pace = natural / (duration - silence) if duration > silence else math.inf
        if not SPEEDS[0] <= pace <= SPEEDS[1]:
            raise BadSpeech(
                f"duration {duration} s is too far from the {natural + silence:.2f} s this text takes; "
                f"possible are {silence + natural / SPEEDS[1]:.2f} to {silence + natural / SPEEDS[0]:.2f} s",
                "duration",
            )
        samples, limit = round(duration * SAMPLE_RATE) - tail - pauses, self.max_frames
        for _ in range(FITTING_ROUNDS):
            cut = yield from self._cut(passages, pace, limit)
            shares = self._shares([chunk for _, chunk in cut], samples)
            if min(shares) < MIN_FRAMES:
                raise BadSpeech(
                    f"duration {duration} s is too short for this text, which takes {natural + silence:.2f} s",
                    "duration",
                )
            longest = max(shares) + self.prompt.frames
            if longest <= self.max_frames:
                return (yield from self._with_frames(cut, shares, pace, duration))
            # A share may be a little longer than its piece takes at this pace: joins do not shrink with it.
            limit -= max(longest - self.max_frames, (limit - self.prompt.frames) // 8)
        raise BadSpeech(
            f"duration {duration} s is too long for this text, which takes {natural + silence:.2f} s", "duration"
        )

    def samples(self, chunks: list[Chunk]) -> int:
        """Of speech and the pauses between: a vocoder makes nothing of the last frame; cross-fades are taken off."""
        alone = sum((chunk.frames - self.prompt.frames - 1) * HOP_SAMPLES + chunk.pause for chunk in chunks)
        return alone - CROSS_FADE_SAMPLES * _joins(chunks)

    def max_bytes(self, speed: float) -> int:
        """Of the text of a piece; one that still takes too long is cut again."""
        return self.prompt.max_bytes(self.max_frames - self.prompt.frames, speed)

    def behind(self, before: Piece | None, piece: Piece, speed: float) -> Generator[None, None, Cut]:
        """One piece in its chunks, spoken after the piece before; None: it is the first."""
        return self._fit([piece], speed, self.max_frames, before)

    def _cut(self, passages: list[Passage], speed: float, limit: int) -> Generator[None, None, Cut]:
        waiting = pieces(passages, self.prompt.max_bytes(limit - self.prompt.frames, speed))
        return (yield from self._fit(waiting, speed, limit))

    def _fit(
        self, found: Iterable[Piece], speed: float, limit: int, before: Piece | None = None
    ) -> Generator[None, None, Cut]:
        """The chunks of the pieces found; what takes too many frames is cut again."""
        cut: Cut = []
        found, waiting = iter(found), list[Piece]()
        while (piece := waiting.pop() if waiting else next(found, None)) is not None:
            last = cut[-1][0] if cut else before
            chunk = self._chunk(piece, speed, last is not None)
            yield
            if chunk.frames > limit and len(piece.text) > 1:
                times = (chunk.frames - self.prompt.frames) / (limit - self.prompt.frames)
                waiting += self._parts(piece, times, utf8_bytes(last.text) if last else None)
                continue
            if chunk.frames > limit:  # one character, slowly said: quicker then
                chunk = self._chunk(piece, speed, last is not None, limit - self.prompt.frames)
            cut.append((piece, chunk))
        return cut

    def _parts(self, piece: Piece, times: float, before: int | None) -> list[Piece]:
        """A piece that is so many times too long, in parts of like size; the last one first."""
        size = utf8_bytes(piece.text)
        limit = min(size - 1, math.ceil(SPARE * size / math.ceil(times)))
        texts = list(chunks_of(piece.text, limit, before))
        return [replace(piece, text=text, pause=0.0 if i else piece.pause) for i, text in enumerate(texts)][::-1]

    def _chunk(self, piece: Piece, speed: float, joined: bool, frames: int | None = None) -> Chunk:
        pause = round(piece.pause * SAMPLE_RATE)
        joined = joined and not pause
        chunk = self.prompt.chunk(piece.text, speed, joined, frames, piece.language)
        if frames is None and chunk.frames < self.prompt.frames + MIN_FRAMES:
            chunk = self.prompt.chunk(piece.text, speed, joined, MIN_FRAMES, piece.language)
        return replace(chunk, pause=pause) if pause else chunk

    def _shares(self, chunks: list[Chunk], samples: int) -> list[int]:
        """The frames of each, in proportion to what it would take, so that all have so many samples together."""
        expected = [chunk.frames - self.prompt.frames for chunk in chunks]
        frames = math.ceil((samples + CROSS_FADE_SAMPLES * _joins(chunks)) / HOP_SAMPLES) + len(chunks)
        edges = np.round(np.cumsum([0, *expected]) * (frames / sum(expected))).astype(int)
        shares: list[int] = np.diff(edges).tolist()
        return shares

    def _with_frames(
        self, cut: Cut, shares: list[int], pace: float, duration: float
    ) -> Generator[None, None, list[Chunk]]:
        chunks: list[Chunk] = []
        for (piece, _), share in zip(cut, shares, strict=True):
            chunks.append(self._chunk(piece, pace, bool(chunks), share))
            yield
        if [chunk.frames - self.prompt.frames for chunk in chunks] != shares:  # a frame for each token is the least
            raise BadSpeech(f"duration {duration} s is too short for this text", "duration")
        return chunks


def _joins(chunks: list[Chunk]) -> int:
    """Cross-fades between them: none over a pause."""
    return sum(not chunk.pause for chunk in chunks[1:])
