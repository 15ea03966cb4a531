"""The files of deploy/, as far as they can be tried without systemd, Docker and Kubernetes."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import ROOT, Server

DEPLOY = ROOT / "deploy"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_unit_is_understood(tmp_path: Path) -> None:
    unit = tmp_path / "direct-tts.service"
    text = (DEPLOY / "direct-tts.service").read_text()
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={shutil.which('true')}", text))
    seen = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (seen.returncode, seen.stdout + seen.stderr) == (0, "")


def test_the_image_has_all_that_the_server_needs(tmp_path: Path) -> None:
    """What the Dockerfile copies, and .dockerignore lets through, serves from there."""
    image = tmp_path / "image"
    image.mkdir()
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            *sources, _target = [word for word in line.split()[1:] if not word.startswith("--")]
            for source in sources:
                assert source in kept or (source.endswith(".py") and "*.py" in kept), source
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, image / source, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, image / source)
    server = Server(tmp_path / "log", folder=image)
    try:
        server.start()
        reply = httpx.post(f"{server.address}/tts", json={"text": "Good evening.", "steps": 1}, timeout=60)
        assert (reply.status_code, len(reply.content)) == (200, int(reply.headers["content-length"]))
        page = httpx.get(f"{server.address}/", headers={"accept": "text/html"})
        assert page.status_code == httpx.get(f"{server.address}/openapi.json").status_code == 200
        parts = re.findall(r'(?:src|href)="(web/[\w.]+)"', page.text)
        assert parts and {httpx.get(f"{server.address}/{part}").status_code for part in parts} == {200}, parts
        assert server.stop() == 0
    finally:
        server.kill()


def test_kubernetes_and_compose_are_yaml() -> None:
    kinds = [one["kind"] for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())]
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "ScaledObject"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ports = [services[name]["command"][1] for name in ("one", "two")]
    assert [f"127.0.0.1:{port}" in (DEPLOY / "haproxy.cfg").read_text() for port in ports] == [True, True]
