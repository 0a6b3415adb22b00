from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import BadRecord, IsoglossError
from isogloss.speech.tokens import SPACE, Tokenizer, normalise_text, split_characters

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["我们去Hong Kong玩", "𠊎毋知佢系么人", "lán beh khì hit o̍h", "hello world"]

# Han (also beyond the basic plane), Latin, marks that compose and marks that do not, spaces.
MIXED = st.text(st.sampled_from("我们𠊎𪜶〇，がaoHé\u0301\u030d\u0358 \t\n\u3000\u200b1.\ufffd가"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我 们 去 玩", "我们去玩"),
        ("我 去 Hong  Kong 玩", "我去Hong Kong玩"),
        ("  hello \t\n world\u3000", "hello world"),
        ("e\u0301", "é"),
        ("\ufeff我\u200b们\x00", "我们"),
        ("𠊎 系 客家人 。", "𠊎系客家人。"),
        ("\ue123 \U000f0001", "\ue123\U000f0001"),
        ("한국 사람", "한국 사람"),
        ("か \u3099", "が"),
        ("a▁b", "a b"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_normalise_text_by_hand(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


@given(st.one_of(st.text(), MIXED))
def test_normalising_twice_changes_nothing_and_gives_nfc(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once
    assert unicodedata.is_normalized("NFC", once)


def test_a_unit_is_a_character_with_its_marks() -> None:
    assert split_characters("𠊎o̍h 好") == ["𠊎", "o̍", "h", "好"]
    assert split_characters("o\u0358\u0301") == [unicodedata.normalize("NFC", "o\u0358\u0301")]
    assert split_characters("a b") == ["a", SPACE, "b"]
    assert split_characters("\u0301") == ["\u0301"]


@given(st.one_of(st.text(), MIXED))
def test_characters_round_trip(text: str) -> None:
    tokenizer = Tokenizer.characters([text, "x"])
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == normalise_text(text)
    assert all(0 < i < tokenizer.vocab_size for i in ids)
    assert len(ids) == len(split_characters(text))


def test_characters_do_not_depend_on_the_order_of_texts() -> None:
    one, other = Tokenizer.characters(TEXTS), Tokenizer.characters(TEXTS[::-1])
    assert one == other
    assert one.symbols[:2] == ("<blk>", "<unk>")
    assert list(one.symbols[2:]) == sorted(one.symbols[2:])
    assert one.kind == "characters"


def test_rare_characters_are_left_to_the_unknown_unit() -> None:
    tokenizer = Tokenizer.characters(["我我他", "我他"], min_count=3)
    assert tokenizer.symbols == ("<blk>", "<unk>", "我")
    assert tokenizer.encode("我他") == [2, tokenizer.unknown_id]
    assert tokenizer.decode([2, 1, 0, 2]) == "我⁇我"
    assert tokenizer.unknown(["他我他", "㗎"]) == {"他": 2, "㗎": 1}


def test_text_that_looks_like_the_blank_is_spelt_out() -> None:
    tokenizer = Tokenizer.characters(["<blk>"])
    assert 0 not in tokenizer.encode("<blk>")
    assert tokenizer.decode(tokenizer.encode("<blk>")) == "<blk>"


def test_no_texts_and_numbers_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="no character"):
        Tokenizer.characters(["", " "])
    with pytest.raises(ValueError, match="outside the vocabulary of 3"):
        Tokenizer.characters(["我"]).decode([3])


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return Tokenizer.bpe([*TEXTS * 3, "们去们去 hello Hong"], 40)


def test_bpe_learns_frequent_pieces_and_keeps_the_blank_apart(bpe: Tokenizer) -> None:
    assert bpe.symbols[:2] == ("<blk>", "<unk>")
    assert bpe.vocab_size == 40
    assert bpe.kind == "bpe"
    for text in TEXTS:
        ids = bpe.encode(text)
        assert 0 not in ids
        assert bpe.decode(ids) == normalise_text(text)
    assert len(bpe.encode("hello Hong")) < len("hello Hong")
    assert 0 not in bpe.encode("<blk>")
    assert bpe.encode("") == []
    # A first character is the same unit as later ones.
    assert bpe.encode("𠊎") == bpe.encode("毋𠊎")[1:]


@settings(max_examples=30)
@given(st.text(st.sampled_from("我们去𠊎毋知helo HngKo"), max_size=20))
def test_bpe_round_trip(text: str) -> None:
    tokenizer = Tokenizer.bpe([*TEXTS * 3, "们去们去 hello Hong"], 40)
    assert tokenizer.decode(tokenizer.encode(text)) == normalise_text(text)


def test_bpe_says_what_it_cannot_spell(bpe: Tokenizer) -> None:
    assert bpe.unknown(["我㗎㗎"]) == {"㗎": 2}
    assert bpe.unknown_id in bpe.encode("㗎")


@pytest.mark.parametrize("size", [5, 5000])
def test_bpe_size_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="choose a size between"):
        Tokenizer.bpe(TEXTS, size)
    with pytest.raises(ValueError, match="empty"):
        Tokenizer.bpe(["", " "], size)


def test_saved_is_loaded(tmp_path, bpe: Tokenizer) -> None:
    characters = Tokenizer.characters(TEXTS)
    for tokenizer in (bpe, characters):  # the second must not meet the first one's bpe.model
        tokenizer.save(tmp_path)
        loaded = Tokenizer.load(tmp_path)
        assert loaded == tokenizer
        assert loaded.kind == tokenizer.kind
        for text in TEXTS:
            assert loaded.encode(text) == tokenizer.encode(text)
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["<blk> 0", "<unk> 1"]
    assert len(lines) == characters.vocab_size


@given(text=st.text())
def test_any_character_survives_the_file(tmp_path_factory, text: str) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = Tokenizer.characters([text, "x"])
    tokenizer.save(folder)
    assert Tokenizer.load(folder) == tokenizer


def test_icefall_list_is_read_in_any_order(tmp_path) -> None:
    (tmp_path / "tokens.txt").write_text("<sos/eos> 1\n<unk> 2\n我 3\n<blk> 0\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.unknown_id == 2
    assert tokenizer.decode([1, 3, 1]) == "我"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<blk> 0\n<unk> 1\n我\n", ":3:id: expected 'symbol number'"),
        ("<blk> 0\n<unk> 1\n我 1\n", ":3:id: unit 1 is given twice"),
        ("<blk> 0\n<unk> 1\n我 3\n", "unit 2 is missing"),
    ],
)
def test_broken_lists_are_refused_with_the_line(tmp_path, content: str, problem: str) -> None:
    (tmp_path / "tokens.txt").write_text(content, encoding="utf-8")
    with pytest.raises(BadRecord) as caught:
        Tokenizer.load(tmp_path)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "unit 0 must be the blank"),
        ("我 0\n<unk> 1\n", "unit 0 must be the blank"),
        ("<blk> 0\n我 1\n", "no unit is <unk>"),
        ("<blk> 0\n<unk> 1\n我 2\n我 3\n", "given twice: 我"),
    ],
)
def test_lists_that_are_no_vocabulary_are_refused(tmp_path, content: str, problem: str) -> None:
    (tmp_path / "tokens.txt").write_text(content, encoding="utf-8")
    with pytest.raises(IsoglossError, match=problem):
        Tokenizer.load(tmp_path)


