"""The folder of a study: claimed by its settings, its parts kept, so that a study goes on."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from isogloss._files import sha256_of_file, write_json
from isogloss.errors import IsoglossError
from isogloss.training.prepare import claim_folder, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["SETTINGS", "claim_study", "kept", "weights_of"]

SETTINGS = "study.json"
"""File with what decides the data of a study."""


@contextmanager
def claim_study(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """A block in which no other process works on the study in `folder`.

    Args:
        folder: made if absent.
        settings: what all parts of the study share. Parts check their own settings, so a study
            can be repeated with further seeds or arms.

    Raises:
        IsoglossError: `folder` holds a study with other settings, or another process works there.
    """
    own = json.loads(json.dumps(settings))
    with claim_folder(folder):
        found = recorded(folder / SETTINGS)
        if found is None:
            write_json(folder / SETTINGS, own)
        else:
            different = sorted(k for k in {*own, *found} if found.get(k) != own.get(k))
            if different:
                key = different[0]
                raise IsoglossError(
                    f"{folder}: holds a study with {key} {found.get(key)}, not {own.get(key)}; "
                    "choose another folder with --out, or delete this one"
                )
        yield


def kept(path: Path, key: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, read from `path` where it was made before under the same `key`.

    The file is written whole or not at all.
    """
    own = json.loads(json.dumps(key))
    found = recorded(path)
    if found is not None and found.get("key") == own:
        value: dict[str, Any] = found["value"]
        return value
    value = json.loads(json.dumps(make()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": own, "value": value})
    return value


def weights_of(model: Path) -> list[str]:
    """Checksums of all files of weights in a model's folder, for the key of what is kept."""
    return [sha256_of_file(path) for path in sorted(model.glob("*.safetensors"))]
