"""What the page is made of and asks for, without a browser."""

import re
import time
from pathlib import Path

import httpx
from conftest import ROOT, serving

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_browsers_get_the_page_and_curl_its_text(client: httpx.Client) -> None:
    page, text = client.get("/", headers=BROWSER), client.get("/", headers={"accept": "*/*"})
    assert page.headers["content-type"].startswith("text/html") and page.text.startswith("<!doctype html>")
    assert text.headers["content-type"].startswith("text/plain") and "curl" in text.text
    assert page.headers["vary"] == text.headers["vary"] == "accept"
    assert client.get("/docs").text.startswith("<!doctype html>")


def test_the_page_asks_nobody_else(client: httpx.Client) -> None:
    """Its policy says so to the browser, and no file names another host."""
    policy = client.get("/", headers=BROWSER).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for file in (ROOT / "web").iterdir():
        named = set(re.findall(r"https?://([\w.-]+)", file.read_text())) - {"www.w3.org"}
        assert not named, (file.name, named)
        assert "style=" not in file.read_text() or file.suffix == ".js", file.name


def test_only_the_pages_own_files_are_served(client: httpx.Client) -> None:
    first = client.get("/web/page.js")
    assert first.headers["content-type"].startswith("text/javascript")
    assert first.headers["x-content-type-options"] == "nosniff"
    again = client.get("/web/page.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    for path in ("/web/app.py", "/web/..%2fapp.py", "/web/%2e%2e/app.py", "/web/", "/web/none.js"):
        reply = client.get(path)
        assert reply.status_code == 404 and set(reply.json()) == {"error"}, path


def test_a_link_from_elsewhere_leads_to_the_page_and_its_files_are_its_own(client: httpx.Client) -> None:
    linked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=BROWSER | linked).status_code == 200
    assert client.get("/docs", headers=BROWSER | linked).status_code == 200
    assert client.get("/web/page.js", headers=linked).status_code == 403
    assert client.get("/stats", headers=linked).status_code == 403


def test_stats_tell_who_listens_and_how_far_ahead_they_are(client: httpx.Client) -> None:
    text = "Good evening. " * 300
    with client.stream("GET", "/tts", params={"text": text}) as reply:
        sound = reply.iter_raw(1000)
        next(sound)
        (one,) = client.get("/stats").json()["listeners"]
        assert one["request_id"] == reply.headers["x-request-id"]
        assert 0 < one["sent"] < float(reply.headers["x-audio-duration"]) and one["lead"] is not None
        whole = one["sent"] + one["pending"]
        assert abs(whole - float(reply.headers["x-audio-duration"])) < 0.01
    until = time.monotonic() + 5
    while (stats := client.get("/stats").json())["listeners"]:
        assert time.monotonic() < until
    assert 0 <= stats["first_audio"][-1]["ago"] < 60 and stats["first_audio"][-1]["value"] > 0
    assert stats["memory_bytes"] > 1e8 and text[:12] not in str(stats)


def test_jobs_are_listed_in_their_order_without_their_texts(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "log", TTS_MEMORY_LIMIT="0") as address,  # none is begun
        httpx.Client(base_url=address) as client,
    ):
        assert client.get("/tts/jobs").json() == {"jobs": []}

        def ask(priority: str) -> str:
            job = {"text": "A secret.", "async": True, "priority": priority, "seed": 2**63 - 1}
            return str(client.post("/tts", json=job).json()["request_id"])

        low, urgent, normal = ask("low"), ask("urgent"), ask("normal")
        jobs = client.get("/tts/jobs").json()["jobs"]
        assert [job["request_id"] for job in jobs] == [urgent, normal, low]
        assert [job["queue_position"] for job in jobs] == [1, 2, 3]
        for job in jobs:
            alone = client.get(f"/tts/status/{job['request_id']}").json()
            for told in (job, alone):
                told.pop("blocked_reason", None)  # with figures of its own moment
            assert job == alone
        assert jobs[0]["duration"] > 0.3 and jobs[0]["voice"] == "default" and jobs[0]["seed"] == 2**63 - 1
        assert "secret" not in str(jobs)
        client.delete(f"/tts/{urgent}")
        jobs = client.get("/tts/jobs").json()["jobs"]
        assert [job["request_id"] for job in jobs] == [normal, low, urgent] and jobs[-1]["status"] == "cancelled"


def test_cues_are_read_as_the_subtitle_client_reads_them(client: httpx.Client) -> None:
    film = "1\n00:00:01,000 --> 00:00:02,000\n♪ la la ♪\n\n2\n00:00:03,000 --> 00:00:04,000\n<i>Hello</i> there.\n"
    told = client.post("/cues", params={"name": "film.srt"}, content=film.encode("utf-16")).json()
    song, hello = told["cues"]
    assert told["encoding"].startswith("utf") and song["room"] is None and song["unsaid"]
    assert (hello["text"], hello["start"], hello["room"], hello["line"]) == ("Hello there.", 3.0, 1.0, 6)
    for body, status in ((b"", 400), (b"no cue", 400), (bytes(100), 400), (b"x" * 2_000_001, 413)):
        reply = client.post("/cues", params={"name": "../film.srt"}, content=body)
        assert reply.status_code == status and ".." not in reply.json()["error"]["message"], reply.text
