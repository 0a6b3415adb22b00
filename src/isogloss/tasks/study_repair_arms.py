"""The arms of the study of repairs: objectives by short names, with their controls."""

from __future__ import annotations

from dataclasses import replace

from isogloss.tasks.study_train import Arm
from isogloss.training.objectives.text import make_objective, parse_objective

__all__ = ["ALL_TRANSFORMS", "REPAIRS", "SHORT_OBJECTIVES", "SHORT_TRANSFORMS", "repair_arms"]

ALL_TRANSFORMS = (
    "center",
    "shift:target={pivot}",
    "unit",
    "outliers",
    "abtt",
    "cbie",
    "zca",
    "iterative",
    "subspace",
    "lda:target={pivot}",
    "ot:target={pivot}",
    "lstsq:target={pivot}",
    "ridge:target={pivot}",
    "procrustes:target={pivot}",
    "lowrank:target={pivot}",
    "cca:target={pivot}",
)
"""Every transform of `adapt`, with {pivot} for the variety that maps go to."""

SHORT_TRANSFORMS = (
    "center",
    "outliers",
    "abtt",
    "zca",
    "subspace",
    "procrustes:target={pivot}",
    "ridge:target={pivot}",
)
"""Those of the short study."""

REPAIRS = {
    "infonce": "meaning infonce:layer={layer}",
    "translico": "views infonce:layer={layer},weight=0.5,negatives=all",
    "tlm": "meaning tlm",
    "word-mse": "meaning word-mse:layer={layer}",
    "distillation": "meaning distillation:layer={layer}",
    "consistency": "meaning consistency",
    "camlm": "meaning camlm",
    "minotaur": "meaning minotaur:layer={layer}",
    "distribution": "none distribution:layer={layer}",
    "adversary": "none adversary:layer={layer}",
}
"""Short name to rows and objective; masked LM goes on beside each.

`infonce` learns from translations; `translico` from each text and its romanisation, and is not told
which texts are translations; `distribution` and `adversary` see single texts.
"""

SHORT_OBJECTIVES = ("infonce", "translico", "tlm", "word-mse", "distillation")
"""Those of the short study."""

_CONTROLS = {
    "meaning": Arm("mlm, pairs", ("mlm",), "meaning", None, "masked LM on the same pairs"),
    "views": Arm("mlm, views", ("mlm",), "views", None, "masked LM on the same texts and views"),
    "none": Arm("mlm, texts", ("mlm",), "none", None, "masked LM on the same texts"),
}
"""What each kind of rows gives without the objective."""


def repair_arms(names: tuple[str, ...], *, layer: int) -> list[Arm]:
    """The arms for `names`, each control before the first arm that is held against it.

    Args:
        names: of `REPAIRS`, or any objective as training takes it ("infonce:temperature=0.1"),
            which gets pairs where it needs them.
        layer: for {layer}.

    Raises:
        UnknownName: no such objective or option.
        ValueError: an option's value cannot be, an objective needs word links, or a name is there
            twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"an objective is named twice in {', '.join(names)}")
    found: dict[str, Arm] = {}
    for name in names:
        if name in REPAIRS:
            rows, _, objective = REPAIRS[name].format(layer=layer).partition(" ")
        else:
            objective = str(parse_objective(name))
            needs = make_objective(parse_objective(name)).needs
            if "links" in needs:
                raise ValueError(f"{name} needs word links, which a study does not make")
            rows = "meaning" if "pairs" in needs else "none"
        control = _CONTROLS[rows]
        found[control.name] = control
        found[name] = replace(
            control, name=name, objectives=("mlm", objective), control=control.name, says=objective
        )
    return list(found.values())
