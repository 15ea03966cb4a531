"""What has been spoken in a folder, with which words, of which film: .checkpoint.json. Knows nothing of servers.

Valid JSON at every instant: it is written beside itself and renamed. Delete it to start over.
Try: python -m json.tool output_audio/.checkpoint.json"""

import contextlib
import datetime
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from subtitles.film import Film

CHECKPOINT = ".checkpoint.json"
LARGE_CUES, PAUSE_SECONDS = 1000, 0.3
"""With so many cues spoken the checkpoint takes milliseconds to write, and is written at most this often; before, after
every change."""
MAX_INDEX = 1_000_000
MAX_SECONDS = 1e7


class BadCheckpoint(ValueError):
    """The file is not one of ours."""


@dataclass(frozen=True, slots=True)
class CueRecord:
    fingerprint: str
    """Of everything the sound depends on; see fingerprint()."""
    digest: str
    """Of the sound file's bytes."""
    seconds: float
    natural: tuple[float, ...] | None = None
    """Seconds that each text of the cue takes at the voice's own pace, where speech was fitted."""
    words: str = ""
    """As `fingerprint`, of what is asked without durations; it finds the sound of a cue that has another number now."""


def fingerprint(requests: Sequence[dict[str, str | float | int]], model: str) -> str:
    """Of what is asked (text, voice, speed, duration, seed) and of the model that answers."""
    asked = requests[0] if len(requests) == 1 else list(requests)
    return hashlib.sha256(json.dumps([model, asked], sort_keys=True).encode()).hexdigest()[:24]


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:24]


