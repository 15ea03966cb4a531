"""Mel, vocoder and WAV against the libraries they must agree with."""

import io
import wave

import numpy as np
import pytest
import torch

import tts_core
from engine import vocoder
from engine.mel import log_mel
from speech import audio


def test_log_mel_is_upstreams():
    from f5_tts.model.modules import get_vocos_mel_spectrogram

    samples = torch.randn(24_123, generator=torch.Generator().manual_seed(1)) * 0.1
    mine, theirs = log_mel(samples), get_vocos_mel_spectrogram(samples[None])[0].T
    assert mine.shape == theirs.shape == (24_123 // 256 + 1, 100)
    torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_vocoder_is_the_vocos_library_on_the_same_folder():
    from f5_tts.infer.utils_infer import load_vocoder  # the loader that upstream users have

    folder = tts_core.EMBEDDED_MODEL / "vocoder"
    library = load_vocoder(is_local=True, local_path=str(folder), device="cpu").float()
    mel = log_mel(torch.from_numpy(audio.read_mono(tts_core.VOICES / "default.wav")[0]))
    with torch.inference_mode():
        mine = vocoder.Vocoder(folder, torch.device("cpu")).samples(mel)
        theirs = library.decode(mel.T[None])[0]
        quick = vocoder.Vocoder(folder, torch.device("cpu"), torch.bfloat16).samples(mel)
    assert mine.shape == ((len(mel) - 1) * 256,)
    torch.testing.assert_close(mine, theirs, atol=5e-4, rtol=0)
    noise = 10 * torch.log10((mine - quick).square().mean() / mine.square().mean())
    assert noise < -45, f"bf16 adds noise at {noise:.0f} dB"


def test_header_is_what_the_wave_module_writes():
    samples = np.linspace(-1.2, 1.2, 1001, dtype=np.float32)
    expected = io.BytesIO()
    with wave.open(expected, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(audio.pcm16(samples))
    assert audio.wav_header(1001) + audio.pcm16(samples) == expected.getvalue()
    assert audio.pcm16(samples)[:2] == (-32767).to_bytes(2, "little", signed=True)
