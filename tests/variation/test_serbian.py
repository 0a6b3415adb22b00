"""Serbian Cyrillic and Latin: letter for letter, capitals, and what must stay."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.variation.serbian import serbian_cyrillic, serbian_latin

CYRILLIC = "абвгдђежзијклљмнњопрстћуфхцчџш"
LATIN = "a b v g d đ e ž z i j k l lj m n nj o p r s t ć u f h c č dž š".split()


def test_the_alphabet_letter_for_letter():
    for letter, latin in zip(CYRILLIC, LATIN, strict=True):
        assert serbian_latin(letter) == latin
        assert serbian_cyrillic(latin) == letter
        assert serbian_cyrillic(latin.upper()) == letter.upper()
        assert serbian_cyrillic(latin.title()) == letter.upper()


@pytest.mark.parametrize(
    ("cyrillic", "latin"),
    [
        ("Датотека није пронађена", "Datoteka nije pronađena"),
        ("Љубав ЉУБАВ љубав", "Ljubav LJUBAV ljubav"),
        ("Његош ЊЕГОШ", "Njegoš NJEGOŠ"),
        ("ПОЉЕ КОЊ Џ.", "POLJE KONJ Dž."),
        ("инјекција конјункција", "injekcija konjunkcija"),
        ("наџњети", "nadžnjeti"),
        ("Танјуг наджњети надживети", "Tanjug nadžnjeti nadživeti"),
    ],
)
def test_words(cyrillic, latin):
    assert serbian_latin(cyrillic) == latin
    if cyrillic != "наџњети":
        assert serbian_cyrillic(latin) == cyrillic


def test_letters_in_one_character_and_what_is_not_serbian_stay():
    assert serbian_cyrillic("ǈubav ǋegoš ǆep") == "Љубав Његош џеп"
    assert serbian_cyrillic("Windows Query göt") == "Windows Query göt"
    assert serbian_latin("X11, 你好, ёж") == "X11, 你好, ёž"


def test_what_programs_read_stays():
    text = "Ne mogu %s u {name} na <b>%(count)d</b> &lt; https://a.rs/put me@a.rs %5.2f\\n"
    assert serbian_cyrillic(text) == (
        "Не могу %s у {name} на <b>%(count)d</b> &lt; https://a.rs/put me@a.rs %5.2f\\n"
    )


@given(st.text(st.sampled_from(CYRILLIC + CYRILLIC.upper() + " .,1")))
def test_latin_has_no_cyrillic_left_and_back_again_is_latin_again(text):
    latin = serbian_latin(text)
    assert not any("CYRILLIC" in unicodedata.name(c, "") for c in latin)
    assert serbian_latin(serbian_cyrillic(latin)).lower() == latin.lower()
