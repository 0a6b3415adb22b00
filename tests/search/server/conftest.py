"""For the tests of the page: the real server over a small index, and Chromium with a microphone.

Each lasts for one file of tests: playwright keeps an event loop running, beside which the other
tests here could not start theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from page_browser import REFUSAL, Visit, chromium_path, launch, with_microphone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Playwright


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium_path()
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page_built(page_folder: Path) -> Path:
    from page_makers import page_index

    return page_index(page_folder)


@pytest.fixture(scope="module")
def page_address(page_built: Path) -> Iterator[str]:
    from isogloss.search.server.settings import ServeSettings
    from page_makers import UPLOAD_BYTES, serving

    with serving(page_built, settings=ServeSettings(max_upload_bytes=UPLOAD_BYTES)) as found:
        yield found


@pytest.fixture(scope="module")
def playwright_started() -> Iterator[Playwright]:
    chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(playwright_started: Playwright, page_folder: Path) -> Iterator[Browser]:
    from page_makers import microphone_wav

    opened = launch(
        playwright_started, *with_microphone(microphone_wav(page_folder / "microphone.wav"))
    )
    yield opened
    opened.close()


@pytest.fixture
def visit(chromium: Browser, page_address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visit in English and light; the mark `refused` says that refusals are part of the test."""
    options: dict[str, Any] = getattr(request, "param", {})
    refused = options.pop("refused", False) if options else False
    made = Visit(chromium, page_address, **options)
    yield made
    made.close(expected=REFUSAL if refused else None)
