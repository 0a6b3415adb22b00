from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from isogloss.tasks import check_task
from isogloss.tasks.relatedness import Relatedness, _ridge
from isogloss.tasks.sentence_pairs import (
    character_dice,
    cosines,
    edit_similarities,
    judged_pairs,
    length_ratios,
    word_dice,
)
from isogloss.types import Corpus, Item, Sequences


class Angles:
    """Texts are 'VARIETY-ANGLE': a unit vector in the plane, turned by a right angle in jpn."""

    takes_text = True
    made_by = "angles"

    def encode(self, items):
        rows = []
        for item in items:
            variety, angle = item.text.split("-")
            turned = np.deg2rad(float(angle)) + (np.pi / 2 if variety == "jpn" else 0.0)
            rows.append(np.array([[np.cos(turned), np.sin(turned)]], dtype=np.float32))
        return Sequences.from_list([i.id for i in items], rows, made_by=self.made_by)


def judged(count: int = 40, *, noise: float = 0.0) -> Corpus:
    rng = np.random.default_rng(0)
    items = []
    for number in range(count):
        angle = 90.0 * number / count
        score = 5.0 - 4.0 * number / count + noise * rng.standard_normal()
        extra = {"relatedness_eng": f"{score:.4f}", "relatedness_jpn": f"{score - 1:.4f}"}
        for side, turn in (("A", 0.0), ("B", angle)):
            for variety in ("eng", "jpn"):
                items.append(
                    Item(
                        f"{number}-{side}-{variety}",
                        variety,
                        f"{number}:{side}",
                        text=f"{variety}-{turn}",
                        split="test",
                        extra={"pair": str(number), "side": side, **extra},
                    )
                )
    return Corpus("judged", tuple(items), sha="0")


def test_an_encoder_that_orders_pairs_as_people_do_has_correlation_one() -> None:
    found = {m.name: m for m in check_task(Relatedness(bootstrap=50), judged(), Angles())}
    assert found["Spearman eng-eng unsupervised"].value == pytest.approx(1.0)
    assert found["Spearman jpn-jpn unsupervised"].value == pytest.approx(1.0)
    # The turn between the varieties puts the right order upside down on one side.
    assert found["Spearman jpn-eng unsupervised"].value == pytest.approx(-1.0)
    assert found["Spearman eng-jpn unsupervised by translation into eng"].value == pytest.approx(1)
    assert found["Spearman eng-jpn supervised"].value > 0.95
    assert found["Spearman jpn-jpn crosslingual from eng"].value > 0.95
    # Learnt from English alone, the wrong sign stays: no track may look at the judged varieties.
    assert found["Spearman jpn-eng crosslingual from eng"].value < 0
    assert found["Spearman eng-eng unsupervised"].n == 40


def test_values_are_those_of_scipy() -> None:
    corpus = judged(noise=1.0)
    found = {m.name: m for m in Relatedness(bootstrap=200).run(corpus, Angles())}
    one = found["Spearman eng-eng unsupervised"]
    gold = [float(i.extra["relatedness_eng"]) for i in corpus.items if i.id.endswith("-A-eng")]
    angles = [90.0 * n / 40 for n in range(40)]
    assert one.value == pytest.approx(spearmanr(np.cos(np.deg2rad(angles)), gold).statistic)
    assert one.low is not None and one.high is not None
    assert one.low < one.value < one.high


def test_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    x, y, asked = rng.random((30, 4)), rng.random(30), rng.random((5, 4))
    scaler = StandardScaler().fit(x)
    peer = Ridge(alpha=2.0).fit(scaler.transform(x), y)
    assert _ridge(x, y, asked, 2.0) == pytest.approx(peer.predict(scaler.transform(asked)))


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"tracks": ("unsupervised",)}, "supervised"),
        ({"pivot": None}, "by translation"),
        ({"floors": False}, "by dice"),
    ],
)
def test_options_leave_tracks_out(change: dict[str, object], gone: str) -> None:
    with_it = [m.name for m in Relatedness(bootstrap=0).run(judged(), Angles())]
    without = [m.name for m in Relatedness(bootstrap=0, **change).run(judged(), Angles())]
    assert any(f" {gone}" in name for name in with_it)
    assert not any(f" {gone}" in name for name in without)


