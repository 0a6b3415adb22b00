"""A sentence-transformers folder: its own vectors, prompts by name, what is refused."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from isogloss.encoders import check_encoder, load_encoder
from isogloss.encoders.registry import reads_text
from isogloss.encoders.st import SentenceEncoder
from isogloss.errors import IsoglossError, TextError, UnknownName
from isogloss.types import Item
from text_checkpoints import TEXTS

pytest.importorskip("sentence_transformers")
safetensors = pytest.importorskip("safetensors.torch")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch.set_num_threads(1)

ITEMS = [Item(f"i{n}", "und", text=text) for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def model(text_folder: Callable[[str], Path]) -> Any:
    """Mean pooling and a projection behind a tiny BERT, and two prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(0)
    transformer = modules.Transformer(str(text_folder("bert")))
    return SentenceTransformer(
        modules=[
            transformer,
            modules.Pooling(16, pooling_mode="mean"),
            modules.Dense(16, 6),
            modules.Normalize(),
        ],
        device="cpu",
        prompts={"query": "query: ", "passage": "passage: "},
        default_prompt_name="passage",
    )


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    model.save(str(tmp_path / "st"), create_model_card=False)
    return tmp_path / "st"


def test_the_kit_passes_and_the_vectors_are_its_own(model: Any, folder: Path) -> None:
    name = f"st:{folder}"
    assert reads_text(name)
    encoder = load_encoder(name)
    assert isinstance(encoder, SentenceEncoder)
    check_encoder(encoder, ITEMS, text_lengths=(40, 300))
    found = encoder.encode(ITEMS)
    assert found.lengths.tolist() == [1] * len(ITEMS)
    expected = model.encode([item.text for item in ITEMS])
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_prompts_by_name_and_by_text(model: Any, folder: Path) -> None:
    texts = [item.text for item in ITEMS]
    default = load_encoder(f"st:{folder}").encode(ITEMS)
    np.testing.assert_allclose(default.values, model.encode(texts), atol=1e-6)
    by_name = load_encoder(f"st:{folder}?prompt_name=query").encode(ITEMS)
    np.testing.assert_allclose(by_name.values, model.encode(texts, prompt_name="query"), atol=1e-6)
    by_text = load_encoder(f"st:{folder}?prompt=query: ").encode(ITEMS)
    assert by_text.made_by == by_name.made_by != default.made_by
    with pytest.raises(UnknownName, match="unknown prompt of the model 'queri'; did you mean"):
        load_encoder(f"st:{folder}?prompt_name=queri")
    with pytest.raises(ValueError, match="prompt or prompt_name, not both"):
        load_encoder(f"st:{folder}?prompt_name=query&prompt=a")


def test_a_shorter_limit_cuts_and_is_named(folder: Path) -> None:
    long = [Item("a", "und", text=" ".join(TEXTS[:2])), Item("b", "und", text=TEXTS[0])]
    short = load_encoder(f"st:{folder}?max_tokens=8")
    assert "max_tokens=8" in short.made_by
    found = short.encode(long)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_an_incomplete_part_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = safetensors.load_file(file)
    del tensors["encoder.layer.1.output.dense.weight"]
    safetensors.save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(IsoglossError, match=r"1 tensors are missing.*encoder\.layer\.1\.output"):
        load_encoder(f"st:{folder}")


def test_what_is_no_sentence_encoder(folder: Path, text_folder: Callable[[str], Path]) -> None:
    with pytest.raises(IsoglossError, match=r"there is no modules\.json.*try hf:"):
        load_encoder(f"st:{text_folder('bert')}")
    with pytest.raises(ValueError, match="'st:' needs a folder"):
        load_encoder("st:")
    with pytest.raises(ValueError, match=r"for the layers inside name it hf:"):
        load_encoder(f"st:{folder}", layer=2)
    (folder / "modules.json").write_text(json.dumps([{"idx": 0}]))
    with pytest.raises(IsoglossError, match="no list of parts"):
        load_encoder(f"st:{folder}")


def test_blank_texts_and_other_weights(folder: Path, tmp_path: Path) -> None:
    encoder = load_encoder(f"st:{folder}")
    with pytest.raises(TextError, match="item 'blank'"):
        encoder.encode([ITEMS[0], Item("blank", "und", text=" ")])
    other = shutil.copytree(folder, tmp_path / "other")
    tensors = safetensors.load_file(other / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"][0, 0] += 1
    safetensors.save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    revisions = [load_encoder(f"st:{f}").made_by.partition(";")[2] for f in (folder, other)]
    assert revisions[0] != revisions[1]
