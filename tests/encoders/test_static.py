from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.encoders import check_encoder, load_encoder
from isogloss.encoders.static_fasttext import open_fasttext, subword_hashes
from isogloss.encoders.static_table import open_rows
from isogloss.errors import BadRecord, IsoglossError, TextError, UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

WORDS = {
    "the": [1, 0, 0],
    "fox": [0, 1, 0],
    "Über": [0, 0, 1],
    "狐狸": [1, 2, 3],
    "狐": [3, 2, 1],
}


def text_file(path: Path, rows: dict[str, list[float]], *, header: str | None = "auto") -> Path:
    lines = [" ".join([word, *map(str, vector)]) for word, vector in rows.items()]
    if header == "auto":
        header = f"{len(rows)} 3"
    lines = lines if header is None else [header, *lines]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def binary_file(path: Path, rows: dict[str, list[float]], *, feed: bytes = b"\n") -> Path:
    content = f"{len(rows)} 3\n".encode()
    for word, vector in rows.items():
        content += word.encode() + b" " + struct.pack("<3f", *vector) + feed
    path.write_bytes(content)
    return path


def fasttext_file(
    path: Path, words: list[str], matrix: np.ndarray, *, buckets: int, n: tuple[int, int] = (2, 3)
) -> Path:
    """The layout as fastText writes it, version 12."""
    settings = [matrix.shape[1], 5, 1, 1, 5, 1, 1, 1, buckets, *n, 100]
    content = struct.pack("<ii", 793712314, 12) + struct.pack("<12id", *settings, 1e-4)
    content += struct.pack("<iiiqq", len(words), len(words), 0, 99, -1)
    for word in words:
        content += word.encode() + b"\0" + struct.pack("<qb", 3, 0)
    content += struct.pack("<?qq", False, *matrix.shape) + matrix.astype("<f4").tobytes()
    path.write_bytes(content)
    return path


