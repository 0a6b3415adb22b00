"""A fitted transform to a folder and back: `transform.json` and `transform.safetensors`.

The JSON is written last, and holds the checksum of the other file, so that a folder is whole or
refused. Nothing is unpickled.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss._files import atomic_writer, sha256_of_file, write_json
from isogloss.adapt.registry import make_transform
from isogloss.adapt.transform import Fitted
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.adapt.transform import FittedTransform

__all__ = ["load_transform", "save_transform"]

_FORMAT = "isogloss-transform"
_VERSION = 1
_TOLD = "transform.json"
_ARRAYS = "transform.safetensors"


def save_transform(transform: FittedTransform, folder: Path) -> None:
    """Write `transform` into `folder`, which is made if absent; a transform in it is replaced.

    Raises:
        IsoglossError: the transform is not fitted, `folder` is a file, or its spec does not
            describe it (a class that is not registered).
        MissingExtra: safetensors is not installed.
    """
    fitted = transform.require_fitted()
    if folder.is_file():
        raise IsoglossError(f"{folder} is a file; name a folder")
    if make_transform(transform.spec) != transform:
        raise IsoglossError(
            f"the spec '{transform.spec}' describes another transform; register the class in the "
            "entry-point group isogloss.transforms"
        )
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise MissingExtra("text", "safetensors") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _TOLD).unlink(missing_ok=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in transform.state().items()}
    with atomic_writer(folder / _ARRAYS) as handle:
        handle.write(save(arrays))
    write_json(
        folder / _TOLD,
        {
            "format": _FORMAT,
            "version": _VERSION,
            "isogloss": __version__,
            "spec": transform.spec,
            "signed": transform.signed(),
            "dimensions": list(transform.dimensions_),
            "parameters": transform.parameters,
            "notes": list(transform.notes_),
            "sha256": sha256_of_file(folder / _ARRAYS),
            "learnt": transform.described(),
            "fitted": {
                "made_by": fitted.made_by,
                "varieties": dict(fitted.varieties),
                "ids": sorted(fitted.ids),
                "meanings": sorted(fitted.meanings),
            },
        },
    )


def load_transform(folder: Path) -> FittedTransform:
    """The transform in `folder`, fitted, giving the same float32 as the one that was saved.

    Raises:
        IsoglossError: there is none, it is damaged (the checksum differs), or of a later format.
        UnknownName: its class is not known here.
        MissingExtra: safetensors is not installed.
    """
    told = _told(folder)
    path = folder / _ARRAYS
    if not path.is_file():
        raise IsoglossError(f"{path} is missing; fit the transform again")
    found = sha256_of_file(path)
    if found != told.get("sha256"):
        raise IsoglossError(
            f"{path} is damaged: its checksum is {found[:12]}, {_TOLD} says "
            f"{str(told.get('sha256'))[:12]}; fit the transform again"
        )
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as error:
        raise MissingExtra("text", "safetensors") from error
    try:
        transform = make_transform(told["spec"])
        transform.restore(load(path.read_bytes()), told["learnt"])
        size_in, size_out = told["dimensions"]
        transform.dimensions_ = (int(size_in), int(size_out))
        transform.notes_ = tuple(told["notes"])
        fitted = told["fitted"]
        transform.fitted_ = Fitted(
            frozenset(fitted["ids"]),
            frozenset(fitted["meanings"]),
            dict(fitted["varieties"]),
            fitted["made_by"],
        )
    except (KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise IsoglossError(
            f"{folder / _TOLD} does not hold a transform that can be read: {error!r}; fit it again"
        ) from error
    return transform


def _told(folder: Path) -> dict[str, Any]:
    path = folder / _TOLD
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IsoglossError(
            f"{path} is missing; name a folder that isogloss adapt fit wrote"
        ) from error
    except (ValueError, NotADirectoryError) as error:
        raise IsoglossError(f"{path}: {error}; fit the transform again") from error
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise IsoglossError(f"{path} describes no transform")
    if told.get("version") != _VERSION:
        raise IsoglossError(
            f"{path} is of version {told.get('version')}, this program reads {_VERSION}; use the "
            f"isogloss that wrote it ({told.get('isogloss')}) or fit again"
        )
    return told
