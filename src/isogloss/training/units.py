"""Output units of a model that goes on learning: kept, and extended by characters it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isogloss.errors import IsoglossError
from isogloss.speech.checkpoint import load_model
from isogloss.speech.tokens import Tokenizer
from isogloss.training.examples import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Literal

    from isogloss.training.config import TrainConfig
    from isogloss.training.texts import TextPlan
    from isogloss.types import Item

__all__ = ["HEADS", "covered", "extended", "grown_state", "units_of_start"]

HEADS = ("ctc_output.1.", "ctc_output_dialect.1.")
"""Beginnings of the names of parameters with a row for each unit."""


def units_of_start(
    config: TrainConfig, items: Sequence[Item], plan: TextPlan
) -> tuple[Tokenizer, list[Skipped]]:
    """The units of the model that `config` starts from, extended if so wished; items without units.

    Raises:
        IsoglossError: `start_from` is no model folder.
        ValueError: `config` has no `tuning`.
    """
    if config.tuning is None or config.start_from is None:
        raise ValueError("units of a model are kept in runs with tuning and start_from only")
    tokenizer = load_model(Path(config.start_from)).tokenizer
    written = {item.id: found.all for item in items if (found := plan.of_item(item)) is not None}
    texts = (text for entry in written.values() for text in entry)
    tokenizer = extended(tokenizer, texts, config.tuning.units)
    return tokenizer, covered(written, tokenizer)


def extended(
    tokenizer: Tokenizer, texts: Iterable[str], units: Literal["extend", "keep"]
) -> Tokenizer:
    """`tokenizer` with the characters of `texts` that it lacks appended, in code point order.

    Unchanged with "keep", and where units are learnt pieces or pieces of bytes, whose spelling is
    not ours to change. Pieces without their sentencepiece model take characters too: mixed tables
    of Chinese characters and English pieces are of this kind.
    """
    if units == "keep" or tokenizer.kind not in ("characters", "pieces"):
        return tokenizer
    missing = sorted(tokenizer.unknown(texts))
    return Tokenizer((*tokenizer.symbols, *missing)) if missing else tokenizer


def covered(written: Mapping[str, Sequence[str]], tokenizer: Tokenizer) -> list[Skipped]:
    """The items, by id with their texts, that have a character without a unit."""
    skipped = []
    for name, texts in written.items():
        lacking = [text for text in texts if tokenizer.unknown_id in tokenizer.encode(text)]
        if lacking:
            characters = " ".join(list(tokenizer.unknown(lacking))[:10])
            detail = f"the model's units cannot spell '{lacking[0]}'"
            detail += f": they lack {characters}" if characters else ""
            skipped.append(Skipped(name, "characters without a unit", detail))
    return skipped


def grown_state(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], folder: Path
) -> dict[str, Tensor]:
    """`state` of a trained model, its heads with as many rows as those of `wanted`.

    Rows of known units are copied. A new one is the mean of those of all units but the blank: its
    logit is then the mean logit, so its probability is at most the units' mean probability, and
    the known ones lose little.

    Raises:
        IsoglossError: parameters of encoder or heads are missing in `state` or have another shape.

    Source: Hewitt 2021 ("Initializing New Word Embeddings for Pretrained Language Models").
    """
    grown = dict(state)
    for name, tensor in wanted.items():
        if not name.startswith(("encoder", *HEADS)):
            continue  # what further losses add begins anew
        found = state.get(name)
        if found is not None and name.startswith(HEADS) and len(found) < len(tensor):
            row = found[1:].mean(dim=0, keepdim=True)
            added = row.expand(len(tensor) - len(found), *found.shape[1:])
            grown[name] = found = torch.cat([found, added])
        if found is None or found.shape != tensor.shape:
            have = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise IsoglossError(
                f"{folder}: {name} is {have}, {tuple(tensor.shape)} is needed; tune it with the "
                "transcripts it was trained with"
            )
    return grown
