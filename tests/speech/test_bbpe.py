"""Byte-level units: icefall's mapping, its best recovery, and which tables are recognised."""

import io
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from isogloss.speech.bbpe import bytes_of_symbol, is_bbpe, spell, text_of_bytes
from isogloss.speech.pieces import fewest_pieces
from isogloss.speech.tokens import Tokenizer, normalise_text

SPECIAL = ["<blk>", "<sos/eos>", "<unk>"]


def test_mapping_by_hand() -> None:
    # Code points read off PRINTABLE_BASE_CHARS of icefall/byte_utils.py.
    known = {0: 256, 9: 265, 31: 287, 32: 32, 65: 65, 126: 126, 127: 288, 128: 289, 144: 305}
    known |= {145: 308, 155: 318, 156: 321, 163: 328, 164: 330, 216: 382, 217: 384, 255: 422}
    for byte, code in known.items():
        assert bytes_of_symbol(chr(code)) == bytes((byte,))
    assert spell("a b") == "a b"
    # 你 is E4 BD A0.
    assert [ord(c) for c in spell("你")] == [395, 355, 325]
    assert bytes_of_symbol("▁" + spell("你")) == b" \xe4\xbd\xa0"


def test_every_byte_has_one_stable_character() -> None:
    every = [c for c in map(chr, range(0x180 + 40)) if _is_mapped(c)]
    assert sorted(bytes_of_symbol(c)[0] for c in every) == list(range(256))
    assert all(unicodedata.normalize("NFKC", c) == c for c in every)
    with pytest.raises(ValueError, match="'é' of 'aé' stands for no byte"):
        bytes_of_symbol("aé")


def _is_mapped(character: str) -> bool:
    try:
        bytes_of_symbol(character)
    except ValueError:
        return False
    return True


@given(st.text())
def test_spelling_and_reading_round_trip(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert text_of_bytes(bytes_of_symbol(spell(text))) == text


def most_characters(data: bytes) -> str:
    """The reading with the most characters, found by trying all cuts, as icefall does."""
    best = [""]
    for end in range(1, len(data) + 1):
        choices = [best[end - 1]]
        for start in range(max(0, end - 4), end):
            try:
                piece = data[start:end].decode("utf-8")
            except UnicodeDecodeError:
                continue
            if len(piece) == 1:
                choices.append(best[start] + piece)
        best.append(max(choices, key=len))
    return best[-1]


BROKEN = st.lists(
    st.one_of(
        st.sampled_from(["你", "a", "é", "🙂", "𠊎"]).map(str.encode),
        st.binary(min_size=1, max_size=3),
        st.sampled_from([b"\xe4", b"\xe4\xbd", b"\xbd\xa0", b"\xf0\x9f", b"\xed\xa0\x80", b"\xc0"]),
    )
).map(b"".join)


@given(BROKEN)
def test_broken_bytes_give_all_whole_characters(data: bytes) -> None:
    assert text_of_bytes(data) == most_characters(data)


def test_tables_that_are_bbpe() -> None:
    text = "我们去玩 hello 客家人"
    assert is_bbpe(set(spell(text).replace(" ", "▁")))
    assert is_bbpe([*set(spell("我们")), "▁" + spell("我"), spell("我")[:2], "▁TH"])
    everything = [chr(c) for c in range(423) if _is_mapped(chr(c)) and c != 32]
    assert is_bbpe([*everything, "▁"])


@pytest.mark.parametrize(
    "symbols",
    [
        [],
        list("abc"),
        ["▁THE", "ING"],
        ["我", "们"],
        list("āčēģīķļņšūžabc"),  # Latvian: every letter stands for a byte
        ["▁ā", "šķ", "ņa", "ž"],
        list("áčďéěíňóřšťúůýž"),  # Czech: á stands for none
        list("ąćęłńóśźż"),
    ],
)
def test_tables_that_are_not(symbols: list[str]) -> None:
    assert not is_bbpe(symbols)


def bbpe_table(texts: list[str]) -> Tokenizer:
    units = sorted({c for text in texts for c in spell(text).replace(" ", "▁")})
    words = [spell(w) for w in ("我", "们")]
    return Tokenizer([*SPECIAL, *units, *words])


def test_bbpe_table_reads_and_writes() -> None:
    tokenizer = bbpe_table(["我们去 hello 玩", "▁"])
    assert tokenizer.kind == "bbpe"
    ids = tokenizer.encode("我们去 hello world")
    names = [tokenizer.symbols[i] for i in ids]
    assert names[:2] == [spell("我"), spell("们")]
    assert tokenizer.decode(tokenizer.encode("我们去玩 hello")) == "我们去玩hello"
    # Two bytes of a character are dropped, an unknown unit stays one character.
    cut = [tokenizer.symbols.index(c) for c in spell("去")[:2]]
    assert tokenizer.decode([0, *ids[:2], *cut, 2, ids[0]]) == "我们⁇我"
    assert tokenizer.unknown(["我们 w"]) == {"w": 1}


def test_bbpe_with_its_model_equals_the_table_alone(tmp_path: Path) -> None:
    texts = ["我们去玩", "你们好 hello", "我 好", "hello world", "客家人去玩"] * 20
    spelt = [spell(normalise_text(text), space_han=True) for text in texts]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(spelt),
        model_writer=model,
        model_type="unigram",
        vocab_size=70,
        character_coverage=1.0,
        user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    symbols = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    with_model = Tokenizer(symbols, bpe_model=model.getvalue())
    alone = Tokenizer(symbols)
    assert with_model.kind == alone.kind == "bbpe"
    for text in texts[:5]:
        ids = with_model.encode(text)
        assert with_model.unknown_id not in ids
        assert with_model.decode(ids) == alone.decode(ids) == normalise_text(text)
        assert alone.decode(alone.encode(text)) == normalise_text(text)
        assert len(alone.encode(text)) <= len(ids)
    with_model.save(tmp_path)
    assert Tokenizer.load(tmp_path) == with_model


def test_byte_fallback_units() -> None:
    symbols = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), "▁hello", "你", "▁"]
    tokenizer = Tokenizer(symbols)
    assert tokenizer.kind == "pieces"
    ids = tokenizer.encode("hello 你𠊎")
    assert [tokenizer.symbols[i] for i in ids] == [
        "▁hello",
        "你",
        "<0xF0>",
        "<0xA0>",
        "<0x8A>",
        "<0x8E>",
    ]
    assert tokenizer.decode(ids) == "hello你𠊎"
    assert tokenizer.decode(ids[:-1]) == "hello你"
    assert tokenizer.unknown(["hello 𠊎"]) == {}


