"""Code-switching: what is found, how much is switched, spans, several varieties, entities."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import BadRecord
from isogloss.types import Lexicon
from isogloss.variation import CodeSwitch, read_entities
from isogloss.variation.codeswitch import SwitchTable

GERMAN = Lexicon(
    "eng", "deu", (("dog", "Hund"), ("house", "Haus"), ("ice cream", "Eis"), ("ice", "Eis"))
)
FRENCH = Lexicon("eng", "fra", (("dog", "chien"),))


def switched(text: str, *, variety: str = "eng", key: str = "k", **options):
    switch = CodeSwitch.of_lexicons([GERMAN, FRENCH], **{"share": 1.0, **options})
    return switch.vary([text], keys=[key], varieties=[variety])[0]


def test_words_are_replaced_where_words_begin_and_end():
    found = switched("the dog, a hotdog and the doghouse: dog!", targets=["deu"])
    assert found.text == "the Hund, a hotdog and the doghouse: Hund!"
    assert found.touched == 2 and found.units == 8


def test_the_longest_phrase_goes_first_and_capitals_stay():
    assert switched("ice cream on ice", targets=["deu"]).text == "Eis on Eis"
    assert switched("Dog DOG dog", targets=["fra"]).text == "Chien CHIEN chien"


def test_spans_say_what_became_what():
    text = "a dog in a house"
    found = switched(text, targets=["deu"])
    for edit in found.edits:
        assert edit.by == "deu"
        assert (text[edit.start : edit.end], found.text[edit.new_start : edit.new_end]) in (
            ("dog", "Hund"),
            ("house", "Haus"),
        )
    # What lies between the edits is as it was.
    assert text[: found.edits[0].start] == found.text[: found.edits[0].new_start]
    assert text[found.edits[-1].end :] == found.text[found.edits[-1].new_end :]


def test_scripts_without_spaces_switch_inside():
    lexicon = Lexicon("cmn", "yue", (("吃饭", "食飯"), ("不", "唔")))
    switch = CodeSwitch.of_lexicons([lexicon], share=1.0)
    assert switch.vary(["我不吃饭了"], keys=["k"], varieties=["cmn"])[0].text == "我唔食飯了"
    # Not in the middle of a letter and its marks.
    table = SwitchTable.of([("ह", "x", "y", 1.0)])
    assert table.spans("हिन्दी") == []


def test_the_share_is_of_the_words_that_the_lexicon_has():
    text = "dog house dog ice " * 250
    found = switched(text, share=0.3, targets=["deu"])
    assert 250 < found.touched < 350
    assert switched(text, share=0.0).changed is False
    assert switched(text, share=1.0, targets=["deu"]).touched == 1000


def test_several_varieties_take_equal_parts_whatever_they_have():
    found = switched("dog " * 1000)
    counts = {code: sum(edit.by == code for edit in found.edits) for code in ("deu", "fra")}
    assert min(counts.values()) > 400 and sum(counts.values()) == 1000


def test_weights_choose_among_translations_of_one_variety():
    lexicon = Lexicon("eng", "deu", (("dog", "Hund"), ("dog", "Köter")), (9.0, 1.0))
    switch = CodeSwitch.of_lexicons([lexicon], share=1.0)
    found = switch.vary(["dog " * 1000], keys=["k"], varieties=["eng"])[0]
    assert 50 < found.text.count("Köter") < 150


def test_both_directions_and_other_varieties():
    assert switched("Der Hund im Haus", variety="deu").text == "Der Dog im House"
    assert switched("Der Hund", variety="nld").changed is False
    unnamed = Lexicon("", "", (("dog", "Hund"),))
    switch = CodeSwitch.of_lexicons([unnamed], share=1.0)
    found = switch.vary(["dog Hund"], keys=["k"], varieties=["swh"])[0]
    assert found.text == "Hund Hund" and found.edits[0].by == "lexicon"


def test_the_draw_goes_by_seed_and_key_alone():
    text = "dog house ice " * 20
    assert switched(text, share=0.5).text == switched(text, share=0.5).text
    assert switched(text, share=0.5, key="other").text != switched(text, share=0.5).text
    assert switched(text, share=0.5, seed=1).text != switched(text, share=0.5).text
    # What is drawn at a small share is drawn at a larger one.
    small = {e.start for e in switched(text, share=0.2, targets=["deu"]).edits}
    large = {e.start for e in switched(text, share=0.6, targets=["deu"]).edits}
    assert small < large


@settings(max_examples=40, deadline=None)
@given(st.text(st.sampled_from("dog houseicream,.ß "), max_size=60), st.integers(0, 99))
def test_edits_tell_the_whole_change(text, seed):
    found = switched(text, share=0.7, seed=seed)
    rebuilt, place = "", 0
    for edit in found.edits:
        rebuilt += text[place : edit.start]
        assert edit.new_start == len(rebuilt)
        rebuilt += found.text[edit.new_start : edit.new_end]
        place = edit.end
    assert rebuilt + text[place:] == found.text


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="probability"):
        switched("a", share=1.5)
    with pytest.raises(ValueError, match="no words of nld"):
        switched("a", targets=["nld"])


TABLE = "id\teng\tdeu\tsrp\nQ1\tVienna|City of Vienna\tWien\tБеч\nQ2\tDanube\tDonau\t\n"


def test_entities_are_switched_from_a_table(tmp_path):
    path = tmp_path / "entities.tsv"
    path.write_text(TABLE, encoding="utf-8")
    tables = read_entities(path)
    switch = CodeSwitch(tables, 1.0, ("deu",), tags=True, name="entities")
    found = switch.vary(["The City of Vienna on the Danube"], keys=["k"], varieties=["eng"])[0]
    assert found.text == "The <e>Wien</e> on the <e>Donau</e>"
    plain = CodeSwitch(tables, 1.0, ("srp",)).vary(["Wien, Donau"], keys=["k"], varieties=["deu"])
    assert plain[0].text == "Беч, Donau"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id\teng\nQ1\tVienna\n", "two or more different varieties"),
        ("eng\teng\n", "two or more different varieties"),
        ("eng\tdeu\na\tb\tc\n", "3 cells under 2"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, said):
    path = tmp_path / "entities.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRecord, match=said):
        read_entities(path)
    path.write_bytes("eng\tdeu\nMunich\tMünchen\n".encode("latin-1"))
    with pytest.raises(BadRecord, match="not UTF-8"):
        read_entities(path)
