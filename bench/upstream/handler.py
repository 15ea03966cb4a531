"""Upstream's own F5TTS.infer behind a plain FastAPI handler, with the checkpoint that the others use.

Upstream does all of a request: it reads the reference's file, conditions, solves, vocodes and cross-fades. Only the
words are prepared here, because this checkpoint reads phonemes with planned lengths and upstream knows no such
tokenizer: the chunks, tokens and frames are the direct server's, so both compute the same frames. One speech at a time,
by a lock: upstream seeds the whole process.

STREAM=1 does what f5_tts.socket_server does (a chunk is sent when it is vocoded, without a cross-fade). That server
itself cannot take a local checkpoint: it fetches the vocoder, and the default checkpoint before it has read its
options, from the hub.

Try: uvicorn bench.upstream.handler:app        (needs FFmpeg's libraries for torchaudio.load)
"""

import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from typing import Any

import f5_tts.infer.utils_infer as utils
import numpy as np
import torch
import torchaudio
from f5_tts.api import F5TTS
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from bench import untrained_vocos
from engine import checkpoint, device
from engine.tokenizers import Chunk, PhonemePrompt, PhonemeTokenizer
from speech.audio import HOP_SAMPLES, SAMPLE_RATE, pcm16, wav_header
from speech.request import BadSpeech, Speech, UnknownVoice
from speech.text import chunks_of, clean
from tts_core import EMBEDDED_MODEL, MIN_FRAMES, VOICES

STREAM = bool(os.environ.get("STREAM"))


