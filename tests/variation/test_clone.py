"""Clones: one to one and back, nothing shared, shares and schedules, ids."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.variation import Alphabet, Clone, clone_ids

TEXTS = ("Das Haus ist alt, 3 Jahre!", "हिन्दी भाषा", "我食飯 today", "Ёлка и straße")


@pytest.mark.parametrize("script", ["new", "same"])
def test_there_is_a_way_back_and_every_place_is_kept(script):
    alphabet = Alphabet.of(TEXTS, script=script, seed=3)
    for text in TEXTS:
        clone = alphabet.clone(text)
        assert clone != text
        assert len(clone) == len(text)
        assert alphabet.original(clone) == text
        kept = [c for c in text if unicodedata.category(c)[0] not in "LM"]
        assert [c for c in clone if unicodedata.category(c)[0] not in "LM"] == kept


def test_a_new_script_shares_no_letter_and_survives_normal_forms():
    alphabet = Alphabet.of(TEXTS)
    letters = {c for text in TEXTS for c in text if c.isalpha()}
    for text in TEXTS:
        clone = alphabet.clone(text)
        assert not letters & set(clone)
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            assert unicodedata.normalize(form, clone) == unicodedata.normalize(
                form, unicodedata.normalize("NFC", clone)
            )
        assert unicodedata.normalize("NFD", clone) == clone


def test_the_same_script_keeps_letters_and_capitals_and_moves_all():
    alphabet = Alphabet.of(["Haus haus abc"], script="same")
    clone = alphabet.clone("Haus haus")
    first, second = clone.split()
    assert first[0].isupper() and first.lower() == second
    assert all(old != new for old, new in alphabet.letters.items())
    assert set(clone.lower()) - {" "} <= set("hausbc")


def test_the_seed_decides():
    found = [Alphabet.of(TEXTS, seed=seed).letters for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_it_is_the_same_in_every_process():
    program = (
        "from isogloss.variation import Clone;"
        "import sys; v = Clone(p=0.5, seed=1).vary(list('abcdef'), keys=list('abcdef'), "
        "varieties=['x'] * 6); sys.stdout.buffer.write('|'.join(t.text for t in v).encode())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4))
def test_any_text_comes_back(texts):
    for script in ("new", "same"):
        alphabet = Alphabet.of(texts, script=script)
        assert [alphabet.original(alphabet.clone(text)) for text in texts] == texts


def test_a_text_with_letters_of_the_clone_is_refused():
    alphabet = Alphabet.of(["abc"])
    with pytest.raises(ValueError, match="make the alphabet"):
        alphabet.clone(alphabet.clone("a"))


def test_too_many_letters_are_refused():
    many = "".join(chr(n) for n in range(0x20000, 0x2A6D0))
    with pytest.raises(ValueError, match="different letters"):
        Alphabet.of([many])


def test_a_share_is_cloned_and_the_rest_stays():
    texts = [f"text number {i}" for i in range(1000)]
    keys = [str(i) for i in range(1000)]
    found = Clone(p=0.3, seed=1).vary(texts, keys=keys, varieties=["eng"] * 1000)
    assert 250 < sum(varied.changed for varied in found) < 350
    assert all(v.changed or v.text == t for v, t in zip(found, texts, strict=True))
    again = Clone(p=0.3, seed=1).vary(texts[::-1], keys=keys[::-1], varieties=["eng"] * 1000)
    assert [v.changed for v in again[::-1]] == [v.changed for v in found]
    # A larger share contains the smaller one.
    more = Clone(p=0.6, seed=1).vary(texts, keys=keys, varieties=["eng"] * 1000)
    assert all(b.changed for a, b in zip(found, more, strict=True) if a.changed)


def test_a_schedule_goes_by_the_place():
    keys = [str(i) for i in range(900)]
    found = Clone(p="0_1_0.5").vary(["a"] * 900, keys=keys, varieties=["eng"] * 900)
    shares = [sum(v.changed for v in found[i : i + 300]) / 300 for i in (0, 300, 600)]
    assert shares[0] == 0 and shares[1] == 1 and 0.4 < shares[2] < 0.6


@pytest.mark.parametrize("share", ["2", "-0.1", "half", "", "0.1_"])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="no share"):
        Clone(p=share)


def test_an_unknown_script_is_named():
    with pytest.raises(UnknownName, match="new"):
        Clone(script="old")


def test_ids_of_the_clone():
    ids = np.array([[2, 5, 9, 3, 0]])
    assert clone_ids(ids, vocabulary=10, special=[0, 2, 3]).tolist() == [[2, 15, 19, 3, 0]]
    assert ids.tolist() == [[2, 5, 9, 3, 0]]
    assert clone_ids(np.zeros((0,), np.int64), vocabulary=10).size == 0
    with pytest.raises(ValueError, match="V is 9"):
        clone_ids(ids, vocabulary=9)
