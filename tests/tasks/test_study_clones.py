from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.training.text_config import Shape

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from isogloss.tasks.study_clone_model import (  # noqa: E402
    CLONED,
    CloneModel,
    judge_clones,
    random_clone_model,
)
from isogloss.tasks.study_clones import ClonesStudy, run_clones  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [f"the {a} {b} sees house number {n}" for n, (a, b) in enumerate(
    (a, b) for a in ("red", "green", "blue", "old", "new") for b in
    ("cat", "dog", "bird", "fish", "horse", "mouse", "snake", "frog", "wolf", "bear", "fox",
     "lion", "duck", "goat", "crab", "owl", "deer", "seal", "hare", "swan", "crow", "moth",
     "newt", "toad", "wasp", "bee", "ant", "fly", "eel", "cod")
)]  # fmt: skip
SHAPE = Shape(kind="decoder", layers=2, width=16, heads=2, vocabulary=320)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "start"
    return random_clone_model(folder, TEXTS, SHAPE, seed=0, max_tokens=24)


def test_a_clone_has_other_ids_in_the_same_places(start: Path) -> None:
    model = CloneModel.load(start, max_tokens=24)
    original, clone = model.tokens([TEXTS[0]]), model.tokens([CLONED + TEXTS[0]])
    ordinary = original.real & ~original.special
    assert bool((clone.ids[ordinary] == original.ids[ordinary] + model.size).all())
    assert bool((clone.ids[~ordinary] == original.ids[~ordinary]).all())
    assert model.model.get_input_embeddings().weight.shape[0] == 2 * model.size
    assert model.count_cut([CLONED + "a " * 100, TEXTS[0]]) == 1


def test_a_model_whose_languages_are_the_same_finds_them_the_same(start: Path) -> None:
    model = CloneModel.load(start, max_tokens=24)
    with torch.no_grad():
        table = model.model.get_input_embeddings().weight
        table[model.size :] = table[: model.size]
    found = judge_clones(model, TEXTS[:6])
    assert found["cosine matched"] == pytest.approx([1.0] * len(found["cosine matched"]), abs=1e-5)
    assert found["loss original"] == pytest.approx(found["loss clone"], abs=1e-4)
    assert found["gradient matched"] == pytest.approx([1.0, 1.0], abs=0.05)
    assert max(found["cosine random"]) < 1.0


def test_unrelated_embeddings_are_not_near_at_the_embedding(start: Path) -> None:
    found = judge_clones(CloneModel.load(start, max_tokens=24), TEXTS[:6])
    assert abs(found["cosine matched"][0]) < 0.2


def test_a_study_of_clones_goes_on_to_the_same_end(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    study = ClonesStudy(
        path, shares=(0.5,), prealign=True, shape=SHAPE, steps=5, batch=8, judged=8, max_tokens=24
    )

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("clone 0.5, prealigned"):
            raise Stopped

    whole = run_clones(study, tmp_path / "whole").to_dict()
    with pytest.raises(Stopped):
        run_clones(study, tmp_path / "broken", say=stop)
    again = run_clones(study, tmp_path / "broken").to_dict()
    for arms in (whole["arms"], again["arms"]):
        for rows in arms.values():
            for row in rows:
                del row["spent"]["seconds"]
    assert again == whole
    assert set(whole["arms"]) == {
        "original, all steps", "clone 0.5", "clone 0.5, prealigned", "original, 0.5 of the steps",
    }  # fmt: skip
    alone = whole["arms"]["original, 0.5 of the steps"][0]["spent"]["steps"]
    both = whole["arms"]["clone 0.5, prealigned"][0]["spent"]["steps"]
    assert (alone, both) == (2, 5)


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shares lie above 0 and below 1"):
        ClonesStudy(tmp_path, shares=(1.0,))
    with pytest.raises(ValueError, match="trains decoders"):
        ClonesStudy(tmp_path, shape=Shape())
