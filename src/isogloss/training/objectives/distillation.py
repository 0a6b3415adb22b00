"""Distillation: vectors of both sides pulled to those that a frozen teacher gives the first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.training.objectives.state_sets import at_layer, mean_states, nothing
from isogloss.training.objectives.text import TextLoss
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["Distillation", "spread"]

_START = "start"
_REMEMBERED = 100_000


def spread(student: Tensor, teacher: Tensor) -> Tensor:
    """How far N vectors lie from their mean, as a multiple of how far the teacher's do: a scalar.

    The root of the ratio of the total variances (the teacher's scaled to the student's width is
    not needed: both sum over their dimensions). 1 is as spread as the teacher, 0 is collapsed:
    all texts have one vector. 1 where the teacher's are all alike or there is one row.

    Args:
        student: (N, D).
        teacher: (N, D).
    """
    own = _variance(student)
    wanted = _variance(teacher)
    if len(student) < 2 or not bool(wanted > 0):
        return torch.ones((), device=student.device)
    return (own / wanted).sqrt()


def _variance(vectors: Tensor) -> Tensor:
    return (vectors - vectors.mean(0)).square().mean(0).sum()


class _Taught(nn.Module):
    """What distillation has beside the model: the teacher, and a map to its width."""

    def __init__(self, teacher: TextModel | None, width: int, wanted: int) -> None:
        super().__init__()
        self.teacher = teacher
        self.project = nn.Linear(width, wanted) if width != wanted else nn.Identity()
        self.remembered: OrderedDict[str, Tensor] = OrderedDict()


@lru_cache(maxsize=4)
def _encoder(name: str) -> Any:
    from isogloss.encoders.registry import load_encoder

    return load_encoder(name)


def _encoded(name: str, texts: Sequence[str]) -> Tensor:
    """(N, D) mean vectors of an encoder; each text by itself, whatever the batch."""
    items = [Item(str(i), "und", text=text) for i, text in enumerate(texts)]
    found = _encoder(name).encode(items)
    rows = [torch.from_numpy(found[i].copy()).mean(0) for i in range(len(items))]
    return torch.stack(rows)


@dataclass(frozen=True, slots=True)
class Distillation:
    """Distance of the pooled vectors of each side to the teacher's vector of the first side.

    mean over rows of |M(a) - T(a)|² + |M(b) - T(a)|², per dimension and halved ("mse"), or of
    1 - cosine ("cosine"). So a model learns the teacher's space, and translations fall together in
    it. A student whose vectors do not spread any more (a known failure of this objective) is
    told by `spread` in the parts, and pushed apart while it is below `floor`:

        guard * max(0, floor² - spread²)

    Args:
        teacher: "start" (the model as it is before training), or a text encoder's name, such as
            hf:FOLDER. Its vector is the mean of its steps.
        layer: of the student, a number, "middle" or "last"; of the teacher too where it is the
            start.
        loss: "mse" or "cosine".
        centre: with "cosine", take the teacher's mean vector of the batch off both: where all
            vectors of a teacher point one way, that direction alone would be learnt.
        floor: see above.
        guard: see above; 0 never pushes.

    Source: Reimers and Gurevych 2020 (Making Monolingual Sentence Embeddings Multilingual), eq. 1.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})
    teacher: str = _START
    layer: str = "last"
    loss: Literal["mse", "cosine"] = "mse"
    centre: bool = True
    floor: float = 0.5
    guard: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1 or self.guard < 0:
            raise ValueError(f"need 0 <= floor <= 1 and guard >= 0: {self.floor}, {self.guard}")

    def modules(self, model: TextModel) -> nn.Module:
        """The frozen teacher, where it is the start; and a linear map where widths differ.

        Raises:
            UnknownName: no such encoder.
            IsoglossError: the teacher cannot be loaded.
        """
        if self.teacher == _START:
            return _Taught(model.frozen_copy(), model.width, model.width)
        return _Taught(None, model.width, int(_encoded(self.teacher, ["a"]).shape[1]))

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
        """0 where no row has text of its own on the first side."""
        if not isinstance(extra, _Taught):
            raise TypeError("distillation needs the teacher that `modules` makes")
        wanted, known = self._taught(extra, batch)
        losses, students = [], []
        for side in batch.sides:
            pooled, usable = mean_states(at_layer(model, side, self.layer), side)
            both = usable & known
            if bool(both.any()):
                student = extra.project(pooled[both])
                losses.append(self._distance(student, wanted[both]))
                students.append((student, wanted[both]))
        if not losses:
            return TextLoss(nothing(batch))
        total = torch.stack(losses).mean()
        parts: dict[str, Tensor] = {self.loss: total.detach()}
        own = torch.stack([spread(s.detach(), t) for s, t in students]).min()
        parts["spread"] = own
        if self.guard:
            ratios = [_ratio(s, t) for s, t in students]
            push = torch.stack([(self.floor**2 - r).clamp_min(0.0) for r in ratios]).mean()
            parts["guard"] = push.detach()
            total = total + self.guard * push
        return TextLoss(total, parts)

    def _taught(self, extra: _Taught, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """(N, E) the teacher's vectors of the first side, and which rows have one."""
        side = batch.sides[0]
        if extra.teacher is not None:
            with torch.no_grad():
                return mean_states(at_layer(extra.teacher, side, self.layer), side)
        # A blank text is refused by encoders.
        texts = [text for text in batch.texts[0] if text.strip()]
        new = [text for text in dict.fromkeys(texts) if text not in extra.remembered]
        if new:
            vectors = _encoded(self.teacher, new)
            extra.remembered.update(zip(new, vectors, strict=True))
        width = len(next(iter(extra.remembered.values()))) if extra.remembered else 1
        rows = [extra.remembered.get(text, torch.zeros(width)) for text in batch.texts[0]]
        while len(extra.remembered) > _REMEMBERED:
            extra.remembered.popitem(last=False)
        known = torch.tensor([bool(text.strip()) for text in batch.texts[0]])
        device = side.ids.device
        return torch.stack(rows).to(device), known.to(device)

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.loss == "mse":
            return (student - teacher).square().mean()
        if self.centre and len(teacher) > 1:
            middle = teacher.mean(0)
            student, teacher = student - middle, teacher - middle
        return (1 - functional.cosine_similarity(student, teacher, dim=-1)).mean()


def _ratio(student: Tensor, teacher: Tensor) -> Tensor:
    """The square of `spread`, with a gradient; a constant 1 where that is 1 for want of rows."""
    wanted = _variance(teacher)
    if len(student) < 2 or not bool(wanted > 0):
        return torch.ones((), device=student.device)
    return _variance(student) / wanted
