"""The server with a model that fails as its texts say, and short pauses between retries."""

from app import app
from server.jobs import runner as jobs
from tts_core import TTS

__all__ = ["app"]

jobs.BACK_OFF_SECONDS = 0.1, 0.1, 0.1  # type: ignore[assignment]
jobs.POLL_SECONDS = 0.05
speak, left = TTS.speak, {"Twice.": 2, "Often.": 99}


def flaky(self, plan):
    key = {1: "Twice.", 2: "Often.", 3: "Bug."}.get(plan.seed)
    if key == "Bug.":
        raise KeyError("a bug")
    if key and left[key]:
        left[key] -= 1
        raise RuntimeError("out of memory")
    yield from speak(self, plan)


TTS.speak = flaky  # type: ignore[method-assign]
