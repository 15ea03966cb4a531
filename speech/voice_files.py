"""A folder of reference voices: NAME.wav with what is said in it in NAME.txt. What is kept there or removed is whole.

Knows names and files, nothing of models or HTTP. Whatever a name or a link says, nothing outside the folder is read or
written."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speech.request import DEFAULT_VOICE
from speech.text import clean, utf8_text

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
NAMES_OF_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
"""Windows opens these wherever they lie, and whatever their ending."""
MAX_VOICES = 100
"""More are not taken in; what lies there anyway is used. A start waits some 10 ms for each."""
MAX_TRANSCRIPT_BYTES = 8192
LOCK_SECONDS = 3.0


class BadVoice(ValueError):
    """What is wrong with a voice, in words without paths; `field` is the request's that is wrong."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


class VoiceExists(Exception):
    """There is a voice of that name, or its file."""


class NoRoom(Exception):
    """The folder has as many voices as are taken in."""


class VoiceNeeded(Exception):
    """The voice that is spoken when none is named stays."""


class VoiceStorageError(Exception):
    """The folder does not take what it should; the reason in words, without paths."""


Stamp = tuple[int, ...]
"""Of files, four numbers for each: differs when one of them is another or has changed."""


@dataclass(frozen=True, slots=True)
class VoiceFiles:
    sound: Path
    transcript: Path

    def stamp(self) -> Stamp:
        """Raises OSError."""
        return (*_stamp(self.sound.stat()), *_stamp(self.transcript.stat()))

    def said(self) -> str:
        """Raises BadVoice."""
        try:
            with self.transcript.open("rb") as opened:
                raw = opened.read(MAX_TRANSCRIPT_BYTES + 1)
        except OSError as error:
            raise BadVoice(f"{self.transcript.name} cannot be read: {error.strerror}") from None
        if len(raw) > MAX_TRANSCRIPT_BYTES:
            raise BadVoice(f"{self.transcript.name} has over {MAX_TRANSCRIPT_BYTES} bytes; what is said takes seconds")
        try:
            said = clean(utf8_text(raw))
        except ValueError:
            raise BadVoice(f"{self.transcript.name} is not in UTF-8; save it in that encoding") from None
        if not said:
            raise BadVoice(f"{self.transcript.name} is empty; write into it what is said in {self.sound.name}")
        return said


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a folder."""

    voices: dict[str, VoiceFiles]
    problems: dict[str, str]
    """By the name of a voice, why its files are none."""


class VoiceFolder:
    """Meets the folder as it is at each call. Any process may change it meanwhile."""

    def __init__(self, path: Path):
        self.path = path

    def stamp(self) -> Stamp | None:
        """Differs when a file was added, removed or moved; None where there is no folder."""
        with contextlib.suppress(OSError):
            return _stamp(self.path.stat())
        return None

    def listing(self) -> Listing:
        """Empty where the folder cannot be read."""
        sounds: dict[str, list[os.DirEntry[str]]] = {}
        transcripts: dict[str, os.DirEntry[str]] = {}
        for entry in self._entries():
            stem, ending = os.path.splitext(entry.name)
            if ending.lower() == ".wav":  # cameras and Windows write .WAV
                sounds.setdefault(stem, []).append(entry)
            elif ending.lower() == ".txt" and (ending == ".txt" or stem not in transcripts):
                transcripts[stem] = entry
        voices, problems = {}, {}
        for stem, found in sounds.items():
            transcript = transcripts.get(stem)
            if len(found) > 1:
                problems[stem] = f"{' and '.join(entry.name for entry in found)}; a voice has one file"
            elif transcript is None:
                problems[stem] = f"{found[0].name} needs its transcript in {stem}.txt beside it"
            elif away := next((entry.name for entry in (found[0], transcript) if not self._is_inside(entry)), None):
                problems[stem] = f"{away} leads out of the folder; copy what it leads to"
            else:
                voices[stem] = VoiceFiles(Path(found[0].path), Path(transcript.path))
        return Listing(voices, problems)

    def keep(self, name: str, said: str, wav: bytes) -> None:
        """A new voice, on disk when this returns; the sound's own name comes last, and only with it there is a voice.

        Raises BadVoice, VoiceExists, NoRoom, VoiceStorageError."""
        check_name(name)
        with self._changing():
            self.check_free(name)
            parts = [self.path / f".{name}{ending}.part" for ending in (".txt", ".wav")]
            try:
                for part, data in zip(parts, (f"{said}\n".encode(), wav), strict=True):
                    with part.open("wb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                for part in parts:
                    os.replace(part, self.path / f"{name}{Path(part.stem).suffix}")
            finally:
                for part in parts:
                    part.unlink(missing_ok=True)
            self._sync()

    def check_free(self, name: str) -> None:
        """Raises VoiceExists, NoRoom."""
        there = {os.path.splitext(entry.name) for entry in self._entries()}
        stems = [stem.casefold() for stem, ending in there if ending.lower() == ".wav"]
        if name.casefold() in stems:
            raise VoiceExists(f"there is a voice {name!r}; delete it first, or choose another name")
        if len(stems) >= MAX_VOICES:
            raise NoRoom(f"{len(stems)} voices are kept here, and no more than {MAX_VOICES}; delete one first")

    def remove(self, name: str) -> bool:
        """The sound first: a kill in between leaves a text that is no voice. False where there is no such voice.

        Raises VoiceNeeded, VoiceStorageError."""
        if name == DEFAULT_VOICE:
            raise VoiceNeeded(f"{DEFAULT_VOICE!r} is spoken when no voice is named; it cannot be deleted")
        with self._changing():
            found = [entry for entry in self._entries() if os.path.splitext(entry.name)[0] == name]
            endings = [os.path.splitext(entry.name)[1].lower() for entry in found]
            if ".wav" not in endings:
                return False
            for ending in (".wav", ".txt"):
                for entry, its in zip(found, endings, strict=True):
                    if its == ending:
                        os.unlink(entry.path)  # of a link, the link
            self._sync()
            return True

    def _entries(self) -> list[os.DirEntry[str]]:
        """Files, also behind links, and links that lead nowhere; not what begins with a dot."""
        with contextlib.suppress(OSError), os.scandir(self.path) as entries:
            # In this order: not through a circle of links.
            files = [entry for entry in entries if entry.name[0] != "." and (entry.is_symlink() or entry.is_file())]
            return sorted(files, key=lambda entry: entry.name)
        return []

    def _is_inside(self, entry: os.DirEntry[str]) -> bool:
        """And a plain file: opening a pipe would wait for whoever writes into it."""
        if not entry.is_symlink():
            return True
        with contextlib.suppress(OSError, RuntimeError):  # a circle of links
            behind = Path(entry.path).resolve(strict=True)
            return behind.is_file() and behind.is_relative_to(self.path.resolve())
        return False

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """One at a time, of all processes; what a killed one left half written goes."""
        from filelock import FileLock, Timeout  # here: start-up does not wait for it

        if not self.path.is_dir():  # which may be a disk that comes back
            raise VoiceStorageError("the folder of voices is not there")
        try:
            with FileLock(self.path / ".lock", timeout=LOCK_SECONDS, thread_local=False):
                for part in self.path.glob(".*.part"):
                    part.unlink(missing_ok=True)
                yield
        except Timeout:
            raise VoiceStorageError(f"another change of the voices has not ended within {LOCK_SECONDS:g} s") from None
        except OSError as error:
            raise VoiceStorageError(f"the folder of voices: {error.strerror or type(error).__name__}") from None

    def _sync(self) -> None:
        """A renamed file survives a power failure once its folder is on disk."""
        with contextlib.suppress(OSError):  # systems that cannot open a folder
            handle = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def check_name(name: str) -> None:
    """Raises BadVoice unless every system can keep such a name as a file's, apart from all others."""
    if not NAME.fullmatch(name):
        raise BadVoice(
            "name must be 1 to 40 of the letters a to z, digits, - and _, and begin with a letter or a digit", "name"
        )
    if name in NAMES_OF_DEVICES:
        raise BadVoice(f"{name} is a device's name on some systems; choose another", "name")


def newest(stamp: Stamp) -> int:
    """When the last of the files changed, in nanoseconds since the epoch."""
    return max(*stamp[0::4], *stamp[1::4])


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
