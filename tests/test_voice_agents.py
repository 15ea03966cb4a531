"""Pipecat and LiveKit Agents speak through this server, unchanged but for the address."""

import json
import subprocess
from typing import Any

import httpx
import pytest
from conftest import ROOT
from test_openai import INPUT, LONG, assert_free, disconnected, planned

PYTHON = ROOT / "build" / "clients" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs Pipecat and LiveKit Agents (make clients-test)")


def agent(name: str, server: str, text: str, *options: str) -> dict[str, Any]:
    line = [str(PYTHON), str(ROOT / "tests" / "voice_agents.py"), name, f"{server}/v1", text, *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert not told["errors"], told
    return told


@pytest.mark.parametrize("name", ["pipecat", "livekit"])
def test_an_agent_gets_all_of_its_audio(server: str, client: httpx.Client, name: str) -> None:
    samples = planned(client, INPUT)
    heard = agent(name, server, INPUT)["samples"]
    assert abs(heard - samples) <= 0.05 * 24_000, (heard, samples)


@pytest.mark.parametrize("name", ["pipecat", "livekit"])
def test_an_agent_that_is_interrupted_frees_the_model(server: str, client: httpx.Client, name: str) -> None:
    before = disconnected(client)
    assert 0 < agent(name, server, LONG, "--leave")["samples"] < planned(client, LONG) // 2
    assert_free(client, before)
