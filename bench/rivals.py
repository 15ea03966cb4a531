"""Who is compared, and each as a process that can be started, watched and stopped. Knows processes, nothing of
measuring.

Try: python -m bench.rivals        (lists them, with what is missing here)
"""

import contextlib
import ctypes.util
import importlib.util
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.launcher import ROOT, Command, Server, python, uvicorn

WEIGHTLESS = ROOT / "bench" / "weightless"
BENTOML = ROOT / "build" / "bentoml" / "bin" / "python"
"""BentoML pins what others here want newer: it lives in an environment of its own (make bench-install)."""
ENGINES = "weightless", "embedded"
STOP_SECONDS = 20


def bentoml(port: int) -> list[str]:
    service = "bench.frameworks.bentoml_tts:Speaker"
    return [str(BENTOML), "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port)]


@dataclass(frozen=True)
class Rival:
    name: str
    what: str
    command: Command
    environment: dict[str, str] = field(default_factory=dict)
    kind: str = "design"  # direct, layer, design, framework, upstream
    layer: str = ""
    """Of a row that differs from `whole file` by one layer: its name."""
    engines: tuple[str, ...] = ENGINES
    needs: str = ""
    """A module without which it cannot run."""
    ready: str = "/ready"
    health: str = "/health"
    ends_with: signal.Signals = signal.SIGTERM
    slow_start: bool = False
    """Seconds rather than tenths: started less often."""

    @property
    def missing(self) -> str | None:
        """Why it cannot run here."""
        if self.needs == "bentoml":
            return None if BENTOML.exists() else "bentoml is not installed (make bench-install)"
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed (make bench-install)"
        if self.kind == "upstream" and ctypes.util.find_library("avcodec") is None:
            return "FFmpeg's libraries are not installed (apt-get install ffmpeg)"
        return None


def layered(name: str, what: str, layers: str, **rest: Any) -> Rival:
    return Rival(
        name,
        what,
        uvicorn("bench.layered.pool:app"),
        {"LAYERS": layers, **rest.pop("environment", {})},
        kind="layer",
        **rest,
    )


ALL_LAYERS = "service,pool,warmup,wrapper,validation,encode"
RIVALS = [
    Rival("direct", "uvicorn app:app, as users run it", uvicorn("app:app"), kind="direct"),
    Rival(
        "executor",
        "direct, each model step in an executor's thread",
        uvicorn("bench.layered.executor:app"),
        kind="layer",
    ),
    Rival(
        "executor, all in it",
        "the same thread loads the model and plans too",
        uvicorn("bench.layered.executor:app"),
        {"ALL": "1"},
        kind="layer",
        engines=("embedded",),
    ),
    layered("whole file", "one model, one executor thread, the reply sent when it is finished", ""),
    layered("+ service", "whole file, with a service layer", "service", layer="service"),
    layered("+ wrapper", "whole file, with a wrapper around the model", "wrapper", layer="wrapper"),
    layered("+ validation", "whole file, the text checked a second time", "validation", layer="validation"),
    layered("+ encode", "whole file, the WAV made by libsndfile in memory", "encode", layer="encode"),
    layered("+ warm-up", "whole file, one sentence spoken before ready", "warmup", layer="warm-up"),
    layered("+ pool", "whole file, two models behind a queue, half of the cores each", "pool", layer="pool"),
    layered("layered", "all of these layers: the set-up that direct replaced", ALL_LAYERS),
    layered(
        "layered, all cores",
        "the same, each of the two models computing on all cores",
        ALL_LAYERS,
        environment={"THREADS": "all"},
        engines=("embedded",),
    ),
    Rival("queue + thread", "a queue, one worker thread, callers poll", uvicorn("bench.layered.queue_thread:app")),
    Rival("process workers", "two long-lived processes, JSON lines", uvicorn("bench.layered.process_workers:app")),
    Rival(
        "process per line",
        "a new process for each request",
        uvicorn("bench.layered.process_workers:app"),
        {"WORKERS": "per-line"},
    ),
    # A job that waits for room on the machine must not keep the server from stopping.
    Rival(
        "resource-managed",
        "priority queue, semaphores, limits, monitor, retries",
        uvicorn("bench.layered.resource_managed:app", "--timeout-graceful-shutdown", "5"),
    ),
    # On SIGTERM LitServe's main process dies and leaves its workers behind; Ctrl+C ends them.
    Rival(
        "LitServe",
        "LitAPI, one worker, streamed",
        python("bench.frameworks.litserve_tts", "{port}"),
        kind="framework",
        needs="litserve",
        ends_with=signal.SIGINT,
        slow_start=True,
    ),
    Rival(
        "Ray Serve",
        "FastAPI ingress, one replica, streamed",
        python("bench.frameworks.ray_tts", "{port}"),
        kind="framework",
        needs="ray",
        slow_start=True,
    ),
    Rival(
        "BentoML",
        "service class, one worker, streamed",
        bentoml,
        kind="framework",
        needs="bentoml",
        ready="/readyz",
        health="/livez",
        slow_start=True,
    ),
    Rival(
        "upstream",
        "F5TTS.infer behind a FastAPI handler, same checkpoint",
        uvicorn("bench.upstream.handler:app"),
        kind="upstream",
        engines=("embedded",),
        needs="f5_tts",
        slow_start=True,
    ),
    Rival(
        "upstream, streamed",
        "what its socket_server does, behind the same handler",
        uvicorn("bench.upstream.handler:app"),
        {"STREAM": "1"},
        kind="upstream",
        engines=("embedded",),
        needs="f5_tts",
        slow_start=True,
    ),
]
BY_NAME = {rival.name: rival for rival in RIVALS}


def environment(engine: str, outputs: str) -> tuple[dict[str, str], Path]:
    """Variables and working folder: who starts in the weightless engine's folder finds its tts_core first."""
    path = [str(ROOT)] if engine == "embedded" else [str(WEIGHTLESS), str(ROOT)]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "TTS_OUTPUTS": outputs,
    }, ROOT if engine == "embedded" else WEIGHTLESS


