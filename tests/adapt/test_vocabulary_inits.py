"""Initial embeddings against closed forms: planted maps, planted neighbours, sparsemax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isogloss.adapt.sparsemax import sparsemax
from isogloss.adapt.vocabulary_inits import Vocabularies, first_guess
from isogloss.errors import UnknownName

RNG = np.random.default_rng(0)
OLD = RNG.normal(2.0, 3.0, size=(40, 6)).astype(np.float32)
SHARED = {i: i + 5 for i in range(30)}
KNOWN = Vocabularies(32, SHARED, {30: [1, 3], 31: []})


@settings(max_examples=60)
@given(arrays.arrays(np.float64, (1, 5), elements=st.floats(-3, 3)), st.floats(-5, 5))
def test_sparsemax_is_the_nearest_point_of_the_simplex(
    scores: np.ndarray[tuple[int, int], np.dtype[np.float64]], added: float
) -> None:
    weights = sparsemax(scores)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(sparsemax(scores + added), weights, atol=1e-9)
    # Optimality: scores less weights are equal on the support and no larger off it.
    rest = (scores - weights)[0]
    on = weights[0] > 0
    assert np.ptp(rest[on]) < 1e-9
    assert (rest[~on] <= rest[on].max() + 1e-9).all()


def test_sparsemax_by_hand() -> None:
    np.testing.assert_allclose(sparsemax(np.array([[3.0, 0.0]])), [[1.0, 0.0]])
    np.testing.assert_allclose(sparsemax(np.array([[0.5, 0.0]])), [[0.75, 0.25]])
    np.testing.assert_allclose(sparsemax(np.array([[0.2, 0.2, 0.2]])), [[1 / 3] * 3])
    np.testing.assert_allclose(sparsemax(np.array([[-7.0]])), [[1.0]])
    with pytest.raises(ValueError, match="finite"):
        sparsemax(np.array([[np.inf, 0.0]]))


def test_shared_tokens_are_copied_and_pieces_averaged() -> None:
    guess = first_guess("fvt", OLD, KNOWN)
    for new, old in SHARED.items():
        np.testing.assert_array_equal(guess.values[new], OLD[old])
    np.testing.assert_allclose(guess.values[30], OLD[[1, 3]].mean(axis=0), rtol=1e-6)
    assert guess.counts == {"copied": 30, "mean of pieces": 1, "drawn": 1}


def test_what_is_drawn_has_the_spread_of_the_old() -> None:
    guess = first_guess("random", OLD, Vocabularies(4000, {}, {}))
    np.testing.assert_allclose(guess.values.mean(axis=0), OLD.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(guess.values.std(axis=0), OLD.std(axis=0), rtol=0.1)


def _helper_of_planted_map(rotate: bool) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """True new embeddings, and a helper's that a linear map leads there."""
    new = RNG.normal(2.0, 3.0, size=(32, 6))
    new[:30] = OLD[5:35]
    matrix = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    if not rotate:
        matrix = matrix @ np.diag([3.0, 1.0, 0.5, 2.0, 1.0, 4.0])
    return new, (new @ matrix).astype(np.float32)


def test_sava_finds_a_planted_map() -> None:
    new, helper = _helper_of_planted_map(rotate=False)
    guess = first_guess("sava", OLD, KNOWN, helper=helper, ridge=1e-9)
    # The helper's mean is over its own tokens, the old mean over the old: the map carries slopes.
    slopes = guess.values[30] - guess.values[31]
    np.testing.assert_allclose(slopes, new[30] - new[31], atol=0.15 * np.abs(new).max())
    assert guess.counts == {"copied": 30, "sava": 2}


def test_sava_with_all_tokens_shared_but_one_recovers_it() -> None:
    # Same tokens, same statistics: standardised spaces differ by the map alone.
    known = Vocabularies(40, {i: i for i in range(39)}, {39: []})
    matrix = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    spread = OLD.std(axis=0)
    standard = (OLD - OLD.mean(axis=0)) / spread
    white = standard @ np.linalg.inv(np.linalg.cholesky(standard.T @ standard / 40)).T
    helper = (white @ matrix).astype(np.float32)
    for name in ("sava", "sava-orthogonal"):
        guess = first_guess(name, OLD, known, helper=helper, ridge=1e-9)
        if name == "sava":
            np.testing.assert_allclose(guess.values[39], OLD[39], atol=1e-3)
        old_white = (white * spread + OLD.mean(axis=0)).astype(np.float32)
        if name == "sava-orthogonal":
            guess = first_guess(name, old_white, known, helper=helper)
            np.testing.assert_allclose(guess.values[39], old_white[39], atol=0.2)


