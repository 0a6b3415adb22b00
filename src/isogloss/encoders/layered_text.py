"""What encoders of text with numbered layers share: a layer or all from one pass, and batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Item, Sequences

__all__ = ["LayeredText", "batches_of", "known_layer"]


class LayeredText(ABC):
    """A frozen dataclass with a field `layer` that gives any of its `layers` from one pass."""

    __slots__ = ()

    takes_text: ClassVar[bool] = True

    layer: int

    @property
    @abstractmethod
    def layers(self) -> tuple[int, ...]:
        """The numbers of all layers, from 0 on."""

    @abstractmethod
    def _encode(self, items: Sequence[Item], layers: Sequence[int]) -> list[Sequences]:
        """Steps of at least one item at each of `layers`, in their order."""

    def with_layer(self, layer: int | None) -> Self:
        """The same giving another layer; None is the last.

        Raises:
            ValueError: there is no such layer.
        """
        return replace(self, layer=known_layer(layer, self.layers[-1]))  # type: ignore[type-var]

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item, (T, D), at `layer`; `words` says which word a step is of.

        Raises:
            TextError: an item has no text, or nothing of it is left to encode.
            ValueError: there is no item.
        """
        return self._checked(items, (self.layer,))[0]

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        """`encode` of every layer, from one pass."""
        return self._checked(items, self.layers)

    def _checked(self, items: Sequence[Item], layers: Sequence[int]) -> list[Sequences]:
        if not items:
            raise ValueError("there is no item to encode")
        return self._encode(items, layers)


def known_layer(layer: int | None, last: int) -> int:
    """`layer`, or `last` for None.

    Raises:
        ValueError: it is not one of 0 to `last`.
    """
    if layer is None:
        return last
    if not 0 <= layer <= last:
        raise ValueError(f"the model has layers 0 to {last}, got {layer}")
    return layer


def batches_of(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places of inputs of like length, a batch padded to at most `most` steps, or one input."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
