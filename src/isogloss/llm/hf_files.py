"""A folder or hub name in, a model with the tokenizer that belongs to it out; and back to a folder.

Called by `hf_causal` and by the rebuilding of vocabularies. No code of a checkpoint is executed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["load_model", "load_tokenizer", "save_model"]


def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of a checkpoint: a folder, OWNER/NAME of the hub, or a tokenizer.json file.

    Raises:
        IsoglossError: it cannot be read.
        MissingExtra: transformers is not installed.
    """
    from pathlib import Path

    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtra("text", "transformers") from error
    path = Path(name).expanduser()
    try:
        if path.is_file():
            return PreTrainedTokenizerFast(tokenizer_file=str(path))
        _refuse_missing_folder(str(name), path)
        return AutoTokenizer.from_pretrained(str(path) if path.is_dir() else str(name))
    except IsoglossError:
        raise
    # The library of tokenizers raises bare Exception for a file that is damaged.
    except Exception as error:
        raise IsoglossError(f"tokenizer {name} cannot be loaded: {_first_line(error)}") from error


def load_model(name: str | Path, *, causal: bool = False, device: str = "cpu") -> Any:
    """A model with its head, float32, in evaluation mode.

    Args:
        name: a folder as `save_pretrained` writes it, or OWNER/NAME of the hub.
        causal: insist on a model that predicts the next token; otherwise the class that
            config.json names.
        device: a torch device.

    Raises:
        IsoglossError: it cannot be loaded, lacks weights, or predicts no next token and `causal`
            asks for one.
        MissingExtra: torch or transformers is not installed.
    """
    from pathlib import Path

    try:
        import torch
        import transformers
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra("text", error.name or "transformers") from error
    path = Path(name).expanduser()
    _refuse_missing_folder(str(name), path)
    place = str(path) if path.is_dir() else str(name)
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        named = getattr(transformers, (config.architectures or [""])[0], None)
        if causal:
            kinds = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
            known = kinds.get(config.model_type)
            if known is None or (named is not None and named.__name__ != known):
                raise IsoglossError(
                    f"model {name} is a {(config.architectures or [config.model_type])[0]}, which "
                    "predicts no next token; name a causal language model"
                )
            chosen = transformers.AutoModelForCausalLM
        else:
            chosen = named or transformers.AutoModel
        with _without_bars():
            model, loaded = chosen.from_pretrained(
                place, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise IsoglossError(f"model {name} cannot be loaded: {_first_line(error)}") from error
    # transformers would go on with random numbers.
    absent = sorted(key for key in loaded["missing_keys"] if "pooler" not in key)
    if absent:
        raise IsoglossError(
            f"model {name}: {len(absent)} tensors are missing from its weights, first "
            f"'{absent[0]}'; the checkpoint is incomplete or of another model than its config.json"
        )
    return model.to(device).eval()


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer so that `load_model` and `hf:FOLDER` read them.

    Raises:
        IsoglossError: `folder` is there already and not empty; nothing is overwritten.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IsoglossError(f"{folder} is there already; name a folder that is new or empty")
    folder.mkdir(parents=True, exist_ok=True)
    with _without_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without the bars of transformers, which come for a model of a few kilobytes too."""
    from transformers.utils import logging

    were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            logging.enable_progress_bar()


def _refuse_missing_folder(name: str, path: Path) -> None:
    if path.is_dir():
        return
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise IsoglossError(f"there is no folder {path}; name one with config.json in it")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
