"""The tensors of an encoder out of a checkpoint's files, and nothing else of them.

Called by `hf_checkpoint`. A tensor that is missing or of another shape is an error: transformers
would warn and go on with random numbers in its place.
"""

from __future__ import annotations

import json
import pickle
import re
from typing import TYPE_CHECKING, Any, Protocol

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from hashlib import _Hash
    from pathlib import Path

    from torch import Tensor

__all__ = ["fill"]

# Whole files, then lists of parts; safetensors before torch's own format.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_LISTS = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# Names of older checkpoints for what torch now calls otherwise.
_RENAMED = (
    (re.compile(r"\.weight_g$"), ".parametrizations.weight.original0"),
    (re.compile(r"\.weight_v$"), ".parametrizations.weight.original1"),
)
# Counted in training, without effect on the output.
_UNUSED = ("num_batches_tracked",)


class Source(Protocol):
    """Where files come from."""

    name: str
    folder: Path | None

    def find(self, filename: str) -> Path | None:
        """The local path of a file, or None."""
        ...

    def missing(self, filenames: str, why: str) -> IsoglossError:
        """The error for files that are not there, and what they are for."""
        ...


def fill(
    model: Any, source: Source, config_path: Path, config: Mapping[str, Any], digest: _Hash
) -> None:
    """Put the encoder's tensors, as float32, into `model`, and their bytes into `digest`.

    The encoder may be a part of a larger checkpoint: names may have any one prefix, and the prefix
    under which most of the encoder's names are found is taken.

    Raises:
        IsoglossError: a file is missing or damaged, or a tensor is missing, of another shape or no
            floating-point numbers.
    """
    where = _files_by_tensor(source)
    expected = {
        name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_UNUSED)
    }
    plain = {_renamed(name): name for name in where}
    prefix = _prefix(expected, plain)
    some_file = next(iter(where.values()), None)
    absent = [name for name in expected if prefix + name not in plain]
    if absent:
        raise IsoglossError(
            f"{_shown(source, some_file)}: {len(absent)} of the encoder's {len(expected)} tensors "
            f"are missing, first '{prefix}{absent[0]}'; the checkpoint is incomplete or not of "
            f"the model that {config_path} describes"
        )
    wanted: dict[str, dict[str, str]] = {}
    for name in expected:
        stored = plain[prefix + name]
        wanted.setdefault(where[stored], {})[stored] = name
    found: dict[str, Tensor] = {}
    for filename, names in sorted(wanted.items()):
        path = source.find(filename)
        if path is None:
            raise source.missing(filename, f"which holds '{next(iter(names))}'")
        for stored, tensor in _tensors(path, names):
            name = names[stored]
            _check(path, stored, tensor, expected[name], config_path, config)
            found[name] = tensor.float()
    for name in sorted(found):
        digest.update(name.encode())
        digest.update(found[name].contiguous().reshape(-1).numpy().data)
    model.load_state_dict(found, strict=False, assign=True)
    model.requires_grad_(False)


def _files_by_tensor(source: Source) -> dict[str, str]:
    """Each tensor of the checkpoint and the file it is in."""
    for whole, listing in zip(_WHOLE, _LISTS, strict=True):
        path = source.find(whole)
        if path is not None:
            return dict.fromkeys(_names(path), whole)
        path = source.find(listing)
        if path is not None:
            return _weight_map(path)
    raise source.missing(" or ".join((*_WHOLE, *_LISTS)), "which hold the weights")


def _weight_map(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, OSError) as error:
        raise IsoglossError(f"{path}: not JSON ({error}); fetch it again") from error
    except (KeyError, TypeError) as error:
        raise IsoglossError(f"{path}: weight_map, the list of tensors, is missing") from error
    # A name with a folder in it could point anywhere.
    if not isinstance(found, dict) or not all(
        isinstance(file, str) and "/" not in file and "\\" not in file for file in found.values()
    ):
        raise IsoglossError(f"{path}: weight_map must give a file name for each tensor")
    return found


def _names(path: Path) -> list[str]:
    if path.suffix != ".safetensors":
        return list(_torch_file(path))
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _tensors(path: Path, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """Those of `names` with their values, read one at a time."""
    if path.suffix != ".safetensors":
        stored = _torch_file(path)
        for name in names:
            if name not in stored:
                raise _not_there(path, name)
            yield name, stored[name]
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
            for name in names:
                if name not in held:
                    raise _not_there(path, name)
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _torch_file(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(stored, dict):
        raise IsoglossError(f"{path}: expected tensors by name, found {type(stored).__name__}")
    return {name: value for name, value in stored.items() if isinstance(value, torch.Tensor)}


def _check(
    path: Path,
    stored: str,
    tensor: Tensor,
    wanted: Tensor,
    config_path: Path,
    config: Mapping[str, Any],
) -> None:
    if not tensor.is_floating_point():
        raise IsoglossError(
            f"{path}: tensor '{stored}' holds {tensor.dtype}, not floating-point numbers; "
            "quantised weights are not read"
        )
    if tensor.shape == wanted.shape:
        return
    sizes = [b for a, b in zip(tensor.shape, wanted.shape, strict=False) if a != b]
    fields = [name for name, value in _numbers(config) if value in sizes]
    hint = f" (fields with that number: {', '.join(fields)})" if fields else ""
    raise IsoglossError(
        f"{path}: tensor '{stored}' is {_shape(tensor)}, but {config_path} asks for "
        f"{_shape(wanted)}{hint}"
    )


def _numbers(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _prefix(expected: Mapping[str, Tensor], plain: Mapping[str, str]) -> str:
    """What stands before the encoder's names in the checkpoint; '' when nothing is found."""
    counts: dict[str, int] = {}
    for name in expected:
        counts |= {
            known[: -len(name)]: 0
            for known in plain
            if known.endswith(name) and known[: -len(name)][-1:] in ("", ".")
        }
    for prefix in counts:
        counts[prefix] = sum(prefix + name in plain for name in expected)
    # Of equal counts the shortest, so that the choice does not hang on the order of the file.
    return min(counts, key=lambda prefix: (-counts[prefix], len(prefix), prefix), default="")


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return name


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _shown(source: Source, filename: str | None) -> str:
    return str(source.folder or source.name) + (f"/{filename}" if filename else "")


def _not_there(path: Path, name: str) -> IsoglossError:
    return IsoglossError(f"{path}: tensor '{name}' is missing, though the list of parts names it")


def _damaged(path: Path, error: Exception) -> IsoglossError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return IsoglossError(f"{path}: cut short or damaged ({reason}); fetch it again")
