"""Checkpoints of icefall and of the package `zipformer`, read safely and written as our folder.

`read_public` gives the tensors of one file, `import_public` a model folder that `load_model`,
`own:FOLDER` and `start_from` take. No code of a checkpoint is ever run.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isogloss._files import sha256_of_file
from isogloss.corpora.progress import progress_bar
from isogloss.errors import IsoglossError, MissingExtra, UnknownName
from isogloss.speech.checkpoint import save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.public_shape import shape_of
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.speech.zipformer import ZipformerConfig

__all__ = ["ImportedModel", "PublicWeights", "import_public", "read_public"]

_PARTS = ("model", "model_avg")
_ANCHOR = "encoder_embed.conv.0.weight"
_ENCODER = ("encoder.", "encoder_embed.")
_HEAD = "ctc_output.1"
# Names of ours that a checkpoint may lack: icefall keeps this parameter and never uses it.
_UNUSED = re.compile(r"encoder\.encoders\.\d+\.(encoder\.)?layers\.\d+\.bypass_scale")
# Names of theirs that hold nothing learnt: tables of positions.
_TABLES = re.compile(r"encoder\.encoders\.\d+\.(encoder\.)?encoder_pos\.pe")


@dataclass(frozen=True, slots=True)
class PublicWeights:
    """Tensors of a file by name, prefixes of wrappers taken off.

    `part` is the entry they were under ("model", "model_avg"; None where the file is a plain state
    dict), `others` the other entries of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    part: str | None
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """What `import_public` wrote.

    `dropped` counts tensors by the module they belong to, `filled` names what the checkpoint
    lacked and did not need. `units` is None where the checkpoint has no CTC output.
    """

    folder: Path
    revision: str
    size: str | None
    config: ZipformerConfig
    parameters: int
    part: str | None
    units: int | None
    token_kind: str | None
    dropped: Mapping[str, int]
    filled: tuple[str, ...]
    notes: tuple[str, ...]


