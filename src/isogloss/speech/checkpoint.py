"""A trained model as a folder, and back: `save_model`, `load_model`. No pickle.

The folder holds `model.safetensors` (weights), `config.json` (what to build, and the checksum of
every other file), `tokens.txt` and, for byte-pair units, `bpe.model`. Other files may lie beside.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isogloss import __version__
from isogloss._config import config_from_mapping
from isogloss._files import sha256_of_file, write_json
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech.ctc import CtcModel
from isogloss.speech.tokens import Tokenizer
from isogloss.speech.zipformer import ZipformerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["FORMAT_VERSION", "LoadedModel", "load_model", "save_model"]

FORMAT_VERSION = 1
"""Version of the folder's layout; a reader refuses versions above its own."""

_FORMAT = "isogloss-ctc"
_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_TOKENS = ("tokens.txt", "bpe.model")
_PENDING = ".next"
_DRAFT = ".draft."


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What `load_model` found: the model is in evaluation mode.

    `revision` is the sha256 of the weights, for `made_by` and signatures. `extra` is whatever the
    training wrote down (kind of transcripts, corpus, steps).
    """

    model: CtcModel
    tokenizer: Tokenizer
    config: ZipformerConfig
    revision: str
    folder: Path
    extra: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    folder: Path,
    model: CtcModel,
    tokenizer: Tokenizer,
    config: ZipformerConfig,
    *,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write the model to `folder` and return the revision: the sha256 of its weights.

    A crash at any moment leaves the old model or the new one. The new files are first completed in
    `folder/.next`, which appears under that name at once; then they are moved out one by one, and
    `load_model` takes a file from there while it has not been moved. Other files of the folder are
    left alone.

    Args:
        folder: made if absent.
        model: on any device; what wraps it for distributed training must be taken off before.
        tokenizer: its units are the model's outputs.
        config: of the encoder, to build it again.
        extra: JSON values to keep in `config.json`.

    Raises:
        MissingExtra: safetensors is not installed.
        ValueError: tokenizer, model and config do not belong together, a weight is not finite, or
            `extra` is not JSON.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise MissingExtra("speech", "safetensors") from error
    if tokenizer.vocab_size != model.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} units, the model {model.vocab_size}"
        )
    if model.config != config:
        raise ValueError(f"the model was built as {model.config}, not as {config}")
    broken = [name for name, value in model.named_parameters() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"weights with NaN or infinity are not saved: {', '.join(broken[:5])}")
    folder.mkdir(parents=True, exist_ok=True)
    _finish_moves(folder)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder))
    try:
        weights = {
            name: tensor.detach().to("cpu").contiguous()
            for name, tensor in model.state_dict().items()
        }
        save_file(weights, draft / _WEIGHTS, metadata={"format": "pt"})
        (draft / _WEIGHTS).chmod(0o644)
        tokenizer.save(draft)
        files = {path.name: sha256_of_file(path) for path in sorted(draft.iterdir())}
        description = {
            "format": _FORMAT,
            "format_version": FORMAT_VERSION,
            "isogloss_version": __version__,
            "encoder": dataclasses.asdict(config),
            "vocab_size": model.vocab_size,
            "dialect_head": model.has_dialect_head,
            "files": files,
            "extra": dict(extra or {}),
        }
        try:
            write_json(draft / _CONFIG, description)
        except TypeError as error:
            raise ValueError(f"extra must hold JSON values only: {error}") from error
        _flush(draft / _WEIGHTS)
        _flush(draft)
        draft.replace(folder / _PENDING)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _finish_moves(folder)
    return files[_WEIGHTS]


def load_model(folder: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """The model that `save_model` wrote to `folder`, on `device`, ready to evaluate.

    torch's random state is left as it was. Nothing is written.

    Raises:
        MissingExtra: safetensors is not installed.
        IsoglossError: files are missing (all are named), damaged, of another format or a newer
            version, or weights and configuration do not belong together.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra("speech", "safetensors") from error
    missing = [name for name in (_CONFIG, _WEIGHTS, _TOKENS[0]) if not _at(folder, name).is_file()]
    if missing:
        raise IsoglossError(
            f"{folder} is no model folder: {', '.join(missing)} missing"
            + ("" if folder.is_dir() else " (there is no such folder)")
        )
    description = _read_description(folder)
    _check_files(folder, description["files"])
    tokenizer = _load_tokenizer(folder, description["files"])
    try:
        config = config_from_mapping(ZipformerConfig, description["encoder"])
        with torch.random.fork_rng(devices=[]):
            model = CtcModel(
                config,
                description["vocab_size"],
                dialect_head=description["dialect_head"],
            )
    except (TypeError, ValueError) as error:
        raise IsoglossError(f"{_at(folder, _CONFIG)}: no encoder can be built: {error}") from error
    if tokenizer.vocab_size != model.vocab_size:
        raise IsoglossError(
            f"{folder}: tokens.txt has {tokenizer.vocab_size} units, config.json says "
            f"{model.vocab_size}"
        )
    try:
        weights = load_file(_at(folder, _WEIGHTS))
    except SafetensorError as error:
        raise IsoglossError(f"{_at(folder, _WEIGHTS)} is damaged: {error}") from error
    _check_weights(folder, model, weights)
    model.load_state_dict(weights)
    return LoadedModel(
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        config=config,
        revision=description["files"][_WEIGHTS],
        folder=folder,
        extra=description["extra"],
    )


