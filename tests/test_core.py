"""The engine without HTTP: exact plans, seeds, joins, half precision."""

import math
import platform
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import held, small_checkpoint, solved
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import tts_core
from engine import checkpoint, device, sampler
from engine.fallback import Fp32Fallback
from engine.sampler import Sampler
from engine.weights import Wanted
from speech import audio
from tts_core import BadSpeech, Speech, UnknownVoice


def said(tts: tts_core.TTS, speech: Speech) -> np.ndarray:
    return np.concatenate(list(tts.samples(tts.plan(speech))))


def speakable(text: str) -> bool:
    try:
        Speech(text)
    except BadSpeech:
        return False
    return True


def planned(tts: tts_core.TTS, speech: Speech) -> tts_core.Plan:
    """A text in nothing but letters that the checkpoint lacks is refused: there is nothing to measure."""
    try:
        return tts.plan(speech)
    except BadSpeech as refused:
        assume("no word that" not in str(refused))
        raise


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(min_size=1, max_size=300).filter(speakable), speed=st.floats(0.25, 4), seed=st.integers(0, 2**63 - 1)
)
def test_as_many_samples_as_planned(small: tts_core.TTS, text: str, speed: float, seed: int) -> None:
    speech = Speech(text, speed=speed, seed=seed, steps=1, cfg_strength=0.0)
    plan = planned(small, speech)
    assert len(said(small, speech)) == plan.samples


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=400).filter(speakable), stretch=st.floats(0.3, 3.5))
def test_phonemes_fill_exactly_the_frames_planned(tts: tts_core.TTS, text: str, stretch: float) -> None:
    natural = planned(tts, Speech(text))
    for chunk in natural.chunks:
        assert len(chunk.tokens) == chunk.frames
    seconds = natural.seconds / stretch
    try:
        fitted = tts.plan(Speech(text, duration=seconds))
    except BadSpeech as refused:
        assert "duration" in str(refused)
    else:
        assert fitted.samples == round(seconds * audio.SAMPLE_RATE)
        spare = fitted_samples(fitted) - fitted.samples
        assert 0 <= spare < audio.HOP_SAMPLES, f"{spare} samples too many"


def fitted_samples(plan: tts_core.Plan) -> int:
    frames = [chunk.frames - len(plan.voice.mel) for chunk in plan.chunks]
    return sum((f - 1) * audio.HOP_SAMPLES for f in frames) - tts_core.CROSS_FADE_SAMPLES * (len(frames) - 1)


def test_a_speech_leaves_the_global_seed_alone(small: tts_core.TTS) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = said(small, Speech("Hello there.", seed=5, steps=1))
    assert torch.rand(1) == expected
    torch.manual_seed(99)
    np.testing.assert_array_equal(said(small, Speech("Hello there.", seed=5, steps=1)), first)


def test_it_yields_after_every_solver_step(small: tts_core.TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "YIELD_SECONDS", math.inf)  # long ones yield within too, on a busy machine any of them
    plan = small.plan(Speech("One, two. " * 30, steps=5))
    yields = sum(piece is None for piece in small.speak(plan))
    assert len(plan.chunks) > 2
    assert yields == 5 * len(plan.chunks)


def test_two_speeches_interleaved_are_the_two_spoken_alone(small: tts_core.TTS) -> None:
    one, other = (
        Speech("First sentence. And more of it.", seed=1, steps=3),
        Speech("Another one, quite different.", seed=2, steps=3),
    )
    alone = [said(small, one), said(small, other)]
    together: list[list[np.ndarray]] = [[], []]
    running = {0: small.speak(small.plan(one)), 1: small.speak(small.plan(other))}
    while running:
        for key in list(running):
            try:
                piece = next(running[key])
            except StopIteration:
                del running[key]
            else:
                together[key] += [] if piece is None else [piece]
    for pieces, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(pieces), expected)


def test_joins_do_not_click(tts: tts_core.TTS) -> None:
    """The step from one sample to the next at a join is no larger than speech itself makes."""
    plan = tts.plan(
        Speech("The morning is here. The river is cold. The long road is quiet now, and we walk on.", seed=4)
    )
    pieces = list(tts.samples(plan))
    whole = np.concatenate(pieces)
    steps = np.abs(np.diff(whole))
    for at in np.cumsum([len(p) for p in pieces])[:-1]:
        assert steps[at - 1] <= np.quantile(steps, 0.999), f"{steps[at - 1]} at {at}"
    assert np.abs(whole).max() < 1.0
    assert np.sqrt(np.mean(whole[:1200] ** 2)) < 0.02, "a scrap of the reference leads the speech"


