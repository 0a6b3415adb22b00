from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isogloss.errors import IsoglossError, UnknownName
from isogloss.scores.seqsim import seqsim
from isogloss.search.mine import MiningSettings, mine
from isogloss.search.mine_blocks import blocks_of, joined, mine_block, read_block, write_block
from isogloss.search.mine_files import summary_of, summary_path, write_mined
from isogloss.search.mine_gold import Gold
from isogloss.search.mine_sides import IndexSide, SequenceSide, VectorSide
from isogloss.search.store import Filter
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VectorSettings
from isogloss.types import Sequences, Vectors
from search_mining_makers import items_of, planted_sequences, planted_sides

SMALL = MiningSettings(block_items=16, threshold=-10.0)


def gold_of(a: Vectors, b: Vectors, shared: int) -> Gold:
    return Gold(
        {id: f"m{i}" if i < shared else f"a only {i}" for i, id in enumerate(a.ids)},
        {id: f"m{i}" if i < shared else f"b only {i}" for i, id in enumerate(b.ids)},
    )


def pairs_in(mined: Any) -> list[tuple[str, str]]:
    return [
        (mined.ids_a[i], mined.ids_b[j]) for i, j in zip(mined.pairs.a, mined.pairs.b, strict=True)
    ]


def test_planted_vectors_are_found(tmp_path: Path) -> None:
    a, b, shared = planted_sides(0, first=120, second=90, shared=60, noise=0.3)
    mined = mine(VectorSide(a), VectorSide(b), tmp_path, gold=gold_of(a, b, shared))
    assert mined.truth is not None and mined.honest is not None
    assert (mined.truth.precision or 0) > 0.95
    assert (mined.truth.recall or 0) > 0.9
    assert (mined.honest.f1 or 0) > 0.85
    assert mined.estimate.low is not None and mined.estimate.high is not None
    assert mined.estimate.low <= (mined.truth.precision or 0) <= mined.estimate.high
    assert {"threshold", "pairs", "estimated_precision", "precision", "recall"} == set(
        mined.curve[0]
    )
    assert mined.signature["a"]["similarity"] == "cosine"


def test_planted_sequences_are_found_with_the_scores_of_seqsim(tmp_path: Path) -> None:
    a, b = planted_sequences(0)
    mined = mine(SequenceSide(a), SequenceSide(b), tmp_path, settings=SMALL)
    right = {(x, y) for x, y in pairs_in(mined) if x[1:] == y[1:] and int(x[1:]) < 12}
    assert len(right) == 12
    assert np.allclose(mined.pairs.score, seqsim(a, b)[mined.pairs.a, mined.pairs.b], atol=1e-6)


def test_the_size_of_a_block_changes_nothing(tmp_path: Path) -> None:
    a, b, _ = planted_sides(1, first=70, second=50, shared=30)
    sides = VectorSide(a, center=True), VectorSide(b, center=True)
    found = [
        mine(
            *sides,
            tmp_path / str(n),
            settings=dataclasses.replace(SMALL, block_items=n, margin="distance"),
        )
        for n in (7, 1000)
    ]
    assert pairs_in(found[0]) == pairs_in(found[1])
    assert np.array_equal(found[0].pairs.margin, found[1].pairs.margin)


def test_blocks_done_anywhere_in_any_order_are_the_same(tmp_path: Path) -> None:
    a, b = planted_sequences(1)
    here = mine(SequenceSide(a), SequenceSide(b), tmp_path / "here", settings=SMALL)

    def elsewhere(first: Any, second: Any, blocks: Any, folder: Path) -> Any:
        for block in reversed(blocks):
            fresh = SequenceSide(a), SequenceSide(b)
            write_block(folder, block, mine_block(*fresh, block, 4))
            yield block

    there = mine(
        SequenceSide(a), SequenceSide(b), tmp_path / "there", settings=SMALL, work=elsewhere
    )
    assert summary_of(here) == summary_of(there)
    assert np.array_equal(here.pairs.margin, there.pairs.margin)


def test_blocks_cover_both_sides_once(tmp_path: Path) -> None:
    blocks = blocks_of(5, 3, 2)
    spans = [(b.direction, b.start, b.stop) for b in blocks]
    assert spans == [
        ("forward", 0, 2),
        ("forward", 2, 4),
        ("forward", 4, 5),
        ("backward", 0, 2),
        ("backward", 2, 3),
    ]
    with pytest.raises(ValueError, match="at least 1"):
        blocks_of(5, 3, 0)
    with pytest.raises(IsoglossError, match="missing or damaged"):
        joined(tmp_path, blocks)


