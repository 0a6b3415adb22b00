"""Representations changed without training the encoder: fitted on some items, applied to others.

Names are loaded when they are first used, so importing this package reads neither torch nor
scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isogloss.adapt.affine import Affine, NotInvertible, orthogonality_deviation
    from isogloss.adapt.chain import Chain
    from isogloss.adapt.changes import Shift
    from isogloss.adapt.check import check_transform
    from isogloss.adapt.compare import Comparison, compare_transforms
    from isogloss.adapt.experts import find_experts
    from isogloss.adapt.interventions import Intervention, SteeredEncoder, intervened
    from isogloss.adapt.judge import Judgement, judge_vectors
    from isogloss.adapt.registry import make_transform, split_specs, transform_names
    from isogloss.adapt.steering import Steering, fit_steering
    from isogloss.adapt.store import load_transform, save_transform
    from isogloss.adapt.transform import (
        AffineTransform,
        Fitted,
        FittedItems,
        FittedTransform,
        UnseenVariety,
        refuse_fitted,
    )
    from isogloss.adapt.vocabulary import Rebuilt, rebuild

__all__ = [
    "Affine",
    "AffineTransform",
    "Chain",
    "Comparison",
    "Fitted",
    "FittedItems",
    "FittedTransform",
    "Intervention",
    "Judgement",
    "NotInvertible",
    "Rebuilt",
    "Shift",
    "SteeredEncoder",
    "Steering",
    "UnseenVariety",
    "check_transform",
    "compare_transforms",
    "find_experts",
    "fit_steering",
    "intervened",
    "judge_vectors",
    "load_transform",
    "make_transform",
    "orthogonality_deviation",
    "rebuild",
    "refuse_fitted",
    "save_transform",
    "split_specs",
    "transform_names",
]

_HOMES = {
    "Affine": "affine",
    "AffineTransform": "transform",
    "Chain": "chain",
    "Comparison": "compare",
    "Fitted": "transform",
    "FittedItems": "transform",
    "FittedTransform": "transform",
    "Intervention": "interventions",
    "Judgement": "judge",
    "NotInvertible": "affine",
    "Rebuilt": "vocabulary",
    "Shift": "changes",
    "SteeredEncoder": "interventions",
    "Steering": "steering",
    "UnseenVariety": "transform",
    "check_transform": "check",
    "compare_transforms": "compare",
    "find_experts": "experts",
    "fit_steering": "steering",
    "intervened": "interventions",
    "judge_vectors": "judge",
    "load_transform": "store",
    "make_transform": "registry",
    "orthogonality_deviation": "affine",
    "rebuild": "vocabulary",
    "refuse_fitted": "transform",
    "save_transform": "store",
    "split_specs": "registry",
    "transform_names": "registry",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
