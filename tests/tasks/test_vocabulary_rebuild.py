"""The table of ways to rebuild a vocabulary: what is left out, what is trained, what is judged."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from isogloss.adapt.vocabulary_inits import INITS
from isogloss.llm import CausalModel, load_causal
from isogloss.llm.new_tokenizer import train_tokenizer
from isogloss.tasks.vocabulary_rebuild import compare_inits
from llm_makers import make_causal

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [f"der braune Fuchs {n} springt über den faulen Hund" for n in range(30)]
JUDGED = ["der Hund springt über den Fuchs", "ein brauner Hund"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    torch.set_num_threads(1)
    return load_causal(make_causal("llama", tmp_path_factory.mktemp("lm") / "m"))


def test_all_inits_stand_in_one_table(model: CausalModel, tmp_path: Path) -> None:
    new = train_tokenizer(TEXTS, 290)
    make_causal("llama", tmp_path / "h", vocab_size=len(new))
    from isogloss.llm.hf_files import load_model

    trained: list[Path] = []

    def train(start: Path, folder: Path) -> Path:
        trained.append(start)
        shutil.copytree(start, folder)
        return folder

    kept: list[Any] = []
    result = compare_inits(
        model,
        new,
        INITS,
        JUDGED,
        texts=TEXTS,
        helper=load_model(tmp_path / "h"),
        train=train,
        keep=kept.append,
    )
    assert [row.init for row in result.rows] == list(INITS)
    assert [made.init for made in kept] == list(INITS)
    assert result.before == pytest.approx(model.bits_per_character(JUDGED))
    # What "trains" here changes nothing, so after is before: the models are written and read.
    for row in result.rows:
        assert row.trained_bits == pytest.approx(row.bits, rel=1e-5)
    assert result.trained_before == pytest.approx(result.before, rel=1e-5)
    assert len(trained) == len(INITS) + 1
    assert result.fertility_after.tokens_per_word < result.fertility_before.tokens_per_word
    assert result.sizes == (len(model.tokenizer), len(new))
    assert result.left_out == {}


def test_inits_without_what_they_need_are_left_out_by_name(model: CausalModel) -> None:
    new = train_tokenizer(TEXTS, 290)
    result = compare_inits(model, new, ["fvt", "sava", "unibridge"], JUDGED)
    assert [row.init for row in result.rows] == ["fvt"]
    assert result.left_out == {
        "sava": "needs a helper model of the new tokenizer",
        "unibridge": "needs texts",
    }
    assert result.rows[0].trained_bits is None
    with pytest.raises(ValueError, match="sava needs a helper"):
        compare_inits(model, new, ["sava"], JUDGED)


def test_texts_to_judge_on_must_not_be_learnt_from(model: CausalModel) -> None:
    new = train_tokenizer(TEXTS, 290)
    with pytest.raises(ValueError, match="1 texts to judge on are also among"):
        compare_inits(model, new, ["fvt"], [*JUDGED, TEXTS[0]], texts=TEXTS)
    with pytest.raises(ValueError, match="no character"):
        compare_inits(model, new, ["fvt"], [""])
