"""A sentence-transformers model as an encoder: texts in, one step an item out.

Called through `load_encoder("st:NAME_OR_PATH")`. Pooling, norms and further layers are the model's
own; to see inside it, name its folder with 'hf:'.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss.encoders.features import needs_device
from isogloss.encoders.hf_checkpoint import quiet, source_of
from isogloss.encoders.hf_text_load import hash_tensors, hash_tokenizer, refuse_incomplete
from isogloss.encoders.item_text import text_of
from isogloss.encoders.option_values import whole_number
from isogloss.errors import IsoglossError, MissingExtra, UnknownName
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Item

__all__ = ["SentenceEncoder", "load"]

_MODULES = "modules.json"


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """The vectors of `SentenceTransformer.encode`, each the one step of its item.

    A text longer than the model's own limit is cut there, as the model's authors have it;
    `max_tokens` moves the limit. `words` are not known.

    Attributes:
        model: the SentenceTransformer.
        name: what identifies the weights, first part of `made_by`.
        prompt: put before every text.
        batch_size: texts encoded at once.
    """

    model: Any
    name: str
    prompt: str = ""
    batch_size: int = 32
    takes_text = True

    @property
    def made_by(self) -> str:
        """Checksum of weights, prompt, limit, and the versions that computed the vectors."""
        parts = [self.name, f"max_tokens={self.model.max_seq_length}"]
        if self.prompt:
            parts.append(f"prompt={json.dumps(self.prompt)}")
        return ";".join([*parts, f"isogloss={__version__}"])

    def encode(self, items: Sequence[Item]) -> Sequences:
        """One step of each item, (N, D) in all, in order.

        Raises:
            TextError: an item has no text.
            ValueError: there is no item.
        """
        if not items:
            raise ValueError("there is no item to encode")
        texts = [text_of(item) for item in items]
        found = self.model.encode(
            texts,
            # An empty prompt is one: without it the model's default would be put before.
            prompt=self.prompt,
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        values = np.ascontiguousarray(found, dtype=np.float32)
        offsets = np.arange(len(items) + 1, dtype=np.int64)
        return Sequences(tuple(item.id for item in items), values, offsets, None, self.made_by)


def load(
    argument: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    prompt: str = "",
    prompt_name: str = "",
    max_tokens: str = "",
) -> SentenceEncoder:
    """The encoder behind 'st:NAME_OR_PATH': a folder, or OWNER/NAME[@REVISION] of the hub.

    `prompt` is a text to put before every other; `prompt_name` one of those that the model brings;
    with neither the model's default, if it has one.

    Raises:
        ValueError: nothing follows the colon, a layer is asked for, or both prompts are given.
        UnknownName: the model has no prompt of that name.
        IsoglossError: the model cannot be loaded, or its checkpoint is incomplete.
        MissingExtra: sentence-transformers is not installed.
    """
    if not argument:
        raise ValueError("'st:' needs a folder or a name, such as st:sentence-transformers/LaBSE")
    if layer is not None:
        raise ValueError(
            f"a sentence encoder has its final vector alone, got layer {layer}; for the layers "
            f"inside name it hf:{argument}"
        )
    if prompt and prompt_name:
        raise ValueError("give prompt or prompt_name, not both")
    needs_device(device)
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers import __version__ as version
    except ImportError as error:
        raise MissingExtra("st", "sentence-transformers") from error
    source = source_of(argument)
    listed = source.find(_MODULES)
    if listed is None:
        # Without the list, a model of mean pooling would be made up.
        raise source.missing(_MODULES, "which lists a sentence encoder's parts; try hf: instead")
    where = str(source.folder) if source.folder is not None else source.name
    with quiet():
        for part in _transformers_in(listed):
            refuse_incomplete(source, part, f"st:{argument}")
        try:
            model = SentenceTransformer(
                where,
                device=device,
                revision=source.revision,
                local_files_only=source.folder is not None,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise IsoglossError(f"st:{argument} cannot be loaded: {first}") from error
    model.eval()
    if max_tokens:
        model.max_seq_length = whole_number("max_tokens", max_tokens, least=4)
    return SentenceEncoder(
        model,
        f"st:{source.name};sha={_revision(model)[:16]};sentence-transformers={version}",
        prompt or _prompt(model, prompt_name),
    )


def _transformers_in(listed: Path) -> list[str]:
    """Folders, inside that of the model, of those of its parts that transformers loads."""
    try:
        parts = json.loads(listed.read_text(encoding="utf-8"))
        return [
            str(part["path"])
            for part in parts
            if str(part["type"]).rpartition(".")[2] == "Transformer"
        ]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise IsoglossError(f"{listed}: no list of parts ({error}); fetch it again") from error


def _revision(model: Any) -> str:
    """A sha256 of all tensors, the tokenizer, and how the parts are set up."""
    digest = hashlib.sha256()
    for part in model:
        digest.update(type(part).__name__.encode())
        settings: dict[str, Any] = getattr(part, "get_config_dict", dict)()
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    hash_tensors(model, digest)
    hash_tokenizer(model.tokenizer, digest)
    return digest.hexdigest()


def _prompt(model: Any, name: str) -> str:
    known: dict[str, str] = model.prompts or {}
    if name and name not in known:
        raise UnknownName("prompt of the model", name, known)
    wanted = name or model.default_prompt_name
    return str(known.get(wanted) or "") if wanted else ""
