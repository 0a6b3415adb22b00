"""Texts through a causal language model, states of any layer and site out; for steering."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from isogloss.adapt.interventions import Site, TokenMarks, at_site
from isogloss.encoders.hf_blocks import blocks_of
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from isogloss.llm.hf_causal import CausalModel
    from isogloss.types import FloatArray

__all__ = ["Place", "text_states"]

Place = tuple[int, Site]
"""A layer, as encoders count, and a site."""


def text_states(
    model: CausalModel,
    texts: Sequence[str],
    places: Sequence[Place],
    *,
    ids: Sequence[str] | None = None,
    progress: bool = False,
) -> dict[Place, Sequences]:
    """Step vectors of `texts` at each place, from one pass; special tokens are not among them.

    A text longer than the model holds is cut there; one without a token has no steps.

    Args:
        model: whose states; interventions that are on it now are seen.
        texts: at least one.
        places: (layer, site) pairs.
        ids: of the texts; their numbers by default.
        progress: show a bar on stderr.

    Raises:
        ValueError: there is no text, or the model has no such layer or site.
    """
    if not texts:
        raise ValueError("there is no text to take states of")
    blocks = blocks_of(model.model)
    marks = TokenMarks(tuple(model.tokenizer.all_special_ids))
    seen: dict[Place, list[FloatArray]] = {}
    found: dict[Place, list[FloatArray]] = {place: [_NOTHING] * len(texts) for place in places}
    with ExitStack() as hooks:
        hooks.enter_context(marks.kept_for(model.model))
        for place in found:
            hooks.enter_context(at_site(blocks, *place, _reader(place, marks, seen)))
        for rows in model.passes(texts, progress=progress):
            for place, column in found.items():
                for row, values in zip(rows, seen.pop(place), strict=True):
                    column[row] = values
    names = tuple(ids) if ids is not None else tuple(map(str, range(len(texts))))
    return {
        place: Sequences.from_list(
            names, _filled(column), made_by=f"{model.made_by};layer={place[0]};site={place[1]}"
        )
        for place, column in found.items()
    }


_NOTHING: FloatArray = np.zeros((0, 0), dtype=np.float32)


def _filled(column: list[FloatArray]) -> list[FloatArray]:
    """Texts without a token get (0, D)."""
    size = max(values.shape[1] for values in column)
    empty = np.zeros((0, size), dtype=np.float32)
    return [values if len(values) else empty for values in column]


def _reader(
    place: Place, marks: TokenMarks, seen: dict[Place, list[FloatArray]]
) -> Callable[[Tensor], None]:
    def read(states: Tensor) -> None:
        chosen = marks.chosen(states, "both", special=False)
        seen[place] = [
            row[real].detach().float().cpu().numpy()
            for row, real in zip(states, chosen, strict=True)
        ]

    return read
