"""Who may ask: the key, pages of named origins; and what no browser may guess."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from conftest import ROOT, serving
from films import asked, make_film, sounds, work
from recordings import folder_of, upload
from scripted import Reply, Scripted, scripted
from starlette.routing import Route
from streams import listen, open_stream, say
from websockets.exceptions import InvalidStatus

from server.access import NotAllowed, may_change
from server.guard import OPEN_PATHS
from server.settings import BadSetting, Settings

KEY, PAGE = "s3cret/of+this=server!", "https://app.example.org"
BEARER = {"authorization": f"Bearer {KEY}"}
TEXT: dict[str, Any] = {"text": "Hello.", "steps": 1}
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locked") / "log"


@pytest.fixture(scope="module")
def locked(log: Path) -> Iterator[httpx.Client]:
    """A server that has a key and names an origin."""
    voices = folder_of(log.parent / "voices", default="default")
    origins = f"http://localhost:3000,{PAGE}"
    with (
        serving(log, TTS_API_KEY=KEY, TTS_CORS=origins, TTS_CPU_LIMIT="100", TTS_VOICES=str(voices)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def assert_refused(reply: httpx.Response) -> None:
    assert (reply.status_code, reply.headers["www-authenticate"][:6]) == (401, "Bearer"), reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["code"] == "invalid_api_key"
    assert "TTS_API_KEY" in error["message"] and KEY not in reply.text


def test_every_route_wants_the_key_but_those_for_probes(locked: httpx.Client) -> None:
    from app import app

    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) > 10
    for route in routes:
        path = route.path.replace("{", "").replace("}", "")
        for method in (route.methods or set()) - {"HEAD"}:
            reply = locked.request(method, path)
            if path in OPEN_PATHS:
                assert reply.status_code == 200, (path, reply.text)
            elif path.startswith("/web/"):
                assert reply.status_code == 404, (path, reply.text)
            else:
                assert_refused(reply)
    assert_refused(locked.get("/nothing"))


def test_only_the_key_itself_is_taken(locked: httpx.Client) -> None:
    before = locked.get("/health").json()["stats"]["total_requests"]
    for wrong in ("Bearer", "Bearer x", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "é"):
        assert_refused(locked.post("/tts", json=TEXT, headers=[(b"authorization", wrong.encode())]))
    assert locked.head("/tts", params=TEXT).status_code == 401
    assert locked.get("/health").json()["stats"]["total_requests"] == before
    for right in (f"Bearer {KEY}", f"bearer  {KEY}"):
        assert locked.post("/tts", json=TEXT, headers={"authorization": right}).status_code == 200
    assert locked.get("/voices", headers=BEARER).status_code == 200


def test_who_has_the_key_changes_voices_from_anywhere(locked: httpx.Client) -> None:
    afar = {"x-forwarded-for": "192.0.2.7"}
    assert_refused(upload(locked, "anna", headers=afar))
    assert upload(locked, "anna", headers=afar | BEARER).status_code == 201
    assert_refused(locked.delete("/voices/anna", headers=afar))
    assert locked.delete("/voices/anna", headers=afar | BEARER).status_code == 200


def test_a_page_that_may_ask_without_a_key_may_not_change_voices() -> None:
    """With TTS_CORS=* it is any page that somebody has open beside the server."""

    def scope(origin: bytes) -> dict[str, Any]:
        return {"type": "http", "headers": [(b"host", b"localhost:8000"), (b"origin", origin)], "client": ("::1", 1)}

    may_change(scope(b"http://localhost:8000"), Settings(cors=frozenset("*")))
    with pytest.raises(NotAllowed):
        may_change(scope(b"https://app.example.org"), Settings(cors=frozenset("*")))


def test_the_key_is_told_to_nobody(locked: httpx.Client, log: Path) -> None:
    for path in sorted(OPEN_PATHS):
        assert KEY not in locked.get(path).text
    locked.get("/tts", params=TEXT, headers=BEARER)
    assert KEY not in log.read_text() and KEY not in repr(Settings(api_key=KEY))
    told = subprocess.run(
        [sys.executable, "-m", "server.settings"],
        cwd=ROOT,
        env={"TTS_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TTS_API_KEY" in told.stdout and KEY not in told.stdout


@pytest.mark.parametrize("key", [" ", "two words", "line\n", "schlüssel", "k" * 501])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadSetting, match="TTS_API_KEY must be") as refused:
        Settings.read({"TTS_API_KEY": key})
    assert key not in str(refused.value) or not key.strip()


@pytest.mark.parametrize(
    "origin", ["https://a.org/", "a.org", "https://a.org:443", "http://a.org:80", "null", "https://"]
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(BadSetting, match="TTS_CORS must be origins such as"):
        Settings.read({"TTS_CORS": f"http://localhost:3000, {origin}"})


def test_pages_of_a_named_origin_may_ask_and_read(locked: httpx.Client) -> None:
    wanted = PREFLIGHT | {"access-control-request-headers": "authorization,content-type,x-stainless-os"}
    preflight = locked.options("/tts", headers=wanted | {"access-control-request-private-network": "true"})
    allowed = {name: value for name, value in preflight.headers.items() if name.startswith("access-control-")}
    assert preflight.status_code == 200 and allowed.pop("access-control-max-age"), preflight.text
    assert allowed == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, HEAD, POST, DELETE",
        "access-control-allow-headers": "authorization,content-type,x-stainless-os",
        "access-control-allow-private-network": "true",
    }
    page = {"origin": PAGE, "sec-fetch-site": "cross-site"}
    spoken = locked.post("/tts", json=TEXT, headers=page | BEARER)
    bad = locked.post("/tts", json=TEXT | {"voice": "nobody"}, headers=page | BEARER)
    keyless = locked.post("/tts", json=TEXT, headers=page)
    for reply, status in ((spoken, 200), (bad, 404), (keyless, 401)):
        assert reply.status_code == status
        assert reply.headers["access-control-allow-origin"] == PAGE and "Origin" in reply.headers["vary"]
        exposed = {name.strip() for name in reply.headers["access-control-expose-headers"].lower().split(",")}
        assert {"x-seed", "x-audio-duration", "x-request-id", "retry-after"} <= exposed


def test_other_pages_stay_out(locked: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://app.example.org", f"{PAGE}:8443", f"{PAGE}.evil.example"):
        for reply in (
            locked.options("/tts", headers=PREFLIGHT | {"origin": origin}),
            locked.post("/tts", json=TEXT, headers=BEARER | {"origin": origin}),
        ):
            assert reply.status_code == 403 and reply.json()["error"]["code"] == "foreign_origin"
            assert "access-control-allow-origin" not in reply.headers
    odd = locked.options("/tts", headers=PREFLIGHT | {"access-control-request-method": "PATCH"})
    assert odd.status_code == 400 and set(odd.json()["error"]) == {"message", "type", "param", "code"}


def test_any_page_may_ask_where_the_setting_says_so(tmp_path: Path) -> None:
    with serving(tmp_path / "log", TTS_CORS="*") as address:
        for headers in ({"origin": "https://a.example"}, {"origin": "null"}):
            reply = httpx.get(f"{address}/voices", headers=headers)
            assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
        rebound = httpx.get(f"{address}/voices", headers={"origin": "https://a.example", "host": "a.example"})
        assert rebound.status_code == 403 and rebound.json()["error"]["code"] == "unknown_host"


def test_a_websocket_wants_the_key_too_in_a_header_or_as_pages_can_send_it(locked: httpx.Client) -> None:
    server = str(locked.base_url)
    quoted = quote(KEY, safe="")
    how: dict[str, Any]
    for how in (
        {"additional_headers": BEARER},
        {"additional_headers": BEARER, "origin": PAGE},
        {"subprotocols": ["tts", f"bearer.{quoted}"], "origin": PAGE},
        {"subprotocols": [f"bearer.{quoted}"]},
    ):
        with open_stream(server, **how) as stream:
            assert stream.subprotocol == next(iter(how.get("subprotocols", [])), None)
            say(stream, {"flush": True})
            assert listen(stream, ["done"]).all("done")
    for how, status, code in (
        ({}, 401, "invalid_api_key"),
        ({"additional_headers": {"authorization": "Bearer x"}}, 401, "invalid_api_key"),
        ({"subprotocols": ["tts", "bearer.x"]}, 401, "invalid_api_key"),
        ({"additional_headers": BEARER, "origin": "https://evil.example"}, 403, "foreign_origin"),
    ):
        with pytest.raises(InvalidStatus) as refused, open_stream(server, **how):
            pass
        response = refused.value.response
        assert response.status_code == status and json.loads(response.body or b"")["error"]["code"] == code


def test_no_reply_is_sniffed(locked: httpx.Client, tmp_path: Path) -> None:
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    upgrade |= {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    job = locked.post("/tts", json=TEXT | {"async": True}, headers=BEARER).json()["request_id"]
    while locked.get(f"/tts/status/{job}", headers=BEARER).json()["status"] != "completed":
        pass
    result = f"/tts/result/{job}"
    replies = [
        (locked.post("/tts", json=TEXT, headers=BEARER), 200),
        (locked.head("/tts", params=TEXT, headers=BEARER), 200),
        (locked.get(result, headers=BEARER | {"range": "bytes=0-9"}), 206),
        (locked.get(result, headers=BEARER | {"range": "bytes=99999999-"}), 416),
        (locked.get("/metrics"), 200),
        (locked.get("/nothing", headers=BEARER), 404),
        (locked.patch("/health"), 405),
        (locked.options("/tts", headers=PREFLIGHT), 200),
        (locked.get("/tts", headers=upgrade), 401),
        (locked.get("/tts", headers=upgrade | {"origin": "https://evil.example"}), 403),
    ]
    with serving(tmp_path / "log", app="tests.failing_app:app", clean=False) as address:
        replies.append((httpx.post(f"{address}/tts", json=TEXT), 500))
    for reply, status in replies:
        assert reply.status_code == status, (status, reply.status_code, reply.text)
        assert reply.headers["x-content-type-options"] == "nosniff", (status, reply.headers)
        if status >= 400:
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_the_subtitle_client_sends_its_key_to_the_servers_it_was_told_of(
    locked: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, out = make_film(tmp_path / "film.srt", ["One.", "Two."]), tmp_path / "out"
    address = str(locked.base_url)
    keyless = work(film, out, servers=[address], expect=1)
    assert "wants a key: set TTS_API_KEY" in keyless.stderr and not sounds(out)
    monkeypatch.setenv("TTS_API_KEY", "another")
    wrong = work(film, out, "--fit", servers=[address], expect=1)
    assert "does not take the key" in wrong.stderr and "another" not in wrong.stderr + wrong.stdout
    monkeypatch.setenv("TTS_API_KEY", KEY)
    spoken = work(film, out, servers=[address])
    assert len(sounds(out)) == 2 and KEY not in spoken.stdout + spoken.stderr
    assert KEY not in "".join(file.read_text() for file in out.glob(".*") if file.is_file())
    monkeypatch.setenv("TTS_API_KEY", "no header\nhas this")
    assert "TTS_API_KEY" in work(film, out, servers=[address], expect=2).stderr


def test_a_redirection_does_not_take_the_key_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_API_KEY", KEY)
    film = make_film(tmp_path / "film.srt", ["One."])
    with scripted() as elsewhere:

        def sends_away(server: Scripted, line: dict[str, Any]) -> Reply:
            return Reply(307, headers={"location": f"{elsewhere.url}/tts"})

        with scripted(sends_away) as server:
            work(film, tmp_path / "out", servers=[server], expect=1)
            assert server.authorizations == {f"Bearer {KEY}"} and asked(server)
        assert not elsewhere.authorizations and not asked(elsewhere)
