"""Reference voices, prepared once for every request that uses them, and read again when their folder changes.

Knows tokens, mels and files; nothing of weights or HTTP."""

import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from engine import fingerprint
from engine.mel import log_mel
from engine.plan import Voice
from engine.tokenizers import Tokenizer
from speech import audio
from speech.audio import HOP_SAMPLES, SAMPLE_RATE
from speech.reading.language import language_of
from speech.request import DEFAULT_VOICE, UnknownVoice
from speech.voice_files import BadVoice, Stamp, VoiceFiles, VoiceFolder, newest

MIN_REFERENCE_SECONDS = 1.0
MAX_READ_SECONDS = 120.0
"""Of a file that lies in the folder, however long it is."""
KEPT_BY_CONTENT = 32
"""Prepared references, some 0.2 MB each, that are found again when the same sound and text come once more."""
UNSETTLED_NS = 2_000_000_000
"""What changed so lately may change again at what a coarse clock calls the same time: it is looked at once more."""


@dataclass(frozen=True, slots=True)
class References:
    """What makes a Voice of sound and text, for one model."""

    model: str
    fingerprint: str
    tokenizer: Tokenizer
    place: torch.device
    longest: float
    """Seconds, at most, of a reference."""

    def read(self, file: Path) -> tuple[np.ndarray, int]:
        """Raises BadVoice."""
        try:
            samples, rate = audio.read_mono(file, MAX_READ_SECONDS)
        except audio.UnreadableAudio as error:
            raise BadVoice(f"{file.name} {error}") from None
        if not MIN_REFERENCE_SECONDS <= len(samples) / rate <= self.longest:
            raise BadVoice(
                f"{file.name} lasts {len(samples) / rate:.1f} s; "
                f"{self.model} takes references of {MIN_REFERENCE_SECONDS} to {self.longest:.1f} s"
            )
        return samples, rate

    def preparing(
        self, identity: str, name: str, samples: np.ndarray, rate: int, said: str
    ) -> Generator[None, None, Voice]:
        """Yields now and then: it takes longer than a solver step."""
        rms = max(1e-4, float(np.sqrt(np.mean(samples**2))))
        gain = min(1.0, rms / audio.REFERENCE_RMS)
        samples = audio.resample(samples / gain, rate)
        frames = len(samples) // HOP_SAMPLES
        yield
        # Upstream conditions on one frame more and speaks it again: a scrap of the reference would lead the speech.
        mel = log_mel(torch.from_numpy(samples))[:frames].to(self.place)
        yield
        prompt = self.tokenizer.prompt(said, frames)
        return Voice(
            name,
            said,
            language_of(said, chinese=prompt.chinese),
            len(samples) / SAMPLE_RATE,
            mel,
            gain,
            prompt,
            identity,
        )


class Voices:
    """The usable voices of a folder. Whoever asks has it as it is: a look costs two calls of the system."""

    def __init__(self, folder: Path, references: References):
        self._folder, self._references = VoiceFolder(folder), references
        self._by_content: OrderedDict[str, Voice] = OrderedDict()
        self._files: dict[str, VoiceFiles] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._folder_stamp: Stamp | None = None
        self._under_way: Generator[None, None, None] | None = None
        self.usable: dict[str, Voice] = {}
        """By name; in its order. The default stays as it was, whatever becomes of its files."""
        self.problems: dict[str, str] = {}
        """By name, why its files are no voice; without paths."""

    def finding(self, name: str) -> Generator[None, None, Voice]:
        """Raises UnknownVoice. Who names a voice that is as it was does not wait until the others are read."""
        files = self._files.get(name)
        if self._changed(name, files) if files else self._folder_changed():
            yield from self.reading()
        if name not in self.usable:
            if name in self.problems:
                raise UnknownVoice(f"voice {name!r} cannot be used: {self.problems[name]}")
            raise UnknownVoice(f"no voice {name!r}; have: {', '.join(self.usable)}")
        return self.usable[name]

    def changed(self) -> bool:
        """Whether `reading` may find anything new."""
        return self._folder_changed() or any(self._changed(*one) for one in self._files.items())

    def reading(self) -> Generator[None, None, None]:
        """All that is new or has changed. Yields now and then; who comes meanwhile goes on with the same, then looks
        again."""
        if self._under_way:
            yield from self._shared()
        yield from self._shared()

    def _shared(self) -> Generator[None, None, None]:
        work = self._under_way = self._under_way or self._reading_all()
        while self._under_way is work:
            try:
                next(work)
            except StopIteration:
                self._under_way = None
            except BaseException:
                self._under_way = None
                raise
            yield

    def _reading_all(self) -> Generator[None, None, None]:
        stamp, listing = self._folder.stamp(), self._folder.listing()
        for name, files in listing.voices.items():
            if self._changed(name, files):
                yield from self._reading_one(name, files)
        for name, problem in listing.problems.items():
            self._cannot_use(name, problem)
        if not listing.voices.keys() | listing.problems.keys() >= {DEFAULT_VOICE}:
            self._cannot_use(DEFAULT_VOICE, f"{DEFAULT_VOICE}.wav is missing, and {DEFAULT_VOICE}.txt, its transcript")
        known = {*listing.voices, *listing.problems, DEFAULT_VOICE}
        self._files, self._folder_stamp = listing.voices, _settled(stamp)
        self._stamps = {name: self._stamps[name] for name in listing.voices}
        self.problems = {name: problem for name, problem in self.problems.items() if name in known}
        self.usable = {name: self.usable[name] for name in sorted(self.usable) if name in known}

    def of(self, name: str, samples: np.ndarray, rate: int, said: str) -> Generator[None, None, Voice]:
        """Found again by its content, or prepared."""
        identity = fingerprint.of_reference(self._references.fingerprint, samples, rate, said)
        if identity not in self._by_content:
            voice = yield from self._references.preparing(identity, name, samples, rate, said)
            self._by_content[identity] = voice
            while len(self._by_content) > KEPT_BY_CONTENT:
                self._by_content.popitem(last=False)
        self._by_content.move_to_end(identity)
        return replace(self._by_content[identity], name=name)

    def _folder_changed(self) -> bool:
        return self._folder_stamp is None or self._folder.stamp() != self._folder_stamp

    def _changed(self, name: str, files: VoiceFiles) -> bool:
        known = self._stamps.get(name)
        try:
            return known is None or files.stamp() != known
        except OSError:
            return True

    def _reading_one(self, name: str, files: VoiceFiles) -> Generator[None, None, None]:
        self._stamps[name] = None
        try:
            stamp = files.stamp()
        except OSError as error:
            self._cannot_use(name, f"{files.sound.name} cannot be read: {error.strerror}")
            return
        try:
            said = files.said()
            samples, rate = self._references.read(files.sound)
            yield
            self.usable[name] = yield from self.of(name, samples, rate, said)
            self.problems.pop(name, None)
        except BadVoice as error:
            self._cannot_use(name, str(error))
        self._stamps[name] = _settled(stamp)

    def _cannot_use(self, name: str, problem: str) -> None:
        self.problems[name] = problem
        if name != DEFAULT_VOICE:
            self.usable.pop(name, None)


def _settled(stamp: Stamp | None) -> Stamp | None:
    """None where the same stamp may come to stand for something else."""
    return stamp if stamp and abs(time.time_ns() - newest(stamp)) > UNSETTLED_NS else None
