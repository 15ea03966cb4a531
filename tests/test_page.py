"""The page, in a browser, as somebody who has not read anything."""

import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from browser import MICROPHONE, Visitor, browsing, needs_chromium
from conftest import ROOT, Server, serving
from playwright.sync_api import Browser

pytestmark = needs_chromium
SHORT = "The river is quiet tonight. Nobody crosses it, and the lamps go out."
LONG = "A ferry crosses at ten, with nobody aboard but the captain and a sleeping dog. " * 12
BUDGET_BYTES = 150_000
WORD_SECONDS = 0.1


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: jobs are begun beside the browser, which is another program, and one test kills it."""
    server = Server(tmp_path_factory.mktemp("page") / "log", TTS_CPU_LIMIT="100", TTS_MEMORY_LIMIT="100")
    server.start()
    yield server
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def visitor(browser: Browser, own: Server) -> Iterator[Visitor]:
    visitor = Visitor(browser, own.address)
    yield visitor
    visitor.leave()


def outcomes(own: Server) -> dict[str, int]:
    told: dict[str, int] = httpx.get(f"{own.address}/stats").json()["outcomes"]
    return told


def test_sound_is_heard_while_it_is_made_and_the_words_with_it(visitor: Visitor, own: Server) -> None:
    page = visitor.open()
    page.evaluate("""document.addEventListener("word", ({detail}) => (window.shown ??= []).push(detail))""")
    visitor.say(LONG)
    visitor.wait("player.position > 0.1")
    assert visitor.speaking("!speech.ended"), "nothing was heard before the reply's end"
    visitor.wait("player.position > 4")
    shown = page.evaluate("window.shown")
    planned = httpx.post(f"{own.address}/tts/plan", json={"text": LONG, "seed": 3}).json()["words"]
    late = {}
    for word in shown[1:]:  # the first ones may have been over when the plan came
        assert word["start"] == planned[word["index"]]["start"]
        late[word["index"]] = word["heard"] - word["start"]
    assert len(late) > 4 and max(late.values()) <= WORD_SECONDS, late
    assert page.inner_text(".reading .now") == planned[shown[-1]["index"]]["word"] or late
    assert re.fullmatch(r"\d+ ms", page.inner_text("#first")) and float(page.inner_text("#factor")) > 0
    page.click("#go")


def test_stop_frees_the_model(visitor: Visitor, own: Server) -> None:
    before = outcomes(own)
    visitor.open()
    visitor.page.fill("#text", LONG * 10)
    visitor.page.press("#text", "Control+Enter")
    visitor.wait("player.position > 0.1")
    visitor.page.keyboard.press("Escape")
    assert visitor.page.evaluate("document.activeElement.id") == "text"
    assert visitor.page.inner_text("#go") == "Speak"
    for _ in range(100):
        after = outcomes(own)
        if after["disconnected"] > before["disconnected"]:
            break
        visitor.page.wait_for_timeout(50)
    # The words' plan is another request, and may have been on its way.
    assert after["disconnected"] - before["disconnected"] in (1, 2), (before, after)
    heard = visitor.speaking("player.position")
    visitor.page.wait_for_timeout(200)
    assert visitor.speaking("player.position") == heard


def test_what_is_downloaded_is_what_the_terminal_gets(visitor: Visitor, tmp_path: Path) -> None:
    """The lines run as they stand: quotes, accents and a seed beyond what JavaScript's numbers hold."""
    page = visitor.open()
    page.select_option("#voice", "michael")
    page.fill("#speed", "1.5")
    visitor.say('It\'s "Anna" \\ née Lê.', seed=2**63 - 1)
    visitor.wait("speech.ended")
    with page.expect_download() as saved:
        page.click("#download")
    sound = saved.value.path().read_bytes()
    assert saved.value.suggested_filename == "speech.wav" and len(sound) > 10_000
    for line, command in (("curl", ["bash", "-c"]), ("python", [sys.executable, "-c"])):
        text = page.text_content(f"#{line}") or ""
        subprocess.run([*command, text], cwd=tmp_path, check=True, capture_output=True)
        assert (tmp_path / "speech.wav").read_bytes() == sound, text
    page.select_option("#format", "flac")
    assert '"format": "flac"' in (page.text_content("#curl") or "")
    with page.expect_download() as saved:
        page.click("#download")
    assert saved.value.suggested_filename == "speech.flac"
    samples, _ = soundfile.read(saved.value.path(), dtype="int16")
    assert samples.tobytes() == sound[44:]  # the same seed, and no loss


