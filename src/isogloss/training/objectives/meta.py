"""Meta-learning over variety pairs: first-order MAML, and distillation between two learners.

Inner steps of SGD happen on a functional copy inside the loss, so that the loop sees one ordinary
loss whose gradient is the first-order one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isogloss.training.objectives.state_sets import at_layer, mean_states, nothing
from isogloss.training.objectives.text import TextLoss, make_objective, parse_objective

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.training.objectives.text import TextObjective
    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["FirstOrderMAML", "MetaDistillation", "adapted", "rows_of_batch", "variety_tasks"]

Parameters = dict[str, Tensor]


class _Learner(nn.Module):
    """Model and further parts as one module, so that a functional copy replaces both's weights."""

    def __init__(self, model: TextModel, extra: nn.Module | None) -> None:
        super().__init__()
        self.model = model
        self.extra = extra

    def forward(self, loss: Callable[[Any, nn.Module | None], Tensor]) -> Tensor:
        """What `loss` gives for the present weights."""
        return loss(self.model, self.extra)

    def learnt(self) -> Parameters:
        """Parameters that require a gradient, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def adapted(
    learner: nn.Module,
    loss: Callable[[Any, nn.Module | None], Tensor],
    *,
    rate: float,
    steps: int,
) -> Parameters:
    """The learner's parameters after `steps` steps of SGD on `loss`; the learner is unchanged.

    θ' = θ - rate * (sum of the steps' gradients), with these held constant: a gradient with
    respect to θ' is passed on to θ as it is (first order).

    Args:
        learner: a module whose forward takes `loss`.
        loss: of (model, extra parts), a scalar.
        rate: of SGD.
        steps: 0 gives θ.
    """
    start = {name: p for name, p in learner.named_parameters() if p.requires_grad}
    present: Parameters = dict(start)
    moved: Parameters = {name: torch.zeros_like(p) for name, p in start.items()}
    for _ in range(steps):
        with torch.enable_grad():
            leaves = {name: p.detach().requires_grad_() for name, p in present.items()}
            value = cast("Tensor", functional_call(learner, leaves, (loss,)))
            if not value.requires_grad:
                break
            found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                moved[name] = moved[name] - rate * gradient
        present = {name: p.detach() + moved[name] for name, p in start.items()}
    return {name: p + moved[name] for name, p in start.items()}


def rows_of_batch(batch: TextBatch, rows: Sequence[int], sides: Sequence[int]) -> TextBatch:
    """The rows of a batch, with these of its sides (one may stand twice)."""
    return replace(
        batch,
        sides=tuple(batch.sides[s].select(list(rows)) for s in sides),
        names=tuple(batch.names[r] for r in rows),
        varieties=tuple(tuple(batch.varieties[s][r] for r in rows) for s in sides),
        texts=tuple(tuple(batch.texts[s][r] for r in rows) for s in sides),
        links=None
        if batch.links is None or list(sides) != [0, 1]
        else tuple(batch.links[r] for r in rows),
    )


def variety_tasks(
    batch: TextBatch, *, support: float, most: int, draw: torch.Generator
) -> list[tuple[list[int], list[int]]]:
    """Rows of each variety pair of a batch, parted into support and query by lot.

    A pair with fewer than four rows is no task: each part needs two. Where there are more than
    `most` tasks, some are drawn.

    Args:
        batch: whose rows (of one side: varieties instead of pairs) are grouped.
        support: share of the rows on which the inner steps learn.
        most: tasks.
        draw: a generator on the CPU.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*batch.varieties, strict=True)):
        groups.setdefault(key, []).append(row)
    usable = [groups[key] for key in sorted(groups) if len(groups[key]) >= 4]
    if len(usable) > most:
        chosen = sorted(torch.randperm(len(usable), generator=draw)[:most].tolist())
        usable = [usable[i] for i in chosen]
    tasks = []
    for rows in usable:
        order = torch.randperm(len(rows), generator=draw).tolist()
        count = min(max(2, round(support * len(rows))), len(rows) - 2)
        tasks.append(
            (sorted(rows[i] for i in order[:count]), sorted(rows[i] for i in order[count:]))
        )
    return tasks


