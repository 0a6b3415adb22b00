from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isogloss.corpora.readers.aligned_documents import read
from isogloss.measures.sentence_links import sentence_alignment_scores
from isogloss.tasks import check_task
from isogloss.tasks.block_costs import EditBlocks, LengthBlocks, VectorBlocks, align_documents
from isogloss.tasks.sentence_alignment import SentenceAlignment, documents_of
from isogloss.types import Corpus, Item, Sequences

DATA = Path(os.environ.get("ISOGLOSS_DATA", "../shared/data")) / "bitext-bleualign-defr"


class WordEncoder:
    """A step for each word: a random direction for each concept, whatever the language."""

    takes_text = True
    made_by = "words"

    def encode(self, items):
        arrays = []
        for item in items:
            rows = [
                np.random.default_rng(int(word[1:])).standard_normal(64)
                for word in item.text.split()
            ]
            arrays.append(np.array(rows, dtype=np.float32))
        return Sequences.from_list([i.id for i in items], arrays, made_by=self.made_by)


def planted(blocks: list[tuple[int, int]], seed: int = 0) -> Corpus:
    """A document of blocks (m, n): each has 6 concepts, dealt to m and to n sentences."""
    rng = np.random.default_rng(seed)
    items: list[Item] = []
    lines = [0, 0]
    for number, sizes in enumerate(blocks):
        words = rng.integers(0, 10**6, size=6)
        for side, (variety, size) in enumerate(zip(("deu", "fra"), sizes, strict=True)):
            for part in np.array_split(words, size) if size else []:
                # A word of its own in every sentence: no translation is exact.
                part = [*part, rng.integers(0, 10**6)]
                text = " ".join(f"{variety[0]}{word}" for word in part)
                meaning = f"b{number}" if min(sizes) else None
                extra = {"document": "one", "line": str(lines[side])}
                key = f"{variety}{lines[side]}"
                items.append(Item(key, variety, meaning, text=text, split="test", extra=extra))
                lines[side] += 1
    return Corpus("planted", tuple(items), sha="0")


MIXED = [(1, 1), (1, 2), (1, 1), (2, 1), (1, 0), (1, 1), (0, 1), (1, 1), (2, 2), (1, 1)] * 3


def test_planted_blocks_are_found_and_the_contract_is_kept() -> None:
    scores = {m.name: m for m in check_task(SentenceAlignment(), planted(MIXED), WordEncoder())}
    # Two sentences against two are found as one against one, twice, and a lonely sentence joins
    # its neighbour: right laxly alone.
    assert scores["lax F1"].value > 0.95
    assert scores["strict F1"].value > 0.6
    assert scores["strict F1 by edit"].n == scores["strict F1"].n


def test_blocks_of_one_and_two_are_found_strictly() -> None:
    corpus = planted([(1, 1), (1, 2), (1, 1), (2, 1), (1, 1), (1, 3)] * 5)
    found = SentenceAlignment(floors=False).run(corpus, WordEncoder())
    assert {m.name: m.value for m in found}["strict F1"] > 0.95


def test_sums_of_vectors_find_them_too() -> None:
    task = SentenceAlignment(blocks="sum", floors=False)
    scores = {m.name: m.value for m in task.run(planted(MIXED), WordEncoder())}
    assert scores["lax F1"] > 0.97


def test_a_long_document_is_searched_around_a_coarse_path() -> None:
    corpus = planted(MIXED * 4)
    whole = SentenceAlignment(floors=False, most=4).run(corpus, WordEncoder())
    near = SentenceAlignment(floors=False, most=4, dense=500, width=8).run(corpus, WordEncoder())
    assert [m.value for m in near] == [m.value for m in whole]


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"most": 2}),
        ({}, {"skip": 0.9}),
        ({}, {"sampled": 0}),
        ({}, {"pool": "first"}),
        ({"pool": "first"}, {"blocks": "sum"}),
    ],
)
def test_every_option_changes_something(base: dict[str, object], change: dict[str, object]) -> None:
    corpus = planted(MIXED)
    noisy = replace(
        corpus,
        items=tuple(
            replace(i, text=f"{i.text} x1 x2 x{n % 7} x{n % 5}") for n, i in enumerate(corpus.items)
        ),
    )
    plain = SentenceAlignment(floors=False, **base)
    found = [m.value for m in plain.run(noisy, WordEncoder())]
    assert [m.value for m in replace(plain, **change).run(noisy, WordEncoder())] != found


