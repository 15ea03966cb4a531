"""Pipecat's and LiveKit's services for OpenAI's speech, unchanged but for the address.

build/clients/bin/python tests/voice_agents.py pipecat|livekit http://localhost:8000/v1 TEXT [--leave]
prints how many samples were heard, and the errors. `--leave`: the agent is interrupted as soon as it is heard.
"""

import argparse
import asyncio
import json
from typing import Any


async def pipecat(url: str, text: str, leave: bool) -> dict[str, Any]:
    from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, InterruptionFrame, TTSAudioRawFrame, TTSSpeakFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.services.openai.tts import OpenAITTSService
    from pipecat.workers.runner import WorkerRunner

    heard, errors = 0, []
    done = asyncio.Event()

    class Listener(FrameProcessor):  # type: ignore[misc]
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            nonlocal heard
            await super().process_frame(frame, direction)
            if isinstance(frame, TTSAudioRawFrame):
                heard += len(frame.audio) // 2
                if leave and not done.is_set():
                    done.set()
                    await worker.queue_frame(InterruptionFrame())
                    await worker.queue_frame(EndFrame())
            await self.push_frame(frame, direction)

    class Errors(FrameProcessor):  # type: ignore[misc]
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, ErrorFrame):
                errors.append(str(frame.error))
            await self.push_frame(frame, direction)

    service = OpenAITTSService(api_key="none", base_url=url, sample_rate=24_000)
    worker = PipelineWorker(Pipeline([Errors(), service, Listener()]))
    await worker.queue_frame(TTSSpeakFrame(text))
    if not leave:
        await worker.queue_frame(EndFrame())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    return {"samples": heard, "errors": errors}


async def livekit(url: str, text: str, leave: bool) -> dict[str, Any]:
    from livekit.plugins import openai

    heard = 0
    async with openai.TTS(base_url=url, api_key="none") as tts, tts.synthesize(text) as stream:
        async for event in stream:
            heard += event.frame.samples_per_channel
            if leave:
                break
    return {"samples": heard, "errors": []}


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("agent", choices=["pipecat", "livekit"])
    command.add_argument("url")
    command.add_argument("text")
    command.add_argument("--leave", action="store_true")
    chosen = command.parse_args()
    agent = {"pipecat": pipecat, "livekit": livekit}[chosen.agent]
    print(json.dumps(asyncio.run(agent(chosen.url, chosen.text, chosen.leave))))


if __name__ == "__main__":
    main()
