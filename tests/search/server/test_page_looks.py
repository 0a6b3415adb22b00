"""The search page in both languages and themes and on a phone, in headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("numba", reason="the extra 'search' is not installed")

from page_browser import ask_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from page_browser import Visit

TESTS = Path(__file__).resolve().parents[2]


def sideways(page: Page) -> list[str]:
    """Elements that stick out of the window, but those in a row that is scrolled by itself."""
    found: list[str] = page.evaluate(
        """() => [...document.body.querySelectorAll("*")].filter((each) => {
          if (each.closest(".chips, .unseen, .skip, svg")) return false;
          const box = each.getBoundingClientRect();
          return box.width > 0 && (box.right > innerWidth + 0.5 || box.left < -0.5);
        }).map((each) => `${each.tagName} ${each.className} ${each.id}`)"""
    )
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("the page scrolls sideways")
    return found


def test_all_words_change_with_the_language(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    page.click("#language")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.locator("#hits .variety").first.inner_text() == "官话"
    assert page.get_attribute("#record", "aria-label") == "录一句话来检索"
    text = page.inner_text("main")
    left = [
        word
        for word in ("Search", "Results", "Play", "query", "Listen", "Choose", "Filter", "Score")
        if re.search(rf"\b{word}\b", text)
    ]
    assert left == []
    # The choice is kept.
    page.reload()
    page.wait_for_selector("#filters .chip")
    assert page.inner_text("#language") == "English"


@pytest.mark.parametrize("visit", [{"locale": "zh-CN"}], indirect=True)
def test_a_chinese_browser_gets_chinese(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.inner_text("h1") == "说一句话，找到说同样意思的人"


def test_the_theme_is_switched_and_kept(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    page.wait_for_selector("#filters .chip")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert page.get_attribute("#theme", "aria-label") == "Switch to the light theme"


CONTRASTS = (TESTS / "page_contrast.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "visit", [{}, {"color_scheme": "dark"}], ids=["light", "dark"], indirect=True
)
def test_everything_can_be_read(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    assert page.evaluate(CONTRASTS)["weak"] == []
    ask_for(page, "m2-yue")
    page.wait_for_selector(".similarity-body:not([hidden])")
    page.wait_for_timeout(400)
    found = page.evaluate(CONTRASTS)
    assert found["weak"] == []
    assert len(found["dots"]) == 3
    assert min(found["dots"]) >= 3  # WCAG 1.4.11, drawings
    assert min(*found["counts"], found["names"], found["degrees"]) >= 4.5
    page.click('.chip[data-chip="cmn"]')
    page.wait_for_selector("#found:not([aria-busy])")
    page.wait_for_timeout(400)
    assert page.evaluate(CONTRASTS)["weak"] == []


@pytest.mark.parametrize(
    "visit",
    [
        {"viewport": {"width": 360, "height": 720}, "locale": locale, "has_touch": True}
        for locale in ("en-GB", "zh-CN")
    ],
    ids=["en", "zh"],
    indirect=True,
)
def test_a_phone_needs_no_scrolling_sideways(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    assert sideways(page) == []
    # m3-hak is among the results: its translation has 300 characters without a space.
    ask_for(page, "m3-hak")
    assert sideways(page) == []
    # The comparison opens below its result.
    page.locator("#hits .hit").nth(1).tap(position={"x": 150, "y": 20})
    page.wait_for_selector("#hits li:nth-child(2) .similarity-body:not([hidden])")
    page.wait_for_selector(".hear input[value=both]:enabled")
    assert sideways(page) == []
