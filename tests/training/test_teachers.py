from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.errors import IsoglossError
from isogloss.training.teachers import ngram_vectors, stored_vectors, teacher_vectors

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["他不在家", "他在不在家", "我要洗脸", "我要洗面", "老人忘记带笔", "，。", ""]


def test_texts_that_share_characters_are_near() -> None:
    vectors = ngram_vectors(TEXTS, dim=2048)
    cosines = vectors @ vectors.T
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.diagonal(cosines)[:5], 1.0, rtol=1e-5)
    assert cosines[0, 1] > 0.4
    assert cosines[2, 3] > 0.4
    # Nothing in common but the projection's noise, 1 / sqrt(2048).
    assert abs(cosines[0, 4]) < 0.15
    assert not vectors[5:].any()


def test_a_character_that_is_everywhere_counts_less() -> None:
    vectors = ngram_vectors(["甲子", "甲丑", "甲寅", "乙子"], dim=4096)
    cosines = vectors @ vectors.T
    # 甲 is in three texts, 子 in two; all else is as rare.
    assert cosines[0, 3] > cosines[0, 1]


def test_vectors_do_not_depend_on_order_or_process() -> None:
    vectors = ngram_vectors(TEXTS)
    turned = ngram_vectors(TEXTS[::-1])
    np.testing.assert_array_equal(vectors, turned[::-1])
    # Written down, so that a later version teaches what this one taught.
    signs = np.sign(ngram_vectors(["天"], dim=8)[0])
    assert signs.tolist() == [-1, 0, 0, -1, -1, -1, -1, 0]


def test_items_of_one_text_share_a_row(tmp_path: Path) -> None:
    vectors, rows = teacher_vectors("ngram", {"a": "天", "b": "地", "c": "天"}, tmp_path)
    assert vectors.shape == (2, 256)
    assert rows["a"] == rows["c"] != rows["b"]


def test_stored_vectors_are_taken_by_id(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, ids=np.array(["b", "a", "z"]), vectors=np.arange(6.0).reshape(3, 2))
    vectors, rows = teacher_vectors(f"vectors:{path}", {"a": "天", "c": "地", "b": "天"}, tmp_path)
    assert rows == {"a": 0, "b": 1}
    np.testing.assert_array_equal(vectors, [[2, 3], [0, 1]])
    assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"vectors": np.ones((1, 2))}, "arrays ids"),
        ({"ids": np.array(["a"]), "vectors": np.ones((2, 2))}, r"\(1,\) and \(2, 2\)"),
        ({"ids": np.array(["a"]), "vectors": np.full((1, 2), np.nan)}, "NaN"),
        ({"ids": np.array(["a", "a"]), "vectors": np.ones((2, 2))}, "twice"),
        ({"ids": np.array(["a"], dtype=object), "vectors": np.ones((1, 2))}, "arrays ids"),
    ],
)
def test_a_bad_file_of_vectors_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], problem: str
) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, **arrays)
    with pytest.raises(IsoglossError, match=problem):
        stored_vectors(path)


def test_files_and_items_that_do_not_meet_are_told(tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="no such file"):
        stored_vectors(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(IsoglossError, match=r"expected an \.npz"):
        stored_vectors(tmp_path / "text.npz")
    path = tmp_path / "v.npz"
    np.savez(path, ids=np.array(["b"]), vectors=np.ones((1, 2)))
    with pytest.raises(IsoglossError, match="none of the 1 items"):
        teacher_vectors(f"vectors:{path}", {"a": "天"}, tmp_path)
    with pytest.raises(IsoglossError, match="no item has the text"):
        teacher_vectors("ngram", {}, tmp_path)


def test_a_text_model_is_read_once(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    folder = tmp_path / "bert"
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"天地人"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(letters), encoding="utf-8")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(letters),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    texts = {"a": "天地", "b": "人", "c": "天地人天地"}
    vectors, rows = teacher_vectors(f"hf:{folder}", texts, tmp_path, progress=False)
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    # Alone as in the batch: padding does not enter the mean.
    alone, _ = teacher_vectors(f"hf:{folder}", {"b": "人"}, tmp_path / "other", progress=False)
    np.testing.assert_allclose(vectors[rows["b"]], alone[0], atol=1e-6)
    # Kept on disk: the model is not needed again.
    for file in folder.iterdir():
        file.unlink()
    again, _ = teacher_vectors(f"hf:{folder}", texts, tmp_path, progress=False)
    np.testing.assert_array_equal(again, vectors)
    with pytest.raises(IsoglossError, match=r"no config\.json"):
        teacher_vectors(f"hf:{folder}", {"a": "地"}, tmp_path, progress=False)
