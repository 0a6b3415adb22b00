"""Judging: retrieval by hand, refusals, comparison on unseen items, folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adapt_makers import Made, made, meant, turned
from isogloss.adapt import FittedItems, judge_vectors, make_transform
from isogloss.adapt.compare import CompareSettings, compare_transforms
from isogloss.adapt.compare_models import compare_models, write_comparison
from isogloss.adapt.folders import fitted_for, write_folder
from isogloss.adapt.model_vectors import encode_model
from isogloss.adapt.split import divide_by_meaning, draw_meanings, everywhere
from isogloss.encoders.shards import read_folder
from isogloss.errors import IsoglossError
from isogloss.types import Corpus, Item, Sequences, Vectors

if TYPE_CHECKING:
    from pathlib import Path


def blurred(shift: float = 6.0, count: int = 60) -> Made:
    """Two varieties of one space, the second far away and a little blurred."""
    rows = meant(count, 8)
    draw = np.random.default_rng(7)
    noise = 0.3 * draw.standard_normal((2, count, 8))
    away = shift * np.eye(8)[0]
    return made({"a": rows + noise[0] - away, "b": rows + noise[1] + away})


def test_retrieval_both_ways_by_hand() -> None:
    # b0 is nearest to both a0 and a1; each b finds its own a but for b1, which ties.
    data = made({"a": np.array([[1.0, 0], [1, 1]]), "b": np.array([[2.0, 1], [0, 1]])})
    found = judge_vectors(data.vectors, varieties=data.varieties, meanings=data.meanings)
    assert found.hits["a", "b"].tolist() == [1, 0]
    # b0 at 26 degrees is 26 from a0 and 18 from a1: wrong; b1 is 90 from a0 and 45 from a1: right.
    assert found.hits["b", "a"].tolist() == [0, 1]
    assert found.r_at_1 == 0.5
    cosines = np.array([[2 / 5**0.5, 0], [3 / 10**0.5, 0.5**0.5]])
    assert found.matched == pytest.approx((cosines[0, 0] + cosines[1, 1]) / 2)
    assert found.random == pytest.approx((cosines[0, 1] + cosines[1, 0]) / 2)
    assert found.cka is None
    assert found.probe_chance == 0.5


def test_a_pair_that_lacks_a_meaning_has_no_hit_for_it() -> None:
    data = made({"a": meant(5, 3), "b": meant(4, 3)})
    found = judge_vectors(data.vectors, varieties=data.varieties, meanings=data.meanings)
    assert found.meanings == ("m0", "m1", "m2", "m3", "m4")
    assert np.isnan(found.hits["a", "b"][4])
    assert found.r_at_1 == 1
    assert found.left_out == 0


def test_items_without_meaning_and_repeated_ones_are_left_out() -> None:
    data = made({"a": meant(5, 3), "b": meant(5, 3)})
    meanings: list[str | None] = [*data.meanings]
    meanings[0], meanings[1] = None, "m2"
    found = judge_vectors(data.vectors, varieties=data.varieties, meanings=meanings)
    assert found.left_out == 2


def test_what_a_transform_was_fitted_on_is_refused() -> None:
    data = blurred()
    told = {"varieties": data.varieties, "meanings": data.meanings}
    one = make_transform("center").fit(
        data.part(0, 30).vectors,
        **{"varieties": data.part(0, 30).varieties, "meanings": data.part(0, 30).meanings},
    )
    with pytest.raises(FittedItems, match="60 of 120 items to judge were fitted on"):
        judge_vectors(data.vectors, **told, transform=one)
    renamed = Vectors(tuple(f"new{i}" for i in range(120)), data.vectors.values, "made")
    with pytest.raises(FittedItems, match="30 of 60 meanings to judge were fitted on"):
        judge_vectors(renamed, **told, transform=one)
    rest = data.part(30, 60)
    before = judge_vectors(rest.vectors, varieties=rest.varieties, meanings=rest.meanings)
    after = judge_vectors(
        rest.vectors, varieties=rest.varieties, meanings=rest.meanings, transform=one
    )
    assert after.r_at_1 > before.r_at_1 + 0.2
    assert before.probe == pytest.approx(1)
    assert after.probe is not None
    assert after.probe < 0.75


def test_bad_input_to_judging_is_named() -> None:
    data = made({"a": meant(5, 3), "b": meant(1, 3)})
    with pytest.raises(ValueError, match=r"no two varieties share 2 meanings.*a \(5\), b \(1\)"):
        judge_vectors(data.vectors, varieties=data.varieties, meanings=data.meanings)
    with pytest.raises(ValueError, match="need as many varieties and meanings"):
        judge_vectors(data.vectors, varieties=data.varieties, meanings=["x"])
    with pytest.raises(ValueError, match="seqsim compares steps"):
        judge_vectors(
            data.vectors, varieties=data.varieties, meanings=data.meanings, score="seqsim"
        )
    with pytest.raises(ValueError, match="score must be"):
        judge_vectors(
            data.vectors,
            varieties=data.varieties,
            meanings=data.meanings,
            score="dot",  # type: ignore[arg-type]
        )


def _steps(data: Made, count: int = 4) -> Sequences:
    draw = np.random.default_rng(1)
    return Sequences.from_list(
        data.vectors.ids,
        [
            (row + 0.5 * draw.standard_normal((count, len(row)))).astype(np.float32)
            for row in data.vectors.values
        ],
        step_seconds=0.04,
        made_by="steps",
    )


@pytest.mark.parametrize("fit_on", ["pooled", "steps"])
@pytest.mark.parametrize("score", ["cosine", "seqsim"])
def test_a_transform_helps_steps_too(score: str, fit_on: str) -> None:
    data = blurred(shift=3.0)
    rows = compare_transforms(
        _steps(data),
        varieties=data.varieties,
        meanings=data.meanings,
        settings=CompareSettings(("center",), score=score, fit_on=fit_on, seeds=(0, 1)),  # type: ignore[arg-type]
    )
    assert [row.transform for row in rows] == ["identity", "center"]
    assert rows[1].gain is not None
    assert rows[1].gain.low > 0


def test_gains_are_paired_and_no_transform_sees_what_is_judged() -> None:
    data = blurred()
    settings = CompareSettings(("center", "zca", "procrustes:target=a", "center"), seeds=(0, 1, 2))
    told = {"varieties": data.varieties, "meanings": data.meanings, "settings": settings}
    rows = {row.transform: row for row in compare_transforms(data.vectors, **told)}  # type: ignore[arg-type]
    assert list(rows) == ["identity", "center", "zca", "procrustes:target=a"]
    raw, centred = rows["identity"], rows["center"]
    assert raw.gain is None
    assert raw.r_at_1 is not None
    assert centred.r_at_1 is not None
    assert centred.gain is not None
    assert centred.gain.difference == pytest.approx(centred.r_at_1 - raw.r_at_1, abs=1e-6)
    assert centred.gain.low > 0
    assert len(centred.per_seed) == 3
    assert centred.parameters == 16
    assert centred.fitted_meanings == 30
    assert centred.judged_meanings == 30
    assert rows["procrustes:target=a"].deviation == pytest.approx(0, abs=1e-6)
    again = {row.transform: row for row in compare_transforms(data.vectors, **told)}  # type: ignore[arg-type]
    assert again["zca"].r_at_1 == rows["zca"].r_at_1
    # The items that are judged could be anything: the fit does not move.
    fit, judge = divide_by_meaning(data.meanings, seed=0)
    assert not {data.meanings[i] for i in fit} & {data.meanings[i] for i in judge}


def test_each_setting_changes_something() -> None:
    data = blurred(shift=2.0)

    def measured(**changed: object) -> tuple[object, ...]:
        settings = CompareSettings(("center",), **{"seeds": (0,), **changed})  # type: ignore[arg-type]
        row = compare_transforms(
            data.vectors, varieties=data.varieties, meanings=data.meanings, settings=settings
        )[0]
        return row.r_at_1, row.low, row.high

    plain = measured()
    for changed in ({"share": 0.3}, {"seeds": (1,)}, {"resamples": 0}, {"level": 0.5}):
        assert measured(**changed) != plain
    for wrong in (
        {"share": 1.0},
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"score": "x"},
        {"fit_on": "x"},
    ):
        with pytest.raises(ValueError):
            CompareSettings((), **wrong)  # type: ignore[arg-type]


def test_a_transform_that_cannot_be_fitted_says_why_and_the_others_go_on() -> None:
    data = blurred()
    rows = compare_transforms(
        data.vectors,
        varieties=data.varieties,
        meanings=data.meanings,
        settings=CompareSettings(("procrustes:target=zzz", "center")),
    )
    assert "unknown target variety" in rows[1].problem
    assert rows[1].r_at_1 is None
    assert rows[2].r_at_1 is not None


def test_the_division_hangs_on_the_seed_and_not_on_the_order() -> None:
    meanings = [f"m{i % 40}" for i in range(80)] + [None]
    fit, judge = divide_by_meaning(meanings, share=0.25, seed=3)
    assert len(fit) == 20
    assert len(judge) == 60
    turned_round = divide_by_meaning(meanings[::-1], share=0.25, seed=3)
    assert {meanings[i] for i in fit} == {meanings[::-1][i] for i in turned_round[0]}
    assert divide_by_meaning(meanings, share=0.25, seed=4)[0] != fit
    assert len(divide_by_meaning(["x", "y"], share=0.01)[0]) == 1
    with pytest.raises(ValueError, match="1 meanings cannot be divided"):
        divide_by_meaning(["x", "x", None])
    with pytest.raises(ValueError, match="between 0 and 1"):
        divide_by_meaning(["x", "y"], share=0)


def _items(count: int = 12) -> list[Item]:
    return [
        Item(f"{v}-{i}", v, meaning=f"m{i}", text=f"sentence number {i} of many")
        for v in ("a", "b", "c")
        for i in range(count)
        if v != "c" or i % 2
    ]


def test_meanings_are_drawn_and_shared() -> None:
    items = _items()
    assert {item.variety for item in everywhere(items)} == {"a", "b", "c"}
    assert len(everywhere(items)) == 18
    drawn = draw_meanings(items, 5)
    assert len({item.meaning for item in drawn}) == 5
    assert draw_meanings(items[::-1], 5) == drawn[::-1]
    with pytest.raises(ValueError, match="at least 2"):
        draw_meanings(items, 1)
    with pytest.raises(ValueError, match="no meaning is there in all 2"):
        everywhere([Item("x", "a", meaning="1"), Item("y", "b", meaning="2")])


def _folder(path: Path, data: Made) -> Path:
    one = make_transform("unit").fit(
        data.part(0, 10).vectors,
        varieties=data.part(0, 10).varieties,
        meanings=data.part(0, 10).meanings,
    )
    found = one.transform(data.vectors, varieties=data.varieties)
    write_folder(found, path, fitted=one.require_fitted(), signed=one.signed())
    return path


def test_a_folder_is_read_as_any_encoded_one_and_remembers(tmp_path: Path) -> None:
    data = blurred()
    folder = _folder(tmp_path / "v", data)
    found = read_folder(folder)
    assert found.ids == data.vectors.ids
    assert found.lengths.tolist() == [1] * 120
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), 1, rtol=1e-5)
    told = fitted_for(folder)
    assert told is not None
    assert told.meanings == {f"m{i}" for i in range(10)}
    assert fitted_for(tmp_path) is None
    _folder(folder, data)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("")
    with pytest.raises(IsoglossError, match="holds no transformed vectors"):
        _folder(tmp_path / "other", data)
    (folder / "applied.json").write_text("{}")
    with pytest.raises(IsoglossError, match="not written with these vectors"):
        fitted_for(folder)
    # Without the note nobody could refuse what was fitted on, so nothing is judged.
    (folder / "applied.json").unlink()
    with pytest.raises(IsoglossError, match="is missing"):
        fitted_for(folder)


def _corpus(data: Made) -> Corpus:
    items = [
        Item(id_, variety, meaning=meaning, text="x")
        for id_, variety, meaning in zip(
            data.vectors.ids, data.varieties, data.meanings, strict=True
        )
    ]
    return Corpus("made", tuple(items))


def test_a_folder_whose_transform_saw_the_judged_items_is_refused(tmp_path: Path) -> None:
    data = blurred()
    folder = _folder(tmp_path / "v", data)
    with pytest.raises(FittedItems):
        compare_models(
            _corpus(data), [str(folder)], CompareSettings(("center",)), floor=False, progress=False
        )
    rest = data.part(10, 60)
    found = compare_models(
        _corpus(rest), [str(folder)], CompareSettings(("center",)), floor=False, progress=False
    )
    assert found.rows[1].r_at_1 is not None


def test_a_folder_of_other_items_is_refused_and_missing_items_are_told(tmp_path: Path) -> None:
    data = blurred()
    folder = _folder(tmp_path / "v", data)
    items = [*_corpus(data).items, Item("new", "a", meaning="m1")]
    found = encode_model(str(folder), items)[0]
    assert found.skipped == (("new", f"not in {folder}"),)
    with pytest.raises(IsoglossError, match="holds none of the 1 items, such as 'new'"):
        encode_model(str(folder), items[-1:])
    with pytest.raises(ValueError, match="leave the layers out"):
        encode_model(str(folder), items, layers=[1])
    with pytest.raises(IsoglossError, match="no encoder"):
        encode_model(str(tmp_path / "nowhere"), items)
    with pytest.raises(ValueError, match="ids repeat"):
        encode_model(str(folder), [items[0], items[0]])
    with pytest.raises(ValueError, match="no item to encode"):
        encode_model(str(folder), [])


def test_the_floor_stands_beside_text_and_everything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    data = blurred()
    items = [
        Item(item.id, item.variety, meaning=item.meaning, text=f"{item.meaning} words")
        for item in _corpus(data).items
    ]
    folder = _folder(tmp_path / "v", data)
    judged = [item for item in items if int(str(item.meaning)[1:]) >= 10]
    found = compare_models(
        Corpus("made", tuple(judged)),
        [str(folder)],
        CompareSettings(("center", "zca:eps=0.1"), seeds=(0,)),
        most_meanings=20,
        progress=False,
    )
    assert [row.model for row in found.rows][-1] == "ngram:"
    assert found.rows[-1].transform == "identity"
    assert found.signature["items"] == 40
    write_comparison(found, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["transform"] for row in told["rows"]] == [
        "identity",
        "center",
        "zca:eps=0.1",
        "identity",
    ]
    assert told["rows"][1]["gain"]["n"] == 10
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_zca_helps_a_space_where_few_directions_drown_the_meaning() -> None:
    # As in an encoder that was never aligned: varieties far apart, meaning in small directions.
    draw = np.random.default_rng(0)
    meaning = draw.standard_normal((300, 16))
    large = np.zeros((16,))
    large[:2] = 12
    rows = {
        v: (
            meaning
            + 0.4 * draw.standard_normal((300, 16))
            + large * draw.standard_normal((300, 16))
        )
        @ turned(16)
        for v in "ab"
    }
    data = made(rows)
    found = compare_transforms(
        data.vectors,
        varieties=data.varieties,
        meanings=data.meanings,
        settings=CompareSettings(("zca",), seeds=(0,)),
    )
    assert found[1].gain is not None
    assert found[1].gain.difference > 0.3
