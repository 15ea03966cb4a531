"""The kinds of vocoder: Vocos beside its authors' library, those with a source beside what is trained."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

import tts_core
from engine import source_filter, vocoder
from engine.mel import log_mel
from engine.vocoder import Vocoder
from engine.weights import ModelUnavailable
from speech import audio

CPU = torch.device("cpu")
SHAPE = dict(dim=64, intermediate_dim=96, num_layers=3)
EMBEDDED = tts_core.EMBEDDED_MODEL / "vocoder"


def saved(folder: Path, weights: dict[str, torch.Tensor], head: str) -> Path:
    """A vocoder's folder; in bf16 its products are those of half the digits."""
    config = yaml.safe_load((EMBEDDED / "config.yaml").read_text())
    config["backbone"]["init_args"] |= SHAPE
    config["head"] = {"class_path": head, "init_args": {"dim": SHAPE["dim"]}}
    if head == "vocos.heads.ISTFTHead":
        config["head"]["init_args"] |= {"n_fft": 1024, "hop_length": 256, "padding": "center"}
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def mel() -> torch.Tensor:
    return log_mel(torch.from_numpy(audio.read_mono(tts_core.VOICES / "default.wav")[0]))


@pytest.mark.filterwarnings("ignore")
def test_vocos_is_its_authors_library_on_the_same_folder(tmp_path: Path, mel: torch.Tensor) -> None:
    from f5_tts.infer.utils_infer import load_vocoder  # the loader that upstream users have
    from vocos.feature_extractors import MelSpectrogramFeatures
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone
    from vocos.pretrained import Vocos

    torch.manual_seed(1)
    whole = Vocos(MelSpectrogramFeatures(), VocosBackbone(100, **SHAPE), ISTFTHead(SHAPE["dim"], 1024, 256))
    folder = saved(tmp_path / "vocos", whole.state_dict(), "vocos.heads.ISTFTHead")
    library = load_vocoder(is_local=True, local_path=str(folder), device="cpu").float()
    with torch.inference_mode():
        mine, theirs = Vocoder(folder, CPU).samples(mel), library.decode(mel.T[None])[0]
    assert mine.shape == ((len(mel) - 1) * 256,)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_a_source_filter_is_the_network_that_was_trained(tmp_path: Path, mel: torch.Tensor) -> None:
    from train.vocoder import SourceFilter

    torch.manual_seed(1)
    trained = SourceFilter(**SHAPE)
    with torch.no_grad():
        trained.get_parameter("head.out.weight").mul_(10)  # as it begins it says nearly the same of every frame
    read = Vocoder(saved(tmp_path / "sf", trained.state_dict(), vocoder.SOURCE_FILTER_HEAD), CPU)
    with torch.inference_mode():
        theirs = source_filter.parts_of(trained(mel[None])[0], mel)
        mine = source_filter.parts_of(read.head(mel), mel)
        for part in ("harmonic", "angle", "rest", "pitch"):
            torch.testing.assert_close(getattr(mine, part), getattr(theirs, part), atol=1e-3, rtol=1e-3)
        assert read.samples(mel).shape == ((len(mel) - 1) * 256,) and bool(read.samples(mel).isfinite().all())


def test_embedded_vocoder_copies_its_teachers(mel: torch.Tensor) -> None:
    with torch.inference_mode():
        mine = Vocoder(EMBEDDED, CPU).samples(mel)
        quick = Vocoder(EMBEDDED, CPU, torch.bfloat16).samples(mel)
        off = [float((log_mel(made) - mel).abs().mean()) for made in (mine, quick)]
    assert max(off) < 0.6 and abs(off[0] - off[1]) < 0.02, f"log mels are off by {off}"


def test_same_mel_same_samples_however_many_threads(mel: torch.Tensor) -> None:
    threads = torch.get_num_threads()
    made = []
    try:
        for dtype in (torch.float32, torch.bfloat16):
            voiced = Vocoder(EMBEDDED, CPU, dtype)
            for count in (1, 2, 1):
                torch.set_num_threads(count)
                with torch.inference_mode():
                    made.append(voiced.samples(mel))
            assert torch.equal(made[-3], made[-2]) and torch.equal(made[-3], made[-1])
    finally:
        torch.set_num_threads(threads)


def test_chunks_of_every_length_and_pads_are_not_heard(mel: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    voiced = Vocoder(EMBEDDED, CPU)
    with torch.inference_mode():
        padded = {frames: voiced.samples(mel[:frames]) for frames in [2, 3, *range(15, 70, 9), 96, 97]}
        monkeypatch.setattr(vocoder, "round_up_frames", lambda frames: frames)
        for frames, made in padded.items():
            assert made.shape == ((frames - 1) * 256,) and bool(made.isfinite().all())
            torch.testing.assert_close(made, voiced.samples(mel[:frames]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("level", [-11.5, -5.0, 2.0])
def test_what_is_no_speech_stays_within_numbers(level: float) -> None:
    """Silence, noise and worse have no pitch: none is made up between frames that have none."""
    mel = torch.full((40, 100), level) + torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert bool(Vocoder(EMBEDDED, CPU).samples(mel).isfinite().all())
    unvoiced = torch.randn(40, source_filter.F0_BINS + 1)
    unvoiced[:, -1] = 9
    f0 = source_filter.contour(unvoiced)
    assert source_filter.F0_LOW <= f0[0] <= source_filter.F0_HIGH and bool((f0 == f0[0]).all())


def test_pulses_are_cosines_of_every_harmonic_in_phase_across_frames() -> None:
    f0 = torch.linspace(110, 240, 30)
    train = source_filter.pulses(f0, source_filter.phase_of(f0).float())
    # By hand: the pitch is a straight line between frames, its cycles the integral.
    share = torch.arange(256, dtype=torch.float64) / 256
    here, there = f0[:-1, None].double(), f0[1:, None].double()
    before = torch.nn.functional.pad(((here + there) / 2 * 256 / 24000).cumsum(0)[:-1], (0, 0, 1, 0))
    cycles = (before + (here * share + (there - here) * share**2 / 2) * 256 / 24000).flatten()
    count = (source_filter.TOP_HZ / (here + (there - here) * share).flatten()).floor()
    numbers = torch.arange(1, int(count.max()) + 1)[:, None]
    expected = (torch.cos(2 * torch.pi * numbers * cycles) * (numbers <= count)).sum(0)
    assert float((train - expected).square().mean().sqrt() / expected.square().mean().sqrt()) < 0.01


def test_a_head_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vocoder"
    shutil.copytree(EMBEDDED, folder)
    text = (folder / "config.yaml").read_text()
    for head, said in (
        ("vocos.heads.IMDCTCosHead", "class_path is .*there are"),
        ("vocos.heads.ISTFTHead", "asks for"),
    ):
        (folder / "config.yaml").write_text(text.replace(vocoder.SOURCE_FILTER_HEAD, head))
        with pytest.raises(ModelUnavailable, match=said):
            Vocoder(folder, CPU)