def test_documents_are_read_from_the_corpus() -> None:
    (document,) = documents_of(planted([(1, 2), (1, 0)]), "test")
    assert document.gold == (((0,), (0, 1)), ((1,), ()))
    with pytest.raises(ValueError, match="no documents in split 'dev'"):
        documents_of(planted([(1, 1)]), "dev")
    three = replace(planted([(1, 1)]), items=(*planted([(1, 1)]).items, _third()))
    with pytest.raises(ValueError, match="is in 3 varieties"):
        documents_of(three, "test")


def _third() -> Item:
    return Item("x", "ita", text="i1", split="test", extra={"document": "one", "line": "0"})


@pytest.mark.parametrize(
    ("line", "said"),
    [(None, "has the line ''"), ("two", "has the line 'two'"), ("1", "both stand in line 1")],
)
def test_lines_that_are_no_order_are_told(line: str | None, said: str) -> None:
    corpus = planted([(1, 1)] * 3)
    extra = {"document": "one", **({} if line is None else {"line": line})}
    items = (replace(corpus.items[0], extra=extra), *corpus.items[1:])
    with pytest.raises(ValueError, match=said):
        documents_of(Corpus("c", items), "test")


def test_sentences_of_one_meaning_that_the_other_side_lacks_stand_alone() -> None:
    corpus = planted([(1, 1), (2, 0)])
    items = tuple(replace(i, meaning=i.meaning or "lonely") for i in corpus.items)
    (document,) = documents_of(Corpus("c", items), "test")
    assert document.gold == (((0,), (0,)), ((1,), ()), ((2,), ()))


def test_edit_distance_looks_at_the_beginning_of_a_long_line() -> None:
    texts = ["Ein Satz", "y" * 100_000, "noch einer"]
    blocks = EditBlocks(texts, [text.upper() for text in texts])
    path = align_documents(blocks, skip=0.2, most=2, width=5, dense=10**6)
    assert path == [((n,), (n,)) for n in range(3)]


def test_leaving_alone_costs_what_a_share_of_random_pairs_does() -> None:
    rng = np.random.default_rng(0)
    sides = [["".join(rng.choice(list("abcdef"), size=n)) for n in (5, 12, 30)] for _ in range(2)]
    blocks = EditBlocks(*sides, sampled=9)
    every = [blocks.costs(1, 1, i, 1, 3) for i in (1, 2, 3)]
    assert blocks.skip_cost(0.2) == pytest.approx(np.quantile(every, 0.2))
    vectors = [[rng.standard_normal((4, 8)).astype(np.float32)] for _ in range(2)]
    by_vectors = VectorBlocks(*vectors)
    every = [by_vectors.costs(1, 1, i, 1, 4) for i in (1, 2, 3, 4)]
    assert by_vectors.skip_cost(0.2) == pytest.approx(np.quantile(every, 0.2), abs=1e-6)


def test_one_sentence_against_one() -> None:
    vectors = [np.ones((1, 4), np.float32)]
    blocks = VectorBlocks(vectors, vectors)
    assert align_documents(blocks, skip=0.2, most=2, width=5, dense=10**6) == [((0,), (0,))]


def test_lengths_alone_tell_one_from_two() -> None:
    first = ["x" * 120, "x" * 30, "x" * 80]
    second = ["y" * 60, "y" * 58, "y" * 31, "y" * 82]
    path = align_documents(LengthBlocks(first, second), skip=0.2, most=3, width=5, dense=10**6)
    assert path == [((0,), (0, 1)), ((1,), (2,)), ((2,), (3,))]


def test_edit_distance_in_chunks_is_edit_distance_row_by_row() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcd"), size=12)) for _ in range(150)]
    chunked, fresh = EditBlocks(texts, texts[::-1]), EditBlocks(texts, texts[::-1])
    for i in range(2, 150, 7):
        low, high = max(1, i - 5), min(150, i + 9)
        expected = EditBlocks(texts, texts[::-1]).costs(2, 1, i, low, high)
        assert np.array_equal(chunked.costs(2, 1, i, low, high), expected)
    assert np.isfinite(fresh.costs(1, 1, 1, 1, 150)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"most": 1}, "at least 2"), ({"blocks": "x"}, "text or sum"), ({"skip": 2.0}, "share")],
)
def test_bad_options_are_told(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SentenceAlignment(**change)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}; set ISOGLOSS_DATA")
def test_lengths_align_real_documents_about_as_well_as_gale_and_church_report() -> None:
    documents = [d for d in documents_of(read(DATA).corpus, "test") if d.name in ("test4", "test5")]
    found = {}
    for document in documents:
        lengths = LengthBlocks(*([str(item.text) for item in side] for side in document.sides))
        path = align_documents(lengths, skip=0.2, most=5, width=20, dense=10**6)
        found[document.name] = (document.gold, path)
    scores = {m.name: m.value for m in sentence_alignment_scores(found, resamples=0)}
    assert scores["lax F1"] > 0.8