def read_public(path: Path, *, part: str | None = None) -> PublicWeights:
    """The model's tensors in a `.pt`, `.pth` or `.safetensors` file, on the CPU.

    Args:
        path: of the file.
        part: "model" or "model_avg" (icefall's running average) of a training checkpoint; None
            takes "model", or the whole file where it is a plain state dict.

    Raises:
        MissingExtra: a `.safetensors` file without safetensors installed.
        UnknownName: the file has no such part.
        IsoglossError: the file is damaged, holds anything but tensors and plain values, or no
            Zipformer; the message names the file.
    """
    if not path.is_file():
        raise IsoglossError(f"{path} is missing" if not path.is_dir() else f"{path} is a folder")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    entries = {k: v for k, v in content.items() if k in _PARTS and _is_state(v)}
    if not entries and _is_state(content.get("state_dict")):
        entries = {"state_dict": content["state_dict"]}
    state, taken = content, None
    if entries:
        wanted = part or ("model" if "model" in entries else next(iter(entries)))
        if wanted not in entries:
            raise UnknownName(f"part of {path.name}", wanted, entries)
        state, taken = entries[wanted], wanted
    elif part is not None:
        raise IsoglossError(f"{path} is a plain state dict without parts; leave out '{part}'")
    tensors = {str(k): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        listed = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise IsoglossError(f"{path} holds no weights; its entries: {listed}")
    others = tuple(str(k) for k in content if entries and k != taken)
    return PublicWeights(path, _without_prefix(tensors), taken, others)


def import_public(
    path: Path,
    out: Path,
    *,
    tokens: Path | None = None,
    bpe_model: Path | None = None,
    part: str | None = None,
    heads: Sequence[int] | None = None,
    progress: bool = False,
) -> ImportedModel:
    """Write the model of a public checkpoint to `out` as safetensors and JSON.

    Encoder and CTC output are taken, everything else (transducer, attention decoder) is dropped.
    A checkpoint without CTC output gives an encoder that cannot transcribe.

    Args:
        path: see `read_public`.
        out: folder, made if absent; a model in it is replaced.
        tokens: the model's `tokens.txt`; needed where there is a CTC output.
        bpe_model: the sentencepiece model of the same units, to write text as it did.
        part: see `read_public`.
        heads: see `shape_of`; rarely needed.
        progress: show a bar on stderr when it takes long.

    Raises:
        IsoglossError: see `read_public` and `shape_of`; names are missing or unknown inside the
            encoder; units and output do not belong together.
        ValueError: `tokens` is needed and absent; the number of heads is open.
        MissingExtra: safetensors, or sentencepiece for a `bpe_model`, is not installed.
    """
    with progress_bar("import", 1.0) if progress else nullcontext(_unseen) as advance:
        return _imported(path, out, tokens, bpe_model, part, heads, advance)


def _unseen(_: float) -> None:
    """Progress that nobody looks at."""


def _imported(
    path: Path,
    out: Path,
    tokens: Path | None,
    bpe_model: Path | None,
    part: str | None,
    heads: Sequence[int] | None,
    advance: Callable[[float], None],
) -> ImportedModel:
    weights = read_public(path, part=part)
    # Encoder first: a message on its shape says more than one on the units.
    try:
        found = shape_of({k: tuple(v.shape) for k, v in weights.tensors.items()}, heads=heads)
    except (IsoglossError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    units = _head_size(weights)
    tokenizer = _tokenizer(path, units, tokens, bpe_model)
    advance(0.05)
    with torch.random.fork_rng(devices=[]):
        model = CtcModel(found.config, tokenizer.vocab_size)
    advance(0.25)
    state, dropped, filled = _matched(weights, model, has_head=units is not None)
    model.load_state_dict(state)
    advance(0.2)
    notes = list(found.notes)
    if units is None:
        notes.append("no CTC output in the checkpoint: an encoder only, which cannot transcribe")
        if tokens is not None:
            notes.append(f"{tokens} is not used, as there is no CTC output")
    extra: dict[str, Any] = {
        "imported_from": path.name,
        "imported_sha256": sha256_of_file(path),
        "part": weights.part,
        "size": found.size,
        "head": "none" if units is None else "ctc",
        "dropped": dropped,
    }
    advance(0.2)
    try:
        revision = save_model(out, model, tokenizer, found.config, extra=extra)
    except ValueError as error:
        raise IsoglossError(f"{path}: {error}") from error
    return ImportedModel(
        folder=out,
        revision=revision,
        size=found.size,
        config=found.config,
        parameters=sum(v.numel() for k, v in state.items() if k.startswith(_ENCODER)),
        part=weights.part,
        units=units,
        token_kind=None if units is None else tokenizer.kind,
        dropped=dropped,
        filled=tuple(filled),
        notes=tuple(notes),
    )


class _Ignored:
    """Stands for settings that are stored beside the weights; keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _no_items(*_: object) -> list[object]:
    return []


def _no_entries(*_: object) -> dict[object, object]:
    return {}


_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
_SETTINGS = {
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "builtins": ("int", "float", "str", "bool", "list", "dict", "frozenset", "range", "slice"),
    "datetime": ("datetime", "date", "time", "timedelta", "timezone"),
    "types": ("SimpleNamespace",),
    "torch.torch_version": ("TorchVersion",),
    # A best loss or a sampler's state is often a number of numpy.
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
}
# Harmless classes of training checkpoints, none of which is wanted: what is read in their place
# does nothing. Anything else that is no tensor or plain value is refused.
_STAND_INS = [
    *((_Ignored, f"{module}.{name}") for module, names in _SETTINGS.items() for name in names),
    (_no_items, "collections.deque"),
    (_no_entries, "collections.defaultdict"),
    (dict, "icefall.utils.AttributeDict"),
    (dict, "zipformer.utils.utils.AttributeDict"),
    (dict, "zipformer.utils.AttributeDict"),
    (argparse.Namespace, "argparse.Namespace"),
]


def _torch_file(path: Path) -> dict[Any, Any]:
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(64)
    if not size:
        raise IsoglossError(f"{path} is empty; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise IsoglossError(f"{path} is a Git LFS pointer, not the file: run git lfs pull there")
    if start.lstrip()[:1] == b"<":
        raise IsoglossError(f"{path} is a web page, not a checkpoint; download the file itself")
    is_archive = zipfile.is_zipfile(path)
    if is_archive:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise IsoglossError(
                    f"{path} is a TorchScript program, which is not run here; take the state dict "
                    "that it was made from (pretrained.pt, model.pt, epoch-N.pt)"
                )
    try:
        with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():  # type: ignore[arg-type]
            # A protocol above 2 is read as far as its instructions are known.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        # The end of a zip archive is there, so that it is whole; its content is at fault.
        if is_archive or any(w in str(error) for w in ("Unsupported", "not an allowed", "blocked")):
            named = "" if refused is None else f" ({refused[1]})"
            raise IsoglossError(
                f"{path} is refused: it holds more than tensors and plain values{named}, and "
                "unpickling that could run code. Where you trust it, save the weights alone "
                "there: torch.save({'model': checkpoint['model']}, 'weights.pt'), with "
                ".state_dict() behind it where that is a module"
            ) from error
        raise _damaged(path, size) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError) as error:
        raise _damaged(path, size) from error
    if not isinstance(content, dict):
        raise IsoglossError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    return content


def _safetensors(path: Path) -> dict[Any, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra("speech", "safetensors") from error
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise _damaged(path, path.stat().st_size) from error


def _damaged(path: Path, size: int) -> IsoglossError:
    return IsoglossError(
        f"{path} ({size:,} bytes) is truncated or damaged, or no torch checkpoint; download it "
        "again and compare its size"
    )


def _is_state(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(v, Tensor) for v in value.values())


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as icefall's model has them, where a wrapper ("module.") put its own before."""
    prefixes = [name[: -len(_ANCHOR)] for name in tensors if name.endswith(_ANCHOR)]
    prefix = min(prefixes, key=len, default="")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _head_size(weights: PublicWeights) -> int | None:
    names = [name for name in weights.tensors if name.startswith("ctc_output.")]
    if not names:
        return None
    missing = [f"{_HEAD}.{n}" for n in ("weight", "bias") if f"{_HEAD}.{n}" not in names]
    if missing:
        raise IsoglossError(f"{weights.path}: missing: {', '.join(missing)}")
    return int(weights.tensors[f"{_HEAD}.weight"].shape[0])


def _tokenizer(
    path: Path, units: int | None, tokens: Path | None, bpe_model: Path | None
) -> Tokenizer:
    if units is None:
        return Tokenizer((BLANK, UNKNOWN))
    if tokens is None:
        raise ValueError(
            f"{path} has a CTC output of {units} units; give its table of units: "
            "--tokens tokens.txt"
        )
    if bpe_model is not None and not bpe_model.is_file():
        raise IsoglossError(f"{bpe_model} is missing")
    model = None if bpe_model is None else bpe_model.read_bytes()
    return Tokenizer.read(tokens, bpe_model=model, units=units)


def _matched(
    weights: PublicWeights, model: CtcModel, *, has_head: bool
) -> tuple[dict[str, Tensor], dict[str, int], list[str]]:
    """The model's new state, counts of what was dropped by module, names that were filled."""
    own = model.state_dict()
    wanted = {n: v for n, v in own.items() if has_head or n.startswith(_ENCODER)}
    problems: list[str] = []
    missing = [n for n in wanted if n not in weights.tensors]
    filled = [n for n in missing if _UNUSED.fullmatch(n)]
    problems += [f"{n} is missing" for n in missing if n not in filled]
    rest = [n for n in weights.tensors if n not in wanted and not _TABLES.fullmatch(n)]
    # Another module's tensors do not change what the encoder gives; a tensor inside it would.
    problems += [f"{n} is not of this encoder" for n in rest if n.startswith(_ENCODER)]
    state = dict(own)
    if not has_head:
        for name in (f"{_HEAD}.weight", f"{_HEAD}.bias"):
            state[name] = torch.zeros_like(own[name])
    for name in wanted.keys() & weights.tensors.keys():
        tensor = weights.tensors[name]
        if tensor.shape != own[name].shape:
            problems.append(f"{name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}")
        elif not tensor.is_floating_point():
            problems.append(f"{name} holds {tensor.dtype}; only floating point can be imported")
        else:
            state[name] = tensor.to(torch.float32).contiguous()
    if problems:
        more = f", and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise IsoglossError(f"{weights.path}: {'; '.join(problems[:8])}{more}")
    dropped = Counter(n.split(".")[0] for n in rest)
    return state, dict(sorted(dropped.items())), filled
