"""Headless Chromium for the tests of the search page; its microphone hears a file."""

from __future__ import annotations

import os
import shutil
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

FAKE_MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


def chromium_path() -> str:
    """Where the system's Chromium is; skips the test where it or playwright is missing."""
    if find_spec("playwright") is None:
        pytest.skip("playwright is not installed (pip install playwright)")
    found = os.environ.get("ISOGLOSS_CHROMIUM")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = found or shutil.which(name)
    if not found:
        pytest.skip("no Chromium on PATH; install it or set ISOGLOSS_CHROMIUM to its path")
    return found


def launch(playwright: Playwright, *arguments: str) -> Browser:
    return playwright.chromium.launch(
        executable_path=chromium_path(),
        # Containers rarely allow the sandbox; the pages are our own.
        args=["--no-sandbox", "--mute-audio", *arguments],
    )


def with_microphone(wav: Path) -> tuple[str, ...]:
    return (*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={wav}%noloop")


LISTENERS = """
window.__starts = [];
const begin = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...moments) {
  if (moments.length === 3) window.__starts.push(moments.slice(1));
  return begin.apply(this, moments);
};
const send = window.fetch;
window.fetch = async (address, options = {}) => {
  if (options.body instanceof FormData) {
    window.__sent = [...new Uint8Array(await options.body.get("file").arrayBuffer())];
  }
  return send(address, options);
};
"""

REFUSAL = "Failed to load resource"
"""What Chromium writes to its console for every answer of 400 and above."""


def until(page: Page, condition: str, *, seconds: float = 20.0) -> None:
    """Waits until an expression is true.

    `wait_for_function` compiles its condition inside the page, which the page's policy forbids.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"after {seconds} seconds not yet: {condition}"
        page.wait_for_timeout(50)


class Visit:
    """A context of its own with one page; `problems` is whatever the page complained about.

    `starts` lists every stretch that was played: [offset, duration] in seconds. `window.__sent`
    holds the bytes of the file that was sent last, which the browser's protocol does not tell.
    """

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        options = {
            "locale": "en-GB",
            "color_scheme": "light",
            "viewport": {"width": 1280, "height": 900},
            # Nothing moves, so nothing is waited for.
            "reduced_motion": "reduce",
            **options,
        }
        self.address = address
        self.context: BrowserContext = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.problems: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)
        self.page.add_init_script(LISTENERS)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, hash_part: str = "") -> Page:
        self.page.goto(f"{self.address}/{hash_part}")
        return self.page

    def starts(self) -> list[list[float]]:
        found: list[list[float]] = self.page.evaluate("window.__starts")
        return found

    def close(self, *, expected: str | None = None) -> None:
        """Closes the page; any complaint but one that begins as expected fails the test."""
        self.context.close()
        left = [text for text in self.problems if not (expected and text.startswith(expected))]
        assert left == []
        assert self.foreign == []


def ask_for(page: Page, item_id: str) -> None:
    page.fill("#typed-words", item_id)
    page.press("#typed-words", "Enter")
    page.wait_for_selector("#hits .hit")
    page.wait_for_selector("#found:not([aria-busy])")


def ids(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "#hits .hit", "cards => cards.map((card) => card.dataset.id)"
    )
    return found


def record(page: Page, milliseconds: int = 2200) -> None:
    page.click("#record")
    page.wait_for_selector("#ask[data-state=live]")
    page.wait_for_timeout(milliseconds)
    page.click("#record")
    page.wait_for_selector("#hits .hit")
