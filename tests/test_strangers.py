"""Pages of other origins, names that are not ours, and what a client should not read or make us write."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import serving

TEXT: dict[str, Any] = {"text": "Hello.", "steps": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
        {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
    ],
    ids=str,
)
def test_a_foreign_page_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    before = client.get("/health").json()["stats"]["total_requests"]
    for reply in (
        client.post("/tts", json=TEXT, headers=headers),
        client.get("/tts", params=TEXT, headers=headers),
        client.get("/voices", headers=headers),
    ):
        assert reply.status_code == 403, reply.text
        assert reply.json()["error"]["code"] in ("foreign_origin", "unknown_host")
        assert "access-control-allow-origin" not in reply.headers
    assert client.get("/health").json()["stats"]["total_requests"] == before


def test_a_browser_sends_json_and_everybody_else_what_they_like(client: httpx.Client) -> None:
    own = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    body = json.dumps(TEXT)
    plain = client.post("/tts", content=body, headers=own | {"content-type": "text/plain"})
    assert plain.status_code == 415 and plain.json()["error"]["message"]
    assert client.post("/tts", content=body, headers=own | {"content-type": "application/json"}).status_code == 200
    assert client.post("/tts", content=body, headers={"content-type": "text/plain"}).status_code == 200
    assert client.get("/tts", params=TEXT, headers={"sec-fetch-site": "none"}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:80", "[::1]:80", "tts", "a.localhost"])
def test_names_of_this_machine_are_its_own(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"host": host}).status_code == 200


def test_allowed_hosts_widen_it(tmp_path: Path) -> None:
    with serving(tmp_path / "log", TTS_ALLOWED_HOSTS="tts.example") as address:
        for headers in ({"host": "tts.example"}, {"origin": "https://tts.example"}):
            assert httpx.get(f"{address}/voices", headers=headers).status_code == 200
        assert httpx.get(f"{address}/voices", headers={"host": "other.example"}).status_code == 403


def test_behind_a_prefix_addresses_have_it(tmp_path: Path) -> None:
    with serving(tmp_path / "log", options=("--root-path", "/speech")) as address:
        accepted = httpx.post(f"{address}/tts", json=TEXT | {"async": True})
        job = accepted.json()["request_id"]
        assert accepted.headers["location"] == f"/speech/tts/status/{job}"
        while (status := httpx.get(f"{address}/tts/status/{job}").json())["status"] != "completed":
            pass
        assert status["result"]["url"] == f"/speech/tts/result/{job}"
        assert httpx.get(f"{address}/tts", params=TEXT).status_code == 200
    assert "Hello" not in (tmp_path / "log").read_text()


def test_every_error_has_the_same_shape_and_no_echo_without_bound(client: httpx.Client) -> None:
    job = client.post("/tts", json=TEXT | {"async": True}).json()["request_id"]
    while client.get(f"/tts/status/{job}").json()["status"] != "completed":
        pass
    url, long = f"/tts/result/{job}", "v" * 200_000
    for reply, status in [
        (client.get(url, headers={"range": "bytes=x"}), 400),
        (client.get(url, headers={"range": "lines=1-2"}), 400),
        (client.get(url, headers={"range": "bytes=99999999-"}), 416),
        (client.post("/tts", json=TEXT | {"voice": long}), 400),
        (client.post("/tts", json=TEXT | {long: 1}), 400),
        (client.post("/tts", json=TEXT | {"async": True, "priority": long}), 400),
        (client.get(f"/{long[:50_000]}"), 404),
        (client.get(f"/tts/status/{long[:50_000]}"), 404),
        (client.patch("/health"), 405),
    ]:
        assert reply.status_code == status, (status, reply.status_code, reply.text[:200])
        assert reply.headers["content-type"] == "application/json"
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert len(reply.text) < 600, len(reply.text)
    described = client.get("/openapi.json").json()["paths"]["/tts/result/{id}"]["get"]["responses"]
    assert {"400", "416"} <= set(described)


def test_no_text_is_logged_even_when_a_websocket_asks(tmp_path: Path) -> None:
    upgrade = (
        "GET /tts?text=Tell+nobody HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with serving(tmp_path / "log") as address:
        port = int(address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(upgrade.encode())
            assert b"403" in connection.recv(100)
        httpx.get(f"{address}/tts", params={"text": "Tell nobody", "voice": "nobody here"})
    assert "obody" not in (tmp_path / "log").read_text()
