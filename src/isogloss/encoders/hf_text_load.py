"""A folder or hub name in, a text model with its tokenizer and blocks out; used by `hf_text`.

`load_text_model` is also for others who put hooks on the model or train it further.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.encoders.hf_blocks import blocks_of, text_part
from isogloss.encoders.hf_checkpoint import CONFIG, quiet, source_of
from isogloss.encoders.hf_text_tokens import pieces_of
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping
    from hashlib import _Hash

    from torch import Tensor
    from torch.nn import Module

    from isogloss.encoders.hf_checkpoint import Source

__all__ = [
    "DTYPES",
    "TextModel",
    "hash_tensors",
    "hash_tokenizer",
    "load_text_model",
    "refuse_incomplete",
]

DTYPES = ("float32", "bfloat16", "float16")
"""What weights can be held in; only with the first is a text the same alone as in any batch."""

# Nobody states a length for these (relative positions), or one that no computer here can attend to.
_WINDOW_UNSTATED, _WINDOW_MOST = 512, 8192
_UNLIMITED = 10**6
# Their attention or downsampling looks over the end of a text into padding, or changes with length.
_NEVER_PADDED = frozenset(
    {"big_bird", "canine", "convbert", "fnet", "funnel", "longformer", "nystromformer", "reformer"}
)
# What a configuration says of its file and not of the model.
_NOT_THE_MODEL = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True, eq=False)
class TextModel:
    """What is behind 'hf:' for text, in evaluation mode.

    Attributes:
        model: what turns token numbers into states: of an encoder-decoder the encoder, without
            heads. Called as `model(input_ids=..., attention_mask=...)`.
        blocks: its blocks, first to last.
        tokenizer: of the checkpoint.
        name: of the repository, or the folder's last part.
        revision: a sha256 of tensors, configuration and tokenizer.
        window: most tokens the model reads at once, special tokens included.
        least: fewest tokens it can read; shorter texts are filled up with padding.
        downsampling: tokens that its blocks read as one step (CANINE: 4), else 1.
        pad_id: number to fill up with; what is in its place changes nothing.
        pads: whether texts of different lengths may share a batch, found by trying.
        rows: token numbers that it has embeddings for; None where any number goes.
        device: where `model` is.
        dtype: of its weights, one of `DTYPES`.
    """

    model: Any
    blocks: tuple[Any, ...]
    tokenizer: Any
    name: str
    revision: str
    window: int
    least: int
    downsampling: int
    pad_id: int
    pads: bool
    rows: int | None
    device: str = "cpu"
    dtype: str = "float32"


def load_text_model(
    name: str, *, device: str = "cpu", dtype: str = "float32", language: str | None = None
) -> TextModel:
    """The text model and tokenizer of the checkpoint `name`.

    Args:
        name: a folder as written by `save_pretrained`, or 'OWNER/NAME' or 'OWNER/NAME@REVISION'
            of the hub.
        device: a torch device.
        dtype: one of `DTYPES`.
        language: the source language's code, for translation models whose tokenizer puts it
            before or behind a text (NLLB, M2M100, mBART); default the tokenizer's own.

    Raises:
        IsoglossError: a file is missing or damaged, weights are incomplete or of another model,
            the tokenizer knows more tokens than the model, or the hub cannot be reached.
        ValueError: an unknown dtype, or a language for a tokenizer that has none.
        MissingExtra: torch, transformers or safetensors is not installed.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got '{dtype}'")
    try:
        import safetensors
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra("text", error.name or "transformers") from error
    del safetensors, transformers
    source = source_of(name)
    if source.find(CONFIG) is None:
        raise source.missing(CONFIG, "which says what the model is")
    with quiet():
        tokenizer = _tokenizer(source, name, language)
        model = text_part(_whole_model(source, name, getattr(torch, dtype)))
    model.requires_grad_(False)
    model.eval()
    blocks = blocks_of(model)
    rows = _rows(model)
    _check_vocabulary(tokenizer, rows, source.name)
    config: Any = model.config
    is_canine = config.model_type == "canine"
    loaded = TextModel(
        model,
        blocks,
        tokenizer,
        source.name,
        _revision(model, tokenizer),
        _window(model, tokenizer),
        4 if is_canine else 1,
        config.downsampling_rate if is_canine else 1,
        _pad_id(tokenizer, config),
        False,
        rows,
        device,
        dtype,
    )
    pads = config.model_type not in _NEVER_PADDED and _pads(loaded)
    return TextModel(**{**vars(loaded), "model": model.to(device), "pads": pads})


