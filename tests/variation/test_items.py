"""Corpora varied: ids, varieties, meanings, provenance, counts; and the names of variations."""

from __future__ import annotations

import pytest

from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Item
from isogloss.variation import OF_SEVERAL, VARIATIONS, make_variation, vary_items, views

ITEMS = [
    Item("a", "srp", meaning="m", text="Датотека", words=("Датотека",), extra={"page": "1"}),
    Item("b", "srp", transcript="Љубав", audio="/x.wav", start_seconds=0.0, end_seconds=1.0),
    Item("c", "srp", audio="/y.wav"),
    Item("d", "srp", text="  "),
]


def test_new_items_keep_meaning_and_say_where_they_are_from():
    found = vary_items(ITEMS, "serbian")
    first, second = found.items
    assert (first.id, first.variety, first.meaning) == ("a:serbian", "srp-latn", "m")
    assert first.text == "Datoteka" and first.words == ()
    assert first.extra == {"page": "1", "varied_from": "a", "variation": "serbian:to=latin"}
    # A transcript becomes text; the recording says something else now. The id lends a meaning.
    assert second.text == "Ljubav" and second.meaning == "b"
    assert second.audio is None and second.transcript is None and second.start_seconds is None
    assert found.varied == 2 and found.skipped == {"no text": 2}
    assert found.derived == {"srp-latn": "srp"}


def test_originals_come_along_with_the_shared_meaning():
    found = vary_items(ITEMS[:2], "serbian", with_originals=True)
    assert [i.id for i in found.items] == ["a", "a:serbian", "b", "b:serbian"]
    assert found.items[2].meaning == found.items[3].meaning == "b"
    assert found.items[2].audio == "/x.wav"


def test_a_suffix_of_ones_own():
    assert vary_items(ITEMS[:1], "serbian", suffix="-x").items[0].variety == "srp-x"
    assert vary_items(ITEMS[:1], "serbian", suffix="").items[0].variety == "srp"


def test_what_a_draw_leaves_stays_itself():
    found = vary_items(ITEMS[:2], "clone:p=0")
    assert [i.id for i in found.items] == ["a", "b"] and found.unchanged == 2
    assert {i.variety for i in found.items} == {"srp"} and found.derived == {}


def test_a_text_that_becomes_nothing_is_counted(monkeypatch):
    from isogloss.variation import transliterate

    monkeypatch.setattr(transliterate, "romanise", lambda texts, **_: ["" for _ in texts])
    found = vary_items(ITEMS[:1], "romanise")
    assert found.items == () and found.skipped == {"nothing left of the text": 1}


def test_seeds_and_files_reach_the_variation(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("Датотека\tfile\nЉубав\tlove\n", encoding="utf-8")
    found = vary_items(ITEMS[:2], f"switch:lexicon={path},share=1")
    assert [i.text for i in found.items] == ["File", "Love"]
    assert found.items[0].extra["edits"] == "0:8>0:4=lexicon"
    assert (found.words, found.replaced) == (2, 2)
    clones = [vary_items(ITEMS[:1], "clone", seed=s).items[0].text for s in (0, 1)]
    assert clones[0] != clones[1]
    assert vary_items(ITEMS[:1], "clone:seed=1").items[0].text == clones[1]


def test_mixing_takes_all_translations_of_a_meaning():
    items = [
        Item("a", "eng", meaning="m", text="One. Two."),
        Item("b", "deu", meaning="m", text="Eins. Zwei."),
    ]
    found = vary_items(items, "mix", seed=4, with_originals=True)
    assert [i.id for i in found.items] == ["a", "b", "m:mix"]
    assert found.items[-1].extra["variation"].startswith("mix:unit=sentence")
    assert found.derived == {"eng-mixed": "eng"}
    assert vary_items(items, "pack:of=eng+deu", suffix="-both").items[0].variety == "eng-both"


def test_views_are_one_text_each():
    assert views("serbian", ["Њега", "a"]) == ["Njega", "a"]
    one, two = (
        views("clone:p=0.5", ["a", "b"] * 20, keys=list(map(str, range(40))), seed=s)
        for s in (1, 2)
    )
    assert len(one) == 40 and one != two


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ("romanize", UnknownName, "romanise"),
        ("clone:q=1", UnknownName, "option of clone"),
        ("mix:p=1", UnknownName, "option of mix"),
        ("clone:p", ValueError, "option=value"),
        ("clone:p=1,p=0", ValueError, "twice"),
        ("clone:seed=x", ValueError, "whole number"),
        ("switch", ValueError, "switch needs lexicon=FILE"),
        ("entities", ValueError, "entities needs table=FILE"),
        ("switch:lexicon=nowhere.tsv", FileNotFoundError, "nowhere"),
        ("mix:unit=word", UnknownName, "unit of mixing"),
        ("pack:size=0", ValueError, "size"),
    ],
)
def test_wrong_specs_are_refused(spec, kind, said):
    with pytest.raises(kind, match=said):
        vary_items(ITEMS[:1], spec)


def test_wrong_values_of_files_options(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(ValueError, match="share must be a number"):
        make_variation(f"switch:lexicon={path},share=x")
    table = tmp_path / "table.tsv"
    table.write_text("eng\tdeu\na\tb\n", encoding="utf-8")
    with pytest.raises(UnknownName, match="tags"):
        make_variation(f"entities:table={table},tags=maybe")
    path.write_text("a\n", encoding="utf-8")
    with pytest.raises(BadRecord):
        make_variation(f"switch:lexicon={path}")


def test_every_name_is_described():
    assert set(VARIATIONS) == {"romanise", "serbian", "chinese", "clone", "switch", "entities"}
    assert set(OF_SEVERAL) == {"mix", "pack"}
