"""Folders and presets: what loads, what is refused in one sentence, and fetching from a hub that answers as the real one does."""

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, small_checkpoint
from safetensors.torch import load_file

import tts_core
from engine import checkpoint


def test_pt_and_safetensors_hold_the_same(tmp_path):
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
def test_a_missing_file_is_named(tmp_path, missing):
    folder = small_checkpoint(tmp_path / "a")
    (folder / missing).unlink()
    with pytest.raises(checkpoint.ModelUnavailable, match=missing):
        tts_core.TTS(folder)


def test_a_vocabulary_that_does_not_fit_names_both_sizes(tmp_path):
    folder = small_checkpoint(tmp_path / "a")
    (folder / "vocab.txt").write_text(" \na\nb\n")
    with pytest.raises(checkpoint.ModelUnavailable, match="has 3 tokens and the weights 68"):
        checkpoint.load(str(folder))


def test_other_backbones_and_broken_configs_are_refused(tmp_path):
    folder = small_checkpoint(tmp_path / "a")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"model": config["model"] | {"backbone": "UNetT"}}))
    with pytest.raises(checkpoint.ModelUnavailable, match="UNetT"):
        checkpoint.load(str(folder))
    (folder / "config.yaml").write_text("model: [1, 2")
    with pytest.raises(checkpoint.ModelUnavailable, match=r"config\.yaml"):
        checkpoint.load(str(folder))
    with pytest.raises(checkpoint.ModelUnavailable, match="F5TTS_v1_Base"):
        checkpoint.load("no-such-thing")


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
def hub(tmp_path):
    """A hub with a small checkpoint under the Vietnamese preset's names (vocabulary called config.json), and its vocoder."""
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
import tts_core
from engine.sampler import Arch
small = Arch(dim=64, depth=1, heads=1, ff_mult=1, text_dim=32, conv_layers=1, text_mask_padding=False, pe_attn_head=1)
checkpoint.PRESETS["vi"] = replace(checkpoint.PRESETS["vi"], arch=small)
tts = tts_core.TTS("vi")
plan = tts.plan(tts_core.Speech("Hello there.", seed=1, steps=1))
print("spoke", sum(map(len, tts.samples(plan))) == plan.samples)
"""


def run(code: list[str], cache: Path, **environment: str) -> subprocess.CompletedProcess:
    own = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.run(
        code, cwd=ROOT, capture_output=True, text=True, env=own | {"HF_HOME": str(cache)} | environment, timeout=120
    )


def test_a_preset_is_fetched_once_and_spoken(tmp_path, hub):
    code = [sys.executable, "-c", SPEAK_WITH_PRESET]
    first = run(code, tmp_path / "cache", HF_ENDPOINT=hub)
    assert "spoke True" in first.stdout, first.stderr
    assert "model_last.pt" in first.stderr, "no progress shown"
    Hub.files.clear()
    offline = run(code, tmp_path / "cache", HF_ENDPOINT=hub, HF_HUB_OFFLINE="1")
    assert "spoke True" in offline.stdout, offline.stderr


# The hub's library itself retries a refused connection for 23 s, telling so.
@pytest.mark.parametrize("why", ["offline", "no such file", pytest.param("connection refused", marks=pytest.mark.slow)])
def test_no_network_or_no_file_is_one_sentence_and_a_failing_exit(tmp_path, hub, why):
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
