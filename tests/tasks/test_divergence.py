from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from isogloss.corpora.jsonl import write_corpus
from isogloss.tasks import check_task
from isogloss.tasks.divergence import Divergence
from isogloss.tasks.divergence_ranker import area_under_curve, best_threshold
from isogloss.tasks.synthetic_divergence import KINDS, synthetic_divergences
from isogloss.tasks.token_differences import best_cosines, spelling_differences, token_vectors
from isogloss.types import Corpus, Item, Sequences

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [f"{n}" for n in range(400)]


class Concepts:
    """A step a word: 'e17' and 'f17' are one random direction."""

    takes_text = True
    made_by = "concepts"
    tells_words = True

    def encode(self, items):
        arrays, numbers = [], []
        for item in items:
            words = item.words or item.text.split()
            rows = [
                np.random.default_rng(int(word[1:])).standard_normal(48).astype(np.float32)
                for word in words
            ]
            arrays.append(np.array(rows))
            numbers += list(range(len(words)))
        found = Sequences.from_list([i.id for i in items], arrays, made_by=self.made_by)
        return replace(found, words=np.array(numbers) if self.tells_words else None)


def pair(number: int, concepts: list[int], kind: str, rng: np.random.Generator) -> list[Item]:
    other = list(concepts)
    marks = [[0] * len(concepts), [0] * len(concepts)]
    if kind == "some":
        for place in rng.permutation(len(concepts))[:3]:
            other[place] = int(rng.integers(400, 800))
            marks[0][place] = marks[1][place] = 3
    elif kind == "unrelated":
        other = rng.integers(400, 800, size=len(concepts)).tolist()
        marks = [[2] * len(concepts), [2] * len(concepts)]
    extra = {
        "pair": str(number),
        "label": kind,
        "rationale_A": " ".join(map(str, marks[0])),
        "rationale_B": " ".join(map(str, marks[1])),
    }
    sides = []
    for side, variety, letter, own in (("A", "eng", "e", concepts), ("B", "fra", "f", other)):
        words = tuple(f"{letter}{n}" for n in own)
        sides.append(
            Item(f"{number}-{side}", variety, f"{number}{side}", text=" ".join(words), words=words,
                 split="test", extra={**extra, "side": side})
        )  # fmt: skip
    return sides


def judged(count: int = 90) -> Corpus:
    rng = np.random.default_rng(0)
    items: list[Item] = []
    for number in range(count):
        concepts = rng.integers(0, 400, size=int(rng.integers(8, 14))).tolist()
        items += pair(number, concepts, ("equivalent", "some", "unrelated")[number % 3], rng)
    return Corpus("judged", tuple(items), sha="0")


def values(task: Divergence, corpus: Corpus, encoder: object | None = None) -> dict[str, float]:
    return {m.name: m.value for m in task.run(corpus, encoder or Concepts())}


def test_planted_divergences_are_told_of_sentences_and_of_words() -> None:
    task = Divergence(bootstrap=20)
    found = {m.name: m.value for m in check_task(task, judged(), Concepts())}
    assert found["AUC divergent"] > 0.98
    assert found["AUC some"] > 0.97
    assert found["AUC unrelated"] == 1.0
    assert found["F1 divergent"] > 0.9
    assert found["F1 divergent by saying yes"] == pytest.approx(2 * (60 / 90) / (1 + 60 / 90))
    assert found["ranking accuracy unrelated"] == 1.0
    assert found["ranking accuracy deletion"] > 0.9
    assert found["F1 words eng"] == 1.0
    assert found["Spearman words fra"] > 0.8


def test_words_that_the_encoder_does_not_tell_are_read_alone() -> None:
    silent = Concepts()
    silent.tells_words = False
    assert values(Divergence(bootstrap=0), judged(), silent)["F1 words eng"] == 1.0
    items = judged(3).items
    alone, told = (token_vectors(items, encoder) for encoder in (silent, Concepts()))
    assert all(np.allclose(a, b) for a, b in zip(alone, told, strict=True))


