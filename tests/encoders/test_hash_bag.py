from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.encoders import check_encoder, load_encoder, mean_pool
from isogloss.encoders.character_ngrams import as_characters, window_codes
from isogloss.encoders.hash_bag import BagShape, bag_of, random_table
from isogloss.encoders.own_text_files import read_own_text, write_own_text
from isogloss.errors import IsoglossError, TextError
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = BagShape(buckets=1 << 20, dimension=4)
BEGIN, END = 0x110000, 0x110001
ITEMS = [
    Item("a", "eng", text="The quick, brown FOX! a"),
    Item("b", "cmn", text="狐狸跳过懒狗 the fox"),
    Item("c", "deu", text="Hund " * 3000),
    Item("d", "eng", text="I don't", words=("I", "do", "n't")),
    Item("e", "deu", text="u\u0308ber", words=("u\u0308", "ber")),
]


def rows_of(*grams: str) -> set[int]:
    """Rows of n-grams written with < and > for the bounds of a run."""
    found = set()
    for gram in grams:
        characters = as_characters(gram).copy()
        characters[characters == ord("<")] = BEGIN
        characters[characters == ord(">")] = END
        found.add(int(window_codes(characters, len(gram))[0] % np.uint64(SHAPE.buckets)))
    return found


def bags(text: str, spans: list[tuple[int, int]] | None = None) -> dict[int, set[int]]:
    rows, owners = bag_of(text, SHAPE, spans)
    return {int(word): set(rows[owners == word].tolist()) for word in np.unique(owners)}


def test_ngrams_of_words_with_their_bounds_by_hand() -> None:
    assert bags("Is a") == {0: rows_of("<is", "is>", "<is>"), 1: rows_of("<a>")}


def test_scripts_without_spaces_begin_with_single_characters() -> None:
    found = bags("狐a")
    assert found[0] | found[1] == rows_of("狐", "<狐a", "狐a>", "<狐a>")
    assert found[0] == rows_of("狐", "<狐a", "<狐a>")


def test_words_of_the_item_take_the_ngrams_around_their_middle() -> None:
    found = bags("abc", [(0, 1), (1, 3)])
    assert found[0] == rows_of("<ab", "<abc")
    assert found[1] == rows_of("abc", "bc>", "abc>", "<abc>")


def test_run_shorter_than_the_least_ngram_is_one() -> None:
    shape = BagShape(buckets=1 << 20, low=5, high=6)
    assert len(bag_of("a", shape)[0]) == 1
    assert len(bag_of(" \n", shape)[0]) == 0


@given(st.text(alphabet="ab é狐ไทย\n", max_size=20))
def test_which_words_an_item_lists_does_not_change_its_ngrams(text: str) -> None:
    by_space = bag_of(text, SHAPE)[0]
    by_item = bag_of(text, SHAPE, [(0, len(text) // 2)])[0]
    assert sorted(by_space.tolist()) == sorted(by_item.tolist())


def test_keeps_the_contract_and_words_average_to_the_sentence() -> None:
    words = load_encoder("hash:?dimension=32&buckets=5000")
    check_encoder(words, ITEMS)
    sentence = load_encoder("hash:?dimension=32&buckets=5000&token=sentence")
    check_encoder(sentence, ITEMS)
    np.testing.assert_allclose(
        mean_pool(words.encode(ITEMS)).values, sentence.encode(ITEMS).values, atol=1e-6
    )
    found = words.encode(ITEMS)
    assert found.lengths.tolist() == [5, 8, 3000, 3, 2]
    assert found.item_words(3).tolist() == [0, 1, 2]


def test_sentence_is_the_mean_over_ngrams() -> None:
    shape = BagShape(dimension=8)
    encoder = load_encoder("hash:?dimension=8&token=sentence&seed=3")
    rows, _ = bag_of("ein hund", shape)
    expected = random_table(shape, 3)[rows].mean(axis=0)
    found = encoder.encode([Item("a", "deu", text="ein Hund")])
    np.testing.assert_allclose(found.values[0], expected, atol=1e-6)


def test_options_of_an_untrained_bag_change_name_and_values() -> None:
    plain = load_encoder("hash:?dimension=8").encode(ITEMS[:1])
    for option in ("seed=1", "buckets=1000"):
        other = load_encoder(f"hash:?dimension=8&{option}").encode(ITEMS[:1])
        assert other.made_by != plain.made_by
        assert not np.allclose(other.values, plain.values)


def test_written_is_read(tmp_path: Path) -> None:
    shape = BagShape(buckets=50, dimension=3, low=2, high=3)
    table = random_table(shape, 5)
    revision = write_own_text(tmp_path, "hash", asdict(shape), {"table": table})
    encoder = load_encoder(f"hash:{tmp_path}")
    assert encoder.shape == shape
    np.testing.assert_array_equal(encoder.table, table)
    assert revision[:12] in encoder.made_by
    with pytest.raises(ValueError, match="option 'seed' is for 'hash:' without a folder"):
        load_encoder(f"hash:{tmp_path}?seed=1")


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    shape = {"buckets": 50, "dimension": 3, "low": 2, "high": 3, "low_unspaced": 1}
    table = np.ones((50, 3), np.float32)
    with pytest.raises(IsoglossError, match="there is no such folder; 'hash:' takes a folder"):
        load_encoder(f"hash:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="NaN or infinity are not saved: table"):
        write_own_text(tmp_path, "hash", shape, {"table": table * np.nan})
    write_own_text(tmp_path, "laser", shape, {"table": table})
    with pytest.raises(IsoglossError, match="of kind 'laser'; load it as laser:"):
        load_encoder(f"hash:{tmp_path}")
    for broken, message in (
        ({**shape, "dimension": 4}, r"the table is \(50, 3\) float32"),
        ({**shape, "low": 4}, "low=4 and high=3"),
        ({"buckets": 50, "depth": 3}, "no model of hashed n-grams"),
    ):
        write_own_text(tmp_path, "hash", broken, {"table": table})
        with pytest.raises(IsoglossError, match=message):
            load_encoder(f"hash:{tmp_path}")
    write_own_text(tmp_path, "hash", shape, {"table": table})
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "format_version": 2}))
    with pytest.raises(IsoglossError, match="format_version is 2, this isogloss reads 1"):
        read_own_text(tmp_path, "hash")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with (tmp_path / "model.safetensors").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(IsoglossError, match="differs from what config"):
        read_own_text(tmp_path, "hash")


def test_shapes_out_of_range_are_refused() -> None:
    for values, message in (
        ({"low_unspaced": 4}, "low_unspaced must be 1 to low=3, got 4"),
        ({"buckets": 0}, "buckets must be 1 to"),
        ({"low": 6}, "low=6 and high=5"),
    ):
        with pytest.raises(ValueError, match=message):
            BagShape(**values)


def test_text_is_needed() -> None:
    with pytest.raises(TextError, match="item 'x'"):
        load_encoder("hash:?buckets=9&dimension=2").encode([Item("x", "eng", text="\t")])
    with pytest.raises(ValueError, match="one layer, 0; got layer 3"):
        load_encoder("hash:", layer=3)
