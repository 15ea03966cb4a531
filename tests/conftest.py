"""A real server with the embedded model, once for all tests; small random checkpoints for lengths and errors."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml
from databases import Database, database
from films import film, out
from forked import SERVERS, Forked
from safetensors.torch import save_file

import tts_core
from bench import launcher
from engine.sampler import Sampler
from engine.stepping import run_to_end
from engine.weights import Read

__all__ = ["Server", "film", "out"]  # fixtures of the subtitle client
ROOT = Path(__file__).parents[1]
# What else runs here, other tests too, holds up no job.
os.environ.setdefault("TTS_CPU_LIMIT", "100")
os.environ.setdefault("TTS_MEMORY_LIMIT", "100")
LETTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'0123456789"


FIGURES: dict[str, object] = {}
"""What long tests measured: the last line of `make soak`."""


LONGEST = {"test_jobs_chaos", "test_load", "test_busy_machine", "test_voice", "test_worker", "test_train"}
"""Files that take long and have few tests or come late. They go first, or one processor would wait for the other at the
end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of two processes has ended."""
    FIGURES.update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_unconfigure(config: pytest.Config) -> None:
    if FIGURES and not hasattr(config, "workeroutput"):
        print(json.dumps(FIGURES))


class Server(launcher.Server):
    """As users start it, but that torch is there already (forked.py); with another command or folder as it is."""

    def launch(self, **environment: str) -> None:
        if self._command[1:3] != ["-m", "uvicorn"] or "--workers" in self._command or self._folder != ROOT:
            return super().launch(**environment)
        with self._log.open("ab") as log:
            self.process = Forked(self._command, SERVERS, ROOT, self._environment | environment, log, log)


@contextmanager
def serving(
    log: Path, app: str = "app:app", clean: bool = True, options: tuple[str, ...] = (), **environment: str
) -> Iterator[str]:
    """A server that ends with 0; yields its address. A `clean` one leaves no traceback in its log."""
    server = Server(log, app, *options)
    server.start(**environment)
    try:
        yield server.address
    finally:
        code = server.stop()
    assert code == 0, server.log
    assert ("Traceback" in server.log) != clean, server.log


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    with database() as one:
        yield one


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def own_database(request: pytest.FixtureRequest) -> str:
    """A database's address; empty: jobs are kept in the folder."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres").new())


@pytest.fixture(scope="session")
def tts() -> tts_core.TTS:
    return tts_core.TTS()


def small_checkpoint(folder: Path, tokenizer: str = "char", vocab: str = LETTERS, **arch: Any) -> Path:
    """An untrained F5 checkpoint in upstream's form, small enough to speak minutes of noise in a second."""
    from f5_tts.model.backbones.dit import DiT

    torch.manual_seed(3)
    shape = (
        dict(dim=64, depth=1, heads=1, ff_mult=1, text_dim=32, conv_layers=1, text_mask_padding=True, pe_attn_head=None)
        | arch
    )
    model = DiT(**shape, text_num_embeds=len(vocab), mel_dim=100)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"ema_model.transformer.{k}": v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "vocab.txt").write_text("".join(f"{c}\n" for c in vocab))
    config = {
        "model": {"name": folder.name, "backbone": "DiT", "arch": shape},
        "direct": {"tokenizer": tokenizer, "cfg_strength": 2.0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(ROOT / "models" / "tiny" / "vocoder", folder / "vocoder", dirs_exist_ok=True)
    return folder


def held(weights: dict[str, torch.Tensor]) -> Read:
    """Weights in memory, as a sampler reads them."""
    return lambda wanted: {name: weight for name, weight in weights.items() if wanted(name)}


@torch.inference_mode()
def solved(sampler: Sampler, *inputs: Any) -> torch.Tensor:
    """The mel, whatever yields are on the way."""
    return run_to_end(sampler.solve(*inputs))


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small")


@pytest.fixture(scope="session")
def small(small_folder: Path) -> tts_core.TTS:
    return tts_core.TTS(small_folder)
