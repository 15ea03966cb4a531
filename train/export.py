"""What was trained → models/tiny as server and upstream read it, and the reference voices.

Try: python -m train.export"""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from speech import audio
from train import corpus, durations, guide
from train.espeak import Espeak
from train.flow import ARCH
from train.vocoder import BACKBONE

REFERENCES = {
    "default": ("slt", "We walked home along the quiet river."),
    "rms": ("rms", "My brother painted the kitchen table."),
    "awb": ("awb", "A good friend showed us around the lake."),
    "an": ("an", "Chúng tôi cùng nhau đi bộ ra bờ sông."),
}
"""Voice → its teacher, and what it says: long enough to tell who speaks, short enough to cost little."""
LOUDNESS = 0.72
"""Of a reference, and so of the speech behind it, over RMS 0.1: at 1.0 the loudest phonemes passed full scale by a
tenth."""
MAX_SECONDS, STEPS = 12.0, 7


def model(build: Path, data: Path, out: Path, duration_steps: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    guided = (build / "guided.pt").exists()
    saved = torch.load(build / ("guided.pt" if guided else "flow.pt"), weights_only=False, map_location="cpu")
    # Upstream reads rope's frequencies from the file: rounded to fp16 they turn by 0.2 rad too much at 400 frames.
    weights = {
        k: v.contiguous() if "inv_freq" in k else v.half().contiguous()
        for k, v in saved["ema"].items()
        if "freqs_cis" not in k
    }
    save_file({f"ema_model.transformer.{k}": v for k, v in weights.items()}, out / "model.safetensors")
    (out / "vocab.txt").write_text("".join(f"{token}\n" for token in saved["vocab"]), encoding="utf-8")
    lengths, error = durations.train(data, saved["vocab"], duration_steps, seed=1)
    save_file(lengths, out / "durations.safetensors")
    steps, seconds = saved.get("taught_steps", saved["step"]), saved.get("taught_seconds", saved["elapsed"])
    print(f"flow: {steps} steps in {seconds / 60:.0f} min; durations off by {error:.1%}")
    config = {
        "model": {
            "name": "tiny",
            "tokenizer": "custom",
            "tokenizer_path": "vocab.txt",
            "backbone": "DiT",
            "arch": dict(ARCH),
            "mel_spec": {
                "target_sample_rate": audio.SAMPLE_RATE,
                "n_mel_channels": audio.MEL_BANDS,
                "hop_length": audio.HOP_SAMPLES,
                "win_length": audio.FFT_SAMPLES,
                "n_fft": audio.FFT_SAMPLES,
                "mel_spec_type": "vocos",
            },
            "vocoder": {"is_local": True, "local_path": "vocoder"},
        },
        "direct": {
            "tokenizer": "phoneme",
            "durations": "durations.safetensors",
            "max_seconds": MAX_SECONDS,
            "steps": STEPS,
            "cfg_strength": 0.0 if guided else guide.STRENGTH,
        },
    }
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def vocoder(build: Path, out: Path) -> None:
    """A folder that Vocos.from_hparams and load_state_dict take as it is."""
    from vocos.feature_extractors import MelSpectrogramFeatures

    out.mkdir(parents=True, exist_ok=True)
    saved = torch.load(build / "vocoder.pt", weights_only=False, map_location="cpu")
    mel = MelSpectrogramFeatures(
        audio.SAMPLE_RATE, audio.FFT_SAMPLES, audio.HOP_SAMPLES, audio.MEL_BANDS, padding="center"
    )
    state = saved["ema"] | {f"feature_extractor.{k}": v for k, v in mel.state_dict().items()}
    torch.save({k: v.half() for k, v in state.items()}, out / "pytorch_model.bin")
    stft = {"n_fft": audio.FFT_SAMPLES, "hop_length": audio.HOP_SAMPLES, "padding": "center"}
    config = {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
            "init_args": {"sample_rate": audio.SAMPLE_RATE, "n_mels": audio.MEL_BANDS, **stft},
        },
        "backbone": {"class_path": "vocos.models.VocosBackbone", "init_args": dict(BACKBONE)},
        "head": {"class_path": "vocos.heads.ISTFTHead", "init_args": {"dim": BACKBONE["dim"], **stft}},
    }
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    print(f"vocoder: {saved['step']} steps in {saved['elapsed'] / 60:.0f} min")


def voices(out: Path, programs: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    teachers = {t.name: t for t in corpus.TEACHERS}
    for name, (teacher, sentence) in REFERENCES.items():
        voice = teachers[teacher]
        spoken = (
            Espeak(voice.voice).say(sentence)
            if voice.program == "espeak"
            else corpus.flite(sentence, voice.voice, programs or Path("/"))
        )
        made = corpus.utterance(sentence, voice, spoken)
        if made is None:
            raise RuntimeError(f"{teacher} could not say its reference")
        corpus.write_wav(out / f"{name}.wav", (made.pcm * LOUDNESS).astype(np.int16))
        (out / f"{name}.txt").write_text(sentence + "\n", encoding="utf-8")
        print(f"voice {name}: {len(made.pcm) / audio.SAMPLE_RATE:.2f} s")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=Path("build/voice"))
    options.add_argument("--model", type=Path, default=Path("models/tiny"))
    options.add_argument("--voices", type=Path, default=Path("voices"))
    options.add_argument("--programs", type=Path)
    chosen = options.parse_args()
    model(chosen.build, chosen.build / "corpus", chosen.model, duration_steps=1500)
    vocoder(chosen.build, chosen.model / "vocoder")
    voices(chosen.voices, chosen.programs)
