"""A checkpoint's config.yaml, checked: upstream's schema, and `direct:` for what upstream has no word for.

What is not known is refused, because a key with a typing error would otherwise speak gibberish without a word.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from engine.arch import HEAD_DIM, POSITION_GROUPS, Arch
from engine.weights import ModelUnavailable
from speech.audio import FFT_SAMPLES, HOP_SAMPLES, MEL_BANDS, SAMPLE_RATE

TOKENIZERS = "pinyin", "char", "phoneme"
READERS = ("kokoro-vi",)
"""What turns text into the phonemes of a vocabulary: English in Kokoro's letters, Vietnamese in espeak's."""
Rule = tuple[type, float, float]

ARCH_RANGES: dict[str, Rule] = {
    "dim": (int, HEAD_DIM, 16_384),
    "depth": (int, 1, 256),
    "heads": (int, 1, 256),
    "ff_mult": (int, 1, 64),
    "text_dim": (int, 2, 16_384),
    "conv_layers": (int, 0, 64),
    "text_mask_padding": (bool, 0, 1),
    "text_embedding_average_upsampling": (bool, 0, 1),
    "pe_attn_head": (int, 1, 256),
}
TRAINING_ONLY = "dropout", "checkpoint_activations", "attn_mask_enabled", "attn_backend"
"""Upstream's keys that change nothing of what one text's inference computes."""
FIXED: dict[str, tuple[object, ...]] = {
    "dim_head": (HEAD_DIM,),
    "mel_dim": (MEL_BANDS,),
    "long_skip_connection": (False, None),
}
"""Upstream's keys of which only one value is spoken here."""
MEL: dict[str, object] = {
    "target_sample_rate": SAMPLE_RATE,
    "n_mel_channels": MEL_BANDS,
    "hop_length": HOP_SAMPLES,
    "win_length": FFT_SAMPLES,
    "n_fft": FFT_SAMPLES,
    "mel_spec_type": "vocos",
}
MODEL_KEYS = "name", "tokenizer", "tokenizer_path", "backbone", "arch", "mel_spec", "vocoder"
DIRECT_RANGES: dict[str, Rule] = {
    "max_seconds": (float, 2, 3600),
    "steps": (int, 1, 64),
    "cfg_strength": (float, 0, 10),
    "temperature": (float, 0, 2),
}


@dataclass(frozen=True, slots=True)
class Config:
    name: str
    arch: Arch
    tokenizer: str
    durations: str | None
    """The file of the phoneme tokenizer's predictor."""
    settings: dict[str, Any]
    """max_seconds, steps, cfg_strength, temperature, as far as they are told."""


