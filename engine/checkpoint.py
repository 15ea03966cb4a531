"""A checkpoint is a folder or a preset's name; here it becomes weights and the facts that go with them.

config.yaml          upstream's schema; `direct:` adds what upstream has no word for (see Checkpoint)
model.safetensors    or .pt; keys ema_model.transformer.…
vocab.txt            one token per line, the unknown one (a space) first
vocoder/             a Vocos checkpoint
durations.safetensors   with the phoneme tokenizer only
"""

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
import yaml
from safetensors import safe_open

from engine.sampler import Arch, Wanted


class ModelUnavailable(Exception):
    """The checkpoint cannot be loaded; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    name: str
    arch: Arch
    weights: Path
    """For read_weights, as often as needed: what is read is not kept."""
    vocab: list[str]
    vocoder: Path
    tokenizer: str = "pinyin"
    """pinyin, char or phoneme: a property of the checkpoint, not of the language."""
    durations: Path | None = None
    max_seconds: float = 22.0
    """Reference and speech of one chunk together: what the model was trained to attend over."""
    steps: int = 7
    cfg_strength: float = 2.0


@dataclass(frozen=True, slots=True)
class Preset:
    repo: str
    weights: str
    vocab: str
    arch: Arch


_V1 = Arch(dim=1024, depth=22, heads=16, ff_mult=2, text_dim=512, conv_layers=4)
_V0 = replace(_V1, text_mask_padding=False, pe_attn_head=1)
PRESETS = {
    "F5TTS_v1_Base": Preset("SWivid/F5-TTS", "F5TTS_v1_Base/model_1250000.safetensors", "F5TTS_v1_Base/vocab.txt", _V1),
    "F5TTS_Base": Preset("SWivid/F5-TTS", "F5TTS_Base/model_1200000.safetensors", "F5TTS_Base/vocab.txt", _V0),
    # This repository ships its vocabulary under the name config.json.
    "vi": Preset("hynt/F5-TTS-Vietnamese-ViVoice", "model_last.pt", "config.json", _V0),
}
VOCODER_REPO, VOCODER_FILES = "charactr/vocos-mel-24khz", ("config.yaml", "pytorch_model.bin")


def load(name: str) -> Checkpoint:
    """`name`: a folder, or one of PRESETS. Raises ModelUnavailable."""
    if name in PRESETS:
        return _preset(name, PRESETS[name])
    folder = Path(name)
    if not (folder / "config.yaml").is_file():
        raise ModelUnavailable(
            f"TTS_MODEL={name} is neither a folder with a config.yaml nor one of: {', '.join(PRESETS)}"
        )
    try:
        return _folder(folder)
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise ModelUnavailable(
            f"{folder}/config.yaml is not a model description upstream would read: {error!r}"
        ) from None


def _folder(folder: Path) -> Checkpoint:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    model, extra = config["model"], config.get("direct", {})
    if model["backbone"] != "DiT":
        raise ModelUnavailable(f"{folder} has the backbone {model['backbone']}; only F5's DiT is spoken here")
    known = {f.name for f in fields(Arch)}
    arch = Arch(**{k: v for k, v in model["arch"].items() if k in known})
    weights = next(
        (p for p in (folder / "model.safetensors", folder / "model.pt") if p.exists()), folder / "model.safetensors"
    )
    durations = folder / extra["durations"] if "durations" in extra else None
    for part in (
        weights,
        folder / "vocab.txt",
        *(folder / "vocoder" / name for name in VOCODER_FILES),
        *([durations] if durations else []),
    ):
        if not part.is_file():
            raise ModelUnavailable(f"{folder} is not complete: {part.relative_to(folder)} is missing")
    return _check_vocab_size(
        Checkpoint(
            model["name"],
            arch,
            weights,
            read_vocab(folder / "vocab.txt"),
            folder / "vocoder",
            durations=durations,
            **{k: extra[k] for k in ("tokenizer", "max_seconds", "steps", "cfg_strength") if k in extra},
        )
    )


def _preset(name: str, preset: Preset) -> Checkpoint:
    weights, vocab = fetch(preset.repo, preset.weights), fetch(preset.repo, preset.vocab)
    vocoder, _ = (fetch(VOCODER_REPO, file).parent for file in VOCODER_FILES)
    return _check_vocab_size(Checkpoint(name, preset.arch, weights, read_vocab(vocab), vocoder))


def fetch(repo: str, file: str) -> Path:
    """The file from the Hugging Face hub or its local cache, with a progress bar. Raises ModelUnavailable."""
    import httpx
    from huggingface_hub import (
        hf_hub_download,
        try_to_load_from_cache,
    )  # here: 0.4 s that the embedded model does not need
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not isinstance(try_to_load_from_cache(repo, file), str):
        print(
            f"fetching {file} of {repo} …", file=sys.stderr, flush=True
        )  # the hub's own bar is silent where there is no terminal
    try:
        return Path(hf_hub_download(repo, file))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelUnavailable(
            f"cannot fetch {file} of {repo}: {reason} Without network, put the files in a folder and name it in TTS_MODEL."
        ) from None


def read_weights(path: Path, wanted: Wanted = lambda name: True) -> dict[str, torch.Tensor]:
    """The wanted tensors of the transformer, under upstream's names without `ema_model.transformer.`; fp16 or fp32 as stored.

    Mapped from the file: what is not touched is not read."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(key) for key in file.keys() if (name := _name(key)) and wanted(name)}  # noqa: SIM118
    stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    stored = stored.get("ema_model_state_dict", stored.get("model_state_dict", stored))
    return {name: tensor for key, tensor in stored.items() if (name := _name(key)) and wanted(name)}


def _name(key: str) -> str | None:
    key = key.removeprefix("ema_model.")
    return key.removeprefix("transformer.") if key.startswith("transformer.") else None


def read_vocab(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _check_vocab_size(checkpoint: Checkpoint) -> Checkpoint:
    embedding = "text_embed.text_embed.weight"
    rows = (
        len(read_weights(checkpoint.weights, lambda name: name == embedding)[embedding]) - 1
    )  # the first row is the filler
    if rows != len(checkpoint.vocab):
        raise ModelUnavailable(
            f"{checkpoint.name}: the vocabulary has {len(checkpoint.vocab)} tokens and the weights {rows}; they are not of one training run"
        )
    return checkpoint