def test_clp_weighs_by_positive_cosines() -> None:
    known = Vocabularies(4, {0: 0, 1: 1, 2: 2}, {3: []})
    helper = np.array([[1, 0], [0, 1], [-1, 0], [3, 4]], dtype=np.float32)
    # Cosines of (3, 4)/5 with the three: 0.6, 0.8, -0.6.
    guess = first_guess("clp", OLD, known, helper=helper)
    np.testing.assert_allclose(guess.values[3], (0.6 * OLD[0] + 0.8 * OLD[1]) / 1.4, rtol=1e-5)
    soft = first_guess("clp-softmax", OLD, known, helper=helper, temperature=0.1)
    weights = np.exp(np.array([6.0, 8.0, -6.0]))
    expected = weights @ OLD[:3] / weights.sum()
    np.testing.assert_allclose(soft.values[3], expected, rtol=1e-4)
    opposite = np.array([[1, 0], [1, 0], [1, 0], [-1, 0]], dtype=np.float32)
    guess = first_guess("clp", OLD, known, helper=opposite)
    np.testing.assert_allclose(guess.values[3], OLD[:3].mean(axis=0), rtol=1e-5)


def test_unibridge_takes_its_ways_in_order() -> None:
    old_space = np.zeros((40, 4), dtype=np.float32)
    old_space[:4] = np.eye(4)
    new_space = np.zeros((8, 4), dtype=np.float32)
    new_space[0], new_space[1] = [1, 0, 0, 0], [0, 1, 0, 0]  # shared
    new_space[3] = [0, 0, 1, 0]  # mutual neighbour of old 2
    new_space[4] = [1, 1, 0, 0]  # nearest is taken by 0 and 1 in the old space? no: see below
    new_space[5] = [0, 0, 0.9, 0.1]  # its nearest, old 2, prefers 3
    known = Vocabularies(
        8, {0: 0, 1: 1}, {i: [] for i in range(2, 8)}, {2: 7}, (old_space, new_space)
    )
    guess = first_guess("unibridge", OLD, known)
    np.testing.assert_array_equal(guess.values[2], OLD[7])
    np.testing.assert_array_equal(guess.values[3], OLD[2])
    # 4 is the nearest open token of old 0 and its nearest is old 0: mutual.
    np.testing.assert_array_equal(guess.values[4], OLD[0])
    assert guess.counts == {
        "copied": 2,
        "equal but for case": 1,
        "mutual neighbours": 2,
        "sparsemax": 1,
        "drawn": 2,
    }
    unit = new_space[[0, 1, 3, 4]] / np.linalg.norm(new_space[[0, 1, 3, 4]], axis=1, keepdims=True)
    asked = new_space[5] / np.linalg.norm(new_space[5])
    weights = sparsemax((unit @ asked)[None])[0]
    expected = weights @ guess.values[[0, 1, 3, 4]]
    np.testing.assert_allclose(guess.values[5], expected, rtol=1e-5)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UnknownName, match="fvt"):
        first_guess("ftv", OLD, KNOWN)
    broken = OLD.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        first_guess("fvt", broken, KNOWN)
    with pytest.raises(ValueError, match=r"\(32, H\); got \(3, 2\)"):
        first_guess("clp", OLD, KNOWN, helper=np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="two shared tokens"):
        first_guess("clp", OLD, Vocabularies(3, {0: 0}, {}), helper=np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="static spaces"):
        first_guess("unibridge", OLD, KNOWN)
    spaces = (np.ones((2, 2), np.float32), np.ones((32, 2), np.float32))
    with pytest.raises(ValueError, match="do not fit"):
        first_guess("unibridge", OLD, Vocabularies(32, SHARED, {}, {}, spaces))