def test_the_servers_own_words_are_shown(visitor: Visitor) -> None:
    page = visitor.open()
    visitor.expected = lambda error: "400" in error  # Chromium logs what is refused
    page.evaluate("document.querySelector('#seed').removeAttribute('pattern')")
    page.fill("#text", "Hello.")
    page.fill("#seed", "x")
    page.click("#go")
    page.wait_for_selector("#problem:not(:empty)")
    assert page.inner_text("#problem").startswith("seed must be a whole number")
    page.wait_for_selector("#go:text-is('Speak')")


def test_a_job_is_watched_and_cancelled(visitor: Visitor, own: Server) -> None:
    job = httpx.post(f"{own.address}/tts", json={"text": LONG * 20, "async": True}).json()["request_id"]
    page = visitor.open("watch")
    page.click(f"[aria-label='Cancel job {job[:8]}']")
    page.wait_for_selector(f"[aria-label='Remove job {job[:8]}']")
    assert httpx.get(f"{own.address}/tts/status/{job}").json()["status"] == "cancelled"
    assert "cancelled" in page.inner_text("#jobs")
    assert re.search(r"\d threads? at most", page.inner_text("#machine"))


def test_a_listener_is_watched(visitor: Visitor, own: Server) -> None:
    page = visitor.open("watch")
    with httpx.stream("GET", f"{own.address}/tts", params={"text": LONG * 10}, timeout=60) as reply:
        sound = reply.iter_raw(1000)
        next(sound)
        page.wait_for_selector("#listeners .bar")
        assert reply.headers["x-request-id"] in page.inner_text("#listeners")
    page.wait_for_selector("#listeners .hint")
    assert "in 10 minutes" in page.inner_text("#first-told")


def test_the_server_goes_and_comes_back_under_the_page(visitor: Visitor, own: Server) -> None:
    page = visitor.open()
    visitor.expected = lambda error: "ERR_" in error  # Chromium logs every request that nobody answers
    visitor.say(LONG * 10)
    visitor.wait("player.position > 0.1")
    own.kill()
    page.wait_for_selector("#problem:not(:empty)")
    assert "broke after" in page.inner_text("#problem")
    page.wait_for_selector("#server.away")
    page.click("#go")  # stops what is still heard
    page.click("#go")
    page.wait_for_selector("#problem:has-text('does not answer')")
    own.start()
    page.wait_for_selector("#server.here")
    visitor.say(SHORT)
    visitor.wait("player.position > 0.1")
    assert page.inner_text("#problem") == ""


FILM = """1
00:00:01,000 --> 00:00:03,500
The ferry leaves at ten.

2
00:00:04,000 --> 00:00:04,500
Nobody can say all of these many words in half a second.

3
00:00:04,600 --> 00:00:07,000
♪ la la la
- It is late.
"""


def test_a_subtitle_file_becomes_a_track(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "film.srt").write_text(FILM)
    page = visitor.open("subtitles")
    page.set_input_files("#film", tmp_path / "film.srt")
    page.wait_for_selector("#film-told:has-text('3 cues, 1 will not fit')")
    assert "a song" in page.inner_text("#cues") and "does not fit by" in page.inner_text("#cues")
    page.click("#film-speak")
    page.wait_for_selector("#film-told:has-text('3 of 3 spoken')")
    with page.expect_download() as saved:
        page.click("#film-download")
    assert saved.value.suggested_filename == "film.wav"
    with wave.open(str(saved.value.path())) as track:
        sound = np.frombuffer(track.readframes(track.getnframes()), "<i2").astype(float)
        assert track.getframerate() == 24_000 and track.getnframes() >= 7 * 24_000
    assert not sound[:24_000].any(), "before the first cue"
    assert np.abs(sound[24_000 : 2 * 24_000]).max() > 1000
    page.click("[aria-label='Hear the cue at 0:01.0']")
    page.wait_for_selector("tr.now:has-text('ferry')")
    page.wait_for_selector("tr.now:has-text('Nobody')")  # in its place, behind the first
    page.click("#film-play")


def test_a_file_that_is_no_subtitle_is_refused_in_words(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "film.srt").write_text("1\n00:00:01,000 --> 00:00:00,500\nBackwards.\n")
    visitor.expected = lambda error: "400" in error
    page = visitor.open("subtitles")
    page.set_input_files("#film", tmp_path / "film.srt")
    page.wait_for_selector("#film-problem:has-text('film.srt, line 2: the cue ends before it starts')")