def test_missing_list_and_foreign_model_are_refused(tmp_path, bpe: Tokenizer) -> None:
    with pytest.raises(IsoglossError, match=r"tokens\.txt is missing"):
        Tokenizer.load(tmp_path)
    bpe.save(tmp_path)
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "tokens.txt").write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(IsoglossError, match="40 pieces that differ from the 39 symbols"):
        Tokenizer.load(tmp_path)
    bpe.save(tmp_path)
    (tmp_path / "bpe.model").write_bytes(b"no model")
    with pytest.raises(IsoglossError, match="no sentencepiece model"):
        Tokenizer.load(tmp_path)


def test_a_table_with_another_form_of_the_space(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    for space in (" ", "<space>", "\u2581"):
        path.write_text(f"<blk> 0\n<unk> 1\na 2\n{space} 3\n", "utf-8-sig")
        tokenizer = Tokenizer.read(path, units=4)
        assert tokenizer.kind == "characters"
        assert tokenizer.encode("a a") == [2, 3, 2]
        assert tokenizer.decode([2, 3, 2]) == "a a"


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_bytes("<blk> 0\n<unk> 1\n我 2\n".encode("gbk"))
    with pytest.raises(IsoglossError, match=r"tokens\.txt is not UTF-8"):
        Tokenizer.read(path)