def test_a_file_that_was_cut_is_done_again(tmp_path: Path) -> None:
    a, b, _ = planted_sides(2, first=40, second=40, shared=20)
    sides = VectorSide(a), VectorSide(b)
    whole = mine(*sides, tmp_path, settings=SMALL)
    block = blocks_of(40, 40, 16)[1]
    path = tmp_path / block.file_name
    path.write_bytes(path.read_bytes()[:100])
    assert read_block(tmp_path, block) is None
    again = mine(*sides, tmp_path, settings=SMALL)
    assert np.array_equal(whole.pairs.margin, again.pairs.margin)


def test_work_of_another_job_is_refused(tmp_path: Path) -> None:
    a, b, _ = planted_sides(3, first=20, second=20, shared=10)
    mine(VectorSide(a), VectorSide(b), tmp_path, settings=SMALL)
    with pytest.raises(IsoglossError, match="another job"):
        mine(VectorSide(b), VectorSide(a), tmp_path, settings=SMALL)
    # Margin, retrieval and threshold do not change the blocks.
    other = dataclasses.replace(SMALL, margin="absolute", retrieval="max", threshold="auto")
    assert len(mine(VectorSide(a), VectorSide(b), tmp_path, settings=other).pairs)


KILLED = """
import sys, time
from pathlib import Path
import isogloss.search.mine_blocks as blocks
import isogloss.search.mine as mine_module
from search_mining_makers import planted_sides
from isogloss.search.mine import MiningSettings, mine
from isogloss.search.mine_files import write_mined
from isogloss.search.mine_sides import VectorSide

a, b, _ = planted_sides(4, first=60, second=60, shared=30)
real = mine_module.write_block
def slow(*arguments):
    time.sleep(float(sys.argv[2]))
    real(*arguments)
mine_module.write_block = slow
settings = MiningSettings(block_items=4, threshold=-10.0)
out = Path(sys.argv[1])
write_mined(mine(VectorSide(a), VectorSide(b), out / "work", settings=settings), out / "pairs.tsv")
"""


