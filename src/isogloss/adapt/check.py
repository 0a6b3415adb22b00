"""The conformance kit of transforms: anyone can run `check_transform` on a class of their own."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss.adapt.affine import NotInvertible
from isogloss.adapt.registry import make_transform
from isogloss.adapt.store import load_transform
from isogloss.adapt.transform import FittedItems
from isogloss.errors import IsoglossError
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.adapt.transform import FittedTransform

__all__ = ["check_transform"]


def check_transform(
    transform: FittedTransform | str,
    *,
    varieties: Sequence[str] = ("aaa", "bbb", "ccc"),
    meanings: int = 40,
    dimensions: int = 8,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> None:
    """Return when `transform` keeps the contract on made vectors; otherwise say all that is wrong.

    Checked: refused before it is fitted; `fit` returns the transform and remembers ids and
    meanings; ids kept, float32, finite, `made_by` longer; what is given is not written to; fitted
    again it is the same, and other items that are transformed change nothing that was learnt; rows
    in another order, one by one and beside others come out the same; a constant dimension does no
    harm; steps keep their offsets; NaN and other dimensions are refused; items and meanings that
    were fitted on are refused; saved and loaded it gives the very same bits; where it has an
    inverse, that leads back.

    Args:
        transform: unfitted, or its spec; it is copied, not fitted.
        varieties: of the made vectors; name here the varieties that its options name.
        meanings: of each variety.
        dimensions: D.
        tolerance: largest difference between a row alone and in a batch, and after the way there
            and back, relative to the largest value.
        seed: of the made vectors.

    Raises:
        ValueError: the contract is broken (every breach is listed).
    """
    if isinstance(transform, str):
        transform = make_transform(transform)
    problems: list[str] = []
    vectors, names, known = _made(varieties, meanings, dimensions, seed)
    fit_on = [i for i, meaning in enumerate(known) if int(meaning[1:]) % 2 == 0]
    rest = [i for i in range(len(vectors)) if i not in set(fit_on)]
    train, judged = _rows(vectors, fit_on), _rows(vectors, rest)
    train_names, train_known = [names[i] for i in fit_on], [known[i] for i in fit_on]
    names, known = [names[i] for i in rest], [known[i] for i in rest]

    one = copy.deepcopy(transform)
    try:
        one.transform(judged, varieties=names)
        problems.append("transform before fit is not refused with IsoglossError")
    except IsoglossError:
        pass
    before = train.values.copy()
    if one.fit(train, varieties=train_names, meanings=train_known) is not one:
        problems.append("fit does not return the transform itself")
    fitted = one.require_fitted()
    if fitted.ids != set(train.ids) or fitted.meanings != set(train_known):
        problems.append("fitted_ does not hold the ids and meanings that were fitted on")
    out = one.transform(judged, varieties=names)
    if not np.array_equal(before, train.values):
        problems.append("the values given to fit were written to")
    if out.ids != judged.ids:
        problems.append("ids changed")
    if not np.isfinite(out.values).all():
        problems.append("values hold NaN or infinity")
    if out.made_by == judged.made_by or not out.made_by.startswith(judged.made_by):
        problems.append(f"made_by must grow, got {out.made_by!r}")
    if one.signed() != one.signed():
        problems.append("signed() is not the same twice")
    problems += _same_again(transform, one, train, (train_names, train_known), out, (judged, names))
    problems += _rows_alone(one, judged, names, out, tolerance)
    problems += _refusals(one, train, judged, (train_names, names, known))
    problems += _saved(one, judged, names, out)
    problems += _there_and_back(one, judged, names, out, tolerance)
    if problems:
        raise ValueError(f"{transform.spec}: " + "; ".join(problems))


def _same_again(
    fresh: FittedTransform,
    one: FittedTransform,
    train: Vectors,
    told: tuple[list[str], list[str]],
    out: Vectors,
    judged: tuple[Vectors, list[str]],
) -> list[str]:
    problems = []
    signed = one.signed()
    again = copy.deepcopy(fresh).fit(train, varieties=told[0], meanings=told[1])
    if again.signed() != signed:
        problems.append("a second fit on the same items learns something else")
    # Items that come later, however odd, change nothing that was learnt.
    odd = Vectors(judged[0].ids, judged[0].values * 100 + 7, "odd")
    one.transform(odd, varieties=judged[1])
    if one.signed() != signed:
        problems.append("transforming other items changes what was learnt")
    if not np.array_equal(one.transform(judged[0], varieties=judged[1]).values, out.values):
        problems.append("the second call gives other values than the first")
    refit = one.fit(train, varieties=told[0], meanings=told[1])
    if refit.signed() != signed:
        problems.append("fitted once more, it remembers what was learnt before")
    return problems


def _rows_alone(
    one: FittedTransform, judged: Vectors, names: list[str], out: Vectors, tolerance: float
) -> list[str]:
    problems = []
    scale = tolerance * max(1.0, float(np.abs(out.values).max(initial=0)))
    order = list(range(len(judged)))[::-1]
    backwards = one.transform(_rows(judged, order), varieties=[names[i] for i in order])
    if np.abs(backwards.values[::-1] - out.values).max() > scale:
        problems.append("another order of rows gives other values")
    for row in range(min(len(judged), 6)):
        alone = one.transform(_rows(judged, [row]), varieties=[names[row]])
        if np.abs(alone.values[0] - out.values[row]).max() > scale:
            problems.append(f"item '{judged.ids[row]}' alone differs from the batch")
    lengths = [1 + i % 2 for i in range(len(judged))]
    steps = Sequences.from_list(
        judged.ids, [np.repeat(judged.values[i : i + 1], n, axis=0) for i, n in enumerate(lengths)]
    )
    changed = one.transform(steps, varieties=names)
    if not np.array_equal(changed.offsets, steps.offsets) or changed.ids != steps.ids:
        problems.append("steps lose their ids or offsets")
    elif np.abs(changed.values - np.repeat(out.values, lengths, axis=0)).max() > scale:
        problems.append("a step is changed otherwise than a vector")
    return problems


def _refusals(
    one: FittedTransform,
    train: Vectors,
    judged: Vectors,
    told: tuple[list[str], list[str], list[str]],
) -> list[str]:
    problems = []
    train_names, names, known = told
    broken = judged.values.copy()
    broken[1, 0] = np.nan
    for what, vectors in (
        ("NaN", Vectors(judged.ids, broken)),
        ("one more dimension", Vectors(judged.ids, np.pad(judged.values, ((0, 0), (0, 1))))),
    ):
        try:
            one.transform(vectors, varieties=names)
            problems.append(f"{what} is not refused with ValueError")
        except ValueError as error:
            if what == "NaN" and judged.ids[1] not in str(error):
                problems.append("the error about NaN does not name the item")
    for what, ids, meanings in (
        ("an item that was fitted on", train.ids[:1], None),
        ("a meaning that was fitted on", ("new",), [min(one.require_fitted().meanings)]),
    ):
        try:
            one.refuse_fitted(ids, meanings)
            problems.append(f"{what} may be judged")
        except FittedItems:
            pass
    one.refuse_fitted(judged.ids, known)
    if len(train_names) != len(train):
        problems.append("the kit is broken")
    return problems


def _saved(one: FittedTransform, judged: Vectors, names: list[str], out: Vectors) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="isogloss-check-") as folder:
        try:
            one.save(Path(folder))
            loaded = load_transform(Path(folder))
        except IsoglossError as error:
            return [f"it cannot be saved and loaded: {error}"]
    problems = []
    if loaded.signed() != one.signed() or loaded.fitted_ != one.fitted_:
        problems.append("loaded, it is not what was saved")
    if not np.array_equal(loaded.transform(judged, varieties=names).values, out.values):
        problems.append("loaded, it gives other values")
    return problems


def _there_and_back(
    one: FittedTransform, judged: Vectors, names: list[str], out: Vectors, tolerance: float
) -> list[str]:
    try:
        back = one.inverse(out, varieties=names)
    except NotInvertible:
        return []
    gap = float(np.abs(back.values - judged.values).max())
    # What was squeezed together in float32 comes back with its rounding stretched.
    allowed = 100 * tolerance * max(1.0, float(np.abs(judged.values).max()))
    return [] if gap <= allowed else [f"the inverse is off by {gap:.2g}"]


def _made(
    varieties: Sequence[str], meanings: int, dimensions: int, seed: int
) -> tuple[Vectors, list[str], list[str]]:
    """Meanings turned, moved and blurred by each variety; the last dimension is constant."""
    draw = np.random.default_rng(seed)
    meant = draw.standard_normal((meanings, dimensions)) * np.linspace(2, 0.5, dimensions)
    values, ids, names, known = [], [], [], []
    for variety in varieties:
        turn = np.linalg.qr(np.eye(dimensions) + 0.3 * draw.standard_normal((dimensions,) * 2))[0]
        rows = meant @ turn + draw.standard_normal(dimensions)
        rows += 0.1 * draw.standard_normal(rows.shape)
        rows[:, -1] = 0.25
        values.append(rows)
        for number in range(meanings):
            ids.append(f"{variety}-{number}")
            names.append(variety)
            known.append(f"m{number}")
    stacked = np.concatenate(values).astype(np.float32)
    return Vectors(tuple(ids), stacked, "made"), names, known


def _rows(vectors: Vectors, places: Sequence[int]) -> Vectors:
    chosen = list(places)
    return Vectors(tuple(vectors.ids[i] for i in chosen), vectors.values[chosen], vectors.made_by)
