"""A folder or a hub name in, an encoder with its weights and front end out; used by `hf`.

Nothing of a checkpoint is executed: configuration and front end are JSON, weights are safetensors
or a torch file read with `weights_only`. Only the encoder's tensors are read.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.encoders.hf_families import FAMILIES
from isogloss.encoders.hf_weights import fill
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isogloss.encoders.hf_families import Family, Plan

__all__ = [
    "CONFIG",
    "LoadedEncoder",
    "Source",
    "load_checkpoint",
    "quiet",
    "read_json",
    "source_of",
]

CONFIG = "config.json"
"""The file that says what the model is."""

_FRONT_END = "preprocessor_config.json"
# Newer processors write the front end as a part of this file.
_PROCESSOR = "processor_config.json"
_HINT = (
    "where there is a network, run: hf download {name} --local-dir FOLDER, and name the folder: "
    "hf:FOLDER"
)


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder in evaluation mode, float32, on the CPU.

    `plan` says how samples become steps, `blocks` are its blocks in order, `revision` is a sha256
    of what was loaded: tensors, configuration, front end. `name` is the repository's, or the
    folder's last part.
    """

    name: str
    model: Any
    blocks: tuple[Any, ...]
    plan: Plan
    sample_rate_hz: int
    revision: str


@dataclass
class Source:
    """Where the files of a checkpoint are: a folder, or a repository of the hub."""

    name: str
    folder: Path | None
    revision: str | None = None
    unreachable: str = field(default="", init=False)

    def find(self, filename: str) -> Path | None:
        """The local path of a file, fetched if need be; None when there is none."""
        if self.folder is not None:
            path = self.folder / filename
            return path if path.is_file() else None
        import huggingface_hub
        from huggingface_hub import errors

        try:
            found = huggingface_hub.hf_hub_download(self.name, filename, revision=self.revision)
        except errors.LocalEntryNotFoundError as error:
            self.unreachable = str(error).partition("\n")[0]
            return None
        except errors.EntryNotFoundError:
            return None
        except (errors.HFValidationError, OSError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise IsoglossError(
                f"there is no folder '{self.name}', and cannot fetch {filename} of that name from "
                f"the hub: {reason}; " + _HINT.format(name=self.name)
            ) from error
        return Path(found)

    def missing(self, filenames: str, why: str) -> IsoglossError:
        """The error that says that none of `filenames` is there, and what they are for."""
        if self.unreachable:
            return IsoglossError(
                f"there is no folder '{self.name}', and cannot fetch {filenames} of that name from "
                f"the hub: {self.unreachable}; " + _HINT.format(name=self.name)
            )
        return IsoglossError(f"{self.folder or self.name}: there is no {filenames}, {why}")


def load_checkpoint(name: str) -> LoadedEncoder:
    """The encoder inside the checkpoint `name`.

    Args:
        name: a folder as written by `save_pretrained`, or 'OWNER/NAME' or 'OWNER/NAME@REVISION'
            of the hub. A folder of that name goes first.

    Raises:
        IsoglossError: a file is missing, damaged, or does not fit the others (file and field or
            tensor are named), or the hub cannot be reached.
        MissingExtra: transformers or safetensors is not installed.
    """
    try:
        import safetensors
        import transformers
    except ImportError as error:
        package = "safetensors" if error.name == "safetensors" else "transformers"
        raise MissingExtra("hf", package) from error
    del safetensors, transformers
    source = source_of(name)
    config_path = source.find(CONFIG)
    if config_path is None:
        raise source.missing(CONFIG, "which says what the model is")
    with quiet():
        values = read_json(config_path)
        family = _family(config_path, values)
        config = _config(config_path, values, family)
        extractor, front_path, front_values = _front_end(source, family)
        try:
            plan = family.plan(config, extractor)
        except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise IsoglossError(f"{front_path} does not fit {config_path}: {error}") from error
        model = _empty_model(config_path, config, family)
        digest = hashlib.sha256()
        for part in (values, front_values):
            digest.update(json.dumps(part, sort_keys=True).encode())
        fill(model, source, config_path, values, digest)
    blocks = model.get_submodule(family.blocks)
    return LoadedEncoder(
        source.name,
        model,
        tuple(blocks),
        plan,
        int(extractor.sampling_rate),
        digest.hexdigest(),
    )


def source_of(name: str) -> Source:
    """Where the files of the checkpoint `name` are; a folder of that name goes first.

    Raises:
        IsoglossError: it can only be a path, and there is no such folder.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return Source(path.resolve().name, path)
    if path.is_file():
        raise IsoglossError(f"{path} is a file; 'hf:' needs the folder with {CONFIG} in it")
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise IsoglossError(f"there is no folder {path}; 'hf:' needs one with {CONFIG} in it")
    repository, _, revision = name.partition("@")
    return Source(repository, None, revision or None)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        IsoglossError: it is no JSON, or no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise IsoglossError(f"{path}: not JSON ({error}); fetch it again") from error
    if not isinstance(values, dict):
        raise IsoglossError(f"{path}: expected an object, found {type(values).__name__}")
    return values


def _family(path: Path, values: dict[str, Any]) -> Family:
    model_type = values.get("model_type")
    if not isinstance(model_type, str):
        raise IsoglossError(
            f"{path}: model_type is missing or no text (found {model_type!r}); "
            f"known: {', '.join(FAMILIES)}"
        )
    if model_type not in FAMILIES:
        near = difflib.get_close_matches(model_type, FAMILIES, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise IsoglossError(
            f"{path}: model_type '{model_type}' is no speech encoder known here; {hint}"
            f"known: {', '.join(FAMILIES)}"
        )
    if "quantization_config" in values:
        raise IsoglossError(
            f"{path}: quantization_config: quantised weights are not read; use the original model"
        )
    return FAMILIES[model_type]


def _config(path: Path, values: dict[str, Any], family: Family) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    given = {key: value for key, value in values.items() if key != "model_type"}
    # Masking is for training; without it there is no vector for masked steps to be missing.
    given |= {key: 0.0 for key in ("mask_time_prob", "mask_feature_prob") if key in given}
    try:
        config = AutoConfig.for_model(values["model_type"], **given)
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise IsoglossError(f"{path}: {_in_one_line(error)}") from error
    if family.part is None:
        return config
    if not isinstance(values.get(family.part), dict):
        raise IsoglossError(f"{path}: {family.part}, which describes the encoder, is missing")
    return getattr(config, family.part)


def _front_end(source: Source, family: Family) -> tuple[Any, Path, dict[str, Any]]:
    path = source.find(_FRONT_END)
    if path is not None:
        values = read_json(path)
    else:
        path = source.find(_PROCESSOR)
        values = {} if path is None else read_json(path).get("feature_extractor", {})
        if path is None or not isinstance(values, dict) or not values:
            raise source.missing(
                f"{_FRONT_END} (nor a feature_extractor in {_PROCESSOR})",
                "which says how sound becomes the model's input; copy it from the original model, "
                f"or write it: transformers.{family.extractor.partition(':')[2]}"
                "(...).save_pretrained(FOLDER)",
            )
    wanted = _attribute(family.extractor)
    kind = values.get("feature_extractor_type", wanted.__name__)
    if kind != wanted.__name__:
        raise IsoglossError(
            f"{path}: feature_extractor_type is {kind!r}, this model needs '{wanted.__name__}'"
        )
    try:
        extractor = wanted.from_dict(values)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise IsoglossError(f"{path}: {_in_one_line(error)}") from error
    if getattr(extractor, "dither", 0.0):
        # Noise is for training: the same recording must give the same steps.
        extractor.dither = 0.0
    return extractor, path, values


def _empty_model(path: Path, config: Any, family: Family) -> Any:
    from transformers.initialization import no_init_weights

    # Config files of old models ask for outputs that cost memory here and change nothing.
    config.output_hidden_states = False
    try:
        with no_init_weights():
            model = _attribute(family.encoder)(config)
    except (ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise IsoglossError(
            f"{path}: no model can be built of it: {_in_one_line(error)}"
        ) from error
    return model.eval()


def _attribute(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(f"transformers.models.{module}"), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        import transformers

        raise IsoglossError(
            f"transformers {transformers.__version__} has no {attribute}; "
            "run: pip install -U transformers"
        ) from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Without what transformers has to say: what matters of it is an error here."""
    from transformers.utils import logging as own

    logger = logging.getLogger("transformers")
    before, bars = logger.level, own.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    own.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(before)
        if bars:
            own.enable_progress_bar()