def test_a_voice_is_cloned_and_kept(browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "voices", tmp_path / "voices")
    with serving(tmp_path / "log", TTS_VOICES=str(tmp_path / "voices")) as address:
        visitor = Visitor(browser, address)
        page = visitor.open()
        page.click("nav a[href='#clone']")
        page.click("#clone-keep")
        assert "sample" in page.inner_text("#clone-problem")
        page.set_input_files("#sample", ROOT / "voices" / "michael.wav")
        page.fill("#sample-text", (ROOT / "voices" / "michael.txt").read_text().strip())
        page.click("#clone-hear")
        page.wait_for_selector("#clone-told:has-text('Speaking')")
        page.fill("#clone-name", "anna")
        page.click("#clone-keep")
        page.wait_for_selector("#clone-told:has-text('Kept')")
        page.click("nav a[href='#speak']")
        page.select_option("#voice", "anna")
        visitor.say(SHORT)
        visitor.wait("player.position > 0.1")
        page.wait_for_selector("#reading span")  # its words' times are asked for after the first sound, by its name
        page.click("nav a[href='#clone']")
        page.click("[aria-label='Remove voice anna']")
        page.click("[aria-label='Remove voice anna for good']")
        page.wait_for_selector("#voices:not(:has-text('anna'))")
        visitor.leave()


def test_a_voice_is_recorded(visitor: Visitor) -> None:
    page = visitor.open()
    page.click("nav a[href='#clone']")
    page.click("#record")
    page.wait_for_selector("#record:has-text('Stop recording')")
    page.wait_for_timeout(3000)  # so long is the recording
    page.click("#record")
    page.wait_for_selector("#record-told:has-text('sample.wav')")
    page.fill("#sample-text", MICROPHONE.with_suffix(".txt").read_text().strip())
    page.click("#clone-hear")
    page.wait_for_selector("#clone-told:has-text('Speaking')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_it(browser: Browser, own: Server, theme: Any) -> None:
    """axe-core finds nothing serious, on any part, in either theme; nor is a phone scrolled sideways."""
    httpx.post(f"{own.address}/tts", json={"text": LONG * 20, "async": True})
    visitor = Visitor(browser, own.address, color_scheme=theme, viewport={"width": 360, "height": 740})
    page = visitor.open()
    visitor.say(SHORT)
    page.wait_for_selector(".reading .now")
    parts = [link.get_attribute("href") or "" for link in page.query_selector_all("nav a:not([hidden])")]
    assert "#watch" in parts and "docs" in parts
    for part in parts:
        page.click(f"nav a[href='{part}']")
        page.wait_for_selector("h2:visible")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.wait_for_timeout(100)
        found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert not found, (part, [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["any"]) for one in found])
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, part
    visitor.leave()
    for job in httpx.get(f"{own.address}/tts/jobs").json()["jobs"]:
        httpx.delete(f"{own.address}/tts/{job['request_id']}")


def test_the_documentation_is_the_description(visitor: Visitor, own: Server) -> None:
    visitor.page.goto(f"{own.address}/docs")
    visitor.page.wait_for_selector(".route")
    shown = [" ".join(title.split()) for title in visitor.page.locator(".route h2").all_inner_texts()]
    paths = httpx.get(f"{own.address}/openapi.json").json()["paths"]
    assert shown == [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


def test_it_is_small_and_painted_before_any_figure(browser: Browser, own: Server) -> None:
    """Where nothing but the page's own files can be had, it is all there."""
    visitor = Visitor(browser, own.address)
    sizes: list[int] = []
    visitor.page.on("response", lambda reply: sizes.append(len(reply.body())))
    visitor.page.route(re.compile(r"/(voices|health|openapi\.json)$"), lambda route: route.abort())
    visitor.page.goto(f"{own.address}/")
    assert visitor.page.is_visible("#text") and visitor.page.is_enabled("#go")
    painted = visitor.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    assert 0 < sum(sizes) < BUDGET_BYTES and painted is not None
    everything = sum(path.stat().st_size for path in (ROOT / "web").iterdir())
    assert everything < BUDGET_BYTES
    visitor.context.close()


def test_a_key_is_asked_for_and_sent(browser: Browser, tmp_path: Path) -> None:
    server = Server(tmp_path / "log", TTS_API_KEY="s3cret")
    server.start()
    visitor = Visitor(browser, server.address)
    visitor.expected = lambda error: "401" in error
    page = visitor.open()
    page.fill("#key-value", "s3cret")
    page.click("#key button")
    visitor.say(SHORT)
    visitor.wait("player.samples > 0")
    assert "$TTS_API_KEY" in (page.text_content("#curl") or "")
    visitor.leave()
    assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.timing
def test_a_minute_is_heard_without_a_gap_while_a_job_runs(visitor: Visitor, own: Server) -> None:
    job = httpx.post(f"{own.address}/tts", json={"text": LONG * 20, "async": True}).json()["request_id"]
    page = visitor.open()
    visitor.say(LONG * 2)
    visitor.wait("player.position > 60", seconds=150)
    assert visitor.speaking("player.underruns") == 0 and page.inner_text("#underruns") == "0"
    assert httpx.delete(f"{own.address}/tts/{job}").status_code == 200
