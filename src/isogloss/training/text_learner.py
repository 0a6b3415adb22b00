"""What learns in a run of text: rows of a batch in, a loss out, a folder at the end.

`TextLearner` is all that `text_loop` asks for; `ModelLearner` is that of models of transformers,
and other kinds (hash, laser, pixel) bring their own.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import nn

from isogloss.errors import IsoglossError
from isogloss.training.objectives.text import Asked, TextLoss, make_objective
from isogloss.training.optim import ClippedAdamW
from isogloss.training.text_batch import TextBatch
from isogloss.training.text_parameters import Adapted, choose_parameters, start_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch.optim import Optimizer

    from isogloss.training.text_batch import TextRows
    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_data import TextMaterial
    from isogloss.training.text_model import TextModel

    LearnerMaker = Callable[[TextTrainConfig, TextMaterial, Path], "TextLearner"]

__all__ = ["ModelLearner", "TextLearner", "base_objective", "make_model_learner"]


class TextLearner(Protocol):
    """What `text_loop` trains.

    A maker `(config, material, folder) -> TextLearner` makes it, first with torch's generator
    seeded by the config, and again whenever the run is taken up; what it draws from the texts
    (a vocabulary) must then be the same, and can be kept in `folder` (see `text_tokenizer`).
    """

    @property
    def module(self) -> nn.Module:
        """Everything that learns or is remembered; its `state_dict` is the checkpoint."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """Some of: "pairs" for rows of two sides, "links" for word links."""
        ...

    @property
    def spent(self) -> dict[str, float]:
        """Work since the loop last emptied it: "passes", "tokens", "flops" (see `TextModel`)."""
        ...

    def optimizer(self, rate: float, clip: float | None) -> Optimizer:
        """The optimiser of what learns; `rate` is set anew before every step."""
        ...

    def loss(self, rows: TextRows, *, draw: torch.Generator, step: int, steps: int) -> TextLoss:
        """The loss of a batch, on the device of `module`.

        All randomness comes from `draw` (CPU) and from torch's generator, which is seeded alike.
        """
        ...

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than what is read of them."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was trained, last thing in a run."""
        ...

    def describe(self) -> dict[str, Any]:
        """Plain facts for `result.json`."""
        ...


class ModelLearner:
    """A model of transformers and its objectives.

    Args:
        model: trained in place; its parameters are chosen already.
        asked: objectives, at least one.
        alternate: one objective a step, in turn.
        adapted: LoRA, merged when the model is saved.
    """

    def __init__(
        self,
        model: TextModel,
        asked: Sequence[Asked],
        *,
        alternate: bool = False,
        adapted: Adapted | None = None,
    ) -> None:
        self.model = model
        self.asked = tuple(asked)
        self.alternate = alternate
        self.adapted = adapted
        self.objectives = [make_objective(one) for one in self.asked]
        labels = [one.name for one in self.asked]
        # The same objective may be asked for twice, with other layers for example.
        self.labels = [
            name if labels.count(name) == 1 else f"{name}-{1 + labels[:i].count(name)}"
            for i, name in enumerate(labels)
        ]
        extra = {
            label: made
            for label, objective in zip(self.labels, self.objectives, strict=True)
            if (made := objective.modules(model)) is not None
        }
        self._extra = nn.ModuleDict(extra)
        self._module = nn.ModuleDict({"model": model, "extra": self._extra})

    @property
    def module(self) -> nn.Module:
        """Model and what the objectives added."""
        return self._module

    @property
    def needs(self) -> frozenset[str]:
        """What the objectives need together."""
        found: frozenset[str] = frozenset()
        return found.union(*(objective.needs for objective in self.objectives))

    @property
    def spent(self) -> dict[str, float]:
        """Work of the model and of its copies."""
        return self.model.spent

    def optimizer(self, rate: float, clip: float | None) -> Optimizer:
        """AdamW over what requires a gradient."""
        learning = [p for p in self._module.parameters() if p.requires_grad]
        return ClippedAdamW(learning, rate, clip=clip)

    def batch(self, rows: TextRows) -> TextBatch:
        """Tokens of the rows, on the model's device."""
        device = next(self.model.parameters()).device
        words = "links" in self.needs or rows.links is not None
        sides = tuple(self.model.tokens(texts, words=words).to(device) for texts in rows.texts)
        # Objectives find words in the text by its words' places, so the cut text is enough.
        return TextBatch(sides, rows.names, rows.varieties, rows.links, rows.texts)

    def loss(self, rows: TextRows, *, draw: torch.Generator, step: int, steps: int) -> TextLoss:
        """The weighted sum of the objectives, or the one whose turn it is."""
        batch = self.batch(rows)
        turn = step % len(self.objectives)
        total: torch.Tensor | None = None
        parts: dict[str, torch.Tensor] = {}
        for number, objective in enumerate(self.objectives):
            if self.alternate and number != turn:
                continue
            label, asked = self.labels[number], self.asked[number]
            # One generator an objective: leaving one out changes nothing for the others.
            own = torch.Generator()
            own.manual_seed((draw.initial_seed() ^ zlib.crc32(asked.name.encode())) % 2**63)
            extra = self._extra[label] if label in self._extra else None
            found = objective(self.model, batch, extra=extra, draw=own, step=step, steps=steps)
            parts[label] = found.total.detach()
            parts |= {f"{label}/{key}": value for key, value in found.parts.items()}
            weighted = asked.weight * found.total
            total = weighted if total is None else total + weighted
        if total is None:
            raise IsoglossError("there is no objective")
        return TextLoss(total, parts)

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts have more than `max_tokens` tokens."""
        return self.model.count_cut(texts)

    def save(self, folder: Path) -> None:
        """Write the model as transformers does; LoRA also by itself, to `folder/adapter`."""
        if self.adapted is not None:
            self.adapted.save(folder / "adapter")
            self.model.model = self.adapted.merged()
        self.model.save(folder)

    def describe(self) -> dict[str, Any]:
        """Kind, number of weights and of those that learn, tokens of the vocabulary."""
        parameters = list(self.model.parameters())
        return {
            "model_type": cast("Any", self.model.model).config.model_type,
            "weights": sum(p.numel() for p in parameters),
            "learning": sum(p.numel() for p in self._module.parameters() if p.requires_grad),
            "vocabulary": len(self.model.tokenizer),
            "objectives": [str(one) for one in self.asked],
            "base": base_objective(self.model) if self.model.has_head else None,
        }


def make_model_learner(
    config: TextTrainConfig, material: TextMaterial, folder: Path
) -> ModelLearner:
    """The model of a run, new or from its start, with what learns and the objectives.

    Raises:
        IsoglossError, ValueError: the start cannot be loaded, or an objective cannot use it.
    """
    model = start_model(config, material, folder)
    adapted = choose_parameters(model, config.parameters)
    asked = config.asked() or (Asked(base_objective(model)),)
    return ModelLearner(model, asked, alternate=config.alternate, adapted=adapted)


def base_objective(model: TextModel) -> str:
    """The name "mlm" for an encoder, "lm" for a decoder.

    Raises:
        IsoglossError: the model cannot predict tokens.
    """
    if not model.has_head:
        raise IsoglossError(
            "the model has no head that predicts tokens, so neither mlm nor lm can train it; name "
            "an objective that needs none, and --no-control"
        )
    return "lm" if model.causal else "mlm"