def test_a_job_that_is_killed_goes_on_to_the_same_files(tmp_path: Path) -> None:
    def started(out: Path, seconds: float) -> subprocess.Popen[bytes]:
        tests = str(Path(__file__).resolve().parents[1])
        code = f"import sys; sys.path.insert(0, {tests!r})\n" + textwrap.dedent(KILLED)
        return subprocess.Popen([sys.executable, "-c", code, str(out), str(seconds)])

    out = tmp_path / "killed"
    for wanted in (5, 15):
        process = started(out, 0.02)
        deadline = time.monotonic() + 60
        while len(list((out / "work").glob("*.npz"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "pairs.tsv").exists()
    assert started(out, 0).wait() == 0
    assert started(tmp_path / "whole", 0).wait() == 0
    for name in ("pairs.tsv", "pairs.tsv.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_indexes_are_mined_by_their_search(tmp_path: Path) -> None:
    a, b, _ = planted_sides(5, first=50, second=60, shared=30, noise=0.3)
    settings = VectorSettings(graph="none", center=False)
    built = [
        VectorIndex.build(tmp_path / name, side, items_of(side.ids), settings=settings)
        for name, side in (("a", a), ("b", b))
    ]
    by_index = mine(IndexSide(built[0]), IndexSide(built[1]), tmp_path / "w", settings=SMALL)
    exactly = mine(VectorSide(a), VectorSide(b), tmp_path / "v", settings=SMALL)
    assert pairs_in(by_index) == pairs_in(exactly)
    assert np.allclose(by_index.pairs.margin, exactly.pairs.margin, atol=1e-5)


def test_two_varieties_of_one_index(tmp_path: Path) -> None:
    a, b, _ = planted_sides(6, first=30, second=30, shared=30, noise=0.2)
    both = Vectors(a.ids + b.ids, np.concatenate([a.values, b.values]), a.made_by)
    items = items_of(a.ids, "cmn") + items_of(b.ids, "yue")
    index = VectorIndex.build(tmp_path / "i", both, items, settings=VectorSettings(center=False))
    index.delete([a.ids[0]])
    sides = [IndexSide(index, filter=Filter(varieties=(code,))) for code in ("cmn", "yue")]
    assert len(sides[0].ids) == 29
    mined = mine(sides[0], sides[1], tmp_path / "w", settings=SMALL)
    right = [(x, y) for x, y in pairs_in(mined) if x[1:] == y[1:]]
    assert len(right) >= 27
    with pytest.raises(UnknownName):
        IndexSide(index, filter=Filter(varieties=("hak",)))


def test_sides_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    a, b, _ = planted_sides(7, first=10, second=10, shared=5)
    other = Vectors(b.ids, b.values, "another")
    with pytest.raises(ValueError, match="encode both with one encoder"):
        mine(VectorSide(a), VectorSide(other), tmp_path)
    with pytest.raises(ValueError, match="centre both or neither"):
        mine(VectorSide(a, center=True), VectorSide(b), tmp_path)
    twice = Vectors((b.ids[0],) * 10, b.values, b.made_by)
    with pytest.raises(ValueError, match="every item would find itself"):
        mine(VectorSide(a), VectorSide(Vectors(a.ids, a.values.copy(), a.made_by)), tmp_path)
    with pytest.raises(ValueError, match="9 ids of one side repeat"):
        mine(VectorSide(a), VectorSide(twice), tmp_path)
    sequences, _ = planted_sequences(0)
    same = Sequences(sequences.ids, sequences.values, sequences.offsets, 0.04, a.made_by)
    with pytest.raises(ValueError, match="similarity"):
        mine(VectorSide(a), SequenceSide(same), tmp_path)
    with pytest.raises(ValueError, match="no vector"):
        VectorSide(Vectors((), np.zeros((0, 3), np.float32)))
    empty = Sequences(("x",), np.zeros((0, 3), np.float32), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="item 'x' has no steps"):
        SequenceSide(empty)


def test_a_side_smaller_than_the_neighbourhood(tmp_path: Path) -> None:
    a, b, _ = planted_sides(8, first=2, second=1, shared=1, noise=0.01)
    mined = mine(
        VectorSide(a),
        VectorSide(b),
        tmp_path,
        settings=dataclasses.replace(SMALL, margin="distance"),
    )
    assert pairs_in(mined) == [("a0000", "b0000")]


def test_no_threshold_reaches_an_impossible_precision(tmp_path: Path) -> None:
    a, b, _ = planted_sides(9, first=60, second=60, shared=0)
    gold = Gold({a.ids[0]: "x"}, {b.ids[5]: "x"}, complete=True)
    settings = MiningSettings(threshold="precision", precision=0.99)
    mined = mine(VectorSide(a), VectorSide(b), tmp_path, settings=settings, gold=gold)
    assert mined.threshold is None
    assert len(mined.pairs) == 0 < mined.candidates
    assert mined.estimate.precision is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "at least 1"),
        ({"margin": "rato"}, "ratio"),
        ({"retrieval": "both"}, "retrieval"),
        ({"threshold": "best"}, "threshold"),
        ({"threshold": float("nan")}, "finite"),
        ({"precision": 0.0}, "precision"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MiningSettings(**options)


def test_files_say_what_was_found(tmp_path: Path) -> None:
    a, b, _ = planted_sides(10, first=20, second=20, shared=15, noise=0.2)
    mined = mine(VectorSide(a), VectorSide(b), tmp_path / "w", settings=SMALL)
    write_mined(mined, tmp_path / "p.tsv")
    write_mined(mined, tmp_path / "p.jsonl")
    lines = (tmp_path / "p.tsv").read_text().splitlines()
    assert lines[0] == "id_a\tid_b\tmargin\tscore\trank_forward\trank_backward\ttied"
    objects = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert len(objects) == len(lines) - 1 == len(mined.pairs)
    assert lines[1].split("\t")[:2] == [objects[0]["id_a"], objects[0]["id_b"]]
    summary = json.loads(summary_path(tmp_path / "p.tsv").read_text())
    assert summary["pairs"] == len(mined.pairs)
    odd = dataclasses.replace(mined, ids_a=("tab\there", *a.ids[1:]))
    with pytest.raises(ValueError, match=r"\.jsonl"):
        write_mined(odd, tmp_path / "odd.tsv")
    write_mined(odd, tmp_path / "odd.jsonl")
