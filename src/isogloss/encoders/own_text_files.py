"""Folders of the text encoders trained here: `config.json`, `model.safetensors`, whole or absent.

Used by `hash_bag`, `bilstm` and `pixel`, and by the learners that write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss._files import atomic_writer, sha256_of_file, write_json
from isogloss.encoders.hf_checkpoint import read_json
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["OwnTextModel", "read_own_text", "write_own_text"]

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class OwnTextModel:
    """What a folder holds: the shape of the model, its tensors by name, its revision (sha256)."""

    folder: Path
    shape: dict[str, Any]
    tensors: dict[str, npt.NDArray[Any]]
    revision: str
    config: dict[str, Any]


def write_own_text(
    folder: Path,
    kind: str,
    shape: Mapping[str, Any],
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    files: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write a model to `folder`; its revision, the sha256 of its weights, comes out.

    The weights are written before `config.json`, which holds their checksum: a folder that a crash
    left with an old and a new file is refused when it is read.

    Args:
        folder: made if absent.
        kind: of encoder, 'hash', 'laser' or 'pixel'.
        shape: what is needed to build the model, JSON values.
        tensors: weights by name.
        files: further texts by file name, such as a tokenizer.
        extra: JSON values about the training, kept in `config.json`.

    Raises:
        ValueError: a weight is NaN or infinite.
        MissingExtra: safetensors is not installed.
    """
    save = _safetensors().save
    broken = [name for name, values in tensors.items() if not np.isfinite(values).all()]
    if broken:
        raise ValueError(f"weights with NaN or infinity are not saved: {', '.join(broken[:5])}")
    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    with atomic_writer(folder / _WEIGHTS) as handle:
        handle.write(save(contiguous))
    revision = sha256_of_file(folder / _WEIGHTS)
    sums = {_WEIGHTS: revision}
    for name, text in (files or {}).items():
        with atomic_writer(folder / name, "w") as handle:
            handle.write(text)
        sums[name] = sha256_of_file(folder / name)
    description = {
        "kind": kind,
        "format_version": _VERSION,
        "isogloss_version": __version__,
        "shape": dict(shape),
        "files": sums,
        "training": dict(extra or {}),
    }
    write_json(folder / _CONFIG, description)
    return revision


def read_own_text(folder: Path, kind: str) -> OwnTextModel:
    """The model of `kind` in `folder`.

    Raises:
        IsoglossError: the folder is absent, of another kind, damaged, or of a newer version.
        MissingExtra: safetensors is not installed.
    """
    path = folder / _CONFIG
    if not path.is_file():
        what = "there is no such folder" if not folder.is_dir() else f"it has no {_CONFIG}"
        raise IsoglossError(
            f"{folder}: {what}; '{kind}:' takes a folder that 'isogloss text train --kind {kind}' "
            "has written"
        )
    config = read_json(path)
    found = config.get("kind")
    if found != kind:
        known = f"is of kind '{found}'; load it as {found}:{folder}" if found else "has no 'kind'"
        raise IsoglossError(f"{path}: the model {known}, not as '{kind}:'")
    if config.get("format_version") != _VERSION:
        raise IsoglossError(
            f"{path}: format_version is {config.get('format_version')}, this isogloss reads "
            f"{_VERSION}; upgrade isogloss"
        )
    sums, shape = config.get("files"), config.get("shape")
    if not isinstance(sums, dict) or not isinstance(shape, dict) or _WEIGHTS not in sums:
        raise IsoglossError(f"{path}: 'files' or 'shape' is absent; train the model again")
    for name, wanted in sums.items():
        file = folder / name
        if not file.is_file() or sha256_of_file(file) != wanted:
            state = "differs from what config.json says" if file.is_file() else "is absent"
            raise IsoglossError(f"{file}: the file {state}; copy the folder or train again")
    return OwnTextModel(
        folder, shape, _safetensors().load_file(folder / _WEIGHTS), str(sums[_WEIGHTS]), config
    )


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtra("text", "safetensors") from error
    return safetensors.numpy
