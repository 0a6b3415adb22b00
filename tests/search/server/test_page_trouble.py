"""The search page when something is wrong, in headless Chromium against the real server."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("numba", reason="the extra 'search' is not installed")

from isogloss.search.server.settings import ServeSettings
from page_browser import REFUSAL, Visit, ask_for, launch, until, with_microphone
from page_makers import UPLOAD_BYTES, serving
from serve_makers import TextEncoder, TinyEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, Playwright

    from isogloss.types import Item, Sequences


@pytest.mark.parametrize("visit", [{"refused": True}], indirect=True)
def test_the_server_s_own_words_are_shown_with_the_request_id(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#typed:not([hidden])")
    page.fill("#typed-words", "no-such-item")
    with page.expect_response("**/v1/search") as answered:
        page.press("#typed-words", "Enter")
    page.wait_for_selector("#notice:not([hidden])")
    told = page.inner_text("#notice")
    assert answered.value.json()["error"]["message"] in told
    assert answered.value.headers["x-request-id"] in told
    assert page.get_attribute("#notice", "role") == "alert"
    page.click("#notice .quiet-button:last-child")
    assert page.is_hidden("#notice")


@pytest.mark.parametrize("visit", [{"refused": True}], indirect=True)
def test_files_that_are_no_sound_too_large_or_empty_are_refused(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    large = {"name": "l.wav", "mimeType": "audio/wav", "buffer": b"x" * (UPLOAD_BYTES + 1)}
    page.set_input_files("#file", large)
    page.wait_for_selector("#notice:not([hidden])")
    assert "at most 0.4 MB" in page.inner_text("#notice")
    page.set_input_files("#file", {"name": "e.wav", "mimeType": "audio/wav", "buffer": b""})
    until(page, "document.querySelector('#notice').innerText.includes('empty')")
    page.set_input_files(
        "#file", {"name": "n.wav", "mimeType": "audio/wav", "buffer": b"noise" * 99}
    )
    page.wait_for_selector("#notice .request-id")
    assert page.is_hidden("#found")


@pytest.mark.parametrize("visit", [{"refused": True}], indirect=True)
def test_a_lost_server_is_named_and_asked_again(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#typed:not([hidden])")
    page.route("**/v1/search", lambda route: route.abort())
    page.fill("#typed-words", "m2-yue")
    page.press("#typed-words", "Enter")
    page.wait_for_selector("#notice:not([hidden])")
    assert "does not answer" in page.inner_text("#notice")
    page.unroute("**/v1/search")
    page.click("#notice .quiet-button:first-child")
    page.wait_for_selector("#hits .hit")
    assert page.is_hidden("#notice")


@pytest.mark.parametrize("visit", [{"refused": True}], indirect=True)
def test_a_sound_that_is_gone_is_said_and_the_map_stays(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m0-cmn")
    page.locator('.hit[data-id="m1-yue"]').focus()
    page.keyboard.press("Enter")
    page.wait_for_selector('.hit[data-id="m1-yue"][aria-current=true]')
    page.wait_for_selector(".similarity-body:not([hidden])")
    page.keyboard.press("Space")
    page.wait_for_selector("#notice:not([hidden])")
    page.wait_for_selector(".hear input[value=both]:disabled")
    page.wait_for_selector(".hear input[value=query]:enabled")


def test_a_search_can_be_cancelled(chromium: Browser, page_built: Path, page_folder: Path) -> None:
    with serving(page_built, encoder=TinyEncoder(wait_seconds=0.8)) as slow:
        visit = Visit(chromium, slow)
        page = visit.open()
        page.wait_for_selector("#filters .chip")
        page.set_input_files("#file", page_folder / "corpus" / "audio" / "m1-hak.wav")
        page.wait_for_selector("#ask[data-state=busy]")
        page.click("#cancel")
        page.wait_for_selector("#ask[data-state=idle]")
        page.wait_for_timeout(1100)
        assert page.is_hidden("#found")
        visit.close()


def test_a_token_is_asked_for_and_kept_in_this_tab_alone(
    chromium: Browser, page_built: Path
) -> None:
    with serving(page_built, settings=ServeSettings(token="open-sesame")) as guarded:
        visit = Visit(chromium, guarded)
        page = visit.open()
        page.wait_for_selector("#token-form:not([hidden])")
        page.fill("#token", "wrong-token")
        page.press("#token", "Enter")
        page.wait_for_selector("#notice:not([hidden])")
        assert "did not accept" in page.inner_text("#notice")
        page.fill("#token", "open-sesame")
        page.press("#token", "Enter")
        page.wait_for_selector("#filters .chip")
        ask_for(page, "m2-yue")
        # Sounds need the token as well.
        page.wait_for_selector(".hear input[value=both]:enabled")
        assert page.evaluate("Object.values(localStorage).join()").count("sesame") == 0
        assert "sesame" not in page.url
        page.reload()
        page.wait_for_selector("#hits .hit")
        visit.close(expected=REFUSAL)


class UntimedText(TextEncoder):
    """A character of text is a step without a time."""

    def encode(self, items: Sequence[Item]) -> Sequences:
        found = super().encode(items)
        return replace(found, step_seconds=None) if items[0].text else found


def test_text_is_asked_for_where_the_encoder_takes_it(chromium: Browser, page_built: Path) -> None:
    with serving(page_built, encoder=UntimedText()) as reading:
        visit = Visit(chromium, reading)
        page = visit.open()
        page.wait_for_selector("#typed:not([hidden])")
        page.select_option("#typed-kind", "text")
        ask_for(page, "三五")
        assert "“三五”" in page.inner_text("#results-title")
        page.wait_for_selector(".similarity-body:not([hidden])")
        page.focus(".plot")
        page.keyboard.press("ArrowDown")
        # Steps of a text have no time.
        assert page.inner_text("#readout").startswith("query step 1 · result 0.00 s")
        # A text has no sound: only the result can be heard.
        page.wait_for_selector(".hear input[value=result]:enabled")
        assert page.is_disabled(".hear input[value=query]")
        visit.close(expected=REFUSAL)


@pytest.mark.parametrize(
    ("arguments", "host", "words"),
    [
        (("--use-fake-device-for-media-stream", "--deny-permission-prompts"), None, "is blocked"),
        (("--use-fake-ui-for-media-stream",), None, "No microphone was found"),
        (("--host-resolver-rules=MAP plain.test 127.0.0.1",), "plain.test", "only over https"),
    ],
    ids=["denied", "no device", "insecure"],
)
def test_why_the_microphone_does_not_open(
    playwright_started: Playwright,
    page_address: str,
    arguments: tuple[str, ...],
    host: str | None,
    words: str,
) -> None:
    browser = launch(playwright_started, *arguments)
    if host:
        page_address = page_address.replace("127.0.0.1", host)
    visit = Visit(browser, page_address)
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    page.click("#record")
    page.wait_for_selector("#notice:not([hidden])")
    assert words in page.inner_text("#notice")
    assert page.get_attribute("#ask", "data-state") == "idle"
    # Chromium remarks that a header has no effect over plain http.
    visit.close(expected="The Cross-Origin-Opener-Policy header has been ignored")
    browser.close()


def test_silence_and_too_short_a_take_are_said(
    playwright_started: Playwright, page_address: str, page_folder: Path
) -> None:
    import numpy as np

    from makers import write_wav

    quiet = write_wav(page_folder / "quiet.wav", np.zeros(160_000, np.float32))
    browser = launch(playwright_started, *with_microphone(quiet))
    visit = Visit(browser, page_address)
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    page.click("#record")
    page.wait_for_selector("#ask[data-state=live]")
    page.wait_for_timeout(500)
    page.click("#record")
    page.wait_for_selector("#notice:not([hidden])")
    assert "only silence" in page.inner_text("#notice")
    visit.close()
    browser.close()


def test_pages_and_scripts_come_with_a_policy_that_allows_only_this_server(
    page_address: str,
) -> None:
    with urllib.request.urlopen(f"{page_address}/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        tag = answer.headers["ETag"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    again = urllib.request.Request(f"{page_address}/", headers={"If-None-Match": tag})
    with pytest.raises(urllib.error.HTTPError) as unchanged:
        urllib.request.urlopen(again)
    assert unchanged.value.code == 304
    unchanged.value.close()
