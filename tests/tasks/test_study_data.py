from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora import write_corpus
from isogloss.errors import IsoglossError
from isogloss.tasks.study_data import DataChoice, fit_items, study_texts
from isogloss.tasks.study_folder import claim_study, kept
from isogloss.tasks.study_lines import held_out_texts, text_file
from isogloss.tasks.study_report import StudyPicture, StudyTable, mean_range, spread
from isogloss.types import Corpus, Item
from study_makers import study_corpus, study_items

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("splits", [True, False])
def test_no_meaning_and_no_text_is_on_both_sides(tmp_path: Path, splits: bool) -> None:
    split = "train" if splits else None
    repeated = [Item("again", "eng", meaning="m-x", text=study_items()[0].text, split=split)]
    items = (*study_items(splits=splits), *repeated)
    write_corpus(Corpus("study", items), tmp_path / "manifest.jsonl")
    texts = study_texts(DataChoice(tmp_path), tmp_path / "out", progress=False)
    learnt, judged = texts.learn.items, texts.judge.items
    assert learnt and judged
    assert not {i.meaning for i in learnt} & {i.meaning for i in judged}
    assert not {(i.variety, i.text) for i in learnt} & {(i.variety, i.text) for i in judged}
    assert {i.split for i in learnt} == {"train"}


def test_a_text_that_is_judged_under_another_meaning_is_not_learnt_from(tmp_path: Path) -> None:
    judged = next(item for item in study_items() if item.split == "test" and item.variety == "eng")
    twin = replace(judged, id="twin", meaning="other", split="train")
    write_corpus(Corpus("study", (*study_items(), twin)), tmp_path / "manifest.jsonl")
    texts = study_texts(DataChoice(tmp_path), tmp_path / "out", progress=False)
    assert "twin" not in {item.id for item in texts.learn.items}
    assert texts.left_out["text also judged on"] == 1


def test_texts_are_read_once_and_are_the_same_the_next_time(tmp_path: Path) -> None:
    path = study_corpus(tmp_path / "corpus")
    first = study_texts(DataChoice(path, per_variety=10), tmp_path / "out", progress=False)
    path.unlink()
    again = study_texts(DataChoice(path, per_variety=10), tmp_path / "out", progress=False)
    assert again == first
    assert len(first.learn.items) == 3 * 10


def test_varieties_are_those_asked_for_or_those_needed_and_the_largest(tmp_path: Path) -> None:
    path = study_corpus(tmp_path / "corpus")
    choice = DataChoice(path, must=("srp-latn",), most=2)
    assert study_texts(choice, tmp_path / "a", progress=False).varieties == ("srp-latn", "eng")
    asked = DataChoice(path, varieties=("srp", "eng"))
    assert study_texts(asked, tmp_path / "b", progress=False).varieties == ("srp", "eng")
    with pytest.raises(IsoglossError, match=r"no text of 'deu'; it has eng, srp, srp-latn"):
        study_texts(DataChoice(path, must=("deu",)), tmp_path / "c", progress=False)
    with pytest.raises(ValueError, match="eng is needed"):
        DataChoice(path, varieties=("srp",), must=("eng",))


def test_what_a_transform_is_fitted_on_is_drawn_by_seed_from_texts_to_learn_from(
    tmp_path: Path,
) -> None:
    texts = study_texts(DataChoice(study_corpus(tmp_path)), tmp_path / "out", progress=False)
    drawn = [{item.meaning for item in fit_items(texts, 12, seed)} for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 12
    assert not drawn[0] & {item.meaning for item in texts.judge.items}


def test_a_folder_refuses_a_study_of_other_settings(tmp_path: Path) -> None:
    with claim_study(tmp_path, {"study": "scripts", "judged": 3}):
        pass
    with claim_study(tmp_path, {"study": "scripts", "judged": 3}):
        pass
    with (
        pytest.raises(IsoglossError, match="holds a study with judged 3, not 4"),
        claim_study(tmp_path, {"study": "scripts", "judged": 4}),
    ):
        pass


def test_a_part_is_kept_until_what_it_hangs_on_changes(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"times": len(made)}

    path = tmp_path / "deep" / "part.json"
    assert kept(path, {"layer": 1}, make) == {"times": 1}
    assert kept(path, {"layer": 1}, make) == {"times": 1}
    assert kept(path, {"layer": 2}, make) == {"times": 2}


def test_lines_are_held_out_by_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    lines = [f"line number {n}" for n in range(300)]
    path.write_text("\n".join(["", *lines, lines[0], "  "]), encoding="utf-8")
    learn, judged = held_out_texts(text_file(path), variety=None, most=100, judged=5)
    assert len(learn) == 100 and len(judged) == 5
    assert not set(learn) & set(judged)
    with pytest.raises(ValueError, match="chooses items of a manifest"):
        held_out_texts(path, variety="eng", most=100, judged=5)
    path.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(IsoglossError, match="2 different texts are too few"):
        held_out_texts(path, variety=None, most=100, judged=5)
    path.write_bytes(b"\xff\xfe no utf-8")
    with pytest.raises(IsoglossError, match="no UTF-8"):
        held_out_texts(path, variety=None, most=100, judged=5)
    with pytest.raises(IsoglossError, match="no such text file or manifest"):
        text_file(tmp_path / "nothing")


def test_mean_and_range_of_seeds() -> None:
    assert mean_range([0.1, None, 0.3]) == "0.200 (0.100 to 0.300)"
    assert mean_range([0.5]) == "0.500"
    assert mean_range([0.5], sign=True) == "+0.500"
    assert mean_range([None]) == ""
    assert spread([]) is None


def test_a_table_and_a_picture_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        StudyTable("t", ("a", "b"), (("x",),))
    with pytest.raises(ValueError, match="values do not fit"):
        StudyPicture("p", "t", "heat", ("a",), ("x", "y"), ((1.0,),))
