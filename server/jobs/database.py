"""A PostgreSQL database that may be away, slow, read-only or full at any moment, and its repair.

Knows connections and time limits, nothing of jobs. There is one connection a process, so that a thousand of them are a
thousand connections; whatever is asked takes its turn on it and is short.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from server.jobs.store import JobStorageError

STATEMENT_SECONDS = 2
"""So long may the database take for a statement, locks included, and a connection for being made."""
CALL_SECONDS = 2.5
"""So long may a call have the connection, and so long does it wait for those before it."""
CONNECTING: dict[str, Any] = {
    "connect_timeout": STATEMENT_SECONDS,
    "application_name": "direct-tts",
    "client_encoding": "utf8",
    # A machine that is gone is known within seconds, not by TCP's own patience.
    "tcp_user_timeout": 3000,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
"""Where the address itself says nothing of it."""
SESSION = f"""
SET statement_timeout = '{STATEMENT_SECONDS}s';
SET idle_in_transaction_session_timeout = '10s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"""
"""What is accepted is on the database's disk; a process that is halted within a transaction holds others up for so
long."""
PROBLEMS = {
    "57014": f"did not answer within {STATEMENT_SECONDS} s",
    "55P03": f"did not answer within {STATEMENT_SECONDS} s",
    "53": "has no room left",
    "25006": "is read-only",
    "40": "is busy",
    "42501": "does not let the user of TTS_JOBS do this",
    "57P": "is away",
    "08": "is away",
}
"""By SQLSTATE, or how it begins."""

SILENT = f"the database did not answer within {CALL_SECONDS:g} s"

Result = TypeVar("Result")
Cursor = psycopg.Cursor[DictRow]
log = logging.getLogger("uvicorn.tts")


class Database:
    """Any thread may call, several at once; each call blocks for a few seconds at most, and raises JobStorageError."""

    def __init__(self, url: str, prepare: Callable[[Cursor], object]):
        """`prepare` is called with each new connection. Raises ValueError where `url` is none."""
        try:
            self._asked = conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # its message may tell the password
            raise ValueError("TTS_JOBS must be as postgresql://user:password@host/database") from None
        self._prepare = prepare
        self._turn = threading.Lock()
        self._connection: psycopg.Connection[DictRow] | None = None
        self._reached = True

    @property
    def address(self) -> str:
        """Without user and password."""
        return f"{self._asked.get('host', 'localhost')}/{self._asked.get('dbname', '')}"

    def rows(self, sql: str, *values: object) -> list[DictRow]:
        return self._use(lambda cursor: cursor.execute(sql, values, binary=True).fetchall(), alone=True)

    def changed(self, sql: str, *values: object) -> int:
        """How many rows."""
        return self._use(lambda cursor: cursor.execute(sql, values).rowcount, alone=True)

    def use(self, work: Callable[[Cursor], Result]) -> Result:
        """`work` in one transaction; it is done when this returns. It may be done twice, where the connection was lost
        while the first was on its way."""
        return self._use(work, alone=False)

    def _use(self, work: Callable[[Cursor], Result], alone: bool) -> Result:
        """One statement `alone` is a transaction by itself, and asked for in one round trip instead of three."""
        with self._my_turn(), _in_words():
            known = self._connection is not None
            try:
                return self._used(work, alone)
            except psycopg.OperationalError:
                if not known or self._connection is not None:
                    raise
            return self._used(work, alone)  # the connection was a dead one: of a database that was started again since

    def _used(self, work: Callable[[Cursor], Result], alone: bool) -> Result:
        try:
            self._connection = connection = self._connection or self._connect()
            together = contextlib.nullcontext() if alone else connection.transaction()
            with _limited(connection), together, connection.cursor() as cursor:
                return work(cursor)
        except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.UndefinedTable):
            self._disconnect()  # another of its hosts may be the one that writes by now, and the tables made again
            raise
        finally:
            if self._connection is not None and self._connection.closed:
                self._connection = None

    def _connect(self) -> psycopg.Connection[DictRow]:
        try:
            connection = psycopg.connect(
                **(CONNECTING | self._asked), autocommit=True, prepare_threshold=None, row_factory=dict_row
            )
        except psycopg.OperationalError as error:
            if self._reached:
                log.warning("the database of jobs (%s): %s", self.address, str(error).strip())
            self._reached = False
            raise
        try:
            with _limited(connection), connection.transaction(), connection.cursor() as cursor:
                cursor.execute(SESSION)
                self._prepare(cursor)
        except BaseException:
            connection.close()
            raise
        self._reached = True
        return connection

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=CALL_SECONDS):
            raise JobStorageError(SILENT)
        try:
            yield
        finally:
            self._turn.release()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        with contextlib.suppress(JobStorageError), self._my_turn():
            self._disconnect()


@contextlib.contextmanager
def _limited(connection: psycopg.Connection[DictRow]) -> Iterator[None]:
    """A database that is halted keeps its connections and says nothing: then the connection is cut from this side."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(CALL_SECONDS, cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    except psycopg.OperationalError as error:
        raise JobStorageError(SILENT) if late.is_set() else error from None
    finally:
        watch.cancel()


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        problem = next((words for start, words in PROBLEMS.items() if state.startswith(start)), None)
        if problem is None and isinstance(error, psycopg.OperationalError):
            # A connection that could not be made has no state; its own words name hosts and users, and are in the log.
            problem = "refuses the connection; the log has its reason" if "FATAL" in str(error) else "is away"
        raise JobStorageError(f"the database {problem or error.diag.message_primary or 'failed'}") from error