class Running:
    """A rival's process with everything it has started; ready when it is made."""

    def __init__(self, rival: Rival, engine: str, folder: str, **more: str):
        variables, home = environment(engine, folder)
        self.rival, wanted = rival, variables | rival.environment | more
        self._server = Server(
            Path(folder) / "log",
            command=rival.command,
            folder=home,
            ready=rival.ready,
            own_session=True,
            **{name: value for name, value in wanted.items() if os.environ.get(name) != value},
        )
        self.port = self._server.port
        self._known: dict[int, psutil.Process] = {}
        try:
            self.ready_seconds = self._server.start()
        except BaseException:
            self._kill_group()
            raise

    @property
    def log(self) -> str:
        return self._server.log

    def tree(self) -> list[psutil.Process]:
        """The process and its descendants, alive."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._server.process.pid)
            for process in [root, *root.children(recursive=True)]:
                self._known.setdefault(process.pid, process)
        return [
            process
            for process in self._known.values()
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]

    def cpu_seconds(self) -> float:
        """Spent by the tree so far, with those who have ended."""
        spent = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:4])
        return spent

    @contextlib.contextmanager
    def watched(self) -> Iterator[dict[str, float]]:
        """While the body runs: the largest sum of resident and of proportional memory, MB. Pages that processes share
        count in each one's resident memory, and once in the proportional."""
        peak = {"rss": 0.0, "pss": 0.0}
        over = threading.Event()

        def look() -> None:
            while True:
                rss = pss = 0.0
                for process in self.tree():
                    with contextlib.suppress(psutil.Error):
                        memory = process.memory_full_info()
                        rss, pss = rss + memory.rss / 1e6, pss + getattr(memory, "pss", memory.uss) / 1e6
                peak["rss"], peak["pss"] = max(peak["rss"], rss), max(peak["pss"], pss)
                if over.wait(0.02):
                    return

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield peak
        finally:
            over.set()
            thread.join()

    def stop(self) -> bool:
        """Its own signal, and what is left after a while is killed. True when nothing was left."""
        before = self.tree()
        clean = True
        try:
            self._server.stop(self.rival.ends_with, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            clean = False
        _, left = psutil.wait_procs(before, 3)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._kill_group()
        return clean and not left

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._server.process.pid, signal.SIGKILL)
        self._server.process.wait()


@contextlib.contextmanager
def serving(rival: Rival, engine: str, **more: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        running = Running(rival, engine, folder, **more)
        try:
            yield running
        finally:
            running.stop()


def main() -> None:
    for rival in RIVALS:
        print(f"{rival.name:20s} {rival.what}{'  — ' + rival.missing if rival.missing else ''}")


if __name__ == "__main__":
    main()