def test_a_steady_sound_stays_steady_through_every_join(small: tts_core.TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two sides of a cross-fade add up to one."""
    plan = small.plan(Speech("One sentence, then more. " * 20, seed=1, steps=1))
    monkeypatch.setattr(small._vocoder, "samples", lambda mel: torch.ones((len(mel) - 1) * audio.HOP_SAMPLES))
    whole = np.concatenate(list(small.samples(plan)))
    assert len(plan.chunks) > 3
    np.testing.assert_allclose(whole, plan.voice.gain, atol=1e-6)


def test_a_quiet_reference_gives_quiet_speech(tmp_path: Path, small_folder: Path) -> None:
    """Upstream raises a quiet reference to RMS 0.1 and lowers the speech back."""
    loud, rate = soundfile.read(tts_core.VOICES / "default.wav", dtype="float32")
    loud *= audio.REFERENCE_RMS / np.sqrt(np.mean(loud**2))
    for name, gain in (("default", 1.0), ("quiet", 0.1)):
        soundfile.write(tmp_path / f"{name}.wav", loud * gain, rate, subtype="FLOAT")
        (tmp_path / f"{name}.txt").write_text((tts_core.VOICES / "default.txt").read_text())
    both = tts_core.TTS(small_folder, tmp_path)
    spoken = [said(both, Speech("Hello there.", voice, seed=1)) for voice in ("default", "quiet")]
    np.testing.assert_allclose(spoken[1], spoken[0] * 0.1, atol=1e-4)


def test_a_chunk_that_overflows_in_half_precision_is_made_again_in_fp32(
    small: tts_core.TTS, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small.plan(Speech("Hello there.", seed=1, steps=2))
    arch, weights = small._sampler.arch, checkpoint.read_weights(small_folder / "model.safetensors")
    half = Sampler(arch, held(weights | {"proj_out.bias": torch.full((100,), 1e6)}), torch.device("cpu"), torch.float16)
    monkeypatch.setattr(small, "_sampler", half)
    with pytest.raises(RuntimeError, match="not a number"):
        list(small.speak(plan))
    loaded: list[int] = []

    def read(wanted: Wanted) -> dict[str, torch.Tensor]:
        loaded.append(1)
        return held(weights)(wanted)

    monkeypatch.setattr(small, "_fallback", Fp32Fallback(arch, read, torch.device("cpu")))
    again = np.concatenate(list(small.samples(plan)))
    once = len(loaded)
    np.testing.assert_array_equal(np.concatenate(list(small.samples(plan))), again)
    assert len(loaded) == once, "the fp32 weights were read a second time"
    monkeypatch.setattr(small, "_sampler", Sampler(arch, held(weights), torch.device("cpu"), torch.float32))
    expected = np.concatenate(list(small.samples(plan)))
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_loading_the_fp32_weights_yields_between_blocks(tmp_path: Path) -> None:
    """They were read in one go on the event loop: seconds of a big model, in which nobody else was answered."""
    folder = small_checkpoint(tmp_path / "deep", depth=6)
    deep = tts_core.TTS(folder)
    arch, weights = deep._sampler.arch, checkpoint.read_weights(folder / "model.safetensors")
    most: list[int] = []

    def read(wanted: Wanted) -> dict[str, torch.Tensor]:
        got = held(weights)(wanted)
        most.append(
            len(
                {
                    name.split(".")[1]
                    for name in got
                    if name.startswith("transformer_blocks.") and "attn_norm" not in name
                }
            )
        )
        return got

    broken = weights | {"proj_out.bias": torch.full((100,), math.inf)}
    deep._sampler = Sampler(arch, held(broken), torch.device("cpu"), torch.float32)
    deep._fallback = Fp32Fallback(arch, read, torch.device("cpu"))
    plan = deep.plan(Speech("Hello there.", seed=1, steps=1))
    one, other = deep.speak(plan), deep.speak(plan)
    next(one), next(other)  # a solver step each
    for _ in range(3):
        assert next(one) is None and next(other) is None
    assert max(most) == 1, "more than a block was read between two yields"
    one.close()  # type: ignore[attr-defined]
    sound = [samples for samples in other if samples is not None]
    assert sum(map(len, sound)) == plan.samples, "who went away took the loading with it"


def test_a_voice_may_be_written_in_capitals(tmp_path: Path, small_folder: Path) -> None:
    shutil.copytree(tts_core.VOICES, tmp_path / "voices")
    for name in ("michael.wav", "michael.txt"):
        (tmp_path / "voices" / name).rename(tmp_path / "voices" / name.replace("michael", "ANNA").upper())
    both = tts_core.TTS(small_folder, tmp_path / "voices")
    assert {"ANNA", "default"} <= both.voices.keys()
    assert len(said(both, Speech("Hello.", "ANNA", steps=1)))
    shutil.copy(tmp_path / "voices" / "ANNA.WAV", tmp_path / "voices" / "ANNA.wav")
    with pytest.raises(UnknownVoice, match=r"'ANNA' cannot be used: ANNA\.WAV and ANNA\.wav; a voice has one file"):
        both.plan(Speech("Hello.", "ANNA"))


def test_what_cannot_be_spoken_is_refused_in_words(tts: tts_core.TTS) -> None:
    with pytest.raises(UnknownVoice, match=r"no voice 'anna'; have: an, bella, default, fenrir, michael"):
        tts.plan(Speech("Hello.", "anna"))
    with pytest.raises(BadSpeech, match=r"possible are .* to .* s"):
        tts.plan(Speech("Hello there, everyone.", duration=0.1))
    with pytest.raises(ValueError, match="TTS_DEVICE=tpu"):
        device.choose("tpu")


def test_the_number_format_is_the_one_that_this_machine_computes_fast_and_its_reason_says_so() -> None:
    chosen = device.choose("cpu")
    flags = set(Path("/proc/cpuinfo").read_text().split()) if platform.system() == "Linux" else set()
    if platform.machine() == "x86_64" and flags:
        native = bool(flags & {"avx512_bf16", "amx_bf16"})
        assert chosen.dtype == (torch.bfloat16 if native else torch.float32)
    assert chosen.reason.startswith("bf16" if chosen.dtype == torch.bfloat16 else "fp32")


def test_voices_without_transcript_or_default_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"default\.wav is missing, and default\.txt"):
        tts_core.TTS(voices=tmp_path)
    audio_file = (tts_core.VOICES / "default.wav").read_bytes()
    (tmp_path / "default.wav").write_bytes(audio_file)
    with pytest.raises(ValueError, match=r"default\.txt"):
        tts_core.TTS(voices=tmp_path)
    (tmp_path / "default.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"default\.txt is empty"):
        tts_core.TTS(voices=tmp_path)
    (tmp_path / "default.txt").write_text("Hello.")
    for seconds in (0.5, 30):
        soundfile.write(tmp_path / "default.wav", np.zeros(int(24_000 * seconds)), 24_000)
        with pytest.raises(ValueError, match=rf"lasts {seconds:.1f} s; tiny takes references of 1.0 to 7.2 s"):
            tts_core.TTS(voices=tmp_path)
    (tmp_path / "default.wav").write_bytes(b"not a sound")
    with pytest.raises(ValueError, match=r"default\.wav cannot be read: "):
        tts_core.TTS(voices=tmp_path)


def test_lengths_rounded_up_change_nothing(tts: tts_core.TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, sampler, draw = 301, tts._sampler, torch.Generator().manual_seed(1)
    noise, tokens = torch.randn(frames, 100, generator=draw), torch.randint(1, 60, (frames - 5,), generator=draw)
    mels, waves = {}, {}
    for multiple in (1, 32, 128):
        monkeypatch.setattr(device, "FRAME_BUCKET", multiple)
        mels[multiple] = solved(sampler, tts.voices["default"].mel, tokens, noise, 7, 0.0)
        waves[multiple] = tts._vocoder.samples(mels[1])
    for multiple in (32, 128):
        assert (mels[multiple] - mels[1]).abs().max() < 0.2 and (mels[multiple] - mels[1]).abs().mean() < 0.01, multiple
        assert (waves[multiple] - waves[1]).abs().max() < 0.01 and waves[multiple].shape == waves[1].shape, multiple


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="page faults are glibc's habit")
def test_a_long_chunk_asks_the_system_for_no_memory_twice(tts: tts_core.TTS) -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        solved(
            tts._sampler, tts.voices["default"].mel, torch.ones(800, dtype=torch.int64), torch.zeros(900, 100), 3, 0.0
        )
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert min(faults() for _ in range(4)) < 2000


@pytest.mark.skipif(platform.system() != "Linux", reason="looks into /proc")
def test_no_weight_keeps_the_whole_file_mapped(tts: tts_core.TTS) -> None:
    said(tts, Speech("Hello.", seed=1))
    assert "model.safetensors" not in Path("/proc/self/maps").read_text()


def test_chinese_numbers_are_in_the_checkpoints_letters(tmp_path: Path) -> None:
    """They were read as English."""
    tts = tts_core.TTS(small_checkpoint(tmp_path / "chinese", vocab=" .,a零一二三四五年今天是月。"))
    plan = tts.plan(Speech("今天是2024年5月。"))
    assert ("".join(chunk.text for chunk in plan.chunks), plan.language) == ("今天是二零二四年五月。", "zh")
    assert tts.plan(Speech("今天是5月。", normalize=False)).chunks[0].text == "今天是5月。"
