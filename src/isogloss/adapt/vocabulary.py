"""A model and another tokenizer in, the model with embeddings for that tokenizer out.

What stands for the same in both vocabularies keeps its vector; how the rest is guessed is said by
`vocabulary_inits`. Embeddings and, where it is a matrix of its own, the output head are rebuilt;
the blocks are left as they are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.static_spaces import static_spaces
from isogloss.adapt.vocabulary_inits import NEEDS, Vocabularies, first_guess
from isogloss.adapt.vocabulary_pieces import Pieces, folded, pieces_of
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import FloatArray

__all__ = ["Rebuilt", "compare_vocabularies", "extend", "rebuild"]

# What may stand in for a special role that the old tokenizer lacks, best first.
_STAND_INS = {
    "bos_token": ("cls_token", "eos_token", "sep_token"),
    "eos_token": ("sep_token", "bos_token", "cls_token"),
    "cls_token": ("bos_token", "eos_token"),
    "sep_token": ("eos_token", "bos_token"),
    "pad_token": ("eos_token", "unk_token"),
    "unk_token": ("pad_token", "eos_token"),
    "mask_token": ("unk_token", "pad_token"),
}


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A model for a new tokenizer.

    Attributes:
        model: of transformers; a copy, the old one is left as it was.
        tokenizer: the new one.
        init: how embeddings were guessed.
        counts: how many tokens got their embedding in which way.
        shared: how many tokens stand for the same in both vocabularies, special ones included.
        has_head: whether an output head of its own was rebuilt too.
    """

    model: Any
    tokenizer: Any
    init: str
    counts: Mapping[str, int]
    shared: int
    has_head: bool


def compare_vocabularies(
    old: Pieces, new: Pieces, *, spaces: tuple[FloatArray, FloatArray] | None = None
) -> Vocabularies:
    """Which tokens of `new` stand for the same as one of `old`, and how the others split.

    Special tokens correspond by their role (end of text with end of text), whatever they are
    called; those without a counterpart by their name, or by the role nearest to theirs.
    """
    shared: dict[int, int] = {}
    for role, number in new.special.items():
        roles = (role, *_STAND_INS.get(role, ()))
        found = next((old.special[each] for each in roles if each in old.special), None)
        if found is not None:
            shared.setdefault(number, found)
    names = old.tokenizer.get_vocab()
    split: dict[int, list[int]] = {}
    similar: dict[int, int] = {}
    for number, key in enumerate(new.keys):
        if number in shared:
            continue
        name = new.names[number]
        # Several tokens may stand for the same, a letter and its byte: then names decide.
        if name in names and old.keys[names[name]] == key:
            shared[number] = int(names[name])
        if key is None or number in shared:
            continue
        same = old.find(key)
        if same is not None:
            shared[number] = same
            continue
        if folded(key) in old.by_folded_key:
            similar[number] = old.by_folded_key[folded(key)]
        split[number] = old.split(key)
    return Vocabularies(len(new), shared, split, similar, spaces)


def rebuild(
    model: Any,
    old_tokenizer: Any,
    new_tokenizer: Any,
    *,
    init: str = "fvt",
    helper: Any = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
    ridge: float = 1.0,
    temperature: float = 0.1,
) -> Rebuilt:
    """`model` with an embedding for every token of `new_tokenizer`.

    With the very same tokenizer every init but 'random' gives a model of identical outputs.

    Args:
        model: of transformers, with any head or none; left as it is.
        old_tokenizer: that belongs to it; a fast one.
        new_tokenizer: another; a fast one.
        init: of `vocabulary_inits.INITS`.
        helper: a model that was trained with `new_tokenizer`; for the inits that need one.
        texts: in which tokens of both stand; for 'unibridge'.
        seed: of what is drawn.
        ridge: of 'sava'.
        temperature: of 'clp-softmax'.

    Raises:
        ValueError: the helper or texts that `init` needs are missing, or the helper is of another
            vocabulary; no such init.
        IsoglossError: a tokenizer is not a fast one, or the model has no table of embeddings.
    """
    old, new = pieces_of(old_tokenizer), pieces_of(new_tokenizer)
    spaces = None
    if NEEDS.get(init) == "spaces":
        if not texts:
            raise ValueError(f"'{init}' needs texts in which the tokens of both stand")
        spaces = static_spaces(texts, old, new, seed=seed)
    known = compare_vocabularies(old, new, spaces=spaces)
    made = copy.deepcopy(model)
    table = _table(made)
    head = made.get_output_embeddings()
    own_head = head is not None and head.weight is not table.weight
    options: dict[str, Any] = {"ridge": ridge, "temperature": temperature, "seed": seed}
    guess = first_guess(
        init, _rows(table)[: len(old)], known, helper=_helper_rows(helper, len(new)), **options
    )
    values_of_head = bias = None
    if own_head:
        other = helper.get_output_embeddings() if helper is not None else None
        rows = _helper_rows(helper, len(new)) if other is None else _rows(other)[: len(new)]
        values_of_head = first_guess(
            init, _rows(head)[: len(old)], known, helper=rows, **options
        ).values
    if head is not None and getattr(head, "bias", None) is not None:
        bias = _new_bias(head.bias.detach().float().cpu().numpy(), known)
    _put(made, guess.values, values_of_head, bias)
    _take_special_ids(made, new)
    return Rebuilt(made.eval(), new_tokenizer, init, guess.counts, len(known.shared), own_head)


