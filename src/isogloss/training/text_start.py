"""A folder of transformers in, its text model and tokenizer out; used by `text_model`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss.encoders.hf_checkpoint import quiet, read_json
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_text_model"]


def load_text_model(folder: Path) -> tuple[Any, Any]:
    """Model (float32, on the CPU) and tokenizer of a folder; errors as `TextModel.load`."""
    try:
        import transformers
        from transformers.models.auto import modeling_auto as auto
    except ImportError as error:
        raise MissingExtra("text", "transformers") from error
    if not (folder / "config.json").is_file():
        what = "there is no such folder" if not folder.is_dir() else "it has no config.json"
        raise IsoglossError(
            f"start {folder}: {what}; it must be a text model as transformers saves one"
        )
    values = read_json(folder / "config.json")
    kind = values.get("model_type")
    architectures = values.get("architectures") or [""]
    if kind not in auto.MODEL_MAPPING_NAMES:
        raise IsoglossError(
            f"start {folder}: model_type {kind!r} (kind {values.get('kind')!r}) is no text model "
            "of transformers"
        )
    if (
        values.get("is_encoder_decoder")
        or kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    ):
        loader: Any = transformers.AutoModelForSeq2SeqLM
    elif any(name in str(architectures[0]) for name in ("CausalLM", "LMHead")):
        loader = transformers.AutoModelForCausalLM
    elif kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        loader = transformers.AutoModelForMaskedLM
    elif kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        loader = transformers.AutoModelForCausalLM
    else:
        loader = transformers.AutoModel
    import torch

    with quiet():
        try:
            model, found = loader.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise IsoglossError(f"start {folder}: {_in_one_line(error)}") from error
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise IsoglossError(f"start {folder}: no tokenizer: {_in_one_line(error)}") from error
    prefix = getattr(model, "base_model_prefix", "")
    lacking = [name for name in sorted(found["missing_keys"]) if name.startswith(f"{prefix}.")]
    lacking = [name for name in lacking if "pooler" not in name]
    if prefix and lacking:
        raise IsoglossError(
            f"start {folder}: the checkpoint lacks {len(lacking)} tensors below the head, first "
            f"{lacking[0]}; fetch it again"
        )
    return model, tokenizer


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
