"""BentoML in its documented way: a service class whose method streams bytes; one worker process.

Try: bentoml serve bench.frameworks.bentoml_tts:Speaker
"""

from collections.abc import Generator
from typing import Annotated

import bentoml

from speech.audio import pcm16, wav_header
from speech.request import BadSpeech, Speech
from tts_core import TTS


@bentoml.service(workers=1, traffic={"timeout": 300, "concurrency": 1}, metrics={"enabled": False})
class Speaker:
    def __init__(self) -> None:
        self.tts = TTS()

    @bentoml.api(route="/tts")  # type: ignore[untyped-decorator]
    def speak(
        self, text: str, voice: str = "default", speed: float = 1.0, seed: int | None = None, steps: int | None = None
    ) -> Annotated[Generator[bytes, None, None], bentoml.validators.ContentType("audio/wav")]:
        try:
            plan = self.tts.plan(Speech(text, voice, speed, None, seed, steps))
        except BadSpeech as error:
            raise bentoml.exceptions.InvalidArgument(str(error)) from None
        yield wav_header(plan.samples)
        for samples in self.tts.samples(plan):
            yield pcm16(samples)