def extend(model: Any, tokenizer: Any, tokens: Sequence[str], texts: Sequence[str]) -> Rebuilt:
    """`model` with `tokens` added to its vocabulary, each the mean of what it consisted of.

    Args:
        model: of transformers; left as it is.
        tokenizer: that belongs to it; left as it is.
        tokens: words or parts of words, as they are written in texts.
        texts: what the model is adapted to. A token that they do not hold would never be trained,
            and is refused.

    Raises:
        ValueError: a token is empty, there twice, known already, or not in `texts`.
        IsoglossError: as `rebuild`.
    """
    whole = "\n".join(texts)
    known = tokenizer.get_vocab()
    pieces = pieces_of(tokenizer)
    for place, token in enumerate(tokens):
        if not token.strip() or token in tokens[:place]:
            raise ValueError(f"token '{token}' is empty or named twice")
        if token in known or pieces.find(token.encode()) is not None:
            raise ValueError(f"token '{token}' is in the vocabulary already")
    absent = [token for token in tokens if token not in whole]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(tokens)} tokens do not occur in the texts, first "
            f"'{absent[0]}'; they would keep what they are given here for ever: leave them out"
        )
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens(list(tokens))
    return rebuild(model, tokenizer, larger, init="fvt")


def _table(model: Any) -> Any:
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        table = None
    if table is None or not hasattr(table, "weight"):
        raise IsoglossError(f"{type(model).__name__} has no table of token embeddings to rebuild")
    return table


def _rows(layer: Any) -> FloatArray:
    values: FloatArray = layer.weight.detach().float().cpu().numpy()
    return values


def _helper_rows(helper: Any, size: int) -> FloatArray | None:
    if helper is None:
        return None
    rows = _rows(_table(helper))
    if len(rows) < size:
        raise ValueError(
            f"the helper has {len(rows)} embeddings, the new tokenizer {size} tokens; the helper "
            "must be a model of the new tokenizer"
        )
    return rows[:size]


def _new_bias(old: FloatArray, known: Vocabularies) -> FloatArray:
    """The bias of shared tokens kept; of others that of their pieces, else the mean of all."""
    found = np.full(known.size, old.mean(), dtype=np.float32)
    for new, pieces in known.split.items():
        if pieces:
            found[new] = old[list(pieces)].mean()
    for new, same in known.shared.items():
        found[new] = old[same]
    return found


def _put(model: Any, values: FloatArray, head: FloatArray | None, bias: FloatArray | None) -> None:
    """Resize the tables of `model` and fill them."""
    import torch

    # Several new tokens may be alike; resizing by itself would guess at means and covariances.
    model.resize_token_embeddings(len(values), mean_resizing=False)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table.copy_(torch.from_numpy(values))
        output = model.get_output_embeddings()
        if head is not None:
            output.weight.copy_(torch.from_numpy(head))
        if bias is not None:
            output.bias.copy_(torch.from_numpy(bias))
    model.config.vocab_size = len(values)


def _take_special_ids(model: Any, new: Pieces) -> None:
    """The numbers of special tokens that configurations know are those of the new tokenizer."""
    for role in ("bos", "eos", "pad", "sep", "cls", "mask"):
        number = new.special.get(f"{role}_token")
        for config in (model.config, getattr(model, "generation_config", None)):
            if config is not None and getattr(config, f"{role}_token_id", None) is not None:
                setattr(config, f"{role}_token_id", number)
    padding = getattr(model.get_input_embeddings(), "padding_idx", None)
    if padding is not None:
        model.get_input_embeddings().padding_idx = new.special.get("pad_token")
