"""Ray Serve in its documented way: a FastAPI ingress, one replica that holds the model, a StreamingResponse.

One speech at a time, by a lock: several in one process would only share the same cores. Ray's own health route is
/-/healthz.

Try: python -m bench.frameworks.ray_tts 8000
"""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # loopback only

import ray
from ray import serve

if TYPE_CHECKING:
    from speech.request import Speech

http = FastAPI()


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
@serve.ingress(http)
class Speaker:
    def __init__(self) -> None:
        from tts_core import TTS

        self.tts, self.lock = TTS(), threading.Lock()

    @http.post("/tts")
    async def speak(self, request: Request) -> StreamingResponse:
        from speech.request import BadSpeech, Speech

        try:
            speech = Speech(**await request.json())
        except (BadSpeech, TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from None
        return StreamingResponse(self.sound(speech), media_type="audio/wav")

    def sound(self, speech: "Speech") -> Iterator[bytes]:
        from speech.audio import pcm16, wav_header

        with self.lock:
            plan = self.tts.plan(speech)
            yield wav_header(plan.samples)
            for samples in self.tts.samples(plan):
                yield pcm16(samples)

    @http.get("/health")
    async def health(self) -> dict[str, Any]:
        return {"status": "healthy"}

    @http.get("/ready")
    async def ready(self) -> dict[str, Any]:
        return {"status": "ready"}


def main() -> None:
    stop = threading.Event()
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:  # its sockets want a short path
        environment = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
            object_store_memory=100 * 2**20,
            runtime_env={"env_vars": environment},
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())  # after ray has installed its own
        serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
        serve.run(Speaker.bind(), name="tts")  # type: ignore[attr-defined]
        stop.wait()
        serve.shutdown()  # type: ignore[no-untyped-call, unused-ignore]
        ray.shutdown()


if __name__ == "__main__":
    main()
