"""What is refused of a text checkpoint, and that a checkpoint is known by its content."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from isogloss.encoders import load_encoder
from isogloss.encoders.hf_text_load import load_text_model
from isogloss.encoders.registry import reads_text
from isogloss.errors import IsoglossError

pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch.set_num_threads(1)

QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def bert(tmp_path: Path, text_folder: Callable[[str], Path]) -> Path:
    return shutil.copytree(text_folder("bert"), tmp_path / "bert")


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_missing_tensor_is_no_random_one(bert: Path) -> None:
    file = bert / "model.safetensors"
    tensors = safetensors.load_file(file)
    without = {name: t for name, t in tensors.items() if "pooler" not in name}
    safetensors.save_file(without, file, metadata={"format": "pt"})
    load_text_model(str(bert))  # the pooler plays no part in states
    del without[QUERY]
    safetensors.save_file(without, file, metadata={"format": "pt"})
    with pytest.raises(IsoglossError, match=rf"bert: 1 tensors are missing.*{QUERY}"):
        load_encoder(f"hf:{bert}")


def test_a_decoder_that_is_not_there_is_not_needed(
    tmp_path: Path, text_folder: Callable[[str], Path]
) -> None:
    folder = shutil.copytree(text_folder("t5"), tmp_path / "t5")
    file = folder / "model.safetensors"
    tensors = safetensors.load_file(file)
    before = load_text_model(str(folder)).revision
    own = {name: t for name, t in tensors.items() if not name.startswith("decoder.")}
    assert len(own) < len(tensors)
    safetensors.save_file(own, file, metadata={"format": "pt"})
    assert load_text_model(str(folder)).revision == before
    del own["encoder.block.1.layer.1.DenseReluDense.wo.weight"]
    safetensors.save_file(own, file, metadata={"format": "pt"})
    with pytest.raises(IsoglossError, match="1 tensors are missing"):
        load_text_model(str(folder))


def test_a_file_cut_short_and_one_of_another_width(bert: Path) -> None:
    change(bert, hidden_size=18)
    with pytest.raises(IsoglossError, match="cannot be loaded"):
        load_encoder(f"hf:{bert}")
    change(bert, hidden_size=16)
    file = bert / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(IsoglossError, match="cannot be loaded"):
        load_encoder(f"hf:{bert}")
    file.unlink()
    with pytest.raises(IsoglossError, match="cannot be loaded"):
        load_encoder(f"hf:{bert}")


def test_weights_of_torch_are_read(bert: Path) -> None:
    before = load_text_model(str(bert)).revision
    file = bert / "model.safetensors"
    torch.save(safetensors.load_file(file), bert / "pytorch_model.bin")
    file.unlink()
    assert load_text_model(str(bert)).revision == before


def test_another_models_tokenizer_is_refused(
    bert: Path, text_folder: Callable[[str], Path]
) -> None:
    shutil.copy(text_folder("llama") / "tokenizer.json", bert)
    shutil.copy(text_folder("llama") / "tokenizer_config.json", bert)
    with pytest.raises(IsoglossError, match="token numbers up to 449, the model has embeddings"):
        load_encoder(f"hf:{bert}")
    for path in bert.glob("tokenizer*"):
        path.unlink()
    # transformers would make one up that knows no word.
    with pytest.raises(IsoglossError, match=r"there is no tokenizer\.json or vocab\.txt"):
        load_encoder(f"hf:{bert}")


def test_a_name_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'hf:' needs a folder"):
        load_encoder("hf:")
    with pytest.raises(IsoglossError, match="there is no folder"):
        load_encoder(f"hf:{tmp_path / 'absent'}")
    with pytest.raises(IsoglossError, match=r"there is no config\.json"):
        load_encoder(f"hf:{tmp_path}")


def test_speech_and_text_are_told_apart_by_the_configuration(
    bert: Path, hf_folder: Callable[[str], Path]
) -> None:
    assert reads_text(f"hf:{bert}?site=mlp")
    assert not reads_text(f"hf:{hf_folder('wav2vec2')}")
    with pytest.raises(ValueError, match="unknown option of a speech checkpoint of 'hf:' 'site'"):
        load_encoder(f"hf:{hf_folder('wav2vec2')}?site=mlp")
    change(bert, model_type="wav2vec")
    with pytest.raises(IsoglossError, match=r"'wav2vec' is no speech encoder.*did you mean wav"):
        load_encoder(f"hf:{bert}")


def test_a_checkpoint_is_known_by_its_content(bert: Path, tmp_path: Path) -> None:
    """Another place changes nothing; a weight, the tokenizer or a norm's epsilon does."""
    before = load_text_model(str(bert)).revision
    other = shutil.copytree(bert, tmp_path / "other")
    assert load_text_model(str(other)).revision == before
    file = bert / "model.safetensors"
    tensors = safetensors.load_file(file)
    tensors[QUERY][0, 0] += 1
    safetensors.save_file(tensors, file, metadata={"format": "pt"})
    revisions = {before, load_text_model(str(bert)).revision}
    change(other, layer_norm_eps=1e-5)
    revisions.add(load_text_model(str(other)).revision)
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace("fox", "fax"))
    revisions.add(load_text_model(str(other)).revision)
    assert len(revisions) == 4


def test_lengths_in_the_tokenizers_file_cut_nothing(bert: Path) -> None:
    """Folders of sentence encoders bring a length to cut at and one to pad to."""
    from isogloss.types import Item

    item = Item("a", "und", text="the quick brown fox jumps over the lazy dog")
    before = load_encoder(f"hf:{bert}").encode([item])
    path = bert / "tokenizer.json"
    values = json.loads(path.read_text())
    values["truncation"] = {
        "direction": "Right",
        "max_length": 5,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    values["padding"] = {
        "strategy": {"Fixed": 32},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    path.write_text(json.dumps(values))
    after = load_encoder(f"hf:{bert}").encode([item])
    assert after.made_by == before.made_by
    assert after.values.tobytes() == before.values.tobytes()


def test_the_window_is_the_models(text_folder: Callable[[str], Path]) -> None:
    """RoBERTa's position table has two rows that no token uses; T5 states no length."""
    assert load_text_model(str(text_folder("xlm-roberta"))).window == 64
    assert load_text_model(str(text_folder("gpt2"))).window == 64
    assert load_text_model(str(text_folder("t5"))).window == 512
