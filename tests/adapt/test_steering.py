"""Shift vectors lead from one planted mean to another; recipes put them where they belong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isogloss.adapt.changes import Shift
from isogloss.adapt.shift_vectors import lda_shift, mean_shift
from isogloss.adapt.steering import METHODS, fit_steering
from isogloss.errors import UnknownName
from isogloss.llm import CausalModel, load_causal
from isogloss.types import Vectors
from llm_makers import make_causal

TEXTS = ["The quick", "the lazy dog", "Der braune", "den Hund", "brza", "lisica preskače"]
VARIETIES = ["eng", "eng", "deu", "deu", "srp", "srp"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    torch.set_num_threads(1)
    return load_causal(make_causal("llama", tmp_path_factory.mktemp("lm") / "m"))


def planted(scale: float = 1.0) -> tuple[Vectors, list[str], np.ndarray]:  # type: ignore[type-arg]
    """600 vectors of three varieties whose means differ in two of eight dimensions."""
    rng = np.random.default_rng(0)
    means = np.zeros((3, 8))
    means[1, 0], means[2, 1] = 6.0, 6.0
    values = np.repeat(means, 200, axis=0) + rng.normal(size=(600, 8))
    varieties = ["eng"] * 200 + ["deu"] * 200 + ["srp"] * 200
    ids = tuple(map(str, range(600)))
    return Vectors(ids, (scale * values).astype(np.float32)), varieties, scale * means


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_shifts_are_in_the_units_of_the_states(scale: float) -> None:
    vectors, varieties, means = planted(scale)
    expected = means[1] - means[0]
    for find in (mean_shift, lda_shift):
        shift = find(vectors, varieties, source="eng", target="deu")
        assert np.linalg.norm(shift - expected) < 0.15 * np.linalg.norm(expected)
    there = mean_shift(vectors, varieties, source="eng", target="deu")
    back = mean_shift(vectors, varieties, source="deu", target="eng")
    np.testing.assert_allclose(there, -back)


def test_one_discriminant_cannot_say_what_two_can() -> None:
    vectors, varieties, _ = planted()
    two = lda_shift(vectors, varieties, source="eng", target="deu")
    one = lda_shift(vectors, varieties, source="eng", target="deu", components=1)
    assert np.linalg.norm(one - two) > 0.1
    capped = lda_shift(vectors, varieties, source="eng", target="deu", components=99)
    np.testing.assert_allclose(capped, two)


def test_bad_vectors_are_refused() -> None:
    vectors, varieties, _ = planted()
    with pytest.raises(ValueError, match="no vector of variety 'fra'; there are: deu, eng, srp"):
        mean_shift(vectors, varieties, source="eng", target="fra")
    with pytest.raises(ValueError, match="600 vectors"):
        mean_shift(vectors, varieties[:5], source="eng", target="deu")
    values = vectors.values.copy()
    values[0, 0] = np.nan
    with pytest.raises(ValueError, match="'eng' hold NaN"):
        mean_shift(Vectors(vectors.ids, values), varieties, source="eng", target="deu")
    same = Vectors(("a", "b"), np.ones((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="are equal"):
        mean_shift(same, ["eng", "deu"], source="eng", target="deu")


def test_recipes_put_their_shifts_where_they_belong(model: CausalModel) -> None:
    steering = fit_steering(
        model, TEXTS, VARIETIES, source="eng", target="deu", layers=[1, 2], pivot="srp", experts=5
    )
    (mean,) = steering.interventions("mean-shift", layer=1, strength=0.5, phase="generated")
    assert (mean.layer, mean.strength, mean.relative, mean.phase) == (1, 0.5, True, "generated")
    assert isinstance(mean.change, Shift)
    expected = mean_shift(steering.vectors[1], VARIETIES, source="eng", target="deu")
    np.testing.assert_array_equal(mean.change.vector, expected)
    there, back = steering.interventions("shifcon", layer=1, relative=False)
    assert (there.layer, back.layer) == (1, 3)
    assert isinstance(there.change, Shift)
    assert isinstance(back.change, Shift)
    np.testing.assert_array_equal(
        there.change.vector,
        mean_shift(steering.vectors[1], VARIETIES, source="eng", target="srp"),
    )
    np.testing.assert_array_equal(
        back.change.vector,
        mean_shift(steering.vectors[3], VARIETIES, source="srp", target="deu"),
    )
    experts = steering.interventions("experts", layer=1, units=3)
    assert sum(len(step.change.units) for step in experts) == 3  # type: ignore[attr-defined]
    assert {step.site for step in experts} == {"mlp"}


def test_from_a_source_that_is_the_pivot_there_is_one_shift(model: CausalModel) -> None:
    steering = fit_steering(
        model, TEXTS, VARIETIES, source="eng", target="deu", layers=[1], back_layer=2
    )
    (only,) = steering.interventions("shifcon", layer=1)
    assert only.layer == 2


def test_what_cannot_be_fitted_or_was_not_is_said(model: CausalModel) -> None:
    fit = {"source": "eng", "target": "deu", "layers": [1]}
    with pytest.raises(ValueError, match="both 'eng'"):
        fit_steering(model, TEXTS, VARIETIES, **{**fit, "target": "eng"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no text of 'fra' to fit on; varieties: deu, eng, srp"):
        fit_steering(model, TEXTS, VARIETIES, **{**fit, "target": "fra"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layer must be one of"):
        fit_steering(model, TEXTS, VARIETIES, **{**fit, "layers": [9]})  # type: ignore[arg-type]
    steering = fit_steering(model, ["", *TEXTS], ["eng", *VARIETIES], **fit)  # type: ignore[arg-type]
    assert len(steering.varieties) == 6
    with pytest.raises(ValueError, match="layer 2 was not fitted; fitted are 1, 3"):
        steering.interventions("mean-shift", layer=2)
    with pytest.raises(ValueError, match="no experts"):
        steering.interventions("experts", layer=1)
    with pytest.raises(ValueError, match="must be a later one"):
        steering.interventions("shifcon", layer=3)
    with pytest.raises(UnknownName, match="mean-shift"):
        steering.interventions("meanshift", layer=1)
    assert METHODS[0] == "mean-shift"
