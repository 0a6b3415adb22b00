"""Text such as 'center+zca:eps=1e-5' in, a transform out; third parties add names."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from isogloss.adapt.chain import Chain
from isogloss.adapt.transform import FittedTransform
from isogloss.errors import IsoglossError, UnknownName

__all__ = ["make_transform", "split_specs", "transform_class", "transform_names"]

_CLASSES = {
    "abtt": "isogloss.adapt.isotropy:AllButTheTop",
    "cbie": "isogloss.adapt.isotropy:ClusterIsotropy",
    "cca": "isogloss.adapt.cca:CCA",
    "center": "isogloss.adapt.center:Center",
    "identity": "isogloss.adapt.center:Identity",
    "iterative": "isogloss.adapt.iterative:IterativeNormalization",
    "lda": "isogloss.adapt.lda:LDAShift",
    "lowrank": "isogloss.adapt.linear:LowRank",
    "lstsq": "isogloss.adapt.linear:LeastSquares",
    "ot": "isogloss.adapt.transport:Transport",
    "outliers": "isogloss.adapt.outliers:DropOutliers",
    "procrustes": "isogloss.adapt.linear:Procrustes",
    "ridge": "isogloss.adapt.linear:Ridge",
    "shift": "isogloss.adapt.center:MeanShift",
    "subspace": "isogloss.adapt.subspace:RemoveSubspace",
    "unit": "isogloss.adapt.center:Unit",
    "zca": "isogloss.adapt.whiten:ZCA",
}
_ENTRY_POINT_GROUP = "isogloss.transforms"

# A plus before a name joins parts; one before a digit, as in 1e+5, is part of a number.
_JOINT = re.compile(r"\+(?=\s*[A-Za-z_])")


def make_transform(spec: str) -> FittedTransform:
    """The unfitted transform that `spec` describes.

    A spec is 'NAME' or 'NAME:OPTION=VALUE,OPTION=VALUE', and several of them joined by '+' make a
    `Chain`: 'center+zca:eps=1e-5+procrustes:target=eng'. Options are the fields of the class;
    'none', 'true' and 'false' are what they say.

    Packages of others add names through the entry-point group 'isogloss.transforms': a class that
    inherits from `FittedTransform`.

    Raises:
        UnknownName: no such transform or option (near matches are offered).
        ValueError: an option with a wrong value.
        IsoglossError: the package that brings this transform cannot be imported.
    """
    parts = [_part(text.strip(), spec) for text in _JOINT.split(spec)]
    return parts[0] if len(parts) == 1 else Chain(parts=tuple(parts))


def split_specs(text: str) -> list[str]:
    """The specs in a list with commas: 'center,zca:eps=1,shrinkage=0.1,unit' holds three.

    A piece between commas that is an option (OPTION=VALUE before any ':') belongs to the spec
    before it.

    Raises:
        ValueError: a spec is empty, or an option comes without a colon before it.
    """
    found: list[str] = []
    for piece in (piece.strip() for piece in text.split(",")):
        head = piece.partition(":")[0]
        if "=" in head:
            if not found:
                raise ValueError(f"'{piece}' is an option without a transform before it")
            if ":" not in _JOINT.split(found[-1])[-1]:
                raise ValueError(
                    f"'{piece}' comes after '{found[-1]}', which has no options yet; the first one "
                    f"follows a colon: {found[-1]}:{piece}"
                )
            found[-1] += f",{piece}"
        elif not piece:
            raise ValueError(f"an empty transform in '{text}'")
        else:
            found.append(piece)
    return found


def transform_class(name: str) -> type[FittedTransform]:
    """The class called `name`.

    Raises:
        UnknownName: there is none.
        IsoglossError: the package that brings it cannot be imported, or brings something else.
    """
    if name in _CLASSES:
        module, _, attribute = _CLASSES[name].partition(":")
        known: type[FittedTransform] = getattr(import_module(module), attribute)
        return known
    others = _others()
    if name not in others:
        raise UnknownName("transform", name, transform_names())
    try:
        found = others[name].load()
    except (ImportError, AttributeError) as error:
        raise IsoglossError(
            f"the transform '{name}' of another package ({others[name].value}) cannot be "
            f"imported: {error}; mend or uninstall that package"
        ) from error
    if not (isinstance(found, type) and issubclass(found, FittedTransform)):
        raise IsoglossError(
            f"the transform '{name}' of another package ({others[name].value}) is no class that "
            "inherits from isogloss.adapt.FittedTransform"
        )
    return found


def transform_names() -> tuple[str, ...]:
    """Every name that `make_transform` knows here, sorted."""
    return tuple(sorted({*_CLASSES, *_others()}))


def _part(text: str, spec: str) -> FittedTransform:
    name, _, rest = text.partition(":")
    if not name:
        raise ValueError(f"an empty transform in '{spec}'; known: {', '.join(transform_names())}")
    found = transform_class(name)
    fields = {field.name for field in dataclasses.fields(found) if field.init}
    options: dict[str, Any] = {}
    for piece in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = piece.partition("=")
        if key not in fields:
            raise UnknownName(f"option of transform '{name}'", key, fields)
        if not equals:
            raise ValueError(f"transform '{name}': option '{key}' has no value; write {key}=VALUE")
        options[key] = _value(f"transform '{name}': {key}", _hint(found, key), value)
    return found(**options)


def _hint(found: type[FittedTransform], option: str) -> Any:
    """The type of one option; other annotations may name what is imported for checkers alone."""
    owner = next(one for one in found.__mro__ if option in vars(one).get("__annotations__", {}))
    told = {"__annotations__": {option: owner.__annotations__[option]}}
    alone = type(owner.__name__, (), {**told, "__module__": owner.__module__})
    return typing.get_type_hints(alone)[option]


def _value(what: str, hint: Any, text: str) -> Any:
    """`text` as the first of the allowed types that takes it."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    allowed = typing.get_args(hint) if union else (hint,)
    if type(None) in allowed and text.lower() == "none":
        return None
    for kind in allowed:
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        if kind is str or typing.get_origin(kind) is typing.Literal:
            # Which words are allowed is said by the class.
            return text
    names = " or ".join(
        "none" if kind is type(None) else getattr(kind, "__name__", str(kind)) for kind in allowed
    )
    raise ValueError(f"{what}: {text!r} is no {names}")


def _others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_ENTRY_POINT_GROUP)}
