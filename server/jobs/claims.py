"""Which processes work in a folder, and what each can speak: a locked file says that its process lives, however it may
have ended.

Knows files and locks, nothing of jobs. Raises JobStorageError.
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from server.jobs.store import JobStorageError
from server.jobs.table import storage_errors

if TYPE_CHECKING:
    from filelock import BaseFileLock

STALE_SECONDS = 60
"""A free lock file as old as this belongs to nobody; a new one may belong to a process that is just about to lock
it."""


class Owners:
    """This process and the others, by the names under which they claim jobs."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._locking = threading.Lock()
        self._lock: BaseFileLock | None = None
        self._inode: tuple[int, int] | None = None
        self._voices: frozenset[str] = frozenset()
        self._owner_id = ""

    def owner_id(self, voices: Collection[str]) -> str:
        """This process's name, with its lock held; others read that it can speak `voices`."""
        with self._locking, storage_errors():
            if self._inode is None or self._inode_of(self._owner_id) != self._inode:
                from filelock import FileLock  # here: start-up does not wait for it

                self._release()  # the folder went, and its lock with it: what was claimed under that name is lost
                self._folder.stat()
                self._owner_id, self._voices = secrets.token_hex(8), frozenset()
                self._lock = FileLock(self._lock_file(self._owner_id), timeout=0, thread_local=False)
                self._lock.acquire()
                self._inode = self._inode_of(self._owner_id)
            if self._voices != frozenset(voices):
                self._voices_file(self._owner_id).write_text(json.dumps(sorted(voices)))
                self._voices = frozenset(voices)
            return self._owner_id

    def is_me(self, owner: str | None) -> bool:
        return owner == self._owner_id

    def alive(self, owner: str) -> bool:
        """Whether a process of that name holds its lock."""
        from filelock import FileLock, Timeout

        if self.is_me(owner) or not self._lock_file(owner).exists():
            return self.is_me(owner)
        with storage_errors():
            try:
                with FileLock(self._lock_file(owner), timeout=0, thread_local=False):
                    return False
            except Timeout:
                return True

    def spoken_by_others(self) -> set[str]:
        """All that other living processes can speak."""
        voices: set[str] = set()
        for file in self._folder.glob("worker-*.voices"):
            owner = file.stem.removeprefix("worker-")
            with contextlib.suppress(OSError, ValueError, JobStorageError):  # it has just ended, or just begun
                if not self.is_me(owner) and self.alive(owner):
                    voices.update(json.loads(file.read_text()))
        return voices

    def tidy(self) -> None:
        """Files of processes that are no more."""
        with storage_errors():
            for lock in self._folder.glob("worker-*.lock"):
                owner = lock.stem.removeprefix("worker-")
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - lock.stat().st_mtime > STALE_SECONDS and not self.alive(owner):
                        self._voices_file(owner).unlink(missing_ok=True)
                        lock.unlink()

    def close(self) -> None:
        with self._locking:
            self._release()

    def _release(self) -> None:
        if self._lock:
            with contextlib.suppress(OSError):
                self._voices_file(self._owner_id).unlink(missing_ok=True)
                self._lock_file(self._owner_id).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._lock.release(force=True)
            self._lock = self._inode = None

    def _inode_of(self, owner: str) -> tuple[int, int] | None:
        try:
            found = self._lock_file(owner).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _lock_file(self, owner: str) -> Path:
        return self._folder / f"worker-{owner}.lock"

    def _voices_file(self, owner: str) -> Path:
        return self._folder / f"worker-{owner}.voices"
