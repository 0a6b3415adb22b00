from __future__ import annotations

import base64
import io
import json
import re
import wave
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from isogloss.bench import write_report
from isogloss.bench.report_examples import wav_uri
from isogloss.corpora.audio import read_audio

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags with attributes in order; every tag that opens must close, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page_text(finished, tmp_path_factory) -> str:
    log = tmp_path_factory.mktemp("log") / "train.jsonl"
    records = [{"kind": "train", "step": s, "loss": 1 / s} for s in range(1, 900)]
    records.append({"kind": "dev", "step": 899, "cer": 0.5, "n": 3})
    lines = "".join(json.dumps(r) + "\n" for r in records) + '{"kind": "tra'
    log.write_text(lines, encoding="utf-8")
    out = tmp_path_factory.mktemp("page") / "report.html"
    path = write_report(finished.results, finished.corpus, out, train_logs={"own:exp/a": log})
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(page_text: str) -> Page:
    return Page(page_text)


def test_the_page_asks_nothing_of_the_network(page_text: str, page: Page) -> None:
    assert re.search(r"https?://|//[a-z]|@import|url\(", page_text.partition("<body>")[0]) is None
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "action", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:")
    assert "http://" not in page_text and "https://" not in page_text
    assert not page.of("link")
    policy = next(a for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy["content"]


def test_planted_cells_are_in_the_matrix(page_text: str) -> None:
    table = page_text.partition("<caption>trained (a)</caption>")[2].partition("</table>")[0]
    rows = re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', table)
    cells = {name: re.findall(r"<td[^>]*>([\d.–]+)", row) for name, row in rows}
    assert cells == {
        "Mandarin": ["–", "100.0", "50.0"],
        "Cantonese": ["100.0", "–", "50.0"],
        "Hakka": ["50.0", "50.0", "–"],
    }


def test_every_section_is_there(page: Page) -> None:
    words = " ".join(page.words)
    for wanted in (
        "Who finds whom",
        "Every ordered pair",
        "Other measures",
        "Does it ride on sound?",
        "Layer by layer",
        "Training",
        "Listen",
        "How these numbers were made",
        "66.7 %",
        "log-mel frames",
        "sound alone",
        "guessing, 25.0 %",
    ):
        assert wanted in words


def test_sound_in_the_page_is_the_sound_of_the_files(page: Page, finished) -> None:
    items = {item.id: item for item in finished.corpus.items}
    wanted = []
    for e in finished.results[0].examples:
        ids = ("query_id", "target_id") if e["right"] else ("query_id", "hit_id", "target_id")
        wanted += [e[name] for name in ids]
    players = page.of("audio")
    assert len(players) == len(wanted)
    for player, item_id in zip(players, wanted, strict=True):
        assert player["aria-label"]
        kind, _, data = player["src"].partition(",")
        assert kind == "data:audio/wav;base64"
        with wave.open(io.BytesIO(base64.b64decode(data))) as handle:
            assert (handle.getnchannels(), handle.getframerate()) == (1, 16000)
            pcm = np.frombuffer(handle.readframes(handle.getnframes()), dtype="<i2")
        assert (pcm / 32768 == read_audio(items[item_id].audio)).all()


def test_pictures_and_tables_say_what_they_are(page: Page) -> None:
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.of("svg"))
    assert all(image.get("alt") for image in page.of("img"))
    assert all("scope" in th for th in page.of("th"))
    maps = [f for f in page.of("figure") if f.get("class") == "map"]
    assert len(maps) == 3 * 1 + 3 * 2
    assert {(f["data-width"], f["data-height"], f["data-down"]) for f in maps} == {
        ("20", "20", "0.800")
    }


def test_maps_fill_their_frame_in_proportion_to_time(page: Page) -> None:
    # Query and answer last 0.8 s each, so the pictures are square.
    images, frames = page.of("image"), page.of("rect")
    assert len(images) == len(frames) == 9
    for image, frame in zip(images, frames, strict=True):
        assert image["width"] == image["height"] == frame["width"] == frame["height"]


def test_text_of_strangers_cannot_break_out(finished, tmp_path) -> None:
    nasty = '"><script>alert(1)</script>&'
    items = tuple(
        replace(item, transcript=nasty, translation=nasty + "x", speaker=nasty)
        for item in finished.corpus.items
    )
    first = finished.results[0]
    corpus = dict(first.corpus) | {"name": nasty, "source": nasty}
    results = [replace(first, corpus=corpus, encoder=f"own:{nasty}", made_by=nasty)]
    out = tmp_path / "r.html"
    write_report(results, replace(finished.corpus, items=items), out, title=nasty, note=nasty)
    text = out.read_text(encoding="utf-8")
    assert "alert(1)" in text and "<script>alert" not in text
    assert len(Page(text).of("script")) == 2


def test_without_recordings_the_page_says_so(finished, tmp_path) -> None:
    out = write_report(finished.results, None, tmp_path / "r.html")
    found = Page(out.read_text(encoding="utf-8"))
    assert found.of("audio") == []
    assert "recordings of 6 of 6 queries were not found" in " ".join(found.words).replace("\n", " ")


def test_there_must_be_results_of_one_corpus(finished, tmp_path) -> None:
    with pytest.raises(ValueError, match="no result"):
        write_report([], None, tmp_path / "r.html")
    other = replace(finished.results[1], corpus={**finished.results[1].corpus, "sha": "0"})
    with pytest.raises(ValueError, match="different corpora"):
        write_report([finished.results[0], other], None, tmp_path / "r.html")


def test_many_sites_are_shown_by_group(finished, tmp_path) -> None:
    """As for YuBao: 8 groups, more sites than a table can hold."""
    result = finished.results[0]
    cell = {"name": "R@1", "value": 0.125, "low": 0.1, "high": 0.2, "n": 50}
    groups = ["zh_standard", "zh_dialect", "min", "wuu", "hak", "yue", "hsn", "gan"]
    sites = [{"name": f"{g}_{i}", "group": g} for g in groups for i in range(4)]
    pairs = [
        dict(result.retrieval["pairs"][0])
        | {"query": a["name"], "target": b["name"]}
        | {"query_group": a["group"], "target_group": b["group"]}
        for a in sites
        for b in sites
        if a is not b
    ]
    table = {"measure": "R@1", "groups": groups, "cells": [[cell] * 8] * 8}
    retrieval = {**result.retrieval, "sets": sites, "pairs": pairs, "group_table": table}
    config = {**result.config, "by": "site"}
    planted = replace(result, retrieval=retrieval, config=config, examples=(), layers=())
    found = Page(write_report([planted], None, tmp_path / "r.html").read_text(encoding="utf-8"))
    words = " ".join(found.words)
    assert "Dialect Mandarin" in words and "Xiang" in words
    assert "32 single places are in the CSV file" in re.sub(r"\s+", " ", words)
    assert words.count("12.5") >= 64


def test_sound_outside_the_range_is_clipped() -> None:
    data = wav_uri(np.array([2.0, -2.0, 0.5], dtype=np.float32), 16000).partition(",")[2]
    with wave.open(io.BytesIO(base64.b64decode(data))) as handle:
        pcm = np.frombuffer(handle.readframes(3), dtype="<i2")
    assert pcm.tolist() == [32767, -32768, 16384]
