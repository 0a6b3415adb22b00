from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from alignment_makers import parallel_texts
from isogloss.errors import IsoglossError
from isogloss.tasks.alignment import Alignment
from isogloss.tasks.alignment_gradients import (
    GradientOptions,
    block_gradients,
    gradient_estimates,
    gradient_model_folder,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import text_checkpoints  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = parallel_texts(("eng", "deu"), 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("bert") / "model"
    text_checkpoints.make("bert", path, texts=[str(item.text) for item in CORPUS.items])
    config = transformers.AutoConfig.from_pretrained(path)
    torch.manual_seed(1)
    transformers.BertForMaskedLM(config).save_pretrained(path)
    return path


def test_equal_texts_have_equal_gradients_whatever_stands_beside(folder: Path) -> None:
    first, second = CORPUS.items[:2]
    again = replace(first, id="again", variety="deu")
    found = block_gradients(folder, [first, second, again])
    assert sorted(found) == list(range(1, text_checkpoints.LAYERS + 1))
    for values in found.values():
        assert np.allclose(values[0], values[2], atol=1e-7)
        assert not np.allclose(values[0], values[1], atol=1e-4)
    alone = block_gradients(folder, [second])
    assert np.allclose(alone[1][0], found[1][1], atol=1e-7)


def test_a_sketch_keeps_cosines(folder: Path) -> None:
    items = CORPUS.items[:6]
    whole = block_gradients(folder, items, options=GradientOptions(sketch=10**6))
    small = block_gradients(folder, items, options=GradientOptions(sketch=1000))
    assert small[1].shape == (6, 1000) and whole[1].shape[1] > 1000

    def cosines(x: np.ndarray) -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return unit @ unit.T

    # 1 / sqrt(1000) = 0.03; the largest of 15 pairs, four times that.
    assert np.abs(cosines(whole[2]) - cosines(small[2])).max() < 0.13


def test_masks_and_seeds_change_the_loss(folder: Path) -> None:
    items = CORPUS.items[:2]
    start = block_gradients(folder, items)
    for changed in ({"seed": 3}, {"masked": 0.9}, {"max_tokens": 4}):
        other = block_gradients(folder, items, options=GradientOptions(**changed))  # type: ignore[arg-type]
        assert not np.allclose(start[1], other[1], atol=1e-6), changed


def test_matched_and_random_by_hand() -> None:
    x = np.eye(4, dtype=np.float32)
    found = {one.name: one.value for one in gradient_estimates(x, 2 * x)}
    assert found == {"gradient cosine matched": 1.0, "gradient cosine random": 0.0}


def test_a_model_without_a_head_or_folder_says_so(folder: Path, tmp_path: Path) -> None:
    assert gradient_model_folder(f"hf:{folder}?site=mlp") == folder
    with pytest.raises(ValueError, match="no language-model loss"):
        gradient_model_folder("ngram:")
    with pytest.raises(ValueError, match="local checkpoint"):
        gradient_model_folder("hf:somebody/model")
    with pytest.raises(ValueError, match="at least 2 meanings"):
        GradientOptions(meanings=1)
    text_checkpoints.make("bert", tmp_path / "headless")
    with pytest.raises(IsoglossError, match="BertModel, without a head"):
        block_gradients(tmp_path / "headless", CORPUS.items[:2])


def test_real_layers_of_a_checkpoint(folder: Path) -> None:
    """The whole task on a checkpoint of transformers, neurons and gradients included."""
    from isogloss.encoders import load_encoder

    task = Alignment(
        measures=("retrieval", "separation", "mexa", "neuronxa", "gradients"),
        sites=("residual", "mlp"), bootstrap=5, gradients=GradientOptions(meanings=3),
    )  # fmt: skip
    found = task.measure(CORPUS, load_encoder(f"hf:{folder}"), name=f"hf:{folder}")
    layers = text_checkpoints.LAYERS
    assert [row.layer for row in found.means("R@1", "residual")] == list(range(layers + 2))
    assert [row.layer for row in found.means("NeuronXA")] == list(range(1, layers + 1))
    assert [row.layer for row in found.means("gradient cosine matched")] == [1, 2, 3]
    assert found.signature["pool"] == "mean"


def test_decoders_are_pooled_by_position(tmp_path: Path) -> None:
    from isogloss.encoders import load_encoder
    from isogloss.tasks.alignment_encode import reads_left_to_right

    folder = tmp_path / "llama"
    text_checkpoints.make("llama", folder, texts=[str(i.text) for i in CORPUS.items], head=True)
    encoder = load_encoder(f"hf:{folder}")
    assert reads_left_to_right(encoder)
    assert not reads_left_to_right(load_encoder("ngram:"))
    found = Alignment(measures=("mexa", "gradients"), bootstrap=0,
                      gradients=GradientOptions(meanings=2)).measure(
        CORPUS, encoder, name=f"hf:{folder}")  # fmt: skip
    assert found.signature["pool"] == "weighted"
    assert found.means("gradient cosine matched")