def _tokenizer(source: Source, name: str, language: str | None) -> Any:
    from transformers import AutoTokenizer

    where, options = _place(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
    except _load_errors() as error:
        raise IsoglossError(
            f"{name}: its tokenizer cannot be loaded: {_first_line(error)}; the folder needs "
            "tokenizer.json, or the files that its tokenizer class reads"
        ) from error
    # Without its files transformers makes up one that knows no word of the text.
    own = tokenizer.vocab_files_names
    files = list(dict.fromkeys(["tokenizer.json", *own.values()])) if own else []
    if files and not any(source.find(file) for file in files):
        raise source.missing(" or ".join(files), "which hold the tokenizer")
    if language is not None:
        known = [*getattr(tokenizer, "lang_code_to_token", {}), *tokenizer.get_added_vocab()]
        if not hasattr(tokenizer, "src_lang") or language not in known:
            raise ValueError(
                f"{name}: language '{language}' is none that its tokenizer knows; "
                + (f"it knows {', '.join(known[:8])} ..." if known else "it knows none")
            )
        tokenizer.src_lang = language
    return tokenizer


def _whole_model(source: Source, name: str, dtype: Any) -> Any:
    from transformers import AutoModel

    where, options = _place(source)
    try:
        model, report = AutoModel.from_pretrained(
            where, output_loading_info=True, dtype=dtype, **options
        )
    except _load_errors() as error:
        raise IsoglossError(f"text model {name} cannot be loaded: {_first_line(error)}") from error
    _check_report(model, report, name)
    return model


def refuse_incomplete(source: Source, part: str, name: str) -> None:
    """Return when the checkpoint in the folder `part` of `source` has all weights of its model.

    No weights are read. Nothing is said of a folder without config.json.

    Raises:
        IsoglossError: some are missing, or the model cannot be built.
    """
    from transformers import AutoModel

    if source.find(f"{part}/{CONFIG}" if part else CONFIG) is None:
        return
    where, options = _place(source)
    try:
        model, report = AutoModel.from_pretrained(
            where, subfolder=part, output_loading_info=True, device_map="meta", **options
        )
    except _load_errors() as error:
        raise IsoglossError(f"{name} cannot be loaded: {_first_line(error)}") from error
    _check_report(model, report, name)


def _check_report(model: Any, report: Mapping[str, Any], name: str) -> None:
    # transformers would go on with random numbers in place of what is missing.
    needed = _needed(model)
    absent = sorted(key for key in report["missing_keys"] if key in needed)
    if absent:
        raise IsoglossError(
            f"text model {name}: {len(absent)} tensors are missing from its weights, first "
            f"'{absent[0]}'; the checkpoint is incomplete or of another model than its {CONFIG}"
        )


def _needed(model: Any) -> set[str]:
    """Names of the tensors that states are computed from: no pooler, no decoder."""
    part = text_part(model)
    own = {id(tensor) for _, tensor in part.named_parameters()}
    names = {
        name for name, tensor in model.named_parameters(remove_duplicate=False) if id(tensor) in own
    }
    return {name for name in names if "pooler." not in name}


def _place(source: Source) -> tuple[str, dict[str, Any]]:
    if source.folder is not None:
        # Without this a folder's name could be looked up on the hub.
        return str(source.folder), {"local_files_only": True}
    return source.name, {} if source.revision is None else {"revision": source.revision}


def _load_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError),
        *(EOFError, pickle.UnpicklingError, SafetensorError, StrictDataclassError),
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _rows(model: Any) -> int | None:
    from torch.nn import Embedding

    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return int(table.num_embeddings) if isinstance(table, Embedding) else None


