"""A PostgreSQL of the tests' own, on a free port of loopback: started, killed, halted. Debian's `postgresql` has it."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

USER = "postgres"
CONFIGURATION = """
fsync = off
max_connections = 60
listen_addresses = '127.0.0.1'
log_min_messages = fatal
"""


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    return folders[-1]


class Database:
    """A cluster with as many databases as are asked for. It does not run as root: then as `postgres`."""

    def __init__(self, folder: Path):
        self._programs, self._data = _programs(), folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            if USER not in (user.pw_name for user in pwd.getpwall()) or not shutil.which("runuser"):
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
            shutil.chown(folder, USER)
            self._as_user = ["runuser", "-u", USER, "--"]
        self._run("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"{CONFIGURATION}port = {self._port}\nunix_socket_directories = '{folder}'\n")
        self.start()

    def _run(self, program: str, *options: str) -> None:
        command = [*self._as_user, str(self._programs / program), "-D", str(self._data), *options]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        self._run("pg_ctl", "--wait", "--log", str(self._data / "log"), "start")

    def kill(self) -> None:
        """At once, as when the power fails."""
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        processes = self._processes()
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        first = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        return [first, *first.children()]

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def new(self) -> str:
        """The address of a database that has nothing in it yet."""
        name = f"jobs_{secrets.token_hex(4)}"
        execute(self.url("postgres"), f"CREATE DATABASE {name}")
        return self.url(name)


def execute(url: str, sql: str) -> list[tuple[object, ...]]:
    """What it returns, if anything."""
    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(sql)
        return done.fetchall() if done.description else []


@contextlib.contextmanager
def database() -> Iterator[Database]:
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        one = Database(folder)
        try:
            yield one
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test has killed it
                one.kill()
    finally:
        shutil.rmtree(folder)
