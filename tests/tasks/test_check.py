from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isogloss.tasks import check_task
from isogloss.types import Corpus, Measurement

GOOD = Measurement("R@1", 0.5, low=0.4, high=0.6, n=10, signature={"encoder": "x"})
ENCODER: Any = SimpleNamespace(made_by="x")
CORPUS = Corpus("empty", ())


@dataclasses.dataclass(frozen=True)
class Fixed:
    found: tuple[Any, ...]

    def run(self, corpus: Corpus, encoder: Any) -> list[Any]:
        return list(self.found)


def test_a_sound_task_passes() -> None:
    assert check_task(Fixed((GOOD,)), CORPUS, ENCODER) == [GOOD]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": float("nan")}, "value is nan"),
        ({"value": 0.7}, "outside its interval"),
        ({"high": None}, "half an interval"),
        ({"n": 0}, "n is 0"),
        ({"signature": {"encoder": {1}}}, "not JSON"),
        ({"signature": {}}, "does not name the encoder"),
        ({"per_item": np.array([np.nan], np.float32)}, "per-item statistics"),
    ],
)
def test_each_fault_is_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_task(Fixed((dataclasses.replace(GOOD, **changes),)), CORPUS, ENCODER)


def test_faults_of_the_task_itself() -> None:
    with pytest.raises(ValueError, match=r"names repeat: R@1"):
        check_task(Fixed((GOOD, GOOD)), CORPUS, ENCODER)
    with pytest.raises(ValueError, match="must return measurements"):
        check_task(Fixed(()), CORPUS, ENCODER)
    with pytest.raises(ValueError, match="must return measurements"):
        check_task(Fixed((0.5,)), CORPUS, ENCODER)

    class Loose:
        calls = 0

        def run(self, corpus: Corpus, encoder: Any) -> list[Measurement]:
            self.calls += 1
            return [dataclasses.replace(GOOD, value=0.5 + self.calls / 100)]

    with pytest.raises(ValueError, match=r"frozen dataclass.*fix every seed"):
        check_task(Loose(), CORPUS, ENCODER)
