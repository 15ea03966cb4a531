"""LitServe in its documented way: setup, decode, predict, encode; one worker process, streamed.

Try: python -m bench.frameworks.litserve_tts 8000
"""

import sys
from collections.abc import Iterator
from typing import Any

import litserve as ls

from speech.audio import pcm16, wav_header
from speech.request import Speech
from tts_core import TTS, Plan


class Speaker(ls.LitAPI):  # type: ignore[misc]  # no types
    def setup(self, device: str) -> None:
        self.tts = TTS()

    def decode_request(self, request: dict[str, Any]) -> Plan:
        return self.tts.plan(Speech(**request))

    def predict(self, plan: Plan) -> Iterator[bytes]:
        yield wav_header(plan.samples)
        for samples in self.tts.samples(plan):
            yield pcm16(samples)

    def encode_response(self, output):  # type: ignore[no-untyped-def]  # annotated, it would become the reply's schema
        yield from output


def main() -> None:
    server = ls.LitServer(
        Speaker(api_path="/tts", stream=True), accelerator="cpu", timeout=300, healthcheck_path="/ready"
    )
    server.app.add_api_route("/health", lambda: {"status": "healthy"})
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)


if __name__ == "__main__":
    main()