def test_pieces_without_their_model() -> None:
    tokenizer = Tokenizer([*SPECIAL, "▁", "▁THE", "▁T", "HE", "S", "E", "▁CAT", "我"])
    assert tokenizer.kind == "pieces"
    assert [tokenizer.symbols[i] for i in tokenizer.encode("THE CATS 我")] == [
        "▁THE",
        "▁CAT",
        "S",
        "我",
    ]
    assert tokenizer.decode(tokenizer.encode("THE CATS")) == "THE CATS"
    assert tokenizer.decode(tokenizer.encode("我S")) == "我S"
    assert tokenizer.encode("") == []
    assert tokenizer.unknown(["THE X"]) == {"X": 1}
    assert tokenizer.decode(tokenizer.encode("THE X")) == "THE ⁇"


def test_fewest_pieces_by_hand() -> None:
    numbers = {"a": 1, "ab": 2, "abc": 3, "c": 4, "bc": 5}
    assert fewest_pieces("abc", numbers, 3) == [3]
    assert fewest_pieces("abcab", numbers, 3) == [3, 2]
    # a + bc is 6, ab + c is 6 too; the sum of numbers ties, the earlier cut is taken.
    assert fewest_pieces("abc", {k: v for k, v in numbers.items() if k != "abc"}, 2) in (
        [1, 5],
        [2, 4],
    )
    assert fewest_pieces("xab", numbers, 3) == ["x", 2]
    assert fewest_pieces("b", numbers, 3) == ["b"]
    assert fewest_pieces("", numbers, 3) == []


@pytest.mark.parametrize("name", ["<UNK>", "<oov>"])
def test_other_names_of_the_unknown_unit(name: str) -> None:
    tokenizer = Tokenizer(["<blk>", name, "我"])
    assert tokenizer.encode("我x") == [2, 1]
    assert tokenizer.decode([2, 1]) == "我⁇"
