"""A queue, one worker thread and a lock; callers poll for their result (source system S1).

The synchronous caller's handler puts the text into the queue and looks every POLL_SECONDS whether it is done; `"async":
true` answers with an id at once, for GET /tts/status/<id>.

Try: uvicorn bench.layered.queue_thread:app
"""

import asyncio
import contextlib
import queue
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from bench.layered.front import front, parse, spoken, wav
from speech.audio import SAMPLE_RATE, WAV_HEADER_BYTES
from speech.request import Speech
from tts_core import TTS

POLL_SECONDS = 0.01
"""Sooner than the 0.1 s that such servers often poll at: the layer is measured, not the constant."""
KEPT = 1000
"""Finished requests whose status is remembered."""


class UnknownRequest(LookupError):
    """No request of that id, or none that is finished."""


class QueueServer:
    """Requests by id: {status, and result or error}; the queue holds the ids in order of arrival."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[str, Speech] | None] = queue.Queue()
        self._requests: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._processing = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._tts = TTS()
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            thread = threading.Thread(target=self._work, name="worker")
            thread.start()
            yield
            self._queue.put(None)
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            name, speech = item
            self._set(name, status="processing")
            self._processing = True
            began = time.monotonic()
            try:
                body = wav(spoken(self._tts, speech))
                file = self._folder / f"{name}.wav"
                file.write_bytes(body)
                self._set(
                    name,
                    status="completed",
                    result={
                        "output_path": str(file),
                        "sample_rate": SAMPLE_RATE,
                        "duration": (len(body) - WAV_HEADER_BYTES) / 2 / SAMPLE_RATE,
                        "processing_time": time.monotonic() - began,
                    },
                )
            except Exception as error:  # the thread must outlive any request; who asked is told
                self._set(name, status="failed", error=error)
            finally:
                self._processing = False

    def _set(self, name: str, **values: object) -> None:
        with self._lock:
            self._requests.setdefault(name, {}).update(values)
            while len(self._requests) > KEPT:
                oldest = self._requests.pop(next(iter(self._requests)))
                if "result" in oldest:
                    Path(oldest["result"]["output_path"]).unlink(missing_ok=True)

    def put(self, speech: Speech) -> str:
        name = uuid.uuid4().hex
        self._set(name, status="queued")
        self._queue.put((name, speech))
        return name

    def get(self, name: str) -> dict[str, Any]:
        with self._lock:
            if name not in self._requests:
                raise UnknownRequest(f"there is no request {name[:40]!r}")
            return dict(self._requests[name])

    async def speak(self, speech: Speech) -> bytes:
        name = self.put(speech)
        while (found := self.get(name))["status"] in ("queued", "processing"):  # noqa: ASYNC110 - polling is what this design does
            await asyncio.sleep(POLL_SECONDS)
        if "error" in found:
            raise found["error"]
        return await asyncio.to_thread(Path(found["result"]["output_path"]).read_bytes)

    async def tts(self, request: Request) -> Response:
        speech, rest = parse(await request.body())
        if not rest.get("async"):
            return Response(await self.speak(speech), media_type="audio/wav")
        name = self.put(speech)
        return JSONResponse({"request_id": name, "status": "queued", "queue_position": self._queue.qsize()}, 202)

    async def status(self, request: Request) -> Response:
        name = request.path_params["id"]
        found = self.get(name)
        return JSONResponse(
            {"request_id": name, **found, **({"error": str(found["error"])} if "error" in found else {})}
        )

    async def result(self, request: Request) -> Response:
        found = self.get(request.path_params["id"])
        if found["status"] != "completed":
            raise UnknownRequest(f"request is {found['status']}")
        return FileResponse(found["result"]["output_path"], media_type="audio/wav")

    def health(self) -> dict[str, Any]:
        return {
            "stats": {
                "queue_size": self._queue.qsize() + self._processing,
                "processing": self._processing,
                "total_requests": len(self._requests),
            }
        }


server = QueueServer()
app = front(
    server.speak,
    server.running,
    server.health,
    Route("/tts", server.tts, methods=["POST"]),
    Route("/tts/status/{id}", server.status),
    Route("/tts/result/{id}", server.result),
    errors={UnknownRequest: 404},
)
