"""What a page of somebody else's can do here, in a real browser: nothing."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from browser import browsing, needs_chromium
from conftest import serving

pytestmark = needs_chromium
PAGE = """<!doctype html><title>elsewhere</title><script>
const tried = (name, work) => work().then(() => [name, "read"], error => [name, String(error)]);
const loaded = (tag, src) => new Promise((yes, no) => {
  const ends = {onload: yes, oncanplay: yes, onerror: () => no("refused")};
  const made = Object.assign(document.createElement(tag), {src, ...ends});
  document.body?.append(made);
});
window.attack = server => Promise.all([
  tried("json", () => fetch(server + "/tts", {method: "POST", headers: {"content-type": "application/json"},
                                             body: '{"text": "Spend."}'})),
  tried("plain", () => fetch(server + "/tts", {method: "POST", headers: {"content-type": "text/plain"},
                                              body: '{"text": "Spend."}'})),
  tried("blind", () => fetch(server + "/tts", {method: "POST", mode: "no-cors", body: '{"text": "Spend."}'})
                         .then(reply => reply.arrayBuffer()).then(told => told.byteLength || Promise.reject("empty"))),
  tried("get", () => fetch(server + "/tts?text=Spend.")),
  tried("voices", () => fetch(server + "/voices")),
  tried("sound", () => loaded("audio", server + "/tts?text=Spend.")),
  tried("image", () => loaded("img", server + "/tts?text=Spend.")),
]);
</script><body></body>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """The port of another site on this machine."""
    (tmp_path / "index.html").write_text(PAGE)
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield site.server_address[1]
    site.shutdown()
    site.server_close()


def test_a_foreign_page_spends_nothing_and_reads_nothing(tmp_path: Path, elsewhere: int) -> None:
    with serving(tmp_path / "log") as address, browsing() as browser:
        for site in (f"http://127.0.0.1:{elsewhere}", f"http://localhost:{elsewhere}"):
            page = browser.new_page()
            page.goto(site)
            for name, said in page.evaluate("server => attack(server)", address):
                assert said != "read", (site, name)
            page.close()
        assert httpx.get(f"{address}/health").json()["stats"]["total_requests"] == 0
