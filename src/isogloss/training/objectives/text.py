"""The objectives of text models: their names, what they have in common, and how they are asked for.

An objective is a frozen dataclass whose fields are its options, so that "infonce:layer=2,
temperature=0.1" is `InfoNCE(layer="2", temperature=0.1)`. One file each; `make_objective` finds it.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from isogloss._config import config_from_mapping
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["OBJECTIVES", "Asked", "TextLoss", "TextObjective", "make_objective", "parse_objective"]

OBJECTIVES = {
    "mlm": "isogloss.training.objectives.masked_lm:MaskedLM",
    "lm": "isogloss.training.objectives.causal_lm:CausalLM",
    "tlm": "isogloss.training.objectives.translation_lm:TranslationLM",
    "infonce": "isogloss.training.objectives.infonce:InfoNCE",
    "word-mse": "isogloss.training.objectives.word_mse:WordMSE",
    "adversary": "isogloss.training.objectives.adversary:LanguageAdversary",
    "distribution": "isogloss.training.objectives.distribution:DistributionMatching",
    "minotaur": "isogloss.training.objectives.distribution:Minotaur",
    "camlm": "isogloss.training.objectives.camlm:CrossAttentionLM",
    "pseudo-tokens": "isogloss.training.objectives.pseudo_tokens:PseudoTokens",
    "consistency": "isogloss.training.objectives.consistency:Consistency",
    "distillation": "isogloss.training.objectives.distillation:Distillation",
    "maml": "isogloss.training.objectives.meta:FirstOrderMAML",
    "maml-align": "isogloss.training.objectives.meta:MetaDistillation",
}
"""Name of an objective to "module:Class"."""


@dataclass(frozen=True, slots=True, eq=False)
class TextLoss:
    """`total` is a scalar with gradient, a mean in nats a row (or as the objective says).

    `parts` are detached scalars for logs. An objective that finds nothing to learn from in a batch
    gives a total of 0 that hangs on no parameter.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class TextObjective(Protocol):
    """What the loop asks of an objective of text.

    An objective keeps no state: what it learns or remembers (a discriminator, a queue, a momentum
    copy) is in the module that `modules` makes, whose parameters are trained where they require a
    gradient and whose buffers are saved with every checkpoint. All randomness comes from `draw`,
    which the loop seeds from (seed, epoch, batch); it is on the CPU whatever the device.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Some of "pairs" (two sides) and "links" (word links); a class attribute will do."""
        ...

    def modules(self, model: TextModel) -> nn.Module | None:
        """Further parts, made once on the CPU before training, or None."""
        ...

    def __call__(
        self,
        model: TextModel,
        batch: TextBatch,
        *,
        extra: nn.Module | None,
        draw: torch.Generator,
        step: int,
        steps: int,
    ) -> TextLoss:
        """The loss of a batch.

        Args:
            model: its `states` and `logits` are on the batch's device.
            batch: rows to learn from.
            extra: what `modules` made, as it is now.
            draw: a generator on the CPU, fresh for this batch.
            step: steps done before this one.
            steps: steps of the whole run.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """An objective as it was asked for: its name, its weight in the sum, its options as text."""

    name: str
    weight: float = 1.0
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        parts = [f"weight={self.weight:g}"] if self.weight != 1.0 else []
        parts += [f"{key}={value}" for key, value in self.options]
        return self.name + (":" + ",".join(parts) if parts else "")


def parse_objective(text: str) -> Asked:
    """An `Asked` of "NAME:key=value,..."; `weight` may be among the keys.

    Raises:
        UnknownName: no such objective, or it has no such option.
        ValueError: an option has no value, stands twice, or its value is of another kind.
    """
    name, _, rest = text.partition(":")
    _class_of(name)
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, found, value = part.partition("=")
        key = key.strip()
        if not found or not key or not value.strip():
            raise ValueError(f"objective {text!r}: {part!r} is not KEY=VALUE")
        if key in options:
            raise ValueError(f"objective {text!r}: {key} is given twice")
        options[key] = value.strip()
    weight = options.pop("weight", "1")
    try:
        number = float(weight)
    except ValueError as error:
        raise ValueError(f"objective {text!r}: weight must be a number, got {weight!r}") from error
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"objective {text!r}: weight must be above 0, got {weight}")
    asked = Asked(name, number, tuple(options.items()))
    make_objective(asked)
    return asked


def make_objective(asked: Asked) -> TextObjective:
    """The objective with its options.

    Raises:
        UnknownName: no such objective, or it has no such option.
        ValueError: an option's value is of another kind or out of range.
    """
    cls = _class_of(asked.name)
    hints = typing.get_type_hints(cls)
    fields = {f.name for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, text in asked.options:
        if key not in fields:
            raise UnknownName(f"option of objective {asked.name}", key, {*fields, "weight"})
        values[key] = _value(f"{asked.name}:{key}", hints[key], text)
    return cast("TextObjective", config_from_mapping(cls, values))


def _class_of(name: str) -> type[Any]:
    if name not in OBJECTIVES:
        raise UnknownName("objective", name, OBJECTIVES)
    module, _, attribute = OBJECTIVES[name].partition(":")
    return cast("type[Any]", getattr(import_module(module), attribute))


def _value(name: str, hint: Any, text: str) -> Any:
    """`text` as a field's type has it: numbers, booleans, tuples ("1+2"), or the text itself."""
    kinds = set(typing.get_args(hint)) if typing.get_origin(hint) is not typing.Literal else set()
    kinds |= {hint}
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return [_value(name, inner, part) for part in text.split("+")]
    if type(None) in kinds and text == "none":
        return None
    if bool in kinds:
        if text not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return text == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError as error:
                if str not in kinds and not (kind is int and float in kinds):
                    what = "a whole number" if kind is int else "a number"
                    raise ValueError(f"{name} must be {what}, got {text!r}") from error
    return text
