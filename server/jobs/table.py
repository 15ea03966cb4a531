"""One SQLite file in a folder of which anything may become: deleted, full, read-only, locked, damaged; and its repair.

Knows SQL and files, nothing of jobs. Nothing is kept open between two calls and nothing remembered of the table, so
that each call meets the folder as it is. There is a rollback journal and no write-ahead log: what is committed stands
in the one file, which is looked at anew each time, and a folder on a network works too. For that a commit waits for
the disk four times; those that come together share it.
"""

import contextlib
import os
import random
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from server.jobs.store import JobStorageError

LOCK_WAIT_SECONDS = 1.0
"""How long a call waits for a table that somebody else has locked. Who comes while another waits, waits for both."""
TRY_SECONDS = 0.02
"""How long SQLite itself waits, before all is begun again."""
MIN_FREE_BYTES = 64 * 1024
"""For the table and its journal."""
SMALL_TABLE_BYTES = 1024 * 1024
"""A table up to this size is looked through each time it is checked, in a millisecond or two."""

Result = TypeVar("Result")


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Errors of the disk and of SQLite, in words that name no path."""
    try:
        yield
    except sqlite3.Error as error:
        raise JobStorageError(f"the table of jobs: {error}") from error
    except OSError as error:
        raise JobStorageError(f"the outputs folder: {error.strerror or type(error).__name__}") from error


class _Change:
    """A change of the table that waits to be written."""

    def __init__(self, make: Callable[[sqlite3.Connection], Any]):
        self.make = make
        self.result: Any = None
        self.error: Exception | None = None
        self.done = False


class Table:
    """The table of a folder. Any thread may call, several at once; each call blocks, and raises JobStorageError."""

    def __init__(self, folder: Path, schema: str, version: int):
        """`schema` is run where the file's user_version is not `version`; its statements may find what they make there
        already."""
        self.folder, self._file = folder, folder / "jobs.db"
        self._schema, self._version = schema, version
        self._folder_seen, self._table_seen = folder.is_dir(), False
        self._waiting: list[_Change] = []
        self._queue, self._writing = threading.Lock(), threading.Lock()

    def create(self) -> None:
        """A folder that has never been seen. One that has been and is gone may be a disk that comes back."""
        if not self._folder_seen:
            with storage_errors():
                self.folder.mkdir(parents=True, exist_ok=True)
                sync_folder(self.folder.parent)
                self._folder_seen = True

    def exists(self) -> bool:
        self._folder_seen = self._folder_seen or self.folder.is_dir()
        if self._folder_seen and not self.folder.is_dir():
            raise JobStorageError("the outputs folder is gone")
        seen = self._table_seen  # asked first: another thread may be making it
        with storage_errors():
            try:
                size = self._file.stat().st_size
            except FileNotFoundError:
                return False
        if size == 0 and seen:
            raise JobStorageError("the table of jobs is damaged: it is empty")
        return size > 0

    def read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """No rows where there is no table yet."""
        if not self.exists():
            return []
        return self._patiently("rw", lambda connection: connection.execute(sql, values).fetchall())

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """What `change` returns, which is on disk then. Changes that wait for the disk at the same time go there
        together."""
        mine = _Change(change)
        with self._queue:
            self._waiting.append(mine)
        with self._writing:
            if not mine.done:
                with self._queue:
                    together, self._waiting = self._waiting, []
                self._commit(together)
        if mine.error:
            raise JobStorageError(str(mine.error)) from mine.error
        result: Result = mine.result
        return result

    def _commit(self, changes: list[_Change]) -> None:
        def make(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for change in changes:
                change.result = change.make(connection)
            connection.execute("COMMIT")

        try:
            self.exists()
            self._patiently("rwc", make)
        except JobStorageError as error:
            for change in changes:
                change.error = error
        finally:
            for change in changes:
                change.done = True

    def _patiently(self, mode: str, use: Callable[[sqlite3.Connection], Result]) -> Result:
        """`use`, from the start again while another process has the table."""
        end = time.monotonic() + LOCK_WAIT_SECONDS
        with storage_errors():
            while True:
                try:
                    with contextlib.closing(self._connect(mode)) as connection:
                        return use(connection)
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                        raise
                # SQLite's own waiting grows to 0.1 s a look; whoever looks less often than others hardly ever gets in.
                time.sleep(random.uniform(0.001, 0.01))

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"{self._file.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(address, uri=True, timeout=TRY_SECONDS, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            # A journal whose header is zeroed is as good as one that is removed, and cheaper.
            connection.execute("PRAGMA journal_mode = PERSIST")
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA user_version").fetchone()[0] != self._version:
                self._make(connection)
            self._table_seen = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema.split(";"):
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                if "duplicate column" not in str(error):
                    raise
        connection.execute(f"PRAGMA user_version = {self._version}")
        connection.execute("COMMIT")

    def check(self, room: int = MIN_FREE_BYTES, thorough: bool = False) -> None:
        """That a job could be kept now. A thorough check writes, and looks through a large table too."""
        self._check_folder(room)
        if not self.exists():
            return
        with storage_errors():
            look = thorough or self._file.stat().st_size <= SMALL_TABLE_BYTES
            if look and [tuple(row) for row in self.read("PRAGMA quick_check(1)")] != [("ok",)]:
                raise JobStorageError("the table of jobs is damaged")
            if thorough:
                self.write(lambda table: table.execute(f"PRAGMA user_version = {self._version}"))
                probe = self.folder / f"probe-{secrets.token_hex(4)}.wav.part"
                try:
                    probe.write_bytes(bytes(MIN_FREE_BYTES))
                finally:
                    probe.unlink(missing_ok=True)

    def _check_folder(self, room: int) -> None:
        folder, seen = self.folder.absolute(), self._folder_seen  # asked first: another thread may be making it
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        if not nearest.is_dir():
            raise JobStorageError("the outputs folder is not a folder")
        if nearest != folder and seen:
            raise JobStorageError("the outputs folder is gone")
        with storage_errors():
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise JobStorageError("the outputs folder is read-only")
            free = shutil.disk_usage(nearest).free
        if free < room:
            raise JobStorageError(f"the outputs folder has {free} bytes left, and {room} are needed")


def sync_folder(folder: Path) -> None:
    """The names in it are on disk. Where folders cannot be opened (Windows) the system does so itself."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
