"""The conformance kit of tasks: anyone can run `check_task` on a class of their own."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.types import Measurement

if TYPE_CHECKING:
    from isogloss.types import Corpus, Encoder, Task

__all__ = ["check_task"]


def check_task(task: Task, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
    """The measurements of `task`, after checking that it keeps the contract of tasks.

    Checked: the task is a frozen dataclass; `run` gives measurements with different names; every
    value is finite and inside its own interval; `n` is positive; the signature is JSON and names
    the encoder; a second run gives the same numbers.

    Raises:
        ValueError: the contract is broken (every breach is listed).
    """
    name = type(task).__name__
    problems = []
    parameters: Any = getattr(type(task), "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        problems.append("the task must be a frozen dataclass, so that its fields are its recipe")
    found = task.run(corpus, encoder)
    if not isinstance(found, list) or not found:
        raise ValueError(f"{name}.run must return measurements, got {found!r}")
    others = [m for m in found if not isinstance(m, Measurement)]
    if others:
        raise ValueError(f"{name}.run must return measurements, got {others[0]!r}")
    names = [m.name for m in found]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        problems.append(f"names repeat: {', '.join(repeated)}")
    for measurement in found:
        problems += [f"'{measurement.name}': {p}" for p in _problems(measurement, encoder.made_by)]
    again = task.run(corpus, encoder)
    if [_numbers(m) for m in again] != [_numbers(m) for m in found]:
        problems.append("a second run gives other numbers; fix every seed")
    if problems:
        raise ValueError(f"{name}: " + "; ".join(problems))
    return found


def _problems(measurement: Measurement, made_by: str) -> list[str]:
    problems = []
    value, low, high = measurement.value, measurement.low, measurement.high
    if not math.isfinite(value):
        problems.append(f"value is {value}")
    if (low is None) != (high is None):
        problems.append(f"half an interval: {low} to {high}")
    if low is not None and high is not None and not low - 1e-6 <= value <= high + 1e-6:
        problems.append(f"value {value} lies outside its interval {low} to {high}")
    if measurement.n < 1:
        problems.append(f"n is {measurement.n}")
    if measurement.per_item is not None and not np.isfinite(measurement.per_item).all():
        problems.append("per-item statistics hold NaN or infinity")
    try:
        written = json.dumps(dict(measurement.signature), allow_nan=False)
    except (TypeError, ValueError) as error:
        return [*problems, f"signature is not JSON: {error}"]
    if json.dumps(made_by)[1:-1] not in written and "encoder" not in measurement.signature:
        problems.append("signature does not name the encoder")
    return problems


def _numbers(measurement: Measurement) -> tuple[Any, ...]:
    return measurement.name, measurement.value, measurement.low, measurement.high, measurement.n