@dataclass(frozen=True, slots=True)
class FirstOrderMAML:
    """The loss on half of a variety pair's rows after SGD steps on the other half, mean over pairs.

    Every pair of varieties in a batch is a task. So weights are found from which a step on a new
    pair helps. First order: gradients of the inner steps are constants, which costs no second
    derivatives.

    Args:
        inner: the objective of both halves, with ":" where its options have ",":
            "infonce:layer=2:temperature=0.1".
        rate: of the inner SGD.
        inner_steps: how many; 0 is the inner objective on half of the rows.
        support: share of a task's rows on which the inner steps learn.
        tasks: the most in one step; others are left out by lot.

    Source: Finn et al. 2017, sec. 5.2 (the first-order approximation).
    """

    inner: str = "infonce"
    rate: float = 0.01
    inner_steps: int = 1
    support: float = 0.5
    tasks: int = 4

    def __post_init__(self) -> None:
        _check(self.rate, self.inner_steps, self.support, self.tasks)
        _inner(self.inner)

    @property
    def needs(self) -> frozenset[str]:
        """What the inner objective needs."""
        return frozenset(_inner(self.inner).needs)

    def modules(self, model: TextModel) -> nn.Module | None:
        """The inner objective's parts; they are adapted and learnt with the model."""
        return _inner(self.inner).modules(model)

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
        """0 where no pair of varieties has four rows."""
        objective = _inner(self.inner)
        sides = range(len(batch.sides))

        def loss_on(rows: Sequence[int]) -> Callable[[Any, nn.Module | None], Tensor]:
            part = rows_of_batch(batch, rows, list(sides))

            def loss(learner: Any, parts: nn.Module | None) -> Tensor:
                return objective(
                    learner, part, extra=parts, draw=draw, step=step, steps=steps
                ).total

            return loss

        learner = _Learner(model, extra)
        after = []
        for support, query in variety_tasks(
            batch, support=self.support, most=self.tasks, draw=draw
        ):
            weights = adapted(learner, loss_on(support), rate=self.rate, steps=self.inner_steps)
            after.append(cast("Tensor", functional_call(learner, weights, (loss_on(query),))))
        if not after:
            return TextLoss(nothing(batch), {"tasks": torch.tensor(0.0)})
        total = torch.stack(after).mean()
        return TextLoss(total, {"query": total.detach(), "tasks": torch.tensor(float(len(after)))})


