"""A fitted transform between an encoder and the measures: its layers, refusals, vectors, words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from isogloss.adapt.store import load_transform
from isogloss.errors import IsoglossError
from isogloss.types import Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.adapt.transform import FittedTransform
    from isogloss.tasks.alignment_encode import WordStates
    from isogloss.tasks.alignment_sets import AlignedSets
    from isogloss.types import Encoder, FloatArray

__all__ = ["AppliedTransform"]


@dataclass(frozen=True, slots=True, eq=False)
class AppliedTransform:
    """What `isogloss adapt fit` wrote, applied to what is measured."""

    fitted: FittedTransform

    @classmethod
    def of(cls, folder: Path | None) -> AppliedTransform | None:
        """That in `folder`; None for none.

        Raises:
            IsoglossError: it holds no transform, or a damaged one.
        """
        return None if folder is None else cls(load_transform(folder))

    def refuse_fitted(self, sets: AlignedSets) -> None:
        """Nothing, when no item and no meaning was fitted on.

        Raises:
            FittedItems: some were.
        """
        self.fitted.refuse_fitted(
            [item.id for item in sets.items], [item.meaning for item in sets.items]
        )

    def layers(
        self,
        encoder: Encoder,
        layers: tuple[int, ...],
        *,
        named: bool,
        pool: str,
        notes: dict[str, str],
    ) -> tuple[int, ...]:
        """Those of `layers` that were fitted on; others only when they were named, and told.

        Raises:
            IsoglossError: none was fitted on, and none was named.
        """
        wanted = self.fitted.require_fitted().made_by
        at_layer = getattr(encoder, "with_layer", lambda _: encoder)
        own = tuple(i for i in layers if f"{at_layer(i).made_by};pool={pool}" == wanted)
        if not named and not own:
            raise IsoglossError(
                f"the transform was fitted on {wanted}, which none of the layers here is; name "
                "--layers to apply it all the same"
            )
        if named and own != layers:
            notes["transform"] = f"fitted on {wanted}, and applied to other vectors as well"
        return layers if named else own

    def vectors(self, sets: AlignedSets, vectors: FloatArray, made_by: str) -> FloatArray:
        """(N, D) vectors of the items of `sets` changed; rows of items that are not used are 0."""
        used = np.sort(sets.table[sets.table >= 0])
        changed = self._changed(sets, used.tolist(), vectors[used], made_by)
        found = np.zeros((len(vectors), changed.shape[1]), dtype=np.float32)
        found[used] = changed
        return found

    def words(self, sets: AlignedSets, words: WordStates | None, made_by: str) -> WordStates | None:
        """States of words changed as a vector of their item's variety is."""
        if words is None:
            return None
        changed = self._changed(sets, words.item.tolist(), words.values, made_by)
        return replace(words, values=changed)

    def _changed(
        self, sets: AlignedSets, items: Sequence[int], values: FloatArray, made_by: str
    ) -> FloatArray:
        # Several words are of one item, and ids of vectors may not repeat.
        ids = tuple(f"{row}:{sets.items[i].id}" for row, i in enumerate(items))
        return self.fitted.transform(
            Vectors(ids, values, made_by), varieties=[sets.items[i].variety for i in items]
        ).values
