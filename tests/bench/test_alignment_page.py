from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from alignment_makers import Planted, parallel_texts
from isogloss.bench.alignment_page import write_alignment_page
from isogloss.bench.alignment_pictures import write_alignment_pictures
from isogloss.bench.alignment_run import default_floor, run_alignment, write_alignment
from isogloss.encoders import load_encoder
from isogloss.tasks.alignment import Alignment
from isogloss.tasks.alignment_explain import explained

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.tasks.alignment_result import AlignmentResult

pytest.importorskip("matplotlib")

TASK = Alignment(
    measures=("retrieval", "separation", "cka", "identification", "similarity"),
    bootstrap=5, permutations=19, items=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def result() -> AlignmentResult:
    return TASK.measure(parallel_texts(), Planted(), floor=load_encoder("ngram:"))


def test_numbers_page_and_pictures_are_written(result: AlignmentResult, tmp_path: Path) -> None:
    written = write_alignment(result, tmp_path / "new" / "out")
    assert [path.name for path in written] == [
        "results.json", "report.html", "layers.png", "layers.svg", "map.png", "map.svg",
        "tree.png", "tree.svg",
    ]  # fmt: skip
    told = json.loads(written[0].read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(result.to_dict()))
    assert written[2].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in written[3].read_text(encoding="utf-8")


def test_the_page_tells_every_number_with_what_misleads(
    result: AlignmentResult, tmp_path: Path
) -> None:
    page = write_alignment_page(result, tmp_path / "page.html").read_text(encoding="utf-8")
    for name in result.names("residual"):
        assert explained(name).misleads.split(",")[0] in page.replace("&#x27;", "'")
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "floor" in page and "eng to deu" in page
    for heading in ("Layer by layer", "Similarity of varieties", "Which source", "How it was made"):
        assert heading in page
    assert "nan" not in re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.S)


def test_names_from_a_corpus_cannot_break_the_page(result: AlignmentResult, tmp_path: Path) -> None:
    evil = replace(result, notes={"<script>alert(1)</script>": "<b>"})
    page = write_alignment_page(evil, tmp_path / "page.html", title="<i>x</i>").read_text()
    assert "<script>alert" not in page and "<i>x</i>" not in page


def test_pictures_are_the_same_each_time_and_places_need_places(
    result: AlignmentResult, tmp_path: Path
) -> None:
    result = replace(result, rows=tuple(row for row in result.rows if row.name == "R@1"))
    first = write_alignment_pictures(result, tmp_path / "a", map_of="places")
    second = write_alignment_pictures(result, tmp_path / "b", map_of="places")
    assert [one.read_bytes() for one in first] == [two.read_bytes() for two in second]
    similar = write_alignment_pictures(result, tmp_path / "c")
    by_name = {path.name: path.read_bytes() for path in similar}
    assert by_name["map.png"] != (tmp_path / "a" / "map.png").read_bytes()
    nowhere = {name: {**row, "latitude": None} for name, row in result.varieties.items()}
    left = write_alignment_pictures(replace(result, varieties=nowhere), tmp_path / "d",
                                    map_of="places")  # fmt: skip
    assert "map.png" not in {path.name for path in left}


def test_a_model_by_name_with_its_floor(tmp_path: Path) -> None:
    corpus = parallel_texts(("eng", "deu"), 8)
    task = replace(TASK, measures=("retrieval",))
    found, written = run_alignment("ngram:?high=2", corpus, task)
    assert written == []
    assert found.floor is not None
    itself, _ = run_alignment("ngram:", corpus, task)
    assert itself.floor is None
    without, _ = run_alignment("ngram:?high=2", corpus, task, floor=None)
    assert without.floor is None
    assert default_floor(False) == "mel:"
