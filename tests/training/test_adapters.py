from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech.checkpoint import load_model, save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer
from training.tones import small_shape

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)
pytest.importorskip("peft", reason="LoRA needs the extra hf")


def small_model(units: int = 5) -> CtcModel:
    torch.manual_seed(0)
    return CtcModel(small_shape(), units)


def features() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 90, 80), torch.tensor([90, 61])


def stirred(model: CtcModel) -> CtcModel:
    """The model with adapters that say something."""
    from isogloss.training.adapters import add_adapters

    add_adapters(model, 3, 6.0)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0.0, 0.1)
    return model


def test_adapters_are_on_attention_and_feed_forward_and_change_nothing_at_first() -> None:
    from isogloss.training.adapters import add_adapters

    model = small_model().eval()
    x = features()
    before = model(*x)[0]
    # In each of two layers: 2 of attention weights, 2 of each of 3 attentions, 2 of each of 3
    # feed-forward modules.
    assert add_adapters(model, 3, 6.0) == 2 * (2 + 6 + 6)
    torch.testing.assert_close(model.eval()(*x)[0], before, rtol=0, atol=1e-6)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in learning if ".lora_" not in name} == {
        "ctc_output.1.weight",
        "ctc_output.1.bias",
    }
    assert not any("conv_module" in name for name in learning)
    with pytest.raises(ValueError, match="adapters already"):
        add_adapters(model, 3, 6.0)


def test_merged_gives_what_unmerged_gave_under_the_plain_names() -> None:
    from isogloss.training.adapters import has_adapters, merge_adapters

    names = list(small_model().state_dict())
    plain = small_model().eval()(*features())[0]
    model = stirred(small_model()).eval()
    unmerged = model(*features())[0]
    assert (unmerged - plain).abs().max() > 1e-2
    merge_adapters(model)
    torch.testing.assert_close(model(*features())[0], unmerged, rtol=0, atol=1e-5)
    assert list(model.state_dict()) == names
    assert not has_adapters(model)
    assert all(p.requires_grad for p in model.parameters())


def test_gradients_reach_every_adapter_also_behind_swoosh() -> None:
    model = stirred(small_model()).train()
    model(*features())[0].square().sum().backward()
    silent = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert silent == []
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert frozen
    assert all(p.grad is None for p in frozen)


def test_a_kept_adapter_gives_the_tuned_model_again(tmp_path: Path) -> None:
    from isogloss.training.adapters import apply_adapter, merge_adapters, save_adapter
    from isogloss.training.units import grown_state

    tokenizer = Tokenizer((BLANK, UNKNOWN, "天", "地", "人"))
    base = small_model()
    revision = save_model(tmp_path / "base", base, tokenizer, base.config)
    tuned = CtcModel(small_shape(), 6)
    tuned.load_state_dict(grown_state(base.state_dict(), tuned.state_dict(), tmp_path))
    stirred(tuned)
    save_adapter(
        tuned, tmp_path / "a", rank=3, alpha=6.0, base_revision=revision, added_units=["水"]
    )
    written = apply_adapter(tmp_path / "base", tmp_path / "a", tmp_path / "out")
    loaded = load_model(tmp_path / "out")
    assert loaded.revision == written
    assert loaded.tokenizer.symbols == (*tokenizer.symbols, "水")
    merge_adapters(tuned)
    for name, tensor in tuned.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)


def test_an_adapter_of_another_model_or_damaged_is_refused(tmp_path: Path) -> None:
    from isogloss.training.adapters import apply_adapter, save_adapter

    tokenizer = Tokenizer((BLANK, UNKNOWN, "天", "地", "人"))
    base = small_model()
    revision = save_model(tmp_path / "base", base, tokenizer, base.config)
    with pytest.raises(IsoglossError, match=r"adapter\.json, adapter\.safetensors missing"):
        apply_adapter(tmp_path / "base", tmp_path / "a", tmp_path / "out")
    save_adapter(
        stirred(base), tmp_path / "a", rank=3, alpha=6.0, base_revision="0" * 64, added_units=[]
    )
    with pytest.raises(IsoglossError, match="revision 000000000000"):
        apply_adapter(tmp_path / "base", tmp_path / "a", tmp_path / "out")
    path = tmp_path / "a" / "adapter.json"
    described = {**json.loads(path.read_text()), "base_revision": revision}
    path.write_text(json.dumps({**described, "rank": 4}))
    with pytest.raises(IsoglossError, match="another shape"):
        apply_adapter(tmp_path / "base", tmp_path / "a", tmp_path / "out")
    path.write_text("{")
    with pytest.raises(IsoglossError, match="damaged"):
        apply_adapter(tmp_path / "base", tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_peft_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from isogloss.training.adapters import add_adapters

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"isogloss\[hf\]"):
        add_adapters(small_model(), 3, 6.0)