def test_seeds_of_ones_own_are_learnt_from(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    items = []
    for number in range(30):
        for item in pair(number, rng.integers(0, 400, size=9).tolist(), "equivalent", rng):
            items.append(replace(item, meaning=str(number), extra={}, split="train"))
    write_corpus(Corpus("seeds", tuple(items)), tmp_path / "seeds.jsonl")
    task = Divergence(bootstrap=0, seeds=str(tmp_path / "seeds.jsonl"))
    found = task.run(judged(), Concepts())
    assert {m.name: m.value for m in found}["AUC divergent"] > 0.95
    assert found[0].signature["seeds"].endswith("seeds.jsonl")


def test_no_rationales_no_words() -> None:
    names = list(values(Divergence(bootstrap=0, rationales=()), judged()))
    assert not any("words" in name for name in names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"equivalent": ("nothing",)}, "tells no equivalent from divergent"),
        ({"label": "absent"}, "'absent' of 0 pairs"),
        ({"varieties": ("eng", "deu")}, "of 0 pairs"),
        ({"folds": 1}, "at least 2"),
        ({"varieties": ("eng",)}, "two codes"),
        ({"rationales": ("a",)}, "two names"),
    ],
)
def test_bad_input_is_told(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Divergence(**change).run(judged(30), Concepts())


def test_a_step_that_is_no_number_is_told_with_its_item() -> None:
    class Broken(Concepts):
        def encode(self, items):
            found = super().encode(items)
            broken = found.values.copy()
            for n, item in enumerate(items):
                if item.id == "7-B":
                    broken[found.offsets[n]] = np.nan
            return replace(found, values=broken)

    with pytest.raises(ValueError, match="item '7-B' holds NaN"):
        Divergence(bootstrap=0).run(judged(30), Broken())


def test_words_are_kept_in_a_cache(tmp_path: Path) -> None:
    calls = []

    class Counting(Concepts):
        def encode(self, items):
            calls.append(len(items))
            return super().encode(items)

    task = Divergence(bootstrap=0, cache_dir=tmp_path)
    first = values(task, judged(60), Counting())
    asked = sum(calls)
    # An unchanged side of a synthetic pair is the seed itself and is not read again.
    assert asked <= 2 * 60 + 3 * 20
    assert values(task, judged(60), Counting()) == first
    assert sum(calls) == asked


def test_seeds_deal_other_folds() -> None:
    first, second = (
        Divergence(bootstrap=0, seed=seed, rationales=()).run(judged(60), Concepts())[0]
        for seed in (0, 1)
    )
    assert first.name == "AUC divergent"
    assert not np.allclose(first.per_item, second.per_item)


def test_the_same_sentence_twice_and_one_without_text_are_counted() -> None:
    corpus = judged(60)
    again = replace(corpus.items[0], id="again")
    blank = replace(corpus.items[-1], text=" ", words=())
    found = Divergence(bootstrap=0).run(Corpus("c", (*corpus.items[:-1], again, blank)), Concepts())
    left_out = found[0].signature["left_out"]
    assert left_out["another item of its pair, side and variety"] == 1
    assert left_out["empty text"] == 1
    assert left_out["not two sides"] == 1


def test_intervals_of_words_resample_pairs() -> None:
    found = {m.name: m for m in Divergence(bootstrap=200).run(judged(60), Concepts())}
    for name in ("Spearman words eng by spelling", "F1 words fra by spelling"):
        one = found[name]
        assert one.low is not None and one.high is not None
        assert one.low <= one.value <= one.high
    assert found["F1 words fra by saying yes"].low < found["F1 words fra by saying yes"].high


def test_a_rationale_of_another_length_is_refused() -> None:
    corpus = judged(60)
    first = corpus.items[0]
    items = (replace(first, extra={**first.extra, "rationale_A": "0 1"}), *corpus.items[1:])
    with pytest.raises(ValueError, match="pair '0': 2 rationales for"):
        Divergence(bootstrap=0).run(Corpus("c", items), Concepts())


def test_synthetic_pairs_do_not_depend_on_their_neighbours() -> None:
    items = judged(30).items
    pairs = list(zip(items[::2], items[1::2], strict=True))
    made = synthetic_divergences(pairs)
    assert [one.kind for one in made[:4]] == list(KINDS)
    again = {(one.first.id, one.second.id): one for one in synthetic_divergences(pairs[::-1])}
    for one in made:
        if one.kind == "deletion":
            assert again[one.first.id, one.second.id].first.text == one.first.text
            changed = min(one.first.text, one.second.text, key=len).split()
            whole = max(pairs[one.seed][0].text, pairs[one.seed][1].text, key=len).split()
            assert 0 < len(changed) < len(whole)
    assert synthetic_divergences(pairs, seed=1) != made
    with pytest.raises(ValueError, match="two translations of 4 words"):
        synthetic_divergences(pairs[:1])


def test_text_without_blanks_is_cut_between_characters() -> None:
    a = Item("a", "yue", text="我今日好開心呀")
    b = Item("b", "cmn", text="我今天很高兴啊")
    made = synthetic_divergences([(a, b), (replace(b, id="c"), replace(a, id="d"))])
    assert all(" " not in (one.first.text or "") + (one.second.text or "") for one in made)


SCORES = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40)


@settings(max_examples=30)
@given(SCORES)
def test_the_area_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([float(s) for s, _ in rows])
    truth = np.array([float(t) for _, t in rows])
    if len(set(truth)) == 2:
        assert area_under_curve(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    else:
        assert area_under_curve(scores, truth) == 0.5


@given(SCORES)
def test_no_threshold_has_a_better_f1(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([float(s) for s, _ in rows])
    truth = np.array([float(t) for _, t in rows])
    if not truth.any():
        return

    def f1(limit: float) -> float:
        said = scores > limit
        return 2 * (said * truth).sum() / max(1, said.sum() + truth.sum())

    limit = best_threshold(scores, truth)
    assert f1(limit) == pytest.approx(max(f1(t) for t in [-1.0, *np.unique(scores)]))


def test_best_cosines_by_hand() -> None:
    a = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    b = np.array([[3.0, 0.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    first, second = best_cosines(a, b)
    assert first == pytest.approx([1.0, 0.5**0.5])
    assert second == pytest.approx([1.0, 0.5**0.5, 0.0])
    # ' ab ' has ' a', 'ab', 'b '; ' ac ' shares the first.
    assert spelling_differences(["ab"], ["ac", "ab"])[1] == pytest.approx([2 / 3, 0.0])
