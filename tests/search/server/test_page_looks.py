"""The search page in both languages and themes and on a phone, in headless Chromium."""

from __future__ import annotations

import itertools
import math
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def crowded(route: Any) -> None:
    """An answer of 100 hits at 78 places close together, some of them with a whole story."""
    answer = route.fetch()
    found = answer.json()
    first = found["hits"][0]
    rng = random.Random(0)
    places = [(22 + 6 * rng.random(), 110 + 8 * rng.random()) for _ in range(78)]
    found["query"]["transcript"] = "听到 " + "x" * 2000
    found["hits"] = []
    for rank in range(1, 101):
        latitude, longitude = places[rank % 78]
        item = {**first["item"], "id": f"i{rank}", "latitude": latitude, "longitude": longitude}
        item["transcript"] = {1: "مرحبا كيف حالك", 2: "很长的话" * 400}.get(rank, "x" * 30 * rank)
        if rank == 3:
            item.update(transcript=None, text=None, translation=None, audio=None, site=None)
            item.update(latitude=None, longitude=None)
        found["hits"].append({**first, "rank": rank, "id": item["id"], "item": item})
    route.fulfill(response=answer, json=found)


@pytest.mark.parametrize(
    "visit",
    [{"viewport": {"width": width, "height": 800}, "refused": True} for width in (360, 1280, 1920)],
    ids=["360", "1280", "1920"],
    indirect=True,
)
def test_a_hundred_results_stay_readable(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    page.route("**/v1/search", crowded)
    ask_for(page, "m2-yue")
    assert page.locator("#hits .hit").count() == 100
    assert sideways(page) == []
    # No circle of the map hides another, and every result with a place is in one of them.
    dots = page.eval_on_selector_all(
        ".hit-place",
        """(places) => places.map((place) => {
          const dot = place.querySelector(".dot");
          return [+dot.getAttribute("cx"), +dot.getAttribute("cy"),
                  +place.querySelector(".count").textContent];
        })""",
    )
    assert sum(count for _, _, count in dots) == 99
    apart = [math.dist(a[:2], b[:2]) for a, b in itertools.combinations(dots, 2)]
    assert min(apart) >= 15
    # Stories are cut until their result is opened.
    tall = "(all) => all.map((each) => each.getBoundingClientRect().height)"
    assert max(page.eval_on_selector_all("#hits .hit:not(.selected) .hit-words", tall)) < 220
    assert page.locator("#heard").bounding_box()["height"] < 90
    assert page.locator("#heard").inner_text().startswith("Heard as: 听到")
    page.locator("#hits .hit").nth(1).click(position={"x": 100, "y": 12})
    page.wait_for_selector("#hits li:nth-child(2) .hit.selected")
    assert page.eval_on_selector_all("#hits .selected .hit-words", tall)[0] > 300


def test_everything_is_reached_and_named_without_a_mouse(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    page.wait_for_selector(".hear input[value=both]:enabled")
    seen, ends = [], 0
    while ends < 2 and len(seen) < 150:  # once around, from wherever the focus is
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
              const at = document.activeElement;
              const label = at.labels?.[0]?.innerText || at.getAttribute("aria-label");
              const ring = getComputedStyle(at);
              return { tag: at.tagName, id: at.id, name: (label || at.innerText || "").trim(),
                       ring: at.closest("svg") || at.matches("label *, .unseen")
                         ? "inside" : ring.outlineStyle };
            }"""
        )
        if stop["tag"] == "BODY":
            ends += 1
        else:
            seen.append(stop)
    assert [stop for stop in seen if not stop["name"]] == []
    assert [stop for stop in seen if stop["ring"] == "none"] == []
    reached = {stop["id"] for stop in seen}
    assert {"record", "file", "typed-words", "language", "theme"} <= reached


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
    page.wait_for_timeout(60)
    found = page.evaluate(CONTRASTS)
    assert found["weak"] == []
    assert len(found["dots"]) == 3
    assert min(found["dots"]) >= 3  # WCAG 1.4.11, drawings
    assert min(*found["counts"], found["names"], found["degrees"]) >= 4.5
    page.click('.chip[data-chip="cmn"]')
    page.wait_for_selector("#found:not([aria-busy])")
    page.wait_for_timeout(60)
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