def read_config(file: Path) -> Config:
    """Raises ModelUnavailable with one sentence that names the key."""
    try:
        whole = yaml.safe_load(file.read_bytes())  # bytes: YAML tells its encoding itself
    except (yaml.YAMLError, UnicodeError) as error:
        raise ModelUnavailable(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    model = _section(_mapping(whole, f"{file}"), "model", file)
    _refuse_unknown(f"{file}: model", model, MODEL_KEYS)
    if model.get("backbone") != "DiT":
        raise ModelUnavailable(f"{file}: the backbone is {model.get('backbone')}; only F5's DiT is spoken here")
    mel = _mapping(model.get("mel_spec") or {}, f"{file}: mel_spec")
    _refuse_unknown(f"{file}: mel_spec", mel, tuple(MEL))
    for key, value in mel.items():
        if value != MEL[key]:
            raise ModelUnavailable(f"{file}: mel_spec.{key} is {value!r}; only {MEL[key]!r} is spoken here")
    direct = _mapping(whole.get("direct") or {}, f"{file}: direct")
    _refuse_unknown(f"{file}: direct", direct, ("tokenizer", "reader", "durations", *DIRECT_RANGES))
    for key in direct.keys() & DIRECT_RANGES:
        _check_range(f"{file}: direct.{key}", direct[key], DIRECT_RANGES[key])
    return Config(
        name=str(model.get("name") or file.parent.name),
        arch=_arch(_section(model, "arch", file), file),
        tokenizer=_tokenizer(model, direct, file),
        durations=direct.get("durations"),
        settings={key: direct[key] for key in DIRECT_RANGES if key in direct},
    )


def _arch(given: dict[str, Any], file: Path) -> Arch:
    own = [field.name for field in fields(Arch)]
    _refuse_unknown(f"{file}: arch", given, (*own, *TRAINING_ONLY, *FIXED))
    for key in ("dim", "depth", "heads", "ff_mult", "text_dim", "conv_layers"):
        if key not in given:
            raise ModelUnavailable(f"{file}: arch.{key} is missing")
    for key, value in given.items():
        if key in FIXED and value not in FIXED[key]:
            raise ModelUnavailable(f"{file}: arch.{key} is {value!r}; only {FIXED[key][0]!r} is spoken here")
        if key in ARCH_RANGES and not (key == "pe_attn_head" and value is None):
            _check_range(f"{file}: arch.{key}", value, ARCH_RANGES[key])
    if given.get("qk_norm") not in (None, "rms_norm"):
        raise ModelUnavailable(f"{file}: arch.qk_norm is {given['qk_norm']!r}; there are null and rms_norm")
    arch = Arch(**{key: given[key] for key in own if key in given})
    if arch.dim % POSITION_GROUPS or arch.text_dim % 2:
        raise ModelUnavailable(f"{file}: arch.dim must be a multiple of {POSITION_GROUPS}, arch.text_dim of 2")
    if arch.text_embedding_average_upsampling and not arch.text_mask_padding:
        raise ModelUnavailable(f"{file}: arch.text_embedding_average_upsampling needs text_mask_padding: true")
    return arch


def _tokenizer(model: dict[str, Any], direct: dict[str, Any], file: Path) -> str:
    """`direct.tokenizer`, else upstream's; its `custom` names a vocabulary, which inference there reads as pinyin."""
    key, chosen = "direct.tokenizer", direct.get("tokenizer")
    if chosen is None:
        key, chosen = "model.tokenizer", model.get("tokenizer", "pinyin")
        chosen = "pinyin" if chosen == "custom" else chosen
    if chosen not in TOKENIZERS:
        raise ModelUnavailable(f"{file}: {key} is {chosen!r}; there are {', '.join(TOKENIZERS)}")
    durations = direct.get("durations")
    if durations is not None and not isinstance(durations, str):
        raise ModelUnavailable(f"{file}: direct.durations must name a file, and is {durations!r}")
    if chosen == "phoneme" and durations is None:
        raise ModelUnavailable(f"{file}: direct.durations is missing: the phoneme tokenizer needs a file of durations")
    if chosen != "phoneme" and durations is not None:
        raise ModelUnavailable(f"{file}: direct.durations belongs to the phoneme tokenizer, and {key} is {chosen!r}")
    if chosen == "phoneme" and direct.get("reader") not in READERS:
        raise ModelUnavailable(
            f"{file}: direct.reader is {direct.get('reader')!r}; the phoneme tokenizer reads as {' or '.join(READERS)}"
        )
    if chosen != "phoneme" and "reader" in direct:
        raise ModelUnavailable(f"{file}: direct.reader belongs to the phoneme tokenizer, and {key} is {chosen!r}")
    return str(chosen)


def _section(parent: dict[str, Any], key: str, file: Path) -> dict[str, Any]:
    if key not in parent:
        raise ModelUnavailable(f"{file}: {key} is missing; it is not a model description upstream would read")
    return _mapping(parent[key], f"{file}: {key}")


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelUnavailable(f"{what} must hold keys with values, as upstream's configs do")
    return value


def _refuse_unknown(what: str, given: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = next((key for key in given if key not in known), None)
    if unknown is not None:
        raise ModelUnavailable(f"{what} has the unknown key {unknown!r}; there are: {', '.join(known)}")


def _check_range(what: str, value: object, rule: Rule) -> None:
    kind, low, high = rule
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    # bool is an int to Python, and true is no depth.
    fits = isinstance(value, bool) if kind is bool else isinstance(value, int | kind) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # type: ignore[operator]
        scope = "" if kind is bool else f" from {low:g} to {high:g}"
        raise ModelUnavailable(f"{what} must be {names[kind]}{scope}, and is {value!r}")
