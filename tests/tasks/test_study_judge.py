from __future__ import annotations

import numpy as np
import pytest

from isogloss.adapt import make_transform
from isogloss.errors import IsoglossError
from isogloss.tasks.study_judge import HeldVectors, hits_of, judge_items, paired_gain
from isogloss.tasks.study_repair_arms import ALL_TRANSFORMS, REPAIRS, repair_arms
from isogloss.tasks.study_scripts import similarities
from isogloss.types import Item, Vectors

MEANINGS = 24


def items_of(*varieties: str) -> list[Item]:
    return [
        Item(f"{variety}-{m}", variety, meaning=f"m{m}", text=f"{variety} {m}")
        for variety in varieties
        for m in range(MEANINGS)
    ]


def vectors_of(items: list[Item], noise: float, seed: int = 0) -> Vectors:
    draw = np.random.default_rng(seed)
    of_meaning = {f"m{m}": draw.normal(size=8) for m in range(MEANINGS)}
    rows = [of_meaning[str(item.meaning)] + noise * draw.normal(size=8) for item in items]
    return Vectors(tuple(item.id for item in items), np.array(rows, dtype=np.float32), "planted")


def test_vectors_that_are_alike_are_found_and_unrelated_ones_are_not() -> None:
    items = items_of("eng", "deu")
    same = judge_items(vectors_of(items, 0.0), items)
    other = judge_items(vectors_of(items, 50.0), items)
    assert same["numbers"]["R@1"] == 1.0
    assert same["numbers"]["xSIM"] == 0.0
    assert same["numbers"]["cosine matched"] == pytest.approx(1.0, abs=1e-6)
    assert same["pairs"]["eng>deu"]["R@1"] == 1.0
    assert other["numbers"]["R@1"] < 0.3
    assert same["hits"]["eng>deu"] == "1" * MEANINGS


def test_a_gain_is_the_mean_difference_over_the_same_meanings() -> None:
    items = items_of("eng", "deu")
    good = [judge_items(vectors_of(items, 0.0), items)] * 2
    bad = [judge_items(vectors_of(items, 50.0, seed), items) for seed in (1, 2)]
    gain = paired_gain(good, bad)
    assert gain is not None
    below = np.mean([one["numbers"]["R@1"] for one in bad])
    assert gain.difference == pytest.approx(1.0 - below, abs=1e-6)
    assert gain.low <= gain.difference <= gain.high
    nothing = paired_gain(good, good)
    assert nothing is not None and nothing.difference == 0.0


def test_hits_of_other_items_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="judged on different items"):
        hits_of([{"hits": {"a>b": "01"}}, {"hits": {"a>b": "0"}}])


def test_what_a_transform_was_fitted_on_is_not_judged() -> None:
    items = items_of("eng", "deu")
    vectors = vectors_of(items, 1.0)
    fitted = make_transform("center").fit(
        vectors,
        varieties=[item.variety for item in items],
        meanings=[item.meaning for item in items],
    )
    with pytest.raises(IsoglossError, match="fitted on"):
        judge_items(vectors, items, transform=fitted)


def test_held_vectors_are_given_by_id() -> None:
    items = items_of("eng")
    held = HeldVectors(vectors_of(items, 0.0))
    found = held.encode([items[3], items[1]])
    assert found.ids == (items[3].id, items[1].id)
    assert np.array_equal(found[0][0], held.vectors.values[3])
    with pytest.raises(IsoglossError, match="no vector of item 'x'"):
        held.encode([Item("x", "eng", text="x")])


def test_similarities_of_the_three_settings_by_hand() -> None:
    """Originals of two varieties at a right angle, transliterations the same in both."""
    items, rows = [], []
    for variety, axis in (("srp", 0), ("srp-latn", 1)):
        for m in range(2):
            for view in ("", "::transliterated"):
                items.append(Item(f"{variety}-{m}{view}", variety, meaning=f"m{m}", text="x"))
                row = np.zeros(6)
                if view:
                    row[4 + m] = 1.0
                else:
                    row[2 * axis + m] = 1.0
                rows.append(row)
    vectors = Vectors(tuple(item.id for item in items), np.array(rows, dtype=np.float32))
    found = similarities(vectors, items)["settings"]
    pair = "srp>srp-latn"
    assert found["original-original"][pair] == {"matched": 0.0, "random": 0.0, "R@1": 0.0}
    assert found["transliterated-transliterated"][pair] == {
        "matched": 1.0, "random": 0.0, "R@1": 1.0,
    }  # fmt: skip
    assert found["original-transliterated"][pair]["matched"] == 0.0
    assert found["own transliteration"]["srp"]["R@1"] == 0.0


def test_every_repair_stands_behind_the_control_of_its_rows() -> None:
    arms = repair_arms(tuple(REPAIRS), layer=2)
    names = [arm.name for arm in arms]
    for arm in arms:
        if arm.control is not None:
            control = arms[names.index(arm.control)]
            assert names.index(arm.control) < names.index(arm.name)
            assert control.rows == arm.rows and control.objectives == ("mlm",)
            assert arm.objectives[0] == "mlm"
    assert next(arm for arm in arms if arm.name == "translico").rows == "views"
    assert "layer=2" in next(arm for arm in arms if arm.name == "infonce").objectives[1]


def test_any_objective_can_be_a_repair() -> None:
    arms = repair_arms(("infonce:temperature=0.2", "distribution:divergence=w2"), layer=1)
    assert [(arm.name, arm.rows) for arm in arms if arm.control] == [
        ("infonce:temperature=0.2", "meaning"),
        ("distribution:divergence=w2", "none"),
    ]
    with pytest.raises(ValueError, match="needs word links"):
        repair_arms(("infonce:pooling=word",), layer=1)
    with pytest.raises(ValueError, match="named twice"):
        repair_arms(("tlm", "tlm"), layer=1)


def test_all_transforms_of_adapt_are_tried() -> None:
    from isogloss.adapt import transform_names

    tried = {spec.partition(":")[0] for spec in ALL_TRANSFORMS}
    assert tried == set(transform_names()) - {"identity"}
    for spec in ALL_TRANSFORMS:
        make_transform(spec.replace("{pivot}", "eng"))
