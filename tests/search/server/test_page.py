"""The search page in headless Chromium, against the real server: from a word to its places."""

from __future__ import annotations

import base64
import io
import re
import wave
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("numba", reason="the extra 'search' is not installed")

from page_browser import Visit, ask_for, ids, record, until
from page_makers import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page


def test_every_script_is_read_without_an_error(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    names = _static_names()
    loaded = page.evaluate(
        """async (names) => {
          const read = [];
          for (const name of names) {
            if (name !== "recorder_worklet.js") await import(`/static/${name}`);
            read.push(name);
          }
          return read;
        }""",
        names,
    )
    assert loaded == names
    assert len(names) >= 18


def _static_names() -> list[str]:
    from isogloss.search.server.page_files import page_files

    return sorted(name for name in page_files() if name.endswith(".js"))


def test_the_microphone_finds_what_was_said(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    page.click("#record")
    page.wait_for_selector("#ask[data-state=live]")
    assert page.get_attribute("#record", "aria-label") == "Stop recording and search"
    until(page, "document.querySelector('#timer').innerText >= '0:01.6'")
    assert re.fullmatch(r"0:0\d\.\d", page.inner_text("#timer"))
    page.click("#record")
    page.wait_for_selector("#hits .hit")
    assert ids(page)[0] == "m2-yue"
    assert "your recording" in page.inner_text("#results-title")
    # The announcement for screen readers names the best result.
    assert "Cantonese" in page.inner_text("#live")
    # The take can be heard again, and its pauses are gone: 0.8 s were said.
    page.click("#listen")
    until(page, "window.__starts.length === 1")
    assert 0.7 < visit.starts()[0][1] < 1.5


def test_what_is_sent_is_a_wav_of_16_khz(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    record(page, 1000)
    with wave.open(io.BytesIO(bytes(page.evaluate("window.__sent")))) as sent:
        assert (sent.getframerate(), sent.getnchannels(), sent.getsampwidth()) == (16000, 1, 2)
        assert 0.3 < sent.getnframes() / 16000 < 1.7


def test_an_encoder_of_text_is_asked_in_writing_alone(visit: Visit) -> None:
    def as_of_text(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "accepts": ["item", "text"]})

    visit.page.route("**/v1/info", as_of_text)
    page = visit.open()
    page.wait_for_selector("#typed:not([hidden])")
    page.wait_for_selector("#filters .chip")
    assert page.is_hidden("#record")
    assert page.is_hidden("#file")
    assert page.inner_text("#ask-title") == "Write it. Find who means the same."
    assert page.input_value("#typed-kind") == "text"


def test_a_recording_can_be_cancelled(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    page.click("#record")
    page.wait_for_selector("#ask[data-state=live]")
    page.click("#cancel")
    page.wait_for_selector("#ask[data-state=idle]")
    assert page.is_hidden("#found")


def test_a_file_is_searched_with(visit: Visit, page_folder: Path) -> None:
    page = visit.open()
    page.set_input_files("#file", page_folder / "corpus" / "audio" / "m1-hak.wav")
    page.wait_for_selector("#hits .hit")
    assert ids(page)[0] == "m1-hak"
    assert "m1-hak.wav" in page.inner_text("#results-title")


def test_a_dropped_file_is_searched_with(visit: Visit, page_folder: Path) -> None:
    page = visit.open()
    page.wait_for_selector("#filters .chip")
    sound = base64.b64encode(
        (page_folder / "corpus" / "audio" / "m1-hak.wav").read_bytes()
    ).decode()
    page.evaluate(
        """(sound) => {
          const bytes = Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0));
          const carried = new DataTransfer();
          carried.items.add(new File([bytes], "dropped.wav", { type: "audio/wav" }));
          const drop = (kind) => document.body.dispatchEvent(
            new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
          drop("dragenter"); drop("dragover"); drop("drop");
        }""",
        sound,
    )
    page.wait_for_selector("#hits .hit")
    assert ids(page)[0] == "m1-hak"


def test_an_example_starts_a_search(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#examples .example")
    # One of each place, and none whose recording the index does not name.
    assert page.locator("#examples .example").count() == 3
    page.locator("#examples .example").first.press("Enter")
    page.wait_for_selector("#hits .hit")
    assert page.is_hidden("#examples")


def test_results_say_rank_score_variety_site_and_words(visit: Visit) -> None:
    page = visit.open()
    with page.expect_response("**/v1/search") as answered:
        ask_for(page, "m2-cmn")
    best = answered.value.json()["hits"][0]
    first = page.locator("#hits .hit").first
    assert first.get_attribute("data-id") == best["id"]
    assert first.locator(".rank").inner_text() == "1"
    assert first.locator(".score-number").inner_text() == f"{best['score']:.3f}"
    said = {"cmn": "Mandarin Chinese", "yue": "Cantonese", "hak": "Hakka Chinese"}
    assert first.locator(".variety").inner_text() == said[best["item"]["variety"]]
    assert first.locator(".transcript").inner_text() == best["item"]["transcript"]
    assert first.locator(".transcript").get_attribute("lang") == best["item"]["variety"]
    # A site is written without the marks of the corpus; a translation that differs is shown.
    ask_for(page, "m0-cmn")
    page.select_option("#count", "20")
    until(page, "document.querySelectorAll('#hits .hit').length === 12")
    card = page.locator('.hit[data-id="m2-yue"]')
    assert card.locator(".site").inner_text() == "广东 · 广州"
    assert card.locator(".translation").inner_text() == "二四六"
    assert page.locator('.hit[data-id="m2-hak"] .unsaid').inner_text() == "No transcript"


def test_equal_scores_are_marked_as_tied(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    tied = page.eval_on_selector_all(
        "#hits .hit:has(.tied)", "cards => cards.map((card) => card.dataset.id)"
    )
    assert sorted(tied) == ["m0-cmn", "twin/0 & co"]
    # An id with a slash, a space and an ampersand is an id like others.
    page.locator('.hit[data-id="twin/0 & co"]').click(position={"x": 200, "y": 10})
    page.wait_for_selector('.hit[data-id="twin/0 & co"][aria-current=true]')
    page.wait_for_selector(".similarity-body:not([hidden])")


def test_markup_in_a_transcript_is_shown_as_text(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m0-cmn")
    assert page.locator('.hit[data-id="m1-yue"] .transcript').inner_text() == HOSTILE
    assert page.evaluate("window.hacked") is None
    assert page.locator("#hits img, #hits script").count() == 0


def test_the_filter_asks_for_these_varieties_alone_and_keeps_the_keyboard(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    assert page.locator(".chip .chip-count").all_inner_texts() == ["5", "4", "4"]
    page.focus('.chip[data-chip="hak"]')
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#hits .hit').length === 4")
    assert all(name.endswith("-hak") for name in ids(page))
    assert page.evaluate("document.activeElement.dataset.chip") == "hak"
    assert page.get_attribute('.chip[data-chip="hak"]', "aria-pressed") == "true"
    page.select_option("#count", "5")
    page.click('.chip[data-chip=""]')
    until(page, "document.querySelectorAll('#hits .hit').length === 5")


def test_the_address_holds_the_search(visit: Visit, chromium: Browser, page_address: str) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    page.click('.chip[data-chip="cmn"]')
    until(page, "document.querySelectorAll('#hits .hit').length === 5")
    page.locator("#hits .hit").nth(1).click(position={"x": 200, "y": 10})
    page.click("#language")
    shared = page.evaluate("location.hash")
    wanted = page.evaluate("document.querySelector('[aria-current=true]').dataset.id")
    other = Visit(chromium, page_address)
    there = other.open(shared)
    there.wait_for_selector("[aria-current=true]")
    assert ids(there) == ids(page)
    assert there.evaluate("document.documentElement.lang") == "zh-Hans"
    assert there.evaluate("document.querySelector('[aria-current=true]').dataset.id") == wanted
    other.close()


def test_keys_move_open_and_play(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    page.focus("#results-title")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.id") == ids(page)[0]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    second = ids(page)[1]
    assert page.evaluate("document.activeElement.dataset.id") == second
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector(f'.hit[data-id="{second}"][aria-current=true]')
    page.keyboard.press("Space")
    page.wait_for_selector(f'.hit[data-id="{second}"] .playing')
    page.keyboard.press("Space")
    page.wait_for_selector(f'.hit[data-id="{second}"] .hit-sound:not(.playing)')
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.id") == ids(page)[-1]
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.id") == ids(page)[0]


def test_the_map_shows_places_and_opens_their_best(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#map .place")
    assert page.locator("#map .place").count() == 3
    ask_for(page, "m2-yue")
    assert page.locator("#map .hit-place").count() == 3
    assert page.locator("#map .hit-place.selected .name").text_content() == "承德市 · 滦平县"
    counts = [int(text) for text in page.locator("#map .count").all_text_contents()]
    assert sum(counts) == len(ids(page))
    north = page.locator('#map .hit-place[data-place="40.9,117.3"]')
    south = page.locator('#map .hit-place[data-place="23.1,113.3"]')
    assert (north.bounding_box() or {})["y"] < (south.bounding_box() or {})["y"]
    north.focus()
    page.keyboard.press("Enter")
    until(
        page,
        "document.querySelector('#hits [aria-current=true]').dataset.id.endsWith('cmn')"
        " || document.querySelector('#hits [aria-current=true]').dataset.id.startsWith('twin')",
    )


def similarity_of(page: Page, act: Callable[[], None]) -> dict[str, Any]:
    with page.expect_response(re.compile(r"/similarity/")) as answered:
        act()
    found: dict[str, Any] = answered.value.json()
    page.wait_for_selector(".similarity-body:not([hidden])")
    return found


def test_the_similarity_map_reads_as_the_server_says(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    second = page.locator("#hits .hit").nth(1)
    found = similarity_of(page, lambda: second.click(position={"x": 200, "y": 10}))
    shown = page.locator(".numbers strong").all_inner_texts()
    assert shown == [f"{found[key]:.3f}" for key in ("precision", "recall", "score")]
    assert shown[2] == second.locator(".score-number").inner_text()
    levels = base64.b64decode(found["cosines"])
    page.focus(".plot")
    page.keyboard.press("ArrowDown")  # the cursor appears at the first cell
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    level = levels[1 * found["columns"] + 10]
    cosine = found["low"] + level / 255 * (found["high"] - found["low"])
    text = page.inner_text("#readout").replace("-0.00", "0.00")
    assert text == f"query 0.04 s · result 0.40 s · cosine {cosine:.2f}".replace("-0.00", "0.00")


def test_higher_cosines_are_lighter(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    found = similarity_of(
        page, lambda: page.locator("#hits .hit").nth(1).click(position={"x": 200, "y": 10})
    )
    page.uncheck(".marks input")
    levels = base64.b64decode(found["cosines"])
    wanted = sorted({levels.index(max(levels)), levels.index(min(levels)), 7, 95, 123})
    light = page.evaluate(
        """([cells, rows, columns]) => {
          const canvas = document.querySelector(".plot canvas");
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          // The plot starts 62 pixels from the left and 26 from the top, and ends 4 from the right
          // and 66 from the bottom.
          const [width, height] = [canvas.width - 66, canvas.height - 26 - 66];
          return cells.map((cell) => {
            const x = Math.floor(62 + ((cell % columns) + 0.5) * (width / columns));
            const y = Math.floor(26 + (Math.floor(cell / columns) + 0.5) * (height / rows));
            const [r, g, b] = pixels.data.subarray((y * canvas.width + x) * 4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          });
        }""",
        [wanted, found["rows"], found["columns"]],
    )
    order = sorted(range(len(wanted)), key=lambda i: levels[wanted[i]])
    assert sorted(range(len(wanted)), key=lambda i: light[i]) == order


def test_a_click_plays_the_moment_of_both(visit: Visit) -> None:
    page = visit.open()
    ask_for(page, "m2-yue")
    page.wait_for_selector(".hear input[value=both]:enabled")
    page.locator(".plot").scroll_into_view_if_needed()
    box = page.locator(".plot canvas").bounding_box() or {}
    page.mouse.click(box["x"] + 62 + (box["width"] - 66) * 0.5, box["y"] + 26 + 60)
    page.wait_for_selector('.plot[data-playing="row"]')
    page.wait_for_selector('.plot[data-playing="column"]')
    page.wait_for_selector('.plot[data-playing=""]')
    query, result = visit.starts()
    assert query[1] <= 0.6 and result == pytest.approx([0.1, 0.6], abs=0.05)
    # The margin of an axis plays that side alone, whatever is chosen.
    page.mouse.click(box["x"] + 62 + 40, box["y"] + box["height"] - 50)
    until(page, "window.__starts.length === 3")
    # From the keyboard: Q is the query, R the result.
    page.focus(".plot")
    page.keyboard.press("q")
    page.wait_for_selector('.plot[data-playing="row"]')
    # A drag plays the stretch that was drawn.
    page.mouse.move(box["x"] + 70, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 62 + (box["width"] - 66) * 0.999, box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_selector('.plot[data-playing="column"]')
    assert visit.starts()[-1] == pytest.approx([0.0, 0.8], abs=0.05)
