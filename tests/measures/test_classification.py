from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import accuracy_and_f1, confusion_matrix

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
GUESS = np.array([0, 0, 0, 1, 1, 1, 1, 0])


def test_by_hand() -> None:
    found = confusion_matrix(TRUTH, GUESS, 3)
    assert found.tolist() == [[3, 1, 0], [0, 2, 0], [1, 1, 0]]
    accuracy, f1 = accuracy_and_f1(TRUTH, GUESS, ["a", "b", "c"], keys=tuple("stuvwxyz"))
    assert accuracy.value == pytest.approx(5 / 8)
    # F1 of a: 6 / 8, of b: 4 / 6, of c, which is never guessed: 0.
    assert f1.value == pytest.approx((6 / 8 + 4 / 6 + 0) / 3)
    assert accuracy.signature["chance"] == 0.5
    assert accuracy.signature["items_by_class"] == [4, 2, 2]
    assert accuracy.signature["confusion"] == found.tolist()
    assert accuracy.item_keys == tuple("stuvwxyz")
    assert accuracy.per_item is not None and accuracy.per_item.sum() == 5
    for measurement in (accuracy, f1):
        assert measurement.low is not None and measurement.high is not None
        assert measurement.low <= measurement.value <= measurement.high


def test_units_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(10), 20)
    truth = np.tile([0, 1], 100)
    guess = np.where(np.isin(unit, [1, 2, 3]), 1 - truth, truth)
    del rng

    def width(**options: object) -> float:
        accuracy, _ = accuracy_and_f1(truth, guess, ["a", "b"], **options)  # type: ignore[arg-type]
        assert accuracy.low is not None and accuracy.high is not None
        return accuracy.high - accuracy.low

    alone, by_unit = width(), width(units=[unit], unit_names=["speakers"])
    assert by_unit > 2 * alone
    crossed = width(units=[unit, np.tile(np.arange(20), 10)], unit_names=["speakers", "meanings"])
    assert crossed >= 0.9 * by_unit
    assert accuracy_and_f1(truth, guess, ["a", "b"], resamples=0)[0].low is None


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="classes without items: c"):
        accuracy_and_f1(TRUTH[:6], GUESS[:6], ["a", "b", "c"])
    with pytest.raises(ValueError, match="there are 2"):
        confusion_matrix(TRUTH, GUESS, 2)
    with pytest.raises(ValueError, match="class numbers twice"):
        confusion_matrix(TRUTH, GUESS[:3], 3)
