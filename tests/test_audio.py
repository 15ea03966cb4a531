"""Mel, vocoder and WAV against the libraries they must agree with."""

import io
import wave

import numpy as np
import torch

from engine.mel import log_mel
from speech import audio


def test_log_mel_is_upstreams() -> None:
    from f5_tts.model.modules import get_vocos_mel_spectrogram

    samples = torch.randn(24_123, generator=torch.Generator().manual_seed(1)) * 0.1
    mine, theirs = log_mel(samples), get_vocos_mel_spectrogram(samples[None])[0].T
    assert mine.shape == theirs.shape == (24_123 // 256 + 1, 100)
    torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=0)


def test_header_is_what_the_wave_module_writes() -> None:
    samples = np.linspace(-1.2, 1.2, 1001, dtype=np.float32)
    expected = io.BytesIO()
    with wave.open(expected, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(audio.pcm16(samples))
    assert audio.wav_header(1001) + audio.pcm16(samples) == expected.getvalue()
    assert audio.pcm16(samples)[:2] == (-32767).to_bytes(2, "little", signed=True)
