"""What `isogloss measure` found: numbers by layer, site and pair, and how they are told.

Made by `alignment`; read by pages, pictures and commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.tasks.alignment_explain import EXPLAINED, explained
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AlignmentResult", "AlignmentRow", "row_to_dict"]


@dataclass(frozen=True, slots=True)
class AlignmentRow:
    """One number: a mean over pairs of varieties (`pair` None), or of the pair (from, to)."""

    name: str
    layer: int
    site: str
    value: float
    low: float | None
    high: float | None
    n: int
    higher_is_better: bool = True
    pair: tuple[str, str] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class AlignmentResult:
    """Everything that was measured of one encoder on one corpus.

    Attributes:
        rows: the numbers, means first.
        layers: those measured, and what they are called.
        chosen_layer: the layer with the best 'R@1' (else the best of what was measured first), for
            each site. It is chosen on these very items, so its value is a little high.
        similarities: by site and layer the matrix of varieties: 'names', 'values', 'low', 'high'.
        trees: by site and layer, see `variety_tree`.
        places: by site and layer, the map: 'names' and 'places'.
        sources: by site and layer, see `source_choice`.
        curves: CALIGN and COLAP over thresholds, by site, layer and pair.
        varieties: name to group, items, and where known latitude and longitude.
        notes: what could not be measured, and why.
        left_out: items passed over, by reason.
        signature: everything that changes the numbers.
        floor: the same numbers of the floor encoder, where one was measured.
    """

    rows: tuple[AlignmentRow, ...]
    layers: Mapping[int, str]
    chosen_layer: Mapping[str, int]
    similarities: Mapping[str, Mapping[int, Mapping[str, Any]]]
    trees: Mapping[str, Mapping[int, Mapping[str, Any]]]
    places: Mapping[str, Mapping[int, Mapping[str, Any]]]
    sources: Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]
    curves: Mapping[str, Any]
    varieties: Mapping[str, Mapping[str, Any]]
    notes: Mapping[str, str]
    left_out: Mapping[str, int]
    signature: Mapping[str, Any]
    floor: AlignmentResult | None = field(default=None)

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that were measured, in order."""
        return tuple(dict.fromkeys(row.site for row in self.rows))

    def means(self, name: str | None = None, site: str | None = None) -> list[AlignmentRow]:
        """Rows over all pairs, of one number or site alone when given, by layer."""
        found = [
            row
            for row in self.rows
            if row.pair is None and name in (None, row.name) and site in (None, row.site)
        ]
        return sorted(found, key=lambda row: row.layer)

    def names(self, site: str | None = None) -> list[str]:
        """Names of the numbers, in the order of tables."""
        found = dict.fromkeys(row.name for row in self.means(site=site))
        order = {one.name: i for i, one in enumerate(EXPLAINED)}
        return sorted(found, key=lambda name: order[explained(name).name])

    def best(self, name: str, site: str) -> AlignmentRow | None:
        """The best layer of a number, the lowest of equal ones; None where it was not measured."""
        rows = [row for row in self.means(name, site) if not np.isnan(row.value)]
        if not rows:
            return None
        sign = 1 if rows[0].higher_is_better else -1
        return max(rows, key=lambda row: (sign * row.value, -row.layer))

    def measurements(self) -> list[Measurement]:
        """Means as measurements named 'R@1 layer 3' (with the site, when it is not residual)."""
        return [
            Measurement(
                f"{row.name} layer {row.layer}" + _of_site(row.site),
                row.value,
                low=row.low,
                high=row.high,
                n=row.n,
                higher_is_better=row.higher_is_better,
                signature={
                    **self.signature,
                    "layer": row.layer,
                    "site": row.site,
                    "note": row.note,
                },
            )
            for row in self.means()
            if not np.isnan(row.value)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON; a number that is not defined is None."""
        return {
            "measurements": [row_to_dict(row) for row in self.rows],
            "layers": {str(layer): label for layer, label in self.layers.items()},
            "chosen_layer": dict(self.chosen_layer),
            "varieties": {name: dict(row) for name, row in self.varieties.items()},
            "similarities": _by_layer(self.similarities),
            "trees": _by_layer(self.trees),
            "maps": _by_layer(self.places),
            "sources": _by_layer(self.sources),
            "curves": self.curves,
            "notes": dict(self.notes),
            "left_out": dict(self.left_out),
            "signature": dict(self.signature),
            "floor": None if self.floor is None else self.floor.to_dict(),
        }


def row_to_dict(row: AlignmentRow) -> dict[str, Any]:
    """One number as JSON: name, layer, site, value, low, high, n, pair, and what is noted."""
    return {
        "name": row.name,
        "layer": row.layer,
        "site": row.site,
        "value": None if np.isnan(row.value) else row.value,
        "low": row.low,
        "high": row.high,
        "n": row.n,
        "higher_is_better": row.higher_is_better,
        "pair": None if row.pair is None else list(row.pair),
        "note": row.note,
    }


def _of_site(site: str) -> str:
    return "" if site == "residual" else f" site {site}"


def _by_layer(tables: Mapping[str, Mapping[int, Any]]) -> dict[str, dict[str, Any]]:
    return {
        site: {str(layer): found for layer, found in layers.items()}
        for site, layers in tables.items()
    }
