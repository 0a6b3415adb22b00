from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogloss.errors import UnknownName
from isogloss.search.mine_pairs import pairs_of
from isogloss.tasks.check import check_task
from isogloss.tasks.mining_truth import best_threshold, curve_of, judge, keys_of
from isogloss.tasks.text_mining import TextMining, nearest_of
from sentence_makers import MeaningEncoder, TableEncoder, corpus_of, parallel_corpus, sentence

_OF_PAIRS = ("margin", "found", "counted", "asker")
QUICK = TextMining(bootstrap=0, floors=())


def named(measurements):
    return {m.name: m for m in measurements}


def judged_by_hand():
    """Three sentences against three: a0-b0 and a1-b1 are right, a2 and b2 have no partner."""
    a = [sentence("eng", m) for m in ("m0", "m1", "alone")]
    b = [sentence("yue", m) for m in ("m0", "m1", "only")]
    scores = np.array([[0.9, 0.1, 0.2], [0.1, 0.6, 0.2], [0.2, 0.1, 0.8]], np.float32)
    pairs = pairs_of(nearest_of(scores, 1), nearest_of(scores.T, 1), neighbours=1, kind="absolute")
    return pairs, judge(pairs, *keys_of(a, b))


def test_rates_by_hand() -> None:
    pairs, found = judged_by_hand()
    # Best first: a0-b0 (.9, right), a2-b2 (.8, wrong), a1-b1 (.6, right).
    np.testing.assert_allclose(pairs.margin, [0.9, 0.8, 0.6], atol=1e-6)
    assert found.found.tolist() == [True, False, True]
    assert found.gold.tolist() == [True, True, False]

    def rate(threshold, measure):
        top, bottom = found.rate(threshold, measure)
        return top.sum(), bottom.sum()

    assert rate(0.85, "precision") == (1, 1) and rate(0.85, "recall") == (1, 2)
    assert rate(0.85, "f1") == (2, 1 + 2)
    assert rate(0.0, "precision") == (2, 3) and rate(0.0, "recall") == (2, 2)
    assert rate(None, "f1") == (0, 2)
    # F1 .667 at .9, .5 at .8, .8 at .6.
    assert best_threshold(found) == pytest.approx(0.6)
    # Without the last pair .9 is best, and the threshold half-way to the next.
    shorter = replace(found, **{n: getattr(found, n)[:2] for n in _OF_PAIRS})
    assert best_threshold(shorter) == pytest.approx(0.85)
    curve = curve_of({("eng", "yue"): found})
    np.testing.assert_allclose(curve, [[0.9, 1, 0.5], [0.8, 0.5, 0.5], [0.6, 2 / 3, 1]], atol=1e-6)


def test_no_right_pair_means_no_threshold() -> None:
    a, b = [sentence("eng", "m0")], [sentence("yue", "m9")]
    scores = np.ones((1, 1), np.float32)
    pairs = pairs_of(nearest_of(scores, 1), nearest_of(scores.T, 1), neighbours=1, kind="absolute")
    assert best_threshold(judge(pairs, *keys_of(a, b))) is None


def test_sentences_of_one_text_mean_the_same() -> None:
    a = [sentence("eng", "m0", "yes"), sentence("eng", "m1", "sure")]
    b = [sentence("yue", "m0", "係"), sentence("yue", "m1", "係"), sentence("yue", "m2", "唔係")]
    keys_a, keys_b = keys_of(a, b)
    assert len({*keys_a, keys_b[0], keys_b[1]}) == 1 and keys_b[2] not in keys_a


def test_further_right_pairs_count_neither_way() -> None:
    a = [sentence("eng", "m0")]
    b = [sentence("yue", "m0", "x"), replace(sentence("yue", "m0", "y"), id="second")]
    scores = np.array([[0.9, 0.8]], np.float32)
    pairs = pairs_of(
        nearest_of(scores, 2),
        nearest_of(scores.T, 2),
        neighbours=2,
        kind="absolute",
        retrieval="backward",
    )
    found = judge(pairs, *keys_of(a, b))
    assert found.found.tolist() == [True, False] and found.counted.tolist() == [True, False]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_nearest_of_pads_and_breaks_ties_by_column(k: int) -> None:
    found = nearest_of(np.array([[0.5, 0.9, 0.5]], np.float32), k)
    assert found.columns.tolist() == [([1, 0, 2] + [-1] * 5)[:k]]
    assert found.scores.shape == (1, k)


def test_a_perfect_encoder_finds_all_pairs() -> None:
    corpus = parallel_corpus("eng yue cmn", 40)
    found = named(QUICK.run(corpus, MeaningEncoder(dimensions=128)))
    assert found["F1 ratio intersection"].value == pytest.approx(1, abs=0.02)
    assert found["F1 oracle ratio intersection"].value == 1
    assert {n for n in found if ">" in n} == {
        "cmn>eng F1 ratio intersection",
        "cmn>yue F1 ratio intersection",
        "eng>yue F1 ratio intersection",
    }


