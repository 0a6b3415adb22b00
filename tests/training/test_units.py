from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isogloss.errors import IsoglossError
from isogloss.speech.ctc import CtcModel
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer
from isogloss.training.units import covered, extended, grown_state
from training.tones import small_shape

torch.set_num_threads(1)

KNOWN = Tokenizer((BLANK, UNKNOWN, "天", "地"))
PIECES = Tokenizer((BLANK, UNKNOWN, "▁THE", "▁", "A", "B"))


def test_missing_characters_come_behind_the_known_units() -> None:
    grown = extended(KNOWN, ["水天", "人水"], "extend")
    assert grown.symbols == (*KNOWN.symbols, "人", "水")
    assert extended(KNOWN, ["天地"], "extend") == KNOWN
    assert extended(KNOWN, ["水天"], "keep") == KNOWN
    assert extended(PIECES, ["水 THE A"], "extend").symbols == (*PIECES.symbols, "水")
    assert extended(PIECES, ["水天"], "keep") == PIECES


def test_units_learnt_by_sentencepiece_are_left_as_they_are() -> None:
    learnt = Tokenizer.bpe(["天地天地人", "人天地"] * 4, 7)
    assert extended(learnt, ["水天"], "extend") == learnt
    assert [entry.id for entry in covered({"a": ["天地人"], "b": ["天水"]}, learnt)] == ["b"]


def test_items_with_characters_without_a_unit_are_named() -> None:
    found = covered({"a": ["天"], "b": ["天水", "人"], "c": [""]}, KNOWN)
    assert [(entry.id, entry.detail) for entry in found] == [
        ("b", "the model's units cannot spell '天水': they lack 水 人")
    ]
    assert [entry.id for entry in covered({"a": ["A BA"], "b": ["AC"]}, PIECES)] == ["b"]


def test_known_rows_are_copied_and_new_ones_are_their_mean() -> None:
    small, large = CtcModel(small_shape(), 4), CtcModel(small_shape(), 6)
    state = small.state_dict()
    grown = grown_state(state, large.state_dict(), Path("m"))
    assert grown.keys() == state.keys()
    for name, tensor in state.items():
        if name.startswith("ctc_output.1."):
            assert torch.equal(grown[name][:4], tensor)
            for row in grown[name][4:]:
                assert torch.equal(row, tensor[1:].mean(dim=0))
        else:
            assert torch.equal(grown[name], tensor)
    large.load_state_dict(grown)
    # The new units take at most as much as the mean known unit, so the others keep their order.
    x = torch.randn(1, 60, 80), torch.tensor([60])
    before, after = small.eval()(*x)[0].exp(), large.eval()(*x)[0].exp()
    assert (after[..., 4:] <= after[..., 1:4].mean(dim=-1, keepdim=True) + 1e-6).all()
    ratio = after[..., :4] / before
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))


def test_a_model_with_other_outputs_is_refused() -> None:
    one, two = CtcModel(small_shape(), 4), CtcModel(small_shape(), 4, dialect_head=True)
    with pytest.raises(IsoglossError, match=r"ctc_output_dialect.* is missing"):
        grown_state(one.state_dict(), two.state_dict(), Path("m"))
    with pytest.raises(IsoglossError, match="of shape"):
        grown_state(CtcModel(small_shape(), 5).state_dict(), one.state_dict(), Path("m"))