@pytest.fixture(params=["text", "text without header", "binary", "binary without line feeds"])
def vectors(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "vectors"
    if request.param == "text":
        return text_file(path, WORDS)
    if request.param == "text without header":
        return text_file(path, WORDS, header=None)
    return binary_file(path, WORDS, feed=b"\n" if request.param == "binary" else b"")


def test_each_form_gives_the_vectors_of_known_words(vectors: Path) -> None:
    encoder = load_encoder(f"static:{vectors}")
    items = [
        Item("a", "deu", text='The  "fox", unknown über!'),
        Item("b", "cmn", text="狐狸狐fox。"),
        Item("c", "cmn", text="狐狸 fox", words=("狐", "狸", "fox")),
    ]
    found = encoder.encode(items)
    # Lower case and without punctuation where the word as it stands is not there.
    assert found[0].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert found.item_words(0).tolist() == [0, 1]
    # The longest word of the file; each of its characters gets the vector.
    assert found[1].tolist() == [[1, 2, 3], [1, 2, 3], [3, 2, 1], [0, 1, 0]]
    assert found.item_words(1).tolist() == [0, 1, 2, 3]
    # Words that the item lists are looked up by themselves.
    assert found[2].tolist() == [[3, 2, 1], [0, 1, 0]]
    assert found.item_words(2).tolist() == [0, 2]
    assert (encoder.counts.words, encoder.counts.unknown) == (11, 3)
    check_encoder(encoder, items)


def test_item_without_known_words_gets_a_zero_and_is_counted(tmp_path: Path) -> None:
    encoder = load_encoder(f"static:{text_file(tmp_path / 'v.vec', WORDS)}")
    items = [Item("a", "eng", text="fox"), Item("b", "eng", text="nothing here")]
    with pytest.warns(UserWarning, match="1 of 2 items have no word with a vector, first 'b'"):
        found = encoder.encode(items)
    assert found[1].tolist() == [[0, 0, 0]]
    assert found.item_words(1).tolist() == [-1]
    assert encoder.counts.items_without == 1


def test_limit_takes_the_front_and_looks_no_further(tmp_path: Path) -> None:
    path = tmp_path / "v.vec"
    text_file(path, WORDS, header="5 3")
    with path.open("ab") as handle:
        handle.write(b"damaged \xff line")
    encoder = load_encoder(f"static:{path}?limit=2")
    assert len(encoder.table) == 2
    assert "Über" not in encoder.table
    assert encoder.made_by != load_encoder(f"static:{path}?limit=3").made_by


def test_words_with_spaces_tabs_and_blank_lines_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(b"2 3\r\nNew York 1 2 3 \r\nfox\t4\t5\t6\r\n \r\n")
    table = open_rows(path)
    assert table.vector("New York").tolist() == [1, 2, 3]
    assert table.vector("fox").tolist() == [4, 5, 6]
    assert table.vector("nowhere") is None


def test_repeated_words_keep_the_first_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "v.vec"
    path.write_text("3 2\nfox 1 2\nfox 3 4\ndog 5 6\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 words come again"):
        table = open_rows(path)
    assert table.vector("fox").tolist() == [1, 2]
    assert len(table) == 2


def test_words_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "v.vec"
    path.write_bytes("3 1\nfox 1\ndog 2\ngrün 3\n".encode("latin-1"))
    with pytest.warns(UserWarning, match=r"1 words are not utf-8 and left out \(first at line 4"):
        assert len(open_rows(path)) == 2
    assert open_rows(path, encoding="latin-1").vector("grün").tolist() == [3]
    path.write_bytes("2 1\ngrün 1\nschön 2\n".encode("latin-1"))
    with pytest.raises(IsoglossError, match=r"2 of 2 words are not utf-8; name the encoding"):
        open_rows(path)
    with pytest.raises(ValueError, match="no encoding 'utf-9'"):
        load_encoder(f"static:{path}?encoding=utf-9")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"3 2\nfox 1 2\ndog 3 4\n", "says 3 words, the file ends after 2; it is cut short"),
        (b"1 2\nfox 1 2\ndog 3 4\n", "says 1 words, but line 3 is one more"),
        (b"2 2\nfox 1 2\ndog 3\n", ":3:vector: expected a word and 2 numbers, found 2 fields"),
        (b"fox\n", "neither 'WORDS DIMENSION' nor a word and numbers"),
        (b"0 2\n", "there is no word vector"),
    ],
)
def test_broken_texts_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.vec"
    path.write_bytes(content)
    with pytest.raises(IsoglossError, match=message):
        open_rows(path)


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "one"])
def test_what_is_no_number_is_told_when_its_word_is_used(tmp_path: Path, value: str) -> None:
    path = tmp_path / "v.vec"
    path.write_text(f"2 2\ndog 1 2\nfox 3 {value}\n", encoding="utf-8")
    table = open_rows(path)
    assert table.vector("dog").tolist() == [1, 2]
    with pytest.raises(BadRecord, match=r"v.vec:3:vector: 'fox'"):
        table.vector("fox")