def test_folds_penalty_and_seed_change_the_supervised_track() -> None:
    corpus = judged(noise=1.0)

    def supervised(**options: object) -> float:
        found = Relatedness(bootstrap=0, **options).run(corpus, Angles())
        return {m.name: m.value for m in found}["Spearman eng-jpn supervised"]

    values = [supervised(), supervised(folds=3), supervised(penalty=100.0), supervised(seed=7)]
    assert len({round(value, 6) for value in values}) == 4
    assert supervised(seed=7) == values[3]


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="no pair of sentences in split 'dev'"):
        Relatedness(split="dev").run(judged(), Angles())
    with pytest.raises(ValueError, match="'similarity' in extra"):
        Relatedness(label="similarity").run(judged(), Angles())
    with pytest.raises(ValueError, match="10 pairs"):
        Relatedness().run(judged(9), Angles())
    with pytest.raises(ValueError, match="tracks are some of"):
        Relatedness(tracks=("none",))
    broken = judged()
    items = tuple(
        Item(i.id, i.variety, i.meaning, text=i.text, split=i.split,
             extra={**i.extra, "relatedness_eng": "high"})
        for i in broken.items
    )  # fmt: skip
    with pytest.raises(ValueError, match="pair '0': 'relatedness' is no number"):
        Relatedness().run(Corpus("b", items), Angles())


def test_an_encoder_that_cannot_tell_pairs_apart_has_correlation_zero() -> None:
    class Same(Angles):
        def encode(self, items):
            rows = [np.ones((1, 2), np.float32) for _ in items]
            return Sequences.from_list([i.id for i in items], rows, made_by=self.made_by)

    found = {m.name: m for m in Relatedness(bootstrap=10).run(judged(), Same())}
    one = found["Spearman eng-eng unsupervised"]
    assert one.value == 0.0
    assert "predicted alike" in one.signature["undefined"]


def test_what_is_learnt_of_nothing_does_not_order_the_folds() -> None:
    # The mean of the other folds is high where a fold's own judgements are low.
    corpus = judged()
    equal = tuple(replace(i, text=f"{i.variety}-0") for i in corpus.items)
    found = Relatedness(bootstrap=0).run(Corpus("e", equal), Angles())
    assert {m.name: m.value for m in found}["Spearman eng-eng supervised"] == 0.0


def test_folds_of_two_seeds_are_dealt_apart() -> None:
    folds = [[Relatedness(seed=seed, folds=2)._fold(str(n)) for n in range(100, 300)]
             for seed in (0, 1)]  # fmt: skip
    same = np.mean(np.array(folds[0]) == np.array(folds[1]))
    assert 0.35 < same < 0.65


def test_a_pair_whose_sentence_is_blank_is_counted() -> None:
    corpus = judged(12)
    items = tuple(replace(i, text=" ") if i.id.startswith("3-B-") else i for i in corpus.items)
    pairs, left_out = judged_pairs(Corpus("c", items), "test")
    assert len(pairs) == 11
    assert left_out == {"empty text": 2, "not two sides": 1}


def test_pairs_with_one_side_are_counted() -> None:
    corpus = judged(12)
    kept = tuple(i for i in corpus.items if i.id != "3-B-eng" and i.id != "3-B-jpn")
    pairs, left_out = judged_pairs(Corpus("c", kept), "test")
    assert len(pairs) == 11
    assert left_out == {"not two sides": 1}


def test_features_by_hand() -> None:
    assert word_dice(["The cat sat", ""], ["the dog sat", ""]) == pytest.approx([4 / 6, 1.0])
    # ' ab ' has ' ab', 'ab '; ' abc ' has ' ab', 'abc', 'bc '.
    assert character_dice(["ab"], ["abc"]) == pytest.approx([2 / 5])
    assert length_ratios(["ab", ""], ["abcd", ""]) == pytest.approx([0.5, 1.0])
    assert edit_similarities(["abcd"], ["abce"]) == pytest.approx([0.75])
    a = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    assert cosines(a, np.array([[1.0, 1.0], [1.0, 0.0]], np.float32)) == pytest.approx(
        [0.5**0.5, 0]
    )
