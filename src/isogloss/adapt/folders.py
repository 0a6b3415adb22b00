"""Transformed vectors to a folder that `read_folder` reads, with a note of what was fitted on.

The layout is that of `isogloss.encoders.shards`: values.npy, offsets.npy, sequences.json. Beside
them `applied.json` names the transform and the items and meanings that it was fitted on, so that
whoever judges the folder can refuse them.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from isogloss._files import atomic_writer, sha256_of_file, write_json
from isogloss.adapt.transform import Fitted
from isogloss.errors import IsoglossError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import Vectors

__all__ = ["fitted_for", "join_fitted", "write_folder"]

_NOTE = "applied.json"
_DESCRIPTION = "sequences.json"


def write_folder(
    vectors: Vectors | Sequences, folder: Path, *, fitted: Fitted, signed: str
) -> None:
    """Write `vectors` into `folder`; vectors become items of one step each.

    Args:
        vectors: what a transform gave.
        folder: made if absent; vectors in it are replaced.
        fitted: what the transform was fitted on.
        signed: the transform's spec and checksum.

    Raises:
        IsoglossError: `folder` is a file, or holds something else.
    """
    if folder.is_file():
        raise IsoglossError(f"{folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _NOTE).is_file():
        raise IsoglossError(
            f"{folder} is not empty and holds no transformed vectors; choose another folder"
        )
    offsets = np.arange(len(vectors) + 1, dtype=np.int64)
    step_seconds = None
    if isinstance(vectors, Sequences):
        offsets, step_seconds = vectors.offsets, vectors.step_seconds
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    write_json(
        folder / _NOTE,
        {
            "transform": signed,
            "made_by": fitted.made_by,
            "varieties": dict(fitted.varieties),
            "ids": sorted(fitted.ids),
            "meanings": sorted(fitted.meanings),
        },
    )
    for name, array in (("values.npy", np.asarray(vectors.values)), ("offsets.npy", offsets)):
        with atomic_writer(folder / name) as handle:
            np.save(handle, array)
    key = hashlib.sha256(json.dumps([vectors.made_by, *vectors.ids]).encode()).hexdigest()
    # Written last: with it the folder is finished.
    write_json(
        folder / _DESCRIPTION,
        {
            "ids": list(vectors.ids),
            "step_seconds": step_seconds,
            "made_by": vectors.made_by,
            "skipped": [],
            "key": key,
            "applied": sha256_of_file(folder / _NOTE),
        },
    )


def fitted_for(folder: Path) -> Fitted | None:
    """What the transform behind the vectors in `folder` was fitted on; None without a transform.

    Raises:
        IsoglossError: the note cannot be read, or is not the one that was written with the vectors.
    """
    path = folder / _NOTE
    wanted = _note_checksum(folder)
    if not path.is_file():
        if wanted is not None:
            raise IsoglossError(
                f"{path} is missing, so nobody knows what the transform of these vectors was "
                "fitted on; apply the transform again"
            )
        return None
    if wanted != sha256_of_file(path):
        raise IsoglossError(f"{path} was not written with these vectors; apply the transform again")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Fitted(
            frozenset(told["ids"]),
            frozenset(told["meanings"]),
            dict(told["varieties"]),
            told["made_by"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise IsoglossError(f"{path}: {error!r}; apply the transform again") from error


def _note_checksum(folder: Path) -> str | None:
    """Of the note that was written with the vectors; None where there was none."""
    path = folder / _DESCRIPTION
    if not path.is_file():
        return None
    try:
        found: str | None = json.loads(path.read_text(encoding="utf-8")).get("applied")
    except (ValueError, AttributeError) as error:
        raise IsoglossError(f"{path}: {error!r}; encode or apply again") from error
    return found


def join_fitted(first: Fitted, second: Fitted | None) -> Fitted:
    """What either was fitted on."""
    if second is None:
        return first
    counts = dict(first.varieties)
    for name, count in second.varieties.items():
        counts[name] = counts.get(name, 0) + count
    return Fitted(first.ids | second.ids, first.meanings | second.meanings, counts, first.made_by)