def _at(folder: Path, name: str) -> Path:
    """Where the newest whole `name` is: not moved out of `.next` yet, or in its place."""
    pending = folder / _PENDING / name
    return pending if pending.exists() else folder / name


def _finish_moves(folder: Path) -> None:
    """Complete what a killed save left half done."""
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft)
    pending = folder / _PENDING
    if not pending.is_dir():
        return
    # A leftover of byte-pair units must go while config.json still tells that they are not used.
    description = json.loads(_at(folder, _CONFIG).read_text(encoding="utf-8"))
    for name in _TOKENS:
        if name not in description["files"]:
            (folder / name).unlink(missing_ok=True)
    for path in sorted(pending.iterdir()):
        path.replace(folder / path.name)
    pending.rmdir()
    _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_description(folder: Path) -> dict[str, Any]:
    path = _at(folder, _CONFIG)
    try:
        description: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise IsoglossError(f"{path} is not JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise IsoglossError(f'{path} describes no model: it lacks "format": "{_FORMAT}"')
    version = description.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise IsoglossError(
            f"{path}: format version {version!r}, this release reads up to {FORMAT_VERSION}; "
            f"it was written by isogloss {description.get('isogloss_version')}: upgrade"
        )
    expected = {
        "encoder": dict,
        "vocab_size": int,
        "dialect_head": bool,
        "files": dict,
        "extra": dict,
    }
    wrong = [key for key, kind in expected.items() if not isinstance(description.get(key), kind)]
    if wrong:
        raise IsoglossError(f"{path}: missing or of the wrong type: {', '.join(wrong)}")
    return description


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    missing = [name for name in files if not _at(folder, name).is_file()]
    if missing or _WEIGHTS not in files:
        raise IsoglossError(
            f"{folder}: config.json lists files that are not there: "
            f"{', '.join(missing) or _WEIGHTS}"
        )
    changed = [name for name, sha in files.items() if sha256_of_file(_at(folder, name)) != sha]
    if changed:
        raise IsoglossError(
            f"{folder}: {', '.join(changed)} changed since config.json was written (sha256 "
            "differs); copy all files of one save together"
        )


def _load_tokenizer(folder: Path, files: Mapping[str, str]) -> Tokenizer:
    bpe = _at(folder, "bpe.model").read_bytes() if "bpe.model" in files else None
    return Tokenizer.read(_at(folder, "tokens.txt"), bpe_model=bpe)


def _check_weights(folder: Path, model: CtcModel, weights: Mapping[str, Tensor]) -> None:
    expected = model.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in weights]
    problems += [f"{name} is not of this encoder" for name in weights if name not in expected]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise IsoglossError(
            f"{folder}: weights and config.json do not belong together: "
            f"{'; '.join(problems[:5])}{more}"
        )