class Progress:
    """The folder's checkpoint. Raises BadCheckpoint when it cannot be read as one."""

    def __init__(self, folder: Path):
        self._path = folder / CHECKPOINT
        self._saved_at, self._unsaved = 0.0, False
        self.completed: set[int] = set()
        self.in_progress: set[int] = set()
        self.failed: dict[int, dict[str, Any]] = {}
        self.cues: dict[int, CueRecord] = {}
        """Of every sound file here, those of earlier words and settings too: set back, they are done again."""
        self.replacing: dict[int, CueRecord] = {}
        """What a file was before the one that is being put in its place."""
        self.film: Film | None = None
        """None in a checkpoint older than this field."""
        try:
            self._read(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise BadCheckpoint(f"{self._path} cannot be read ({why}); delete it to start over") from None

    def _read(self, written: Any) -> None:
        """Raises ValueError naming the field that is not as it was written."""
        whole = _typed(written, dict, "the whole")
        self.completed = {_index(i, "completed") for i in _typed(whole.get("completed"), list, "completed")}
        for i in _typed(whole.get("in_progress", []), list, "in_progress"):
            _index(i, "in_progress")
        for failure in _typed(whole.get("failed"), list, "failed"):
            index = _index(_typed(failure, dict, "failed").get("index"), "failed")
            error = _typed(failure.get("error"), str, f"failed, the error of {index}")
            when = _typed(failure.get("timestamp"), str, f"failed, the timestamp of {index}")
            self.failed[index] = {"index": index, "error": error, "timestamp": when}
        _typed(whole.get("last_updated", ""), str, "last_updated")
        self.cues = _records(whole.get("cues", {}), "cues")
        self.replacing = _records(whole.get("replacing", {}), "replacing")
        if "film" in whole:
            self.film = Film.from_json(whole["film"])

    def has_sound(self, file_name: Callable[[int], str]) -> bool:
        """Some cue was spoken here and its file is there."""
        folder = self._path.parent
        return any((folder / file_name(index)).is_file() for index in self.cues)

    def is_current(self, index: int, wanted: str, file: Path) -> bool:
        """The cue has been spoken with these words and settings, and its file is as it was written.

        Whether it stands in `completed` does not matter: a kill may come between the file's rename and the list."""
        spoken = self.cues.get(index)
        return spoken is not None and spoken.fingerprint == wanted and file.is_file() and digest(file) == spoken.digest

    def recover(self, index: int, file: Path) -> None:
        """After a kill in finishing(): the file may still be the one before."""
        before = self.replacing.pop(index)
        if file.is_file() and digest(file) == before.digest:
            self.cues[index] = before

    def retain(self, done: set[int], known: set[int], there: set[int]) -> None:
        """`done` is completed. Records live while their files are `there`, failures while their cues are `known`."""
        self.completed = set(done)
        self.cues = {index: spoken for index, spoken in self.cues.items() if index in there}
        self.failed = {index: failure for index, failure in self.failed.items() if index in known - done}

    def start(self, index: int) -> None:
        self.in_progress.add(index)
        self.failed.pop(index, None)
        self.save()

    @contextlib.contextmanager
    def finishing(self, index: int, spoken: CueRecord) -> Iterator[None]:
        """Around the rename that puts the file in place. Its digest is known before, its completion after: no kill can
        lose it, nor what was there before it."""
        if index in self.cues:
            self.replacing[index] = self.cues[index]
        self.cues[index] = spoken
        try:
            self.save()
            yield
        except BaseException:
            self.cues.pop(index)
            if index in self.replacing:
                self.cues[index] = self.replacing.pop(index)
            raise
        self.replacing.pop(index, None)
        self.in_progress.discard(index)
        self.completed.add(index)
        self.save()

    def fail(self, index: int, error: str) -> None:
        self.in_progress.discard(index)
        self.failed[index] = {"index": index, "error": error, "timestamp": _now()}
        self.save()

    def save(self, at_once: bool = False) -> None:
        self._unsaved = True
        if not at_once and len(self.cues) > LARGE_CUES and time.monotonic() - self._saved_at < PAUSE_SECONDS:
            return
        beside = self._path.with_name(CHECKPOINT + ".part")
        beside.unlink(missing_ok=True)  # whatever it is: a link would be followed
        try:
            beside.write_text(self._text(), encoding="utf-8")
            os.replace(beside, self._path)
        finally:
            beside.unlink(missing_ok=True)  # half of one, on a full disk
        self._saved_at, self._unsaved = time.monotonic(), False

    def save_what_waits(self) -> None:
        if self._unsaved:
            self.save()

    def _text(self) -> str:
        return json.dumps(
            {
                "completed": sorted(self.completed),
                "in_progress": sorted(self.in_progress),
                "failed": [self.failed[index] for index in sorted(self.failed)],
                "last_updated": _now(),
                "cues": {index: asdict(self.cues[index]) for index in sorted(self.cues)},
                "replacing": {index: asdict(record) for index, record in self.replacing.items()},
            }
            | ({"film": self.film.to_json()} if self.film else {})
        )


def _records(written: Any, field: str) -> dict[int, CueRecord]:
    records = {}
    for index, record in _typed(written, dict, field).items():
        if not (index.isascii() and index.isdecimal() and len(index) < 8):
            raise ValueError(f"{field}: {index[:20]!r} is no cue's number")
        where = f"{field}, cue {index}"
        told = _typed(record, dict, where)
        natural = told.get("natural")
        if natural is not None:
            natural = natural if isinstance(natural, list) else [natural]
            natural = tuple(_seconds(seconds, f"{where}: natural") for seconds in natural)
        records[_index(int(index), field)] = CueRecord(
            _typed(told.get("fingerprint"), str, f"{where}: fingerprint"),
            _typed(told.get("digest"), str, f"{where}: digest"),
            _seconds(told.get("seconds"), f"{where}: seconds"),
            natural or None,
            _typed(told.get("words", ""), str, f"{where}: words"),
        )
    return records


def _typed(value: Any, kind: type, field: str) -> Any:
    if not isinstance(value, kind):
        names = {"dict": "an object", "list": "a list", "str": "a text"}
        raise ValueError(f"{field} is not {names[kind.__name__]}")
    return value


def _index(value: Any, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_INDEX:
        raise ValueError(f"{field}: {str(value)[:20]!r} is no cue's number")
    return value


def _seconds(value: Any, field: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < MAX_SECONDS:  # neither is NaN
        raise ValueError(f"{field} is no number of seconds")
    return float(value)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
