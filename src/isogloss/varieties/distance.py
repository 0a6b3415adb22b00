"""Lists of variety codes in, (N, M) matrices of distances out; called by tasks and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss.varieties.table import VarietyTable, builtin_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["genealogical_distance", "geographic_distance_km"]

# Mean radius of the Earth, (2a + b) / 3 of the WGS 84 ellipsoid (IUGG).
_EARTH_RADIUS_KM = 6371.0088


def genealogical_distance(
    a: Sequence[str],
    b: Sequence[str] | None = None,
    *,
    table: VarietyTable | None = None,
    normalised: bool = True,
) -> FloatArray:
    """Length of the path through the tree from each variety of `a` to each of `b`.

    With depth counted in edges from a root set above all families, so that a family has depth 1,
    and c the deepest variety at or above both x and y::

        path(x, y) = depth(x) + depth(y) - 2 depth(c)
        normalised = path(x, y) / (depth(x) + depth(y))

    The normalised form is one minus the similarity of Wu and Palmer (1994, sec. 4). Varieties of
    different families are at distance 1, a variety and itself at 0. Edges are those of the table,
    which is finer in some families than in others: compare within a family first.

    Args:
        a: N codes.
        b: M codes; None means `a` again.
        table: where the tree is; None means the built-in table.
        normalised: False gives the number of edges.

    Returns:
        (N, M) float32, in [0, 1] where normalised; an empty list gives an empty axis.

    Raises:
        UnknownName: a code is not in the table.
    """
    tree = builtin_table() if table is None else table
    lines_a, lines_b = _root_lines(a, tree), _root_lines(a if b is None else b, tree)
    distances = np.zeros((len(lines_a), len(lines_b)), dtype=np.float32)
    for i, line_x in enumerate(lines_a):
        for j, line_y in enumerate(lines_b):
            common = sum(1 for p, q in zip(line_x, line_y, strict=False) if p == q)
            path = len(line_x) + len(line_y) - 2 * common
            distances[i, j] = path / (len(line_x) + len(line_y)) if normalised else path
    return distances


def geographic_distance_km(
    a: Sequence[str],
    b: Sequence[str] | None = None,
    *,
    table: VarietyTable | None = None,
    missing: Literal["refuse", "nan"] = "refuse",
) -> FloatArray:
    """Great-circle distance in kilometres from each variety of `a` to each of `b`.

    Haversine formula on a sphere of radius 6371.0088 km, within 0.6 % of the ellipsoid. The
    built-in table gives one town for a whole variety, so read these as tens of kilometres.

    Args:
        a: N codes.
        b: M codes; None means `a` again.
        table: where the places are; None means the built-in table.
        missing: a variety without a place is refused, or its row and column are NaN.

    Returns:
        (N, M) float32, from 0 to 20015 km; an empty list gives an empty axis.

    Raises:
        UnknownName: a code is not in the table.
        ValueError: a variety has no place and `missing` is 'refuse', or `missing` is neither.
    """
    if missing not in ("refuse", "nan"):
        raise ValueError(f"missing must be 'refuse' or 'nan', got {missing!r}")
    places = builtin_table() if table is None else table
    x = _radians(a, places, missing)
    y = _radians(a if b is None else b, places, missing)
    latitude_gap = x[:, None, 0] - y[None, :, 0]
    longitude_gap = x[:, None, 1] - y[None, :, 1]
    cosines = np.cos(x[:, None, 0]) * np.cos(y[None, :, 0])
    haversine = np.sin(latitude_gap / 2) ** 2 + cosines * np.sin(longitude_gap / 2) ** 2
    # Rounding can put antipodes a hair above 1, where arcsin is undefined.
    angle = 2 * np.arcsin(np.sqrt(np.minimum(haversine, 1.0)))
    kilometres: FloatArray = (_EARTH_RADIUS_KM * angle).astype(np.float32)
    return kilometres


def _root_lines(codes: Sequence[str], tree: VarietyTable) -> list[tuple[str, ...]]:
    """Each code with everything above it, topmost first."""
    return [(*reversed(tree.ancestors(code)), code) for code in codes]


def _radians(codes: Sequence[str], places: VarietyTable, missing: str) -> npt.NDArray[np.float64]:
    """(N, 2) latitude and longitude."""
    degrees = np.full((len(codes), 2), np.nan)
    without = []
    for row, code in enumerate(codes):
        variety = places[code]
        if variety.latitude is None or variety.longitude is None:
            without.append(code)
        else:
            degrees[row] = variety.latitude, variety.longitude
    if without and missing == "refuse":
        raise ValueError(
            f"no place in the table for {', '.join(sorted(set(without)))}; "
            "add latitude and longitude, or ask for missing='nan'"
        )
    radians: npt.NDArray[np.float64] = np.radians(degrees)
    return radians
