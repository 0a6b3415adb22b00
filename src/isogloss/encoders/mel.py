"""Log-mel frames as an encoder: the floor that every trained encoder must leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss import __version__
from isogloss.encoders.features import item_features, needs_torch
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Item

__all__ = ["MelEncoder", "load"]


@dataclass(frozen=True, slots=True)
class MelEncoder:
    """80 log-mel energies every 10 ms, nothing learnt."""

    @property
    def made_by(self) -> str:
        """What changes the values."""
        return f"mel:;isogloss={__version__}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """(T, 80) frames of each item, `step_seconds` 0.01.

        Raises:
            AudioError: a recording cannot be read.
            ValueError: there is no item, or one has no audio.
        """
        if not items:
            raise ValueError("there is no item to encode")
        return Sequences.from_list(
            [item.id for item in items],
            [item_features(item).numpy() for item in items],
            step_seconds=0.01,
            made_by=self.made_by,
        )


def load(argument: str, *, layer: int | None = None, device: str = "cpu") -> MelEncoder:
    """The encoder behind 'mel:'; frames are computed on the CPU whatever `device` says.

    Raises:
        ValueError: something follows the colon, or a layer other than 0 is asked for.
        MissingExtra: torch is not installed.
    """
    del device
    if argument:
        raise ValueError(f"'mel:' takes nothing after the colon, got '{argument}'")
    if layer not in (None, 0):
        raise ValueError(f"log-mel frames have one layer, 0; got layer {layer}")
    needs_torch()
    return MelEncoder()
