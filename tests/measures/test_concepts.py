from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import calign, colap, concept_matches

LEXICON = {word: frozenset({word.upper()}) for word in "abcdefgh"}
SOURCE = [(0, "a"), (0, "b"), (0, "c"), (0, "a"), (1, "d"), (1, "e"), (1, "f"), (2, "g")]


def test_clusters_that_translate_each_other() -> None:
    target = [(5, "A"), (5, "B"), (5, "X"), (9, "D"), (9, "Y"), (9, "Z")]
    shares, source, there = concept_matches(SOURCE, target, LEXICON)
    assert shares == pytest.approx(np.array([[2 / 3, 0], [0, 1 / 3], [0, 0]]))
    assert source.tolist() == [3, 3, 1]
    assert there.tolist() == [3, 3]
    found = calign((shares, source, there), match=0.5, least_types=3)
    assert (found.share, found.left_out) == (0.5, 1)
    assert found.hits.tolist() == [True, False]
    assert calign((shares, source, there), match=0.3).share == 1.0


def test_identical_clusterings_align_and_a_higher_threshold_never_raises_the_share() -> None:
    target = [(cluster, word.upper()) for cluster, word in SOURCE]
    matches = concept_matches(SOURCE, target, LEXICON)
    assert calign(matches, match=1.0, least_types=1).share == 1.0
    rng = np.random.default_rng(0)
    mixed = concept_matches(SOURCE, [(int(rng.integers(3)), w) for _, w in target], LEXICON)
    curve = [calign(mixed, match=m, least_types=1).share for m in (0.1, 0.4, 0.7, 1.0)]
    assert curve == sorted(curve, reverse=True)


def test_one_huge_cluster_does_not_translate_everything() -> None:
    huge = [(0, word.upper()) for word in "abcdefgh"] + [(0, f"w{i}") for i in range(92)]
    matches = concept_matches(SOURCE, huge, LEXICON)
    assert calign(matches, match=1.0, least_size_ratio=0.0).share == 1.0
    assert calign(matches, match=1.0, least_size_ratio=0.1).share == 0.0
    # The other way round as well: a tiny target is no translation of a large source.
    tiny = concept_matches([(0, w) for w in "abcdefgh"], [(3, "A")], LEXICON)
    assert calign(tiny, match=0.1, least_size_ratio=0.5).share == 0.0


def test_colap_by_hand() -> None:
    clusters = np.array([0] * 10 + [1] * 10 + [2] * 3)
    second = np.array([True] * 4 + [False] * 6 + [True] * 1 + [False] * 9 + [True] * 3)
    found = colap(clusters, second, overlap=0.3, least_tokens=5)
    assert (found.share, found.left_out) == (0.5, 1)
    assert colap(clusters, second, overlap=0.4).share == 0.5
    assert colap(clusters, second, overlap=0.5).share == 0.0
    assert colap(clusters, second, overlap=0.1).share == 1.0


def test_nothing_to_judge_is_nan() -> None:
    assert np.isnan(calign(concept_matches(SOURCE, [], LEXICON), least_types=9).share)
    assert calign(concept_matches(SOURCE, [], LEXICON)).share == 0.0
    assert np.isnan(colap(np.array([0]), np.array([True])).share)


def test_thresholds_out_of_range() -> None:
    matches = concept_matches(SOURCE, [], LEXICON)
    for wrong in ({"match": 0.0}, {"least_types": 0}, {"least_size_ratio": 2.0}):
        with pytest.raises(ValueError, match="must be"):
            calign(matches, **wrong)  # type: ignore[arg-type]
    for wrong in ({"overlap": 0.6}, {"least_tokens": 0}):
        with pytest.raises(ValueError, match="must be"):
            colap(np.zeros(3, int), np.zeros(3, bool), **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected"):
        colap(np.zeros(3, int), np.zeros(2, bool))


def test_matches_are_those_counted_one_by_one() -> None:
    rng = np.random.default_rng(2)
    words = "abcdefghij"
    source = [(int(rng.integers(5)), words[rng.integers(10)]) for _ in range(60)]
    target = [(int(rng.integers(6)) * 3, words[rng.integers(10)].upper()) for _ in range(40)]
    lexicon = {
        word: frozenset(words[i].upper() for i in rng.integers(0, 10, 2)) for word in words[:8]
    }
    shares, sizes, _ = concept_matches(source, target, lexicon)
    for i, one in enumerate(sorted({cluster for cluster, _ in source})):
        types = {word for cluster, word in source if cluster == one}
        assert sizes[i] == len(types)
        for j, other in enumerate(sorted({cluster for cluster, _ in target})):
            there = {word for cluster, word in target if cluster == other}
            found = sum(bool(lexicon.get(word, frozenset()) & there) for word in types)
            assert shares[i, j] == found / len(types)
