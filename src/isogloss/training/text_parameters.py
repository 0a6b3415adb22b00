"""The model of a text run: made from nothing or taken from a folder; which of its weights learn."""

from __future__ import annotations

import contextlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from isogloss.errors import IsoglossError, MissingExtra, UnknownName
from isogloss.training.text_model import TextModel
from isogloss.training.text_tokenizer import kept_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.training.text_config import Shape, TextTrainConfig
    from isogloss.training.text_data import TextMaterial

__all__ = ["Adapted", "choose_parameters", "merge_adapters", "new_model", "start_model"]

_RANK = 8
_KINDS = ("full", "layers:2-3", "lora[:rank[,alpha]]", "embeddings")
# Inner width of a gated FFN over the model's: three matrices of it weigh little more than two of 4.
_GATED_INNER = 3


def start_model(config: TextTrainConfig, material: TextMaterial, folder: Path) -> TextModel:
    """The model with its first weights, from torch's generator where they are new.

    A new one's tokenizer is trained on the texts, once, and kept in `folder`.
    """
    if config.start is not None:
        return TextModel.load(Path(config.start), max_tokens=config.max_tokens)
    tokenizer = kept_tokenizer(
        folder / "tokenizer",
        material.sample(),
        pieces=config.shape.pieces,
        kind=config.shape.kind,
        max_tokens=config.max_tokens,
    )
    return new_model(config.shape, tokenizer, max_tokens=config.max_tokens)


def new_model(shape: Shape, tokenizer: Any, *, max_tokens: int) -> TextModel:
    """A model of this shape with random weights from torch's generator.

    Raises:
        MissingExtra: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("text", "transformers") from error
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    model: Any
    if shape.kind == "encoder":
        model = transformers.ModernBertForMaskedLM(
            transformers.ModernBertConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape.width,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                intermediate_size=_GATED_INNER * shape.width,
                attention_dropout=shape.dropout,
                embedding_dropout=shape.dropout,
                mlp_dropout=shape.dropout,
                max_position_embeddings=max_tokens,
                # Every block sees the whole text, which is short.
                global_attn_every_n_layers=1,
                # As wide as a norm of 1 for a row: 0.02 is for models six times as wide, and
                # leaves so small a one at the unigram frequencies for hundreds of steps.
                initializer_range=shape.width**-0.5,
                cls_token_id=tokenizer.cls_token_id,
                sep_token_id=tokenizer.sep_token_id,
                **special,
            )
        )
    else:
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape.width,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.heads,
                intermediate_size=_GATED_INNER * shape.width,
                max_position_embeddings=max_tokens,
                tie_word_embeddings=True,
                **special,
            )
        )
    return TextModel(model, tokenizer, max_tokens=max_tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """A model with LoRA inside, as peft holds it."""

    wrapped: Any

    def save(self, folder: Path) -> None:
        """Write what LoRA learnt by itself, as peft does."""
        self.wrapped.save_pretrained(folder)

    def merged(self) -> nn.Module:
        """The model with LoRA added to its weights; the adapter is gone from it."""
        return cast("nn.Module", self.wrapped.merge_and_unload())


def choose_parameters(model: TextModel, text: str) -> Adapted | None:
    """Let the named weights of `model` learn and no others; with LoRA, what holds it comes out.

    LoRA's first weights are from torch's generator.

    Args:
        model: changed in place.
        text: "full"; "layers:2-3" or "layers:2", blocks counted from 1 (the output of block i is
            layer i); "lora", "lora:RANK" or "lora:RANK,ALPHA" (alpha is twice the rank where it
            is not said) on every linear layer of the blocks; "embeddings", those of tokens.

    Raises:
        UnknownName: no such kind.
        ValueError: its numbers cannot be used.
        MissingExtra: peft is not installed.
    """
    kind, _, argument = text.partition(":")
    if kind == "full" and not argument:
        return None
    if kind == "embeddings" and not argument:
        model.requires_grad_(False)
        model.input_embedding().requires_grad_(True)
        return None
    if kind == "layers":
        _only_layers(model, argument)
        return None
    if kind == "lora":
        return _with_lora(model, argument)
    raise UnknownName("parameters", text, _KINDS)


def merge_adapters(start: Path, adapters: Sequence[tuple[Path, float]], out: Path) -> list[str]:
    """Add adapters to a model with these weights and write it to `out`; their names come out.

    Their low-rank products are summed exactly, so ranks may differ.

    Args:
        start: folder of the model they were trained on.
        adapters: folder and weight of each, at least one.
        out: gets model and tokenizer as transformers saves them.

    Raises:
        ValueError: there is no adapter.
        IsoglossError: a folder holds no adapter, or one of another model.
        MissingExtra: peft is not installed.
    """
    if not adapters:
        raise ValueError("there is no adapter to merge")
    peft = _peft()
    model = TextModel.load(start)
    names = [f"a{number}" for number in range(len(adapters))]
    wrapped: Any = None
    for name, (folder, _) in zip(names, adapters, strict=True):
        if not (folder / "adapter_config.json").is_file():
            raise IsoglossError(f"{folder}: there is no adapter_config.json; name a run's adapter/")
        try:
            with _old_names_unsaid():
                if wrapped is None:
                    wrapped = peft.PeftModel.from_pretrained(model.model, folder, adapter_name=name)
                else:
                    wrapped.load_adapter(folder, adapter_name=name)
        except (ValueError, RuntimeError, KeyError) as error:
            said = " ".join(str(error).split())[:300]
            raise IsoglossError(f"{folder} does not fit {start}: {said}") from error
    weights = [weight for _, weight in adapters]
    if len(names) == 1 and weights[0] == 1.0:
        chosen = names[0]
    else:
        chosen = "mixed"
        wrapped.add_weighted_adapter(names, weights, chosen, combination_type="cat")
    wrapped.set_adapter(chosen)
    model.model = wrapped.merge_and_unload(adapter_names=[chosen])
    out.mkdir(parents=True, exist_ok=True)
    model.save(out)
    return [str(folder) for folder, _ in adapters]


def _only_layers(model: TextModel, argument: str) -> None:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", argument)
    depth = len(model.blocks)
    if found is None:
        raise ValueError(f"parameters layers:{argument}: write layers:2-3 or layers:2")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= depth:
        raise ValueError(
            f"parameters layers:{argument}: the model has blocks 1 to {depth}, counted from 1"
        )
    model.requires_grad_(False)
    for block in model.blocks[first - 1 : last]:
        block.requires_grad_(True)


def _with_lora(model: TextModel, argument: str) -> Adapted:
    found = re.fullmatch(r"(?:(\d+)(?:,(\d+(?:\.\d+)?))?)?", argument)
    if found is None or found[1] == "0":
        raise ValueError(f"parameters lora:{argument}: write lora, lora:8 or lora:8,16")
    peft = _peft()
    rank = int(found[1] or _RANK)
    alpha = float(found[2] or 2 * rank)
    inside = {id(module) for block in model.blocks for module in block.modules()}
    from transformers.pytorch_utils import Conv1D

    targets = [
        name
        for name, module in model.model.named_modules()
        if id(module) in inside and isinstance(module, (nn.Linear, Conv1D))
    ]
    settings = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=targets,
        lora_dropout=0.0,
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.model.modules()),
    )
    with _old_names_unsaid():
        return Adapted(peft.get_peft_model(model.model, settings))


@contextlib.contextmanager
def _old_names_unsaid() -> Iterator[None]:
    """Without the warnings that peft calls things of transformers by their old names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtra("text", "peft") from error
    return peft
