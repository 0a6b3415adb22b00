from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogloss.tasks import check_task
from isogloss.tasks.comparable_documents import ComparableDocuments, matched_pairs
from isogloss.types import Corpus, Item, Sequences


class Concepts:
    """A random direction for the number in a text, whatever the language."""

    takes_text = True
    made_by = "concepts"

    def encode(self, items):
        rows = [
            np.random.default_rng(int(item.text[1:])).standard_normal((1, 32)).astype(np.float32)
            for item in items
        ]
        return Sequences.from_list([i.id for i in items], rows, made_by=self.made_by)


def stories(count: int = 16, pages: int = 8, *, own: int = 3) -> Corpus:
    """Stories whose pages are translations, but for `own` pages that each side has alone."""
    items = []
    for story in range(count):
        for page in range(pages):
            shared = page < pages - own
            for n, variety in enumerate(("cmn", "yue")):
                number = 1000 * story + page + (0 if shared else 500 * (n + 1) + 100_000)
                meaning = f"{story}:{page}" if shared else f"{story}:{page}{variety}"
                key = f"{story}-{page}-{variety}"
                items.append(Item(key, variety, meaning, text=f"{variety[0]}{number}"))
    return Corpus("stories", tuple(items), sha="0")


def values(task: ComparableDocuments, corpus: Corpus) -> dict[str, float]:
    return {m.name: m.value for m in task.run(corpus, Concepts())}


def test_planted_stories_and_pages_are_found() -> None:
    task = ComparableDocuments(bootstrap=50)
    found = {m.name: m for m in check_task(task, stories(), Concepts())}
    assert found["document F1 cmn-yue"].value == 1.0
    assert found["sentence F1 cmn-yue"].value == 1.0
    assert found["document F1 cmn-yue"].n == 16
    assert found["sentence F1 cmn-yue"].signature["thresholds"][0] < 0.95
    assert "sentence F1 cmn-yue by tfidf" in found


def test_the_other_direction_and_one_pair_alone() -> None:
    assert values(ComparableDocuments(pairs=("yue-cmn",), floors=False), stories()) == {
        "document F1 yue-cmn": 1.0,
        "sentence F1 yue-cmn": 1.0,
    }


def test_counts_by_hand_where_every_pair_is_taken() -> None:
    # Without a threshold to learn (no page is shared in truth), nothing is accepted.
    corpus = stories(4, 2, own=2)
    found = values(ComparableDocuments(match="all", floors=False), corpus)
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize("match", ["either", "first", "second", "all"])
def test_every_way_of_matching_runs_and_counts(match: str) -> None:
    noisy = stories(12, 6, own=1)
    found = values(ComparableDocuments(match=match, floors=False), noisy)
    assert found["document F1 cmn-yue"] > 0.9


def test_documents_named_in_extra() -> None:
    corpus = stories()
    moved = tuple(replace(i, extra={"doc": (i.meaning or "").split(":")[0]}) for i in corpus.items)
    found = values(ComparableDocuments(document="doc", floors=False), Corpus("x", moved))
    assert found["document F1 cmn-yue"] == 1.0


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="no two varieties share two documents"):
        ComparableDocuments(document="absent").run(stories(), Concepts())
    with pytest.raises(ValueError, match="no pair 'yue-nan'"):
        ComparableDocuments(pairs=("yue-nan",)).run(stories(), Concepts())
    with pytest.raises(ValueError, match="is none of both"):
        ComparableDocuments(match="any")
    with pytest.raises(ValueError, match="share two documents"):
        ComparableDocuments().run(stories(1), Concepts())


def test_a_pair_that_shares_too_little_is_refused_and_blanks_are_counted() -> None:
    corpus = stories()
    alone = Item("x", "hak", "0:0", text="h1")
    blank = Item("y", "yue", "1:9", text=" ")
    nowhere = Item("z", "yue", None, text="y1")
    more = Corpus("c", (*corpus.items, alone, blank, nowhere))
    with pytest.raises(ValueError, match="'cmn-hak' share fewer than two documents"):
        ComparableDocuments(pairs=("cmn-yue", "cmn-hak")).run(more, Concepts())
    found = ComparableDocuments(pairs=("cmn-yue",), floors=False).run(more, Concepts())
    assert found[0].signature["left_out"] == {"empty text": 1, "no document": 1}


def test_halves_of_two_seeds_are_dealt_apart() -> None:
    noisy = stories(10, 6, own=2)

    def thresholds(seed: int) -> list[float]:
        task = ComparableDocuments(seed=seed, floors=False, bootstrap=0, match="all")
        return task.run(noisy, Concepts())[1].signature["thresholds"]

    # Two halves that are merely swapped have the same two thresholds.
    assert len({tuple(sorted(thresholds(seed))) for seed in range(6)}) > 1


def test_matched_pairs_by_hand() -> None:
    scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.0]])
    assert np.argwhere(matched_pairs(scores, "both")).tolist() == [[0, 0]]
    assert np.argwhere(matched_pairs(scores, "first")).tolist() == [[0, 0], [1, 0], [2, 0]]
    assert np.argwhere(matched_pairs(scores, "second")).tolist() == [[0, 0], [1, 1]]
    assert matched_pairs(scores, "either").sum() == 4
    assert matched_pairs(scores, "all").all()
    assert matched_pairs(np.zeros((0, 3)), "both").shape == (0, 3)