def _check_vocabulary(tokenizer: Any, rows: int | None, name: str) -> None:
    if rows is None:
        return
    known = int(tokenizer.vocab_size)
    added = pieces_of(tokenizer, ["a"])[0]
    largest = max(known - 1, *added.before, *added.behind, 0)
    if largest >= rows:
        raise IsoglossError(
            f"{name}: its tokenizer gives token numbers up to {largest}, the model has embeddings "
            f"for {rows}; the tokenizer is another model's"
        )


def _pad_id(tokenizer: Any, config: Any) -> int:
    for found in (tokenizer.pad_token_id, config.pad_token_id, tokenizer.eos_token_id):
        if isinstance(found, int) and found >= 0:
            return found
    return 0


def _window(model: Any, tokenizer: Any) -> int:
    from torch.nn import Embedding

    config = model.config
    limits = [tokenizer.model_max_length]
    limits += [
        getattr(config, key, None) for key in ("max_position_embeddings", "n_positions", "n_ctx")
    ]
    for name, module in model.named_modules():
        # RoBERTa and its kin count positions from behind the padding's.
        if isinstance(module, Embedding) and name.endswith("position_embeddings"):
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - skipped)
    stated = [one for one in limits if isinstance(one, int) and 0 < one < _UNLIMITED]
    return min([*stated, _WINDOW_MOST]) if stated else _WINDOW_UNSTATED


def _revision(model: Any, tokenizer: Any) -> str:
    digest = hashlib.sha256()
    config = {
        key: value for key, value in model.config.to_dict().items() if key not in _NOT_THE_MODEL
    }
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    hash_tensors(model, digest)
    hash_tokenizer(tokenizer, digest)
    return digest.hexdigest()


def hash_tensors(model: Module, digest: _Hash) -> None:
    """Put names and bytes of all tensors of `model` into `digest`."""
    import torch

    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(plain.numpy().data)


def hash_tokenizer(tokenizer: Any, digest: _Hash) -> None:
    """Put what decides how `tokenizer` cuts a text into `digest`."""
    if tokenizer.is_fast:
        described = json.loads(tokenizer.backend_tokenizer.to_str())
        # Lengths to cut and to pad to change with use.
        plain = {k: v for k, v in described.items() if k not in ("truncation", "padding")}
        digest.update(json.dumps(plain, sort_keys=True).encode())
        return
    digest.update(type(tokenizer).__name__.encode())
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        for path in sorted(filter(None, tokenizer.save_vocabulary(folder))):
            digest.update(Path(path).read_bytes())


def _pads(loaded: TextModel) -> bool:
    """Whether padding at the end, masked, leaves the states before it as they are."""
    import torch

    top = loaded.rows or 64
    ids = torch.arange(9).remainder(top).reshape(1, -1)
    # No real token may look like padding.
    ids[ids == loaded.pad_id] = (loaded.pad_id + 1) % top
    longer = torch.full((1, 16), loaded.pad_id)
    longer[:, :9] = ids
    other = torch.full((1, 16), (loaded.pad_id + 1) % top)
    real = (torch.arange(16) < 9).long().reshape(1, -1)
    if loaded.window < 16:
        return False
    with torch.inference_mode():
        alone = _final(loaded.model, ids, torch.ones_like(ids))
        padded = _final(
            loaded.model,
            torch.cat([longer, other]),
            torch.cat([real, torch.ones_like(real)]),
        )
    scale = max(1.0, float(alone.abs().max()))
    tolerance = 1e-5 if loaded.dtype == "float32" else 3e-2
    if padded.shape[1] != 16 or alone.shape[1] != 9:
        return False
    return float((padded[:1, :9] - alone).abs().max()) <= tolerance * scale


def _final(model: Module, ids: Tensor, real: Tensor) -> Tensor:
    found: Tensor = model(input_ids=ids, attention_mask=real).last_hidden_state.float()
    return found