@dataclass(frozen=True, slots=True)
class MetaDistillation:
    """Two adapted learners of one model, the second taught by the first as well.

    In each task (a pair of varieties), the teacher takes its inner steps on texts beside
    themselves (one variety; dropout tells the two copies apart), the student on translations (two
    varieties). On the task's other rows, both are judged on translations, and the student's pooled
    vectors are compared with the teacher's, which are held constant:

        student's loss + teacher's loss + distil * mean squared difference, per dimension

    The paper's episodes lead from one language to two for the teacher and from two to many for the
    student, in tasks of labelled search; here the rows of a batch have pairs alone, and the query
    rows of all its pairs are what is many.

    Args:
        inner: see `FirstOrderMAML`; it must take pairs.
        distil: weight of the comparison.
        layer: whose states are compared: a number, "middle" or "last".
        rate: of the inner SGD.
        inner_steps: how many.
        support: share of a task's rows on which the inner steps learn.
        tasks: the most in one step.

    Source: MAML-Align (M'hamdi et al. 2023, arXiv 2309.08185), in first order.
    """

    inner: str = "infonce"
    distil: float = 1.0
    layer: str = "last"
    rate: float = 0.01
    inner_steps: int = 1
    support: float = 0.5
    tasks: int = 4

    def __post_init__(self) -> None:
        _check(self.rate, self.inner_steps, self.support, self.tasks)
        if self.distil < 0:
            raise ValueError(f"distil must be 0 or more, got {self.distil}")
        _inner(self.inner)

    @property
    def needs(self) -> frozenset[str]:
        """Pairs, and what the inner objective needs."""
        return frozenset(_inner(self.inner).needs | {"pairs"})

    def modules(self, model: TextModel) -> nn.Module | None:
        """The inner objective's parts."""
        return _inner(self.inner).modules(model)

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
        """0 where no pair of varieties has four rows."""
        if len(batch.sides) < 2:
            raise ValueError("maml-align needs two sides, texts and their translations")
        objective = _inner(self.inner)

        def loss_of(part: TextBatch) -> Callable[[Any, nn.Module | None], Tensor]:
            def loss(learner: Any, parts: nn.Module | None) -> Tensor:
                return objective(
                    learner, part, extra=parts, draw=draw, step=step, steps=steps
                ).total

            return loss

        learner = _Learner(model, extra)
        found: dict[str, list[Tensor]] = {"student": [], "teacher": [], "distil": []}
        for support, query in variety_tasks(
            batch, support=self.support, most=self.tasks, draw=draw
        ):
            asked = rows_of_batch(batch, query, [0, 1])
            weights = {
                name: adapted(
                    learner,
                    loss_of(rows_of_batch(batch, support, sides)),
                    rate=self.rate,
                    steps=self.inner_steps,
                )
                for name, sides in (("teacher", [0, 0]), ("student", [0, 1]))
            }
            vectors = {}
            for name, own in weights.items():
                value = functional_call(learner, own, (loss_of(asked),))
                found[name].append(cast("Tensor", value))
                vectors[name] = functional_call(learner, own, (self._pooled(asked),))
            apart = (vectors["student"] - vectors["teacher"].detach()).square().mean()
            found["distil"].append(apart)
        if not found["student"]:
            return TextLoss(nothing(batch), {"tasks": torch.tensor(0.0)})
        means = {name: torch.stack(values).mean() for name, values in found.items()}
        total = means["student"] + means["teacher"] + self.distil * means["distil"]
        parts = {name: value.detach() for name, value in means.items()}
        return TextLoss(total, {**parts, "tasks": torch.tensor(float(len(found["student"])))})

    def _pooled(self, batch: TextBatch) -> Callable[[Any, nn.Module | None], Tensor]:
        def pooled(learner: Any, parts: nn.Module | None) -> Tensor:
            means = [
                mean_states(at_layer(learner, side, self.layer), side)[0] for side in batch.sides
            ]
            return torch.cat(means)

        return pooled


def _inner(written: str) -> TextObjective:
    """The objective of "name:option=value:option=value".

    Raises:
        ValueError: it is a meta objective itself, or has a weight.
        UnknownName: no such objective or option.
    """
    name, *parts = written.split(":")
    options: list[str] = []
    for part in parts:
        if "=" in part or not options:
            options.append(part)
        else:
            # A colon of the value's own, as in teacher=hf:FOLDER.
            options[-1] += f":{part}"
    if name.startswith("maml"):
        raise ValueError(f"the inner objective cannot be '{name}' itself; name another")
    asked = parse_objective(f"{name}:{','.join(options)}" if options else name)
    if asked.weight != 1.0:
        raise ValueError("the inner objective has no weight; give one to the outer")
    return make_objective(asked)


def _check(rate: float, steps: int, support: float, tasks: int) -> None:
    if rate <= 0 or steps < 0 or not 0 < support < 1 or tasks < 1:
        raise ValueError(
            "need rate > 0, inner_steps >= 0, 0 < support < 1 and tasks >= 1, got "
            f"{rate}, {steps}, {support}, {tasks}"
        )