class Words:
    """What upstream has no word for: a chunk's tokens and frames, behind upstream's own cut of the reference."""

    def __init__(self) -> None:
        loaded = checkpoint.load(str(EMBEDDED_MODEL))
        assert loaded.durations
        self._tokenizer, self._vocab, self._steps, self._cfg = (
            PhonemeTokenizer(loaded.vocab, loaded.durations),
            loaded.vocab,
            loaded.steps,
            loaded.cfg_strength,
        )
        self._most = loaded.max_seconds * SAMPLE_RATE / HOP_SAMPLES
        self.voices = {
            path.stem: (path, clean(path.with_suffix(".txt").read_text())) for path in sorted(VOICES.glob("*.wav"))
        }
        self._prompts = {name: self._prompt(name) for name in self.voices}

    def _prompt(self, name: str) -> PhonemePrompt:
        """Our prompt, its reference's tokens spread over upstream's cut of the same file."""
        path, said = self.voices[name]
        own, rate = torchaudio.load(path)
        cut, cut_rate = torchaudio.load(utils.preprocess_ref_audio_text(str(path), said, show_info=_silent)[0])
        pace = self._tokenizer.prompt(said, round(own.shape[-1] / rate * SAMPLE_RATE) // HOP_SAMPLES).pace
        prompt = self._tokenizer.prompt(said, int(cut.shape[-1] / cut_rate * SAMPLE_RATE) // HOP_SAMPLES)
        prompt.pace = pace
        return prompt

    def chunks(self, speech: Speech) -> dict[str, Chunk]:
        """By number and text. Raises UnknownVoice."""
        if speech.voice not in self.voices:
            raise UnknownVoice(f"no voice {speech.voice!r}; have: {', '.join(self.voices)}")
        prompt = self._prompts[speech.voice]
        found: dict[str, Chunk] = {}
        for number, text in enumerate(
            chunks_of(clean(speech.text), prompt.max_bytes(self._most - prompt.frames, speech.speed))
        ):
            chunk = prompt.chunk(text, speech.speed, joined=bool(found))
            if chunk.frames < prompt.frames + MIN_FRAMES:
                chunk = prompt.chunk(text, speech.speed, bool(found), MIN_FRAMES)
            found[f"{number} {text}"] = chunk
        return found

    def options(self, speech: Speech) -> dict[str, Any]:
        return {
            "nfe_step": speech.steps or self._steps,
            "cfg_strength": self._cfg if speech.cfg_strength is None else speech.cfg_strength,
        }

    def tokens(self, chunk: Chunk) -> list[str]:
        return [self._vocab[i] for i in chunk.tokens[:-1]]  # upstream insists on one frame more than there are tokens


class Upstream:
    """F5TTS as it comes, given our words: its chunker returns our chunks, its tokenizer nothing, its sampler our tokens
    and frames."""

    def __init__(self) -> None:
        self.words, self.lock = Words(), threading.Lock()
        configs = files("f5_tts").joinpath("configs")
        ours = os.path.relpath(EMBEDDED_MODEL / "config", str(configs))
        self.model = F5TTS(
            ours,
            str(EMBEDDED_MODEL / "model.safetensors"),
            str(EMBEDDED_MODEL / "vocab.txt"),
            vocoder_local_path=str(untrained_vocos.folder()),
            device="cpu",
        )
        self._chunks: dict[str, Chunk] = {}
        sample = self.model.ema_model.sample

        def planned(cond: Any, text: list[str], duration: int, **options: Any) -> Any:
            chunk = next(chunk for key, chunk in self._chunks.items() if text[0].endswith(key))
            return sample(cond=cond, text=[self.words.tokens(chunk)], duration=chunk.frames, **options)

        self.model.ema_model.sample = planned
        utils.convert_char_to_pinyin = lambda texts: texts
        utils.chunk_text = lambda text, max_chars: list(self._chunks)

    def speak(self, speech: Speech) -> bytes:
        with self.lock:
            self._chunks = self.words.chunks(speech)
            path, said = self.words.voices[speech.voice]
            samples, _, _ = self.model.infer(
                str(path),
                said,
                speech.text,
                show_info=_silent,
                progress=None,
                seed=speech.seed,
                **self.words.options(speech),
            )
        return wav_header(len(samples)) + pcm16(samples)

    def stream(self, speech: Speech) -> Iterator[bytes]:
        """Lengths are known here too, by our plan: the header is true."""
        with self.lock:
            self._chunks = self.words.chunks(speech)
            path, said = self.words.voices[speech.voice]
            torch.manual_seed(speech.seed or 0)
            cut, said = utils.preprocess_ref_audio_text(str(path), said, show_info=_silent)
            reference = torchaudio.load(cut)
            frames = reference[0].shape[-1] * SAMPLE_RATE // reference[1] // HOP_SAMPLES
            yield wav_header(sum((chunk.frames - frames - 1) * HOP_SAMPLES for chunk in self._chunks.values()))
            pieces = utils.infer_batch_process(
                reference,
                said,
                list(self._chunks),
                self.model.ema_model,
                self.model.vocoder,
                progress=None,
                device="cpu",
                streaming=True,
                chunk_size=1 << 20,
                **self.words.options(speech),
            )
            for samples, _ in pieces:
                yield pcm16(np.asarray(samples))


def _silent(*_: object) -> None:
    pass


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    device.choose("cpu")  # as many threads as the others
    yield {"upstream": Upstream()}


app = FastAPI(lifespan=lifespan)


async def speech_of(request: Request) -> Speech:
    try:
        return Speech(**await request.json())
    except (BadSpeech, TypeError, ValueError) as error:
        raise HTTPException(400, str(error)) from None


@app.post("/tts")
async def tts(request: Request) -> Response:
    speech, upstream = await speech_of(request), request.state.upstream
    if STREAM:
        return StreamingResponse(upstream.stream(speech), media_type="audio/wav")
    try:
        return Response(await run_in_threadpool(upstream.speak, speech), media_type="audio/wav")
    except UnknownVoice as error:
        raise HTTPException(404, str(error)) from None


@app.get("/health")
@app.get("/ready")
async def health() -> JSONResponse:
    return JSONResponse({"status": "healthy"})
