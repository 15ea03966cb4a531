"""A model in a process of its own: one JSON object per line of standard input, one per line of standard output.

    {"id": 1, "command": "load_model"}    → {"id": 1, "ok": true, "seconds": 1.2}
    {"id": 2, "command": "generate", "speech": {"text": "…"}, "file": "…"}
                                          → {"id": 2, "ok": true, "seconds": 0.4, "samples": 48000}
    {"id": 3, "command": "ping"}          → {"id": 3, "ok": true, "generated": 1}
    {"id": 4, "command": "shutdown"}      → {"id": 4, "ok": true}, and the end

What cannot be done is answered {"id", "ok": false, "error", "kind"}. Whatever else prints goes to standard error.

Try: echo '{"id": 1, "command": "ping"}' | python -m bench.layered.worker
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.layered.front import share_cores, spoken, wav
from speech.request import BadSpeech, Speech, UnknownVoice
from tts_core import TTS


class Worker:
    def __init__(self) -> None:
        self._tts: TTS | None = None
        self._generated = 0

    def load_model(self) -> dict[str, Any]:
        began = time.perf_counter()
        self._tts = self._tts or TTS()
        share_cores(int(os.environ.get("WORKER_THREADS", 0)))
        return {"seconds": time.perf_counter() - began}

    def generate(self, speech: dict[str, Any], file: str) -> dict[str, Any]:
        if self._tts is None:
            raise RuntimeError("load_model comes first")
        began = time.perf_counter()
        samples = spoken(self._tts, Speech(**speech))
        Path(file).write_bytes(wav(samples))
        self._generated += 1
        return {"seconds": time.perf_counter() - began, "samples": len(samples)}

    def ping(self) -> dict[str, Any]:
        return {"generated": self._generated}

    def shutdown(self) -> dict[str, Any]:
        return {}

    def answer(self, line: str) -> dict[str, Any]:
        message = json.loads(line)
        name, command = message.pop("id", None), message.pop("command", None)
        if command not in ("load_model", "generate", "ping", "shutdown"):
            return {"id": name, "ok": False, "kind": "ValueError", "error": f"unknown command {command!r}"}
        try:
            return {"id": name, "ok": True, "command": command, **getattr(self, command)(**message)}
        except (BadSpeech, UnknownVoice, RuntimeError, OSError, TypeError) as error:
            return {"id": name, "ok": False, "kind": type(error).__name__, "error": str(error)}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not speak to the manager
    worker = Worker()
    for line in sys.stdin:
        reply = worker.answer(line)
        replies.write(json.dumps(reply) + "\n")
        if reply.get("command") == "shutdown":
            break


if __name__ == "__main__":
    main()
