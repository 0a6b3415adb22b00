from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.encoders import check_encoder, load_encoder
from isogloss.encoders.ngram import InverseFrequency, NgramEncoder, ngram_weights
from isogloss.errors import IsoglossError, TextError, UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = [
    Item("a", "eng", text="The quick brown fox"),
    Item("b", "cmn", text="敏捷的棕色狐狸"),
    Item("c", "deu", text="x"),
    Item("d", "deu", text="lang " * 4000),
    Item("e", "yue", text="你喺度搵乜嘢呀？", words=("你", "喺度", "搵", "乜嘢", "呀")),
]


@pytest.mark.parametrize("name", ["ngram:", "ngram:?token=word&dimension=64&low=2&high=4"])
def test_keeps_the_contract(name: str) -> None:
    check_encoder(load_encoder(name), ITEMS)


def test_cosine_is_that_of_counted_ngrams_when_nothing_falls_together() -> None:
    encoder = NgramEncoder(low=1, high=1, dimension=1 << 20)
    a, b = encoder.encode([Item("a", "x", text="aab"), Item("b", "x", text="abc")]).values
    # Weights: a 1 + ln 2, b 1; against a, b, c 1 each.
    first = np.array([1 + np.log(2), 1, 0])
    second = np.array([1, 1, 1])
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert float(a @ b) == pytest.approx(expected, abs=1e-6)
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-6)


def test_rare_ngrams_weigh_more_and_unseen_ones_most() -> None:
    rarity = InverseFrequency.of(["ab", "ac"], 1, 1)
    codes, weights = ngram_weights("abz", 1, 1, rarity)
    by_character = {
        character: float(weights[codes == ngram_weights(character, 1, 1)[0][0]][0])
        for character in "abz"
    }
    assert by_character == pytest.approx({"a": 1.0, "b": np.log(1.5) + 1, "z": np.log(3) + 1})


def test_words_have_a_step_each() -> None:
    found = load_encoder("ngram:?token=word&dimension=32").encode(ITEMS[:1] + ITEMS[4:])
    assert found.lengths.tolist() == [4, 5]
    assert found.item_words(1).tolist() == [0, 1, 2, 3, 4]
    alone = load_encoder("ngram:?dimension=32").encode([Item("q", "eng", text="quick")])
    np.testing.assert_allclose(found[0][1], alone.values[0], atol=1e-7)


def test_every_option_changes_name_and_values(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("the fox\nthe dog\n", encoding="utf-8")
    plain = load_encoder("ngram:").encode(ITEMS[:1])
    for options in ("low=2", "high=4", "dimension=512", "token=word", f"idf_from={lines}"):
        other = load_encoder(f"ngram:?{options}").encode(ITEMS[:1])
        assert other.made_by != plain.made_by
        assert other.values.shape != plain.values.shape or not np.allclose(
            other.values, plain.values
        )


def test_rarity_is_counted_on_a_manifest_too(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(
        '{"isogloss_corpus": 1, "name": "m"}\n'
        '{"id": "1", "variety": "eng", "text": "the fox"}\n'
        '{"id": "2", "variety": "eng", "text": "the dog"}\n',
        encoding="utf-8",
    )
    lines = tmp_path / "lines.txt"
    lines.write_text("the fox\n\nthe dog\n", encoding="utf-8")
    one, two = (
        load_encoder(f"ngram:?idf_from={path}").encode(ITEMS[:1]).values
        for path in (manifest, lines)
    )
    np.testing.assert_array_equal(one, two)


def test_bad_input_is_refused_with_a_reason(tmp_path: Path) -> None:
    encoder = load_encoder("ngram:")
    with pytest.raises(TextError, match="item 'e': its text is empty"):
        encoder.encode([Item("e", "eng", text=" \n")])
    with pytest.raises(ValueError, match="no item"):
        encoder.encode([])
    with pytest.raises(ValueError, match="one layer, 0; got layer 2"):
        load_encoder("ngram:", layer=2)
    with pytest.raises(ValueError, match="nothing after the colon but options, got 'x'"):
        load_encoder("ngram:x")
    with pytest.raises(ValueError, match="'low' must be a whole number from 0, got 'two'"):
        load_encoder("ngram:?low=two")
    with pytest.raises(ValueError, match="dimension must be 16 to 1048576, got 8"):
        load_encoder("ngram:?dimension=8")
    with pytest.raises(UnknownName, match="token"):
        load_encoder("ngram:?token=wort")
    with pytest.raises(UnknownName, match="did you mean dimension"):
        load_encoder("ngram:?dimensions=8")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("grün".encode("latin-1"))
    with pytest.raises(IsoglossError, match="byte 2 is not UTF-8"):
        load_encoder(f"ngram:?idf_from={latin}")
    with pytest.raises(IsoglossError, match="no such file"):
        load_encoder("ngram:?idf_from=nowhere.txt")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(IsoglossError, match="there is no text"):
        load_encoder(f"ngram:?idf_from={empty}")
    with pytest.raises(ValueError, match="no text to count"):
        InverseFrequency.of([], 1, 2)