def test_the_oracle_is_never_worse_and_parts_are_apart() -> None:
    corpus = parallel_corpus("eng yue", 120)
    encoder = MeaningEncoder(noise=2.0)
    task = replace(
        QUICK,
        margins=("ratio", "distance", "absolute"),
        retrievals=("intersection", "forward", "backward", "max"),
    )
    found = named(task.run(corpus, encoder))
    for name, measurement in found.items():
        if name.startswith("F1 oracle"):
            assert measurement.value >= found[name.replace("F1 oracle", "F1")].value
    assert len([n for n in found if n.startswith("F1 oracle")]) == 12
    told = found["F1 ratio max"].signature["sentences"]["eng>yue"]
    assert sum(told) < 240 and all(told)


def test_half_of_the_pairs_lose_a_side() -> None:
    corpus = parallel_corpus("eng yue", 200)
    whole = named(replace(QUICK, paired=1.0).run(corpus, MeaningEncoder()))
    half = named(QUICK.run(corpus, MeaningEncoder()))
    name = "F1 ratio intersection"
    assert whole[name].signature["sentences"]["eng>yue"][2:] == [whole[name].n] * 2
    dev_a, dev_b, test_a, test_b = half[name].signature["sentences"]["eng>yue"]
    # Of about 100 meanings in each part half keep both sides and a quarter each one of them.
    assert abs(half[name].n - whole[name].n / 2) < 20
    assert half[name].n < test_a < whole[name].n and half[name].n < test_b < whole[name].n
    assert dev_a + dev_b > 100


def test_dev_split_and_lonely_sentences_stay_in() -> None:
    items = [
        sentence(v, f"{split}{i}", split=split)
        for split in ("dev", "test")
        for v in ("eng", "yue")
        for i in range(10)
    ]
    items += [sentence("eng", f"noise{i}", split="test") for i in range(5)]
    items += [replace(sentence("yue", f"x{i}", split="test"), meaning=None) for i in range(3)]
    task = replace(QUICK, dev_split="dev", paired=1.0)
    found = named(task.run(corpus_of(items), MeaningEncoder()))["F1 ratio intersection"]
    assert found.signature["sentences"]["eng>yue"] == [10, 10, 15, 13]
    assert found.n == 10


def test_named_pairs_and_pivots() -> None:
    corpus = parallel_corpus("eng yue cmn", 40)
    found = named(replace(QUICK, pairs=("yue>cmn",)).run(corpus, MeaningEncoder()))
    assert [n for n in found if ">" in n] == ["yue>cmn F1 ratio intersection"]
    pivoted = named(replace(QUICK, pivots=("eng",)).run(corpus, MeaningEncoder()))
    assert len([n for n in pivoted if ">" in n]) == 2
    with pytest.raises(UnknownName, match="yue"):
        replace(QUICK, pairs=("yeu>cmn",)).run(corpus, MeaningEncoder())
    with pytest.raises(ValueError, match="yue>cmn"):
        replace(QUICK, pairs=("yue",)).run(corpus, MeaningEncoder())
    with pytest.raises(ValueError, match="pivots have no effect"):
        TextMining(pairs=("yue>cmn",), pivots=("eng",))


def test_a_ratio_that_is_undefined_falls_back_or_is_refused() -> None:
    corpus = parallel_corpus("eng yue", 40)
    vectors = {
        i.text: (1 if i.variety == "eng" else -1) * MeaningEncoder().encode([i]).values[0]
        for i in corpus.items
    }
    shifted = {t: v + (5.0 if t.startswith("eng") else -5.0) for t, v in vectors.items()}
    found = named(QUICK.run(corpus, TableEncoder(shifted)))["F1 ratio intersection"]
    assert found.signature["distance margin instead of ratio"] == "in 1 pairs"
    with pytest.raises(ValueError, match=r"eng>yue.*distance margin"):
        replace(QUICK, undefined="refuse").run(corpus, TableEncoder(shifted))


def test_floors_contract_and_refusals(tmp_path) -> None:
    corpus = parallel_corpus("eng yue", 40)
    task = TextMining(bootstrap=30, floors=("tfidf", "edit"), cache_dir=tmp_path)
    found = named(check_task(task, corpus, MeaningEncoder(0.3, 1.0)))
    assert {"F1 ratio intersection by tfidf", "F1 ratio intersection by edit"} <= set(found)
    assert found["F1 ratio intersection"].signature["curve"]
    bad = {i.text: [1.0, 2.0] for i in corpus.items} | {"yue m002": [np.nan, 0.0]}
    with pytest.raises(ValueError, match="m002-yue"):
        QUICK.run(corpus, TableEncoder(bad))
    with pytest.raises(ValueError, match="no two varieties with right pairs"):
        QUICK.run(corpus_of([sentence("eng", "a"), sentence("yue", "b")]), MeaningEncoder())
    with pytest.raises(UnknownName, match="max"):
        TextMining(retrievals=("mx",))
    with pytest.raises(ValueError, match="dev_split 'test' is the split"):
        TextMining(dev_split="test")
    with pytest.raises(ValueError, match="paired"):
        TextMining(paired=0.0)
