from __future__ import annotations

import os
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_makers import parallel_texts
from isogloss.errors import MissingExtra, UnknownName
from isogloss.scores.edit import edit_similarity
from isogloss.tasks.alignment_distances import matched_edit_distance, variety_distances
from isogloss.tasks.alignment_sets import aligned_sets
from isogloss.types import Corpus


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text("abc", max_size=8), st.text("abc", max_size=8)), max_size=8))
def test_matched_distances_are_the_diagonal_of_all(pairs: list[tuple[str, str]]) -> None:
    a, b = [one for one, _ in pairs], [two for _, two in pairs]
    expected = [1 - float(edit_similarity([x], [y])[0, 0]) for x, y in pairs]
    assert matched_edit_distance(a, b) == pytest.approx(expected, abs=1e-6)


def test_by_hand() -> None:
    found = matched_edit_distance(["kitten", "", "ab"], ["sitting", "", ""])
    assert found == pytest.approx([3 / 7, 0, 1])
    with pytest.raises(ValueError, match="1 and 2"):
        matched_edit_distance(["a"], ["a", "b"])


def test_table_and_text_give_matrices() -> None:
    corpus = parallel_texts(("eng", "deu", "fra"), 6)
    items = tuple(replace(item, phones=f"a b {item.variety[0]}") for item in corpus.items)
    sets = aligned_sets(Corpus("x", items), takes_text=True)
    notes: dict[str, str] = {}
    found = variety_distances(
        sets, ("genealogical", "geographic", "phones", "spelling"), notes=notes
    )
    assert notes == {}
    for table in found.values():
        assert np.array_equal(table, table.T)
        assert (np.diagonal(table) == 0).all()
    assert found["phones"][0, 1] == pytest.approx(1 / 3)
    assert found["genealogical"][0, 1] < found["genealogical"][0, 2]
    assert 300 < found["geographic"][0, 2] < 600


def test_what_is_not_known_is_said() -> None:
    corpus = parallel_texts(("eng", "deu"), 4)
    items = tuple(replace(item, variety=f"x-{item.variety}") for item in corpus.items)
    sets = aligned_sets(Corpus("x", items), takes_text=True)
    notes: dict[str, str] = {}
    assert variety_distances(sets, ("genealogical", "phones"), notes=notes) == {}
    assert set(notes) == {"distance genealogical", "distance phones"}
    with pytest.raises(UnknownName):
        variety_distances(sets, ("mood",), notes=notes)


class Uriel:
    """What is used of URIEL+: codes of languages and one distance of each kind and pair."""

    langs = (("eng", "deu", "cmn"),)

    def new_distance(self, kind: str, pair: list[str]) -> float:
        if kind == "inventory":
            raise ValueError("no shared features")
        return {"syntactic": 0.25}.get(kind, 0.5) * (2 if "cmn" in pair else 1)


def test_typology_knows_languages_and_not_dialects(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("urielplus.urielplus")
    module.URIELPlus = Uriel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "urielplus", types.ModuleType("urielplus"))
    monkeypatch.setitem(sys.modules, "urielplus.urielplus", module)
    sets = aligned_sets(parallel_texts(("eng", "deu", "cmn-beijing", "xyz"), 4), takes_text=True)
    notes: dict[str, str] = {}
    found = variety_distances(sets, ("typological",), notes=notes)
    place = {name: i for i, name in enumerate(sets.varieties)}
    syntactic = found["typological syntactic"]
    assert syntactic[place["eng"], place["deu"]] == 0.25
    assert syntactic[place["cmn-beijing"], place["deu"]] == 0.5
    assert np.isnan(syntactic[place["eng"], place["xyz"]])
    assert "xyz" in notes["typological languages"]
    assert "distance typological inventory" in notes


def test_without_urielplus_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urielplus.urielplus", None)
    sets = aligned_sets(parallel_texts(("eng", "deu"), 4), takes_text=True)
    with pytest.raises(MissingExtra, match="typology"):
        variety_distances(sets, ("typological",), notes={})


@pytest.mark.skipif(
    "ISOGLOSS_TYPOLOGY" not in os.environ, reason="URIEL+ takes seconds: set ISOGLOSS_TYPOLOGY"
)
def test_typology_of_uriel_itself() -> None:
    pytest.importorskip("urielplus")
    sets = aligned_sets(parallel_texts(("eng", "deu", "fra", "jpn"), 4), takes_text=True)
    found = variety_distances(sets, ("typological",), notes={})
    table = found["typological syntactic"]
    eng, deu, jpn = (sets.varieties.index(v) for v in ("eng", "deu", "jpn"))
    assert 0 < table[eng, deu] < table[eng, jpn] <= 1
