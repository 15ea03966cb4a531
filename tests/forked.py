"""`python …` as users type it, forked from a process that has imported already what is not ours.

Importing torch is two seconds of a processor, a hundred times over. What is ours each program imports anew, with a
folder, an environment, arguments and an end of its own. Whatever is about starting, signals while modules are loaded,
threads or memory is started as it is: by subprocess, and servers by bench.launcher.
"""

import array
import atexit
import contextlib
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

SERVERS = (
    *("torch", "psutil", "safetensors.torch", "soundfile", "soxr", "starlette.applications", "yaml"),
    *("uvicorn", "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto", "uvloop"),
)
CLIENTS = (
    *("anyio._backends._asyncio", "charset_normalizer", "filelock", "httpcore", "httpx", "pysubs2", "rich.progress"),
    *("soundfile", "soxr", "tenacity"),
)
"""Imported beforehand. The subtitle client knows no torch."""
MAX_MESSAGE = 200_000
"""Bytes of a command line with its environment."""


@functools.cache
def _forking(packages: tuple[str, ...]) -> socket.socket:
    """To a process that forks whatever it is sent, and ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_MESSAGE)
    with theirs:
        line = [sys.executable, __file__, str(theirs.fileno()), *packages]
        process = subprocess.Popen(line, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


class Forked:
    """`python -m module …` or `python script …`; to be handled as a subprocess.Popen."""

    def __init__(
        self,
        line: list[str],
        packages: tuple[str, ...],
        folder: str | Path,
        environment: dict[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
    ):
        told = json.dumps({"line": line, "folder": os.fspath(folder), "environment": environment})
        self._end, theirs = socket.socketpair()
        with theirs:
            files = [theirs.fileno(), stdout.fileno(), stderr.fileno()]
            socket.send_fds(_forking(packages), [told.encode()], files)
        self._line = line
        self.pid = self._number()
        self.returncode: int | None = None

    def _number(self) -> int:
        return array.array("i", self._end.recv(4, socket.MSG_WAITALL))[0]

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or minus the signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._line, timeout or 0)
            self.returncode = self._number()
            self._end.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    line: list[str],
    packages: tuple[str, ...],
    folder: str | Path | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with `capture_output` and `text`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = Forked(line, packages, folder or Path.cwd(), environment or dict(os.environ), out, errors)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(line, code, out.read(), errors.read())


# The other side


def _wait_for_orders(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Returns in each new process, with what it is to do. This one is left only at the end of who orders."""
    while True:
        message, files, *_ = socket.recv_fds(control, MAX_MESSAGE, 3)
        if not message:
            os._exit(0)
        if os.fork() == 0 and _is_the_program(files[0], files[1:]):
            control.close()
            return json.loads(message), files
        for file in files:
            os.close(file)


def _is_the_program(report: int, output: list[int]) -> bool:
    """Its parent tells which process it is, and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        return True
    os.write(report, array.array("i", [child]))
    for file in output:
        os.close(file)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(report, array.array("i", [os.waitstatus_to_exitcode(status)]))
    os._exit(0)


def _become(told: dict[str, Any], files: list[int]) -> None:
    report, out, errors = files
    os.dup2(out, 1)
    os.dup2(errors, 2)
    for file in (report, out, errors):
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    _, *words = told["line"]
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], told["folder"]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    for package in sys.argv[2:]:
        importlib.import_module(package)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _become(*_wait_for_orders(control))


if __name__ == "__main__":
    _main()
