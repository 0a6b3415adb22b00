from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from isogloss.encoders.text_vectors import text_model_vectors
from isogloss.errors import IsoglossError

transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"天地人"]
    folder = tmp_path / "bert"
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
    return folder


def test_a_missing_tensor_is_no_random_one(bert: Path) -> None:
    file = bert / "model.safetensors"
    tensors = safetensors.load_file(file)
    without = {name: t for name, t in tensors.items() if "pooler" not in name}
    safetensors.save_file(without, file, metadata={"format": "pt"})
    expected = text_model_vectors(str(bert), ["天地"], progress=False)
    assert expected.shape == (1, 8)
    name = "encoder.layer.0.attention.self.query.weight"
    safetensors.save_file(
        {n: t for n, t in without.items() if n != name}, file, metadata={"format": "pt"}
    )
    with pytest.raises(IsoglossError, match=rf"bert: 1 tensors are missing.*{name}"):
        text_model_vectors(str(bert), ["天地"], progress=False)


def test_a_file_cut_short_and_no_text(bert: Path) -> None:
    with pytest.raises(ValueError, match="no text"):
        text_model_vectors(str(bert), [], progress=False)
    file = bert / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(IsoglossError, match="cannot be loaded"):
        text_model_vectors(str(bert), ["天"], progress=False)
