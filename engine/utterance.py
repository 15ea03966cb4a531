"""A speech whose text is still being written: a chunk is made as soon as its words are sure. No weights, no HTTP."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from engine.chunking import Chunker
from engine.joins import CrossFade, WaveMaker
from engine.tokenizers import Chunk
from speech.audio import HOP_SAMPLES, SAMPLE_RATE
from speech.reading.arriving import ArrivingText
from speech.reading.passages import Piece

Planning = Generator[None, None, "Clause | None"]
Follow = Callable[[Planning], Planning]
"""Lets the threads of some work follow what other programs leave free."""


@dataclass(frozen=True, slots=True)
class Clause:
    """What is spoken next: some words, and the chunk that says them."""

    words: str
    chunk: Chunk
    start: float
    """Seconds from the utterance's first sample."""
    seconds: float
    """Of its own sound, the end of which fades into the next."""
    unspoken: list[str]
    """Those of its words that this checkpoint has no sounds for."""


class Utterance:
    """Text comes in by `add`, until `end`; sound goes out by turns of `planning`, `speak`, and `rest` when all is said.

    The samples are those of `TTS.speak` for the same chunks and seed."""

    def __init__(self, text: ArrivingText, chunker: Chunker, speed: float, make_wave: WaveMaker, follow: Follow):
        self._text, self._chunker, self._speed = text, chunker, speed
        self._make_wave, self._follow = make_wave, follow
        self._waiting: list[tuple[Piece, Chunk]] = []
        self._before: Piece | None = None
        self._fade = CrossFade()
        self._given = 0
        """Samples so far."""

    def add(self, text: str) -> None:
        self._text.add(text)

    def end(self) -> None:
        """What has arrived is all of it."""
        self._text.ended = True

    @property
    def ended(self) -> bool:
        return self._text.ended

    @property
    def unplanned_characters(self) -> int:
        return self._text.characters

    def planning(self, hurry: bool) -> Planning:
        """The next clause; None while it is not sure, or when all is said. `hurry`: it is not to wait for company."""
        return self._follow(self._planning(hurry))

    def _planning(self, hurry: bool) -> Planning:
        if not self._waiting:
            piece = yield from self._text.piece(self._chunker.max_bytes(self._speed), hurry)
            if piece is None:
                return None
            self._waiting = (yield from self._chunker.behind(self._before, piece, self._speed))[::-1]
        self._before, chunk = self._waiting.pop()
        prompt, words = self._chunker.prompt, self._before.text
        start = self._given + (self._fade.held + chunk.pause if chunk.pause else 0)
        samples = (chunk.frames - prompt.frames - 1) * HOP_SAMPLES
        return Clause(words, chunk, start / SAMPLE_RATE, samples / SAMPLE_RATE, prompt.unspoken(words))

    def speak(self, clause: Clause) -> Generator[np.ndarray | None, None, None]:
        """None at each yield point; float32 samples as they become final: its end is held back, to fade."""
        if clause.chunk.pause:
            yield self._given_out(self._fade.rest(), clause.chunk.pause)
        wave = yield from self._make_wave(clause.chunk)
        yield self._given_out(self._fade.add(wave, goes_on=True))

    def rest(self) -> np.ndarray:
        """The samples that were held back, and the silence that an ended text ends with."""
        return self._given_out(self._fade.rest(), round(self._text.tail * SAMPLE_RATE))

    def _given_out(self, samples: np.ndarray, silence: int = 0) -> np.ndarray:
        if silence:
            samples = np.concatenate([samples, np.zeros(silence, np.float32)])
        self._given += len(samples)
        return samples
