"""What has been spoken in a folder, and with which words: .checkpoint.json. Knows nothing of servers or subtitles.

Valid JSON at every instant: it is written beside itself and renamed. Delete it to start over.
Try: python -m json.tool output_audio/.checkpoint.json"""

import contextlib
import datetime
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKPOINT = ".checkpoint.json"
LARGE_CUES, PAUSE_SECONDS = 1000, 0.3
"""With so many cues spoken the checkpoint takes milliseconds to write, and is written at most this often; before, after every change."""


class BadCheckpoint(ValueError):
    """The file is not one of ours."""


@dataclass(frozen=True, slots=True)
class CueRecord:
    fingerprint: str
    """Of everything the sound depends on; see fingerprint()."""
    digest: str
    """Of the sound file's bytes."""
    seconds: float
    natural: float | None = None
    """Seconds the text takes at the voice's own pace, where speech was fitted."""


def fingerprint(line: dict, model: str) -> str:
    """Of what is asked (text, voice, speed, duration, seed) and of the model that answers."""
    return hashlib.sha256(json.dumps([model, line], sort_keys=True).encode()).hexdigest()[:24]


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
        self.failed: dict[int, dict] = {}
        self.cues: dict[int, CueRecord] = {}
        try:
            written = json.loads(self._path.read_text(encoding="utf-8"))
            self.completed = set(written["completed"])
            self.failed = {failure["index"]: failure for failure in written["failed"]}
            self.cues = {int(index): CueRecord(**spoken) for index, spoken in written.get("cues", {}).items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadCheckpoint(f"{self._path} cannot be read ({error}); delete it to start over") from None

    def is_current(self, index: int, wanted: str, file: Path) -> bool:
        """The cue has been spoken with these words and settings, and its file is as it was written.

        Whether it stands in `completed` does not matter: a run may have been killed between the file's rename and the list."""
        spoken = self.cues.get(index)
        return spoken is not None and spoken.fingerprint == wanted and file.is_file() and digest(file) == spoken.digest

    def start(self, index: int) -> None:
        self.in_progress.add(index)
        self.failed.pop(index, None)
        self.save()

    @contextlib.contextmanager
    def finishing(self, index: int, spoken: CueRecord) -> Iterator[None]:
        """Around the rename that puts the file in place. Its digest is known before, its completion after: no kill can lose it."""
        self.cues[index] = spoken
        self.save()
        yield
        self.in_progress.discard(index)
        self.completed.add(index)
        self.save()

    def fail(self, index: int, error: str) -> None:
        self.in_progress.discard(index)
        self.failed[index] = {"index": index, "error": error, "timestamp": _now()}
        self.save()

    def retain(self, done: set[int], known: set[int]) -> None:
        """Forgets every cue that is not `done`: changed, or its file missing; and every failure of a cue not `known` any more."""
        self.completed = set(done)
        self.cues = {index: spoken for index, spoken in self.cues.items() if index in done}
        self.failed = {index: failure for index, failure in self.failed.items() if index in known - done}

    def save(self, at_once: bool = False) -> None:
        self._unsaved = True
        if not at_once and len(self.cues) > LARGE_CUES and time.monotonic() - self._saved_at < PAUSE_SECONDS:
            return
        beside = self._path.with_name(CHECKPOINT + ".part")
        beside.write_text(self._text(), encoding="utf-8")
        os.replace(beside, self._path)
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
            }
        )


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
