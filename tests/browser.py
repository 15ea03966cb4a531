"""Debian's Chromium, headless, as somebody at the page: what it logs, whom it asks, what is heard."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
SETTLE_MS, LOOK_MS = 20_000, 30
MICROPHONE = Path(__file__).parents[1] / "voices" / "michael.wav"


@contextmanager
def browsing() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Tests may run as root, where Chromium's own sandbox does not. The microphone hears a file, over and over.
        microphone = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        heard = f"--use-file-for-fake-audio-capture={MICROPHONE}"
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio", *microphone, heard]
        )
        yield browser
        browser.close()


class Visitor:
    """One page, and what must not be: an error in its console, a request to somebody else."""

    def __init__(self, browser: Browser, address: str, **context: Any):
        self.address = address
        self.context: BrowserContext = browser.new_context(accept_downloads=True, **context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SETTLE_MS)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.expected: Callable[[str], bool] = lambda error: False
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, part: str = "speak") -> Page:
        self.page.goto(f"{self.address}/#{part}")
        self.page.wait_for_selector("#server.here")
        self.page.evaluate("async () => Object.assign(window, await import(new URL('web/speak.js', location)))")
        return self.page

    def speaking(self, what: str) -> Any:
        """Of the speech module's `player` and `speech`."""
        return self.page.evaluate(what)

    def wait(self, what: str, seconds: float = SETTLE_MS / 1000) -> None:
        """Playwright's own would need `eval`, which the page's policy forbids."""
        until = time.monotonic() + seconds
        while not self.page.evaluate(what):
            assert time.monotonic() < until, f"never came true: {what}"
            self.page.wait_for_timeout(LOOK_MS)

    def say(self, text: str, seed: int | None = 3) -> None:
        self.page.fill("#text", text)
        self.page.fill("#seed", "" if seed is None else str(seed))
        self.page.click("#go")

    def leave(self) -> None:
        self.context.close()
        strangers = {host for host in self.hosts if host and host != urlsplit(self.address).netloc}
        assert not strangers, f"the page asked {strangers}"
        errors = [error for error in self.errors if not self.expected(error)]
        assert not errors, errors
