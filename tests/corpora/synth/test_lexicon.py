"""The built-in lexicon is complete and well formed; broken tables are refused with the place."""

import unicodedata
from collections import Counter

import pytest

from isogloss.corpora.synth.lexicon import (
    LEXICON_VARIETIES,
    check_word,
    load_lexicon,
    syllables,
)
from isogloss.errors import BadRecord, UnknownName

COLUMNS = [
    "concept",
    "category",
    "cmn",
    "cmn_romanisation",
    *(
        f"{code}{part}"
        for code in ("yue", "hak", "nan")
        for part in ("", "_romanisation", "_cognate")
    ),
]
GOOD = [
    "eat",
    "verb",
    "吃",
    "chi1",
    "食",
    "sik6",
    "none",
    "食",
    "sṳ̍t",
    "none",
    "食",
    "chia̍h",
    "none",
]


def table(tmp_path, *rows, columns=COLUMNS):
    path = tmp_path / "lexicon.tsv"
    path.write_text("\n".join("\t".join(row) for row in (columns, *rows)) + "\n", encoding="utf-8")
    return path


def changed(**cells):
    return [cells.get(column, cell) for column, cell in zip(COLUMNS, GOOD, strict=True)]


def test_the_lexicon_is_large_and_every_word_has_one_syllable_per_character():
    lexicon = load_lexicon()
    assert len(lexicon) >= 260
    for entry in lexicon.values():
        assert set(entry.words) == set(LEXICON_VARIETIES)
        for variety, word in entry.words.items():
            assert check_word(variety, word.characters, word.romanisation) is None
            assert word.romanisation == unicodedata.normalize("NFC", word.romanisation)


@pytest.mark.parametrize(
    ("concept", "variety", "characters", "romanisation", "cognate"),
    [
        ("we", "cmn", "我们", "wo3 men5", "full"),
        ("they", "yue", "佢哋", "keoi5 dei6", "none"),
        ("sleep", "yue", "瞓覺", "fan3 gaau3", "partial"),
        ("I", "hak", "𠊎", "ngài", "none"),
        ("not", "hak", "毋", "m̀", "none"),
        ("where", "nan", "佗位", "tó-ūi", "none"),
        ("train", "nan", "火車", "hóe-chhia", "full"),
        ("of", "nan", "的", "ê", "none"),
    ],
)
def test_words_by_hand(concept, variety, characters, romanisation, cognate):
    word = load_lexicon()[concept].word(variety)
    assert word.characters == characters
    assert word.romanisation == unicodedata.normalize("NFC", romanisation)
    assert word.cognate == cognate


def test_cognate_flags_agree_with_the_characters_in_one_script():
    opencc = pytest.importorskip("opencc", reason="flags are compared in one script by OpenCC")
    convert = opencc.OpenCC("t2s").convert
    borrowed = {("of", "nan")}
    for concept, entry in load_lexicon().items():
        standard = entry.words["cmn"].characters
        for variety in ("yue", "hak", "nan"):
            if (concept, variety) in borrowed:
                continue
            own = convert(entry.words[variety].characters)
            shared = set(own) & set(standard)
            expected = "full" if own == standard else "partial" if shared else "none"
            assert entry.words[variety].cognate == expected, (concept, variety)


@pytest.mark.parametrize("variety", ["yue", "hak", "nan"])
def test_about_half_of_the_words_are_cognate_and_a_third_are_not(variety):
    lexicon = load_lexicon()
    flags = Counter(entry.words[variety].cognate for entry in lexicon.values())
    assert 0.4 <= flags["full"] / len(lexicon) <= 0.6
    assert 0.25 <= flags["none"] / len(lexicon) <= 0.4


def test_the_caller_cannot_spoil_the_built_in_lexicon():
    load_lexicon().clear()
    assert load_lexicon()


def test_an_unknown_variety_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="cmn"):
        load_lexicon()["eat"].word("wuu")


def test_a_good_table_is_read(tmp_path):
    assert load_lexicon(table(tmp_path, GOOD))["eat"].word("yue").romanisation == "sik6"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (changed(yue=""), "yue"),
        (changed(hak_romanisation=" "), "hak_romanisation"),
        (changed(yue_cognate="half"), "yue_cognate"),
        (changed(yue_romanisation="sik7"), "yue_romanisation"),
        (changed(yue_romanisation="sik6 faan6"), "yue_romanisation"),
        (changed(cmn_romanisation="chi"), "cmn_romanisation"),
        (changed(hak_romanisation="o͘"), "hak_romanisation"),
        (changed(nan_romanisation="chiáh̍"), "nan_romanisation"),
        (changed(nan_romanisation="Chia̍h"), "nan_romanisation"),
        (GOOD[:-1], "row"),
    ],
)
def test_a_bad_cell_is_refused_with_its_place(tmp_path, row, field):
    with pytest.raises(BadRecord) as caught:
        load_lexicon(table(tmp_path, GOOD, ["drink", *row[1:]]))
    assert (caught.value.line, caught.value.field) == (3, field)


def test_a_concept_twice_and_a_wrong_header_are_refused(tmp_path):
    with pytest.raises(BadRecord, match="comes twice"):
        load_lexicon(table(tmp_path, GOOD, GOOD))
    with pytest.raises(BadRecord, match="expected the columns"):
        load_lexicon(table(tmp_path, GOOD, columns=COLUMNS[::-1]))
    (tmp_path / "lexicon.tsv").write_text("", encoding="utf-8")
    with pytest.raises(BadRecord, match="expected the columns"):
        load_lexicon(tmp_path / "lexicon.tsv")


def test_syllables_are_split_at_hyphens_and_spaces():
    assert syllables("thâu-ke  chia̍h pn̄g") == ["thâu", "ke", "chia̍h", "pn̄g"]
    assert syllables("") == []
