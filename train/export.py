"""What was trained → the model's folder as server and upstream read it, and the reference voices.   Try: python -m
train.export"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from safetensors.torch import save_file

from speech import audio
from train import corpus, durations, flow, kokoro, reader, references, speakers, vietnamese
from train.engine_vocoder import SOURCE_FILTER_HEAD
from train.espeak import Espeak

REFERENCES = {
    "default": ("hibari", "We walked home along the quiet river."),
    "bella": ("af_bella", "She put the letter on the kitchen table."),
    "michael": ("am_michael", "My brother painted the garden gate blue."),
    "fenrir": ("am_fenrir", "A good friend showed us around the lake."),
    "an": ("espeak", "Ngày mai cả nhà sẽ đến thăm cụ ở quê ngoại."),
}
"""Voice → its teacher, and what it says: long enough to tell who speaks, short enough to cost little."""
LOUDNESS = 0.72
"""Of a reference, and so of the speech behind it, over RMS 0.1: at 1.0 the loudest phonemes passed full scale by a
tenth."""
MAX_SECONDS = 12.0
STEPS, GUIDANCE, TEMPERATURE = 4, 0.0, 0.5
"""Fewer steps are heard, guidance costs as much again and is worth 0.1 of Distill-MOS; what the temperature is
worth, train/README.md says."""


def half(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """fp16 but for rope's frequencies: upstream reads them from the file, and rounded they turn by 0.2 rad too
    much at 400 frames."""
    return {
        k: v.contiguous() if "inv_freq" in k else v.half().contiguous()
        for k, v in weights.items()
        if "freqs_cis" not in k
    }


def best(path: Path) -> Path:
    """The best checkpoint that was watched, where one was: the last may have lost what it had learned."""
    watched = path.with_suffix(".best.pt")
    return watched if watched.exists() else path


def model(build: Path, data: Path, out: Path, duration_steps: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    saved = torch.load(best(build / "flow.pt"), weights_only=False, map_location="cpu")
    save_file({f"ema_model.transformer.{k}": v for k, v in half(saved["ema"]).items()}, out / "model.safetensors")
    (out / "vocab.txt").write_text("".join(f"{token}\n" for token in reader.VOCABULARY), encoding="utf-8")
    if not (build / "durations.safetensors").exists():
        durations.write(data, build / "durations.safetensors", duration_steps)
    (out / "durations.safetensors").write_bytes((build / "durations.safetensors").read_bytes())
    print(f"flow: {saved['step']} steps in {saved['elapsed'] / 60:.0f} min")
    config = {
        "model": {
            "name": "tiny",
            "tokenizer": "custom",
            "tokenizer_path": "vocab.txt",
            "backbone": "DiT",
            "arch": dict(flow.ARCH),
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
            "reader": "kokoro-vi",
            "durations": "durations.safetensors",
            "max_seconds": MAX_SECONDS,
            "steps": STEPS,
            "cfg_strength": GUIDANCE,
            "temperature": TEMPERATURE,
        },
    }
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def vocoder(build: Path, out: Path) -> None:
    """The layout of a Vocos folder; the head's class says that it is of another kind."""
    out.mkdir(parents=True, exist_ok=True)
    saved = torch.load(build / "vocoder.pt", weights_only=False, map_location="cpu")
    torch.save({k: v.half() for k, v in saved["ema"].items()}, out / "pytorch_model.bin")
    config = {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
            "init_args": {
                "sample_rate": audio.SAMPLE_RATE,
                "n_mels": audio.MEL_BANDS,
                "n_fft": audio.FFT_SAMPLES,
                "hop_length": audio.HOP_SAMPLES,
                "padding": "center",
            },
        },
        "backbone": {
            "class_path": "vocos.models.VocosBackbone",
            "init_args": {"input_channels": audio.MEL_BANDS, **saved["shape"]},
        },
        "head": {
            "class_path": SOURCE_FILTER_HEAD,
            "init_args": {"dim": saved["shape"]["dim"]},
        },
    }
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    print(f"vocoder: {saved['step']} steps in {saved['elapsed'] / 60:.0f} min")


def reference(teacher: str, sentence: str) -> corpus.Utterance:
    """What the teacher says, cut as in training."""
    if teacher == "espeak":
        made = vietnamese.cut(
            sentence, teacher, Espeak(references.VIETNAMESE_VOICE).say(sentence), reader.vietnamese(sentence)
        )
    else:
        from hibari.g2p import G2P

        phonemes = G2P()(sentence)
        if teacher == "hibari":
            said = kokoro.Hibari().say(phonemes)
        else:
            said = kokoro.Kokoro().say(phonemes, speakers.single(teacher).style(kokoro.styles()))
        made = corpus.cut(sentence, teacher, said)
    if made is None:
        raise RuntimeError(f"{teacher} could not say its reference")
    return made


def voices(out: Path, names: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        teacher, sentence = REFERENCES[name]
        pcm = (reference(teacher, sentence).pcm * LOUDNESS).astype(np.int16)
        soundfile.write(out / f"{name}.wav", pcm, audio.SAMPLE_RATE, subtype="PCM_16")
        (out / f"{name}.txt").write_text(sentence + "\n", encoding="utf-8")
        print(f"voice {name}: {len(pcm) / audio.SAMPLE_RATE:.2f} s")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=Path("build/voice"))
    options.add_argument("--model", type=Path, default=Path("models/tiny"))
    options.add_argument("--voices", type=Path, default=Path("voices"))
    options.add_argument("--only", choices=["model", "vocoder", "voices"])
    chosen = options.parse_args()
    if chosen.only in (None, "model"):
        model(chosen.build, chosen.build / "corpus", chosen.model, duration_steps=durations.STEPS)
    if chosen.only in (None, "vocoder"):
        vocoder(chosen.build, chosen.model / "vocoder")
    if chosen.only in (None, "voices"):
        voices(chosen.voices, list(REFERENCES))
