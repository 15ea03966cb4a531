"""A server as a process: started on a free port of loopback, ready, stopped. For tests and bench alike; knows nothing
of what it serves.

Try: python -m bench.launcher        (`uvicorn app:app` until it is ready, and how long that took)
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[1]
READY_SECONDS, STOP_SECONDS, LOOK_SECONDS = 120, 60, 0.005

Command = Callable[[int], list[str]]
"""The command line of a server that listens on the given port."""


def python(module: str, *options: str) -> Command:
    """`python -m module`; `{port}` in an option becomes the port."""
    return lambda port: [sys.executable, "-m", module, *(option.format(port=port) for option in options)]


def uvicorn(app: str = "app:app", *options: str) -> Command:
    return python("uvicorn", app, "--port", "{port}", *options)


class DidNotStart(RuntimeError):
    """The process ended, or was not ready in time; the message has the end of its log."""


class Process(Protocol):
    """What a subprocess.Popen has, and is used here."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Server:
    """`uvicorn app:app` as a user starts it, or another `command`; one port, one log; started as often as wanted."""

    process: Process

    def __init__(
        self,
        log: Path,
        app: str = "app:app",
        *options: str,
        command: Command | None = None,
        folder: Path = ROOT,
        ready: str = "/ready",
        own_session: bool = False,
        **environment: str,
    ):
        """`ready`: a path that answers 200 when it is; `own_session`: a signal to the group reaches all that it starts,
        and Ctrl+C in the terminal does not. Jobs are kept beside the log unless TTS_OUTPUTS says otherwise."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = (command or uvicorn(app, *options))(self.port)
        self._log, self._folder = log, folder
        self._ready, self._own_session = ready, own_session
        self._environment = os.environ | {"TTS_OUTPUTS": str(log.parent / "outputs")} | environment

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def launch(self, **environment: str) -> None:
        """Does not wait."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment | environment,
                stdout=log,
                stderr=log,
                start_new_session=self._own_session,
            )

    def start(self, **environment: str) -> float:
        """Seconds until it was ready. Raises DidNotStart; then nothing is left running."""
        began = time.perf_counter()
        self.launch(**environment)
        while not self._is_ready():
            ended = self.process.poll() is not None
            if ended or time.perf_counter() - began > READY_SECONDS:
                self.kill()
                raise DidNotStart(f"{' '.join(self._command)} did not start:\n{self.log[-3000:]}")
            time.sleep(LOOK_SECONDS)
        return time.perf_counter() - began

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", self._ready)
            return connection.getresponse().status == 200
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """The exit status after the signal. Raises subprocess.TimeoutExpired; kill() then ends it."""
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log")
        print(f"{server.address} was ready after {server.start():.2f} s, and ended with {server.stop()}")


if __name__ == "__main__":
    main()
