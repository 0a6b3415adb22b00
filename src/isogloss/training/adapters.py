"""LoRA on a Zipformer through `peft`: added before training, merged into plain weights after.

Adapted are the linear layers of attention and feed-forward, as in icefall's `zipformer_lora`. The
second layer of a feed-forward module applies Swoosh and dropout to its input first; peft would add
its product to the layer's output from the input as it is, which cannot be merged, so that layer is
adapted in its weight (`_activated_lora`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from isogloss._files import atomic_writer, write_json
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech.checkpoint import load_model, save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.fused import activated_linear
from isogloss.speech.scaling import ActivatedLinear
from isogloss.speech.tokens import Tokenizer
from isogloss.training.units import grown_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "TARGETS",
    "add_adapters",
    "apply_adapter",
    "has_adapters",
    "merge_adapters",
    "save_adapter",
]

TARGETS = (
    r"encoder\.encoders\.\d+\.(encoder\.)?layers\.\d+\."
    r"(self_attn_weights|self_attn[12]|nonlin_attention|feed_forward[123])\."
    r"(in_proj|out_proj|linear_pos)"
)
"""Names of the adapted layers, as a regular expression of the whole name."""

_WEIGHTS = "adapter.safetensors"
_DESCRIPTION = "adapter.json"
_FORMAT = 1


def add_adapters(model: nn.Module, rank: int, alpha: float) -> int:
    """How many layers of `model` got LoRA; it and what is outside the encoder learn, no more.

    The model's outputs stay as they were: of the two matrices of each layer, one is 0 at first.
    The other is drawn from torch's generator.

    Args:
        model: a `CtcModel`; changed in place.
        rank: at least 1.
        alpha: LoRA's weight is alpha / rank.

    Raises:
        MissingExtra: peft is not installed.
        ValueError: `model` has adapters already, or none of its layers is called as `TARGETS`.

    Source: Hu et al. 2021 (LoRA).
    """
    if has_adapters(model):
        raise ValueError("the model has adapters already; merge them first")
    peft = _peft()
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=TARGETS)
    config._register_custom_module({ActivatedLinear: _activated_lora()})
    peft.inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if not name.startswith("encoder"):
            parameter.requires_grad_(True)
    return sum(1 for _ in _adapted(model))


def has_adapters(model: nn.Module) -> bool:
    """Whether `add_adapters` changed `model` and `merge_adapters` has not."""
    return any(".lora_A." in name for name, _ in model.named_parameters())


def merge_adapters(model: nn.Module) -> None:
    """Put what LoRA learnt into the weights: `model` has its plain layers and names again.

    Outputs stay the same but for rounding. Every parameter may learn again.
    """
    for name, layer in list(_adapted(model)):
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        plain = layer.get_base_layer()
        plain.train(layer.training)
        setattr(model.get_submodule(parent), own, plain)
    model.requires_grad_(True)


def save_adapter(
    model: nn.Module,
    folder: Path,
    *,
    rank: int,
    alpha: float,
    base_revision: str,
    added_units: Sequence[str],
) -> None:
    """Write everything that learns in `model` to `folder`: adapters and outputs, not yet merged.

    `apply_adapter` puts them into the model of that revision again.
    """
    from safetensors.torch import save

    tensors = {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    with atomic_writer(folder / _WEIGHTS) as handle:
        handle.write(save(tensors, metadata={"format": "pt"}))
    description = {
        "format": _FORMAT,
        "rank": rank,
        "alpha": alpha,
        "targets": TARGETS,
        "base_revision": base_revision,
        "added_units": list(added_units),
    }
    write_json(folder / _DESCRIPTION, description)


def apply_adapter(base: Path, adapter: Path, out: Path) -> str:
    """Write `base` with an adapter merged into it to `out` as an ordinary model; its revision.

    Args:
        base: folder of the model that was tuned.
        adapter: folder with the two files of `save_adapter`.
        out: folder of the new model; made if absent.

    Raises:
        MissingExtra: peft is not installed.
        IsoglossError: a file is missing or damaged, or the adapter is of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    loaded = load_model(base)
    missing = [name for name in (_DESCRIPTION, _WEIGHTS) if not (adapter / name).is_file()]
    if missing:
        raise IsoglossError(f"{adapter} holds no adapter: {', '.join(missing)} missing")
    try:
        described = json.loads((adapter / _DESCRIPTION).read_text(encoding="utf-8"))
        tensors = load_file(adapter / _WEIGHTS)
        rank, alpha = int(described["rank"]), float(described["alpha"])
        revision, added = described["base_revision"], described["added_units"]
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise IsoglossError(f"{adapter}: the adapter is damaged: {error}") from error
    if revision != loaded.revision:
        raise IsoglossError(
            f"{adapter} was learnt on a model of revision {revision[:12]}, {base} has "
            f"{loaded.revision[:12]}; give the model that was tuned"
        )
    tokenizer = Tokenizer((*loaded.tokenizer.symbols, *added)) if added else loaded.tokenizer
    with torch.random.fork_rng(devices=[]):
        model = CtcModel(
            loaded.config,
            tokenizer.vocab_size,
            dialect_head=loaded.model.has_dialect_head,
        )
        model.load_state_dict(grown_state(loaded.model.state_dict(), model.state_dict(), base))
        add_adapters(model, rank, alpha)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    wrong = [n for n, p in learnt.items() if n not in tensors or tensors[n].shape != p.shape]
    if wrong:
        raise IsoglossError(f"{adapter / _WEIGHTS}: {wrong[0]} is missing or of another shape")
    model.load_state_dict({name: tensors[name] for name in learnt}, strict=False)
    merge_adapters(model)
    extra = {**loaded.extra, "adapter_of": loaded.revision}
    return save_model(out, model, tokenizer, loaded.config, extra=extra)


def _adapted(model: nn.Module) -> Any:
    """Name and layer of everything that peft wrapped."""
    if not has_adapters(model):
        return
    from peft.tuners.lora import LoraLayer

    for name, part in model.named_modules():
        if isinstance(part, LoraLayer):
            yield name, part


def _activated_lora() -> type[nn.Module]:
    """The class of an adapted `ActivatedLinear`; made here because peft may be absent."""
    linear: Any = _peft_linear()

    class ActivatedLora(linear):  # type: ignore[misc]
        """LoRA in the weight of an `ActivatedLinear`, behind its Swoosh and dropout."""

        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """(N, T, channels_in) to (N, T, channels_out)."""
            plain = self.get_base_layer()
            weight = plain.weight
            if not (self.merged or self.disable_adapters):
                for name in self.active_adapters:
                    weight = weight + self.get_delta_weight(name)
            mask = plain.dropout.mask(x)
            return activated_linear(x, weight, plain.bias, kind=plain.kind, mask=mask)

    return ActivatedLora


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtra("hf", "peft") from error
    return peft


def _peft_linear() -> Any:
    from peft.tuners.lora import Linear

    return Linear
