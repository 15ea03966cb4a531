"""Folders and presets: what loads, what is refused in one sentence; fetching from a hub that answers as the real."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, small_checkpoint
from safetensors.torch import load_file, save_file

import tts_core
from engine import checkpoint
from engine.weights import ModelUnavailable


def test_pt_and_safetensors_hold_the_same(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path / "a")
    stored = load_file(folder / "model.safetensors")
    torch.save(
        {"ema_model_state_dict": stored | {"ema_model.initted": torch.tensor(True), "ema_model.step": torch.tensor(9)}},
        folder / "model.pt",
    )
    first = checkpoint.read_weights(checkpoint.load(str(folder)).weights)
    (folder / "model.safetensors").unlink()
    second = checkpoint.read_weights(checkpoint.load(str(folder)).weights)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("missing", ["model.safetensors", "vocab.txt", "vocoder/config.yaml"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = small_checkpoint(tmp_path / "a")
    (folder / missing).unlink()
    with pytest.raises(ModelUnavailable, match=missing):
        tts_core.TTS(folder)


def test_a_vocabulary_that_does_not_fit_names_both_sizes(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path / "a")
    (folder / "vocab.txt").write_text(" \na\nb\n")
    with pytest.raises(ModelUnavailable, match="has 3 tokens and the weights 68"):
        checkpoint.load(str(folder))


def test_other_backbones_and_broken_configs_are_refused(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path / "a")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"model": config["model"] | {"backbone": "UNetT"}}))
    with pytest.raises(ModelUnavailable, match="UNetT"):
        checkpoint.load(str(folder))
    (folder / "config.yaml").write_text("model: [1, 2")
    with pytest.raises(ModelUnavailable, match=r"config\.yaml"):
        checkpoint.load(str(folder))
    with pytest.raises(ModelUnavailable, match="F5TTS_v1_Base"):
        checkpoint.load("no-such-thing")


def rewrite(folder: Path, **changes: object) -> None:
    """Keys of config.yaml, as `arch__depth=9`; None takes one away."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[key]
        else:
            place[key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


PHONEME: dict[str, object] = {"direct__tokenizer": "phoneme", "direct__durations": "durations.safetensors"}


@pytest.mark.parametrize(
    "changes,sentence",
    [
        ({"model__arch__dpeth": 3}, r"config\.yaml: arch has the unknown key 'dpeth'; there are: dim, depth, heads"),
        ({"direct__max_second": 9}, r"direct has the unknown key 'max_second'; there are: .*max_seconds"),
        ({"model__mel_spec": {"hop": 256}}, r"mel_spec has the unknown key 'hop'; there are: .*hop_length"),
        ({"model__archs": {}}, r"model has the unknown key 'archs'; there are: name, "),
        ({"direct__tokenizer": "letters"}, r"direct\.tokenizer is 'letters'; there are pinyin, char, phoneme"),
        ({"direct__tokenizer": "phoneme"}, r"direct\.durations is missing"),
        ({"direct__durations": "durations.safetensors"}, r"direct\.durations belongs to the phoneme tokenizer"),
        (PHONEME, r"direct\.reader is None; the phoneme tokenizer reads as kokoro-vi"),
        (
            PHONEME | {"direct__reader": "espeak"},
            r"direct\.reader is 'espeak'; the phoneme tokenizer reads as kokoro-vi",
        ),
        ({"direct__reader": "kokoro-vi"}, r"direct\.reader belongs to the phoneme tokenizer"),
        ({"direct__tokenizer": None, "model__tokenizer": "byte"}, r"model\.tokenizer is 'byte'; there are pinyin"),
        ({"direct__max_seconds": "twelve"}, r"direct\.max_seconds must be a number from 2 to 3600, and is 'twelve'"),
        ({"direct__steps": 7.5}, r"direct\.steps must be a whole number from 1 to 64, and is 7\.5"),
        ({"direct__cfg_strength": -1}, r"direct\.cfg_strength must be a number from 0 to 10, and is -1"),
        ({"direct__temperature": 3}, r"direct\.temperature must be a number from 0 to 2, and is 3"),
        ({"model__arch__depth": True}, r"arch\.depth must be a whole number from 1 to 256, and is True"),
        (
            {"model__arch__depth": 9},
            r"model\.safetensors lacks transformer_blocks\.1\.attn.* more, which arch asks for",
        ),
        ({"model__arch__conv_layers": 0}, r"has text_embed\.text_blocks\.0\..* more, which nothing reads"),
        ({"model__arch__ff_mult": 2}, r"has transformer_blocks\.0\.ff.* of \(64,.*, and arch asks for \(128"),
        ({"model__arch__text_mask_padding": "yes"}, r"arch\.text_mask_padding must be true or false, and is 'yes'"),
        ({"model__arch__text_dim": None}, r"arch\.text_dim is missing"),
        ({"model__arch__qk_norm": "layer"}, r"arch\.qk_norm is 'layer'; there are null and rms_norm"),
        ({"model__arch__long_skip_connection": True}, r"arch\.long_skip_connection is True; only False is spoken here"),
        ({"model__mel_spec": {"mel_spec_type": "bigvgan"}}, r"mel_spec_type is 'bigvgan'; only 'vocos' is spoken here"),
        ({"model__arch": [1, 2]}, r"arch must hold keys with values"),
    ],
)
def test_a_config_that_is_not_understood_is_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    """A typing error was speech of a model that nobody trained, without a word."""
    folder = small_checkpoint(tmp_path / "a")
    rewrite(folder, **changes)
    with pytest.raises(ModelUnavailable, match=sentence) as refused:
        tts_core.TTS(folder)
    assert "\n" not in str(refused.value)


def test_weights_that_nothing_reads_are_named(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path / "a")
    stored = load_file(folder / "model.safetensors")
    save_file(
        stored | {"ema_model.transformer.long_skip_connection.weight": torch.ones(2)}, folder / "model.safetensors"
    )
    with pytest.raises(ModelUnavailable, match=r"has long_skip_connection\.weight, which nothing reads"):
        checkpoint.load(str(folder))
    save_file(stored, folder / "model.safetensors")
    vocoder = folder / "vocoder" / "pytorch_model.bin"
    torch.save(torch.load(vocoder) | {"backbone.convnext.6.gamma": torch.ones(256)}, vocoder)
    with pytest.raises(
        ModelUnavailable, match=r"pytorch_model\.bin has backbone\.convnext\.6\.gamma, which nothing reads"
    ):
        tts_core.TTS(folder)


def test_what_upstreams_own_configs_say_is_understood(tmp_path: Path) -> None:
    """Every model that upstream describes; keys that change nothing of inference are taken as they are."""
    from importlib.resources import files

    from engine.config import read_config

    seen = 0
    for config in files("f5_tts").joinpath("configs").iterdir():
        text = config.read_text()
        if config.name.endswith(".yaml") and "backbone: DiT" in text:
            (tmp_path / "config.yaml").write_text(text)
            described = read_config(tmp_path / "config.yaml")
            assert described.tokenizer == yaml.safe_load(text)["model"]["tokenizer"], config.name
            assert described.arch.pe_attn_head == yaml.safe_load(text)["model"]["arch"]["pe_attn_head"]
            seen += 1
    assert seen >= 4
    folder = small_checkpoint(tmp_path / "a")
    rewrite(
        folder,
        model__arch__dropout=0.1,
        model__arch__checkpoint_activations=True,
        model__arch__long_skip_connection=False,
    )
    assert checkpoint.load(str(folder)).arch == checkpoint.load(str(small_checkpoint(tmp_path / "b"))).arch


def _halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _utf16(file: Path) -> None:
    file.write_text(file.read_text(), encoding="utf-16")


def _utf16_without_mark(file: Path) -> None:
    file.write_text("Hello there.\n", encoding="utf-16-le")


@pytest.mark.parametrize(
    "name,damage,sentence",
    [
        (
            "model.safetensors",
            _halve,
            r"model\.safetensors cannot be read; it is damaged, cut short or of another kind",
        ),
        ("vocoder/pytorch_model.bin", _halve, r"pytorch_model\.bin cannot be read; it is damaged, cut short"),
        ("vocoder/config.yaml", _halve, r"vocoder/config\.yaml does not describe a Vocos vocoder"),
        ("vocab.txt", _utf16, r"vocab\.txt is not in UTF-8"),
        ("voices/default.txt", _utf16, r"voices/default\.txt is not in UTF-8"),
        ("voices/default.txt", _utf16_without_mark, r"voices/default\.txt is not in UTF-8"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: Callable[[Path], None], sentence: str) -> None:
    folder = small_checkpoint(tmp_path / "a")
    shutil.copytree(tts_core.VOICES, folder / "voices")
    damage(folder / name)
    with pytest.raises((ModelUnavailable, ValueError), match=sentence) as refused:
        tts_core.TTS(folder, folder / "voices")
    assert "\n" not in str(refused.value)


def test_durations_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tts_core.EMBEDDED_MODEL, folder)
    durations = load_file(folder / "durations.safetensors")
    save_file(durations | {"embed": durations["embed"][:-1].clone()}, folder / "durations.safetensors")
    with pytest.raises(ModelUnavailable, match=r"durations\.safetensors knows \d+ tokens, and the vocabulary has \d+"):
        tts_core.TTS(folder)


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that hf_hub_download speaks: HEAD and GET of /repo/resolve/main/file."""

    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        body = self.files.get(self.path.replace("/resolve/main/", "/").lstrip("/"))
        self.send_response(200 if body is not None else 404)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body:
            self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A small checkpoint under the Vietnamese preset's names (vocabulary called config.json), and its vocoder."""
    folder = small_checkpoint(tmp_path / "source", text_mask_padding=False, pe_attn_head=1)
    preset = checkpoint.PRESETS["vi"]
    pt = folder / "model.pt"
    torch.save({"ema_model_state_dict": load_file(folder / "model.safetensors")}, pt)
    Hub.files = {
        f"{preset.repo}/{preset.weights}": pt.read_bytes(),
        f"{preset.repo}/{preset.vocab}": (folder / "vocab.txt").read_bytes(),
        **{
            f"{checkpoint.VOCODER_REPO}/{name}": (folder / "vocoder" / name).read_bytes()
            for name in checkpoint.VOCODER_FILES
        },
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SPEAK_WITH_PRESET = """
from dataclasses import replace
from engine import checkpoint
from engine.weights import ModelUnavailable
import tts_core
from engine.arch import Arch
small = Arch(dim=64, depth=1, heads=1, ff_mult=1, text_dim=32, conv_layers=1, text_mask_padding=False, pe_attn_head=1)
checkpoint.PRESETS["vi"] = replace(checkpoint.PRESETS["vi"], arch=small)
tts = tts_core.TTS("vi")
plan = tts.plan(tts_core.Speech("Hello there.", seed=1, steps=1))
print("spoke", sum(map(len, tts.samples(plan))) == plan.samples)
"""


def run(code: list[str], cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.run(
        code, cwd=ROOT, capture_output=True, text=True, env=own | {"HF_HOME": str(cache)} | environment, timeout=120
    )


def test_a_preset_is_fetched_once_and_spoken(tmp_path: Path, hub: str) -> None:
    code = [sys.executable, "-c", SPEAK_WITH_PRESET]
    first = run(code, tmp_path / "cache", HF_ENDPOINT=hub)
    assert "spoke True" in first.stdout, first.stderr
    assert "model_last.pt" in first.stderr, "no progress shown"
    Hub.files.clear()
    offline = run(code, tmp_path / "cache", HF_ENDPOINT=hub, HF_HUB_OFFLINE="1")
    assert "spoke True" in offline.stdout, offline.stderr


# The hub's library itself retries a refused connection for 23 s, telling so.
@pytest.mark.parametrize("why", ["offline", "no such file", pytest.param("connection refused", marks=pytest.mark.slow)])
def test_no_network_or_no_file_is_one_sentence_and_a_failing_exit(tmp_path: Path, hub: str, why: str) -> None:
    Hub.files.clear()
    start = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"]
    network = {
        "offline": {"HF_HUB_OFFLINE": "1"},
        "no such file": {"HF_ENDPOINT": hub},
        "connection refused": {"HF_ENDPOINT": "http://127.0.0.1:9"},
    }
    failed = run(start, tmp_path / "cache", TTS_MODEL="F5TTS_v1_Base", **network[why])
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("cannot start: cannot fetch F5TTS_v1_Base/") and "TTS_MODEL" in last, failed.stderr
