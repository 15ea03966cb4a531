"""A checkpoint is a folder or a preset's name; here it becomes weights and the facts that go with them.

config.yaml          upstream's schema; `direct:` adds what upstream has no word for (see Checkpoint)
model.safetensors    or .pt; keys ema_model.transformer.…
vocab.txt            one token per line, the unknown one (a space) first
vocoder/             a Vocos checkpoint
durations.safetensors   with the phoneme tokenizer only

Each is checked before it is read: what does not fit is one sentence that names the file and the key.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.arch import Arch, expected_shapes
from engine.config import read_config
from engine.weights import ModelUnavailable, Shape, Wanted, check_tensors, read_shapes, read_tensors
from speech.text import utf8_text


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
    temperature: float = 1.0
    """Standard deviation of the noise that a speech begins from: less is nearer to the mean of all readings (Grad-TTS,
    arXiv 2105.06337), which a small model hits more surely than any single one."""


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
TEXT_EMBEDDING = "text_embed.text_embed.weight"
UNREAD = {"rotary_embed.inv_freq"}
"""Of the transformer, and computed here."""
NOT_OF_THE_MODEL = "initted", "step", "mel_spec."
"""What an averaging trainer and older versions of upstream keep beside the transformer."""
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
    return _folder(folder)


def _folder(folder: Path) -> Checkpoint:
    config = read_config(folder / "config.yaml")
    weights = next(
        (p for p in (folder / "model.safetensors", folder / "model.pt") if p.exists()), folder / "model.safetensors"
    )
    durations = folder / config.durations if config.durations else None
    vocoder = (folder / "vocoder" / name for name in VOCODER_FILES)
    for part in (weights, folder / "vocab.txt", *vocoder, *([durations] if durations else [])):
        if not part.is_file():
            raise ModelUnavailable(f"{folder} is not complete: {part.relative_to(folder)} is missing")
    return _check_weights(
        Checkpoint(
            config.name,
            config.arch,
            weights,
            read_vocab(folder / "vocab.txt"),
            folder / "vocoder",
            tokenizer=config.tokenizer,
            durations=durations,
            **config.settings,
        )
    )


def _preset(name: str, preset: Preset) -> Checkpoint:
    weights, vocab = fetch(preset.repo, preset.weights), fetch(preset.repo, preset.vocab)
    vocoder, _ = (fetch(VOCODER_REPO, file).parent for file in VOCODER_FILES)
    return _check_weights(Checkpoint(name, preset.arch, weights, read_vocab(vocab), vocoder))


def fetch(repo: str, file: str) -> Path:
    """The file from the Hugging Face hub or its local cache, with a progress bar. Raises ModelUnavailable."""
    import httpx
    from huggingface_hub import hf_hub_download, try_to_load_from_cache  # here: 0.4 s that the embedded model spares
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not isinstance(try_to_load_from_cache(repo, file), str):
        # The hub's own bar is silent where there is no terminal.
        print(f"fetching {file} of {repo} …", file=sys.stderr, flush=True)
    try:
        return Path(hf_hub_download(repo, file))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelUnavailable(
            f"cannot fetch {file} of {repo}: {reason} "
            "Without network, put the files in a folder and name it in TTS_MODEL."
        ) from None


def read_weights(path: Path, wanted: Wanted = lambda name: True) -> dict[str, torch.Tensor]:
    """The wanted tensors of the transformer, under upstream's names without `ema_model.transformer.`; as stored.

    Mapped from the file: what is not touched is not read. Raises ModelUnavailable."""
    tensors = read_tensors(path, lambda key: bool((name := _name(key)) and wanted(name)))
    return {str(_name(key)): tensor for key, tensor in tensors.items()}


def _name(key: str) -> str | None:
    key = key.removeprefix("ema_model.")
    return key.removeprefix("transformer.") if key.startswith("transformer.") else None


def read_vocab(path: Path) -> list[str]:
    return read_utf8(path).removesuffix("\n").split("\n")


def read_utf8(path: Path) -> str:
    """A text file. Raises ModelUnavailable where it is in another encoding."""
    try:
        return utf8_text(path.read_bytes())
    except ValueError:
        raise ModelUnavailable(f"{path} is not in UTF-8; save it in that encoding") from None


def _check_weights(checkpoint: Checkpoint) -> Checkpoint:
    """Raises ModelUnavailable unless the weights are exactly those of this arch and vocabulary."""
    found: dict[str, Shape] = {}
    for key, shape in read_shapes(checkpoint.weights).items():
        name = _name(key)
        if name not in UNREAD and not key.removeprefix("ema_model.").startswith(NOT_OF_THE_MODEL):
            found[name or key] = shape
    _check_vocab_size(checkpoint, found.get(TEXT_EMBEDDING))
    expected = expected_shapes(checkpoint.arch, len(checkpoint.vocab))
    check_tensors(str(checkpoint.weights), expected, found, "arch")
    return checkpoint


def _check_vocab_size(checkpoint: Checkpoint, embedding: Shape | None) -> None:
    rows = embedding[0] - 1 if embedding else len(checkpoint.vocab)  # the first row is the filler
    if rows != len(checkpoint.vocab):
        raise ModelUnavailable(
            f"{checkpoint.name}: the vocabulary has {len(checkpoint.vocab)} tokens and the weights {rows}; "
            "they are not of one training run"
        )
