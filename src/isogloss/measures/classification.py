"""Labels and guesses in, accuracy and macro-F1 with intervals and the confusion matrix out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["accuracy_and_f1", "confusion_matrix"]

Indices = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


def confusion_matrix(truth: Indices, guessed: Indices, classes: int) -> Indices:
    """How often class i was taken for class j: (classes, classes) int64.

    Args:
        truth: (N,) class numbers from 0.
        guessed: (N,) class numbers from 0.
        classes: how many classes there are.

    Raises:
        ValueError: the two are not (N,) of one N, or a number is no class.
    """
    truth, guessed = np.asarray(truth), np.asarray(guessed)
    if truth.ndim != 1 or truth.shape != guessed.shape:
        raise ValueError(f"expected (N,) class numbers twice, got {truth.shape}, {guessed.shape}")
    both = np.concatenate([truth, guessed])
    if both.size and (both.min() < 0 or both.max() >= classes):
        raise ValueError(f"classes run from {both.min()} to {both.max()}, there are {classes}")
    found = np.bincount(truth * classes + guessed, minlength=classes * classes)
    return found.reshape(classes, classes).astype(np.int64)


def accuracy_and_f1(
    truth: Indices,
    guessed: Indices,
    classes: Sequence[str],
    *,
    units: Sequence[Indices] = (),
    unit_names: Sequence[str] = (),
    keys: tuple[str, ...] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> tuple[Measurement, Measurement]:
    """'accuracy', the share of right guesses, and 'macro-F1', the mean over classes of their F1.

    A class that is never guessed has F1 0. The signature has the classes, how many items each has,
    the share of the largest ('chance': what guessing it always would reach) and the confusion
    matrix, rows for the truth.

    Args:
        truth: (N,) class numbers, N at least 1.
        guessed: (N,) class numbers.
        classes: their names; each occurs in `truth`.
        units: (N,) numbers of the units that are resampled, one row for each kind, such as
            speakers and meanings; by default items are.
        unit_names: what the kinds are called.
        keys: names of the items, for `item_keys`.
        resamples: of both intervals; 0 for none.
        level: of both.
        seed: of both.
        signature: what else changes the numbers.

    Raises:
        ValueError: as `confusion_matrix`; there is no item, or a class without items.

    Source: Owen 2007 for intervals over crossed units; macro-F1 as the mean of classes' F1.
    """
    table = confusion_matrix(truth, guessed, len(classes))
    counts = table.sum(axis=1)
    if not len(truth) or not counts.all():
        without = [name for name, count in zip(classes, counts, strict=True) if not count]
        raise ValueError(f"classes without items: {', '.join(without) or 'all'}")
    right = (np.asarray(truth) == np.asarray(guessed)).astype(np.float64)
    is_true = np.eye(len(classes))[truth]
    is_guessed = np.eye(len(classes))[guessed]
    rows = [np.unique(row, return_inverse=True)[1] for row in units] or [np.arange(len(truth))]
    sizes = [int(row.max()) + 1 for row in rows]
    accuracies, f1s = [], []
    for weights in resample_counts(*sizes, resamples=resamples, seed=seed, of_item=rows):
        total = weights.sum(axis=1)
        hits = np.full(len(total), np.nan)
        np.divide(weights @ right, total, out=hits, where=total > 0)
        accuracies.append(hits)
        f1s.append(_macro_f1(weights, right, is_true, is_guessed))
    drawn = " and ".join(unit_names) or "items"
    signed = {
        **(signature or {}),
        "classes": list(classes),
        "items_by_class": counts.tolist(),
        "chance": float(counts.max() / counts.sum()),
        "confusion": table.tolist(),
        "interval": f"bootstrap over {drawn}, {resamples} resamples, level {level}, seed {seed}"
        if accuracies
        else None,
    }
    one = np.ones((1, len(truth)))
    values = {
        "accuracy": (float(right.mean()), accuracies, right.astype(np.float32)),
        "macro-F1": (float(_macro_f1(one, right, is_true, is_guessed)[0]), f1s, None),
    }
    found = []
    for name, (value, blocks, per_item) in values.items():
        bounds = percentile_interval(np.concatenate(blocks), level) if blocks else None
        found.append(
            Measurement(
                name,
                value,
                low=min(bounds[0], value) if bounds else None,
                high=max(bounds[1], value) if bounds else None,
                n=len(truth),
                signature=signed,
                per_item=per_item,
                item_keys=keys if per_item is not None else None,
            )
        )
    return found[0], found[1]


def _macro_f1(weights: Doubles, right: Doubles, is_true: Doubles, is_guessed: Doubles) -> Doubles:
    """Mean F1 over the classes that are in a resample (B,), NaN where none is.

    F1 is 2 hits / (truths + guesses) of a class.
    """
    hits = (weights * right) @ is_true
    truths, guesses = weights @ is_true, weights @ is_guessed
    f1 = np.divide(2 * hits, truths + guesses, out=np.zeros_like(hits), where=truths > 0)
    present = (truths > 0).sum(axis=1)
    mean = np.full(len(weights), np.nan)
    np.divide(f1.sum(axis=1), present, out=mean, where=present > 0)
    return mean