def test_broken_binaries_are_refused(tmp_path: Path) -> None:
    path = binary_file(tmp_path / "v.bin", WORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-6])
    with pytest.raises(IsoglossError, match="says 5 words, the file ends in word 5"):
        open_rows(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(IsoglossError, match="5 bytes follow the 5 words"):
        open_rows(path)
    path.write_bytes(b"no header\n" + whole)
    with pytest.raises(
        IsoglossError, match="begins with 'WORDS DIMENSION', this with b'no header'"
    ):
        open_rows(path, form="binary")
    nan = binary_file(tmp_path / "nan.bin", {"fox": [1, float("nan"), 2]})
    with pytest.raises(BadRecord, match=r"nan\.bin:1:vector: 'fox' has NaN or infinity"):
        open_rows(nan).vector("fox")


def test_bad_names_and_options(tmp_path: Path) -> None:
    path = text_file(tmp_path / "v.vec", WORDS)
    with pytest.raises(ValueError, match="needs a file"):
        load_encoder("static:")
    with pytest.raises(IsoglossError, match="no such file of word vectors"):
        load_encoder("static:nowhere.vec")
    with pytest.raises(ValueError, match="one layer, 0; got layer 1"):
        load_encoder(f"static:{path}", layer=1)
    with pytest.raises(UnknownName, match="format"):
        load_encoder(f"static:{path}?format=glove")
    with pytest.raises(ValueError, match="'limit' must be a whole number from 1, got '0'"):
        load_encoder(f"static:{path}?limit=0")
    encoder = load_encoder(f"static:{path}?format=text")
    with pytest.raises(TextError, match="item 'e'"):
        encoder.encode([Item("e", "eng", text="")])


def test_fasttext_words_are_means_with_their_ngrams(tmp_path: Path) -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(6, 2)
    path = fasttext_file(tmp_path / "m.bin", ["ab", "</s>"], matrix, buckets=4)
    table = open_fasttext(path)
    hashes = subword_hashes("ab", 2, 3)
    assert len(hashes) == 5  # <a ab b> <ab ab>
    rows = [0, *(2 + value % 4 for value in hashes)]
    np.testing.assert_allclose(table.vector("ab"), matrix[rows].mean(axis=0))
    unknown = [2 + value % 4 for value in subword_hashes("é", 2, 3)]
    np.testing.assert_allclose(table.vector("é"), matrix[unknown].mean(axis=0))
    # The end of a line has no n-grams.
    np.testing.assert_allclose(table.vector("</s>"), matrix[1])
    assert "é" not in table and "ab" in table


def test_fasttext_without_ngrams_knows_its_words_alone(tmp_path: Path) -> None:
    path = fasttext_file(
        tmp_path / "m.bin", ["ab"], np.ones((1, 2), np.float32), buckets=0, n=(0, 0)
    )
    table = open_fasttext(path)
    assert table.vector("ab").tolist() == [1, 1]
    assert table.vector("cd") is None


def test_broken_fasttext_files_are_refused(tmp_path: Path) -> None:
    path = fasttext_file(tmp_path / "m.bin", ["ab"], np.ones((3, 2), np.float32), buckets=2)
    whole = path.read_bytes()
    for size, message in (
        (len(whole) - 1, "ends within its matrix"),
        (80, "ends at byte 80, before its matrix"),
        (30, "ends at byte 30"),
    ):
        path.write_bytes(whole[:size])
        with pytest.raises(IsoglossError, match=message):
            load_encoder(f"static:{path}")
    path.write_bytes(whole[:4] + struct.pack("<i", 13) + whole[8:])
    with pytest.raises(IsoglossError, match="version 11 or 12: it begins with 793712314, 13"):
        load_encoder(f"static:{path}")
    compressed = bytearray(whole)
    compressed[-8 * 2 - 4 * 6 - 1] = 1
    path.write_bytes(compressed)
    with pytest.raises(IsoglossError, match="a compressed fastText model"):
        load_encoder(f"static:{path}")
    wrong = fasttext_file(tmp_path / "w.bin", ["ab"], np.ones((4, 2), np.float32), buckets=2)
    with pytest.raises(IsoglossError, match=r"its matrix is 4 x 2, its settings say 1 words \+ 2"):
        open_fasttext(wrong)
    nan = np.full((3, 2), np.nan, np.float32)
    broken = open_fasttext(fasttext_file(tmp_path / "n.bin", ["ab"], nan, buckets=2))
    with pytest.raises(BadRecord, match="'ab' has NaN or infinity"):
        broken.vector("ab")


def test_equal_to_gensim_in_all_formats(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim")
    from gensim.models.fasttext import load_facebook_vectors, save_facebook_model

    sentence = "the quick brown fox über schnelle Füchse 狐狸 смеђа лисица".split()
    model = gensim.models.FastText(
        [sentence] * 5, vector_size=6, min_count=1, bucket=50, min_n=2, max_n=4, epochs=1,
        seed=1, workers=1,
    )  # fmt: skip
    save_facebook_model(model, str(tmp_path / "m.bin"))
    peer = load_facebook_vectors(str(tmp_path / "m.bin"))
    table = load_encoder(f"static:{tmp_path / 'm.bin'}").table
    for word in [*sentence, "quickest", "Füchsin", "狐", "é"]:
        np.testing.assert_allclose(table.vector(word), peer[word], atol=1e-6)
    peer.save_word2vec_format(str(tmp_path / "v.vec"))
    peer.save_word2vec_format(str(tmp_path / "w.bin"), binary=True)
    for name in ("v.vec", "w.bin"):
        rows = load_encoder(f"static:{tmp_path / name}").table
        assert len(rows) == len(peer.index_to_key)
        for word in sentence:
            np.testing.assert_allclose(rows.vector(word), peer[word], atol=1e-6)
