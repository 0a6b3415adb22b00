"""A matrix of distances in, the tree of complete linkage, its cuts and its drawing order out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["checked_distances", "complete_linkage", "cut_tree", "leaf_order", "newick"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]


def checked_distances(distances: Floats, *, least: int = 2) -> Doubles:
    """`distances` as symmetric (V, V) float64 with zeros on the diagonal.

    Raises:
        ValueError: not (V, V) with V at least `least`, not finite, or not symmetric within 1e-6 of
            the largest.
    """
    table = np.asarray(distances, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < least:
        raise ValueError(f"expected (V, V) distances with V at least {least}, got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("distances hold NaN or infinity; leave those varieties out")
    if np.abs(table - table.T).max() > 1e-6 * max(1e-12, np.abs(table).max()):
        raise ValueError("distances are not symmetric")
    both: Doubles = (table + table.T) / 2
    np.fill_diagonal(both, 0)
    return both


def complete_linkage(distances: Floats) -> Doubles:
    """The tree in which two groups are as far apart as their farthest members: (V - 1, 4).

    Each row joins two groups: their numbers (below V a thing, V + i what row i joined), the
    smaller first, their distance, and how many things are in it, in the order of joining: the
    layout of scipy's `linkage`. Of equal distances the pair with the lowest numbers joins first.

    Args:
        distances: (V, V), V at least 2.

    Raises:
        ValueError: as `checked_distances`.
    """
    left = checked_distances(distances)
    v = len(left)
    np.fill_diagonal(left, np.inf)
    number, size = list(range(v)), [1] * v
    alive = np.ones(v, dtype=bool)
    rows = np.zeros((v - 1, 4))
    for step in range(v - 1):
        masked = np.where(alive[:, np.newaxis] & alive, left, np.inf)
        i, j = divmod(int(np.argmin(masked)), v)
        low, high = sorted((number[i], number[j]))
        rows[step] = low, high, left[i, j], size[i] + size[j]
        merged = np.maximum(left[i], left[j])
        left[i], left[:, i] = merged, merged
        left[i, i] = np.inf
        alive[j] = False
        number[i], size[i] = v + step, size[i] + size[j]
    return rows


def cut_tree(linkage: Floats, groups: int) -> Indices:
    """The group of each thing when the tree is cut into `groups`: (V,), numbered from 0 by thing.

    Raises:
        ValueError: `groups` is not between 1 and V.
    """
    v = len(linkage) + 1
    if not 1 <= groups <= v:
        raise ValueError(f"a tree of {v} things has 1 to {v} groups, got {groups}")
    members: dict[int, list[int]] = {i: [i] for i in range(v)}
    for step, row in enumerate(np.asarray(linkage)[: v - groups]):
        members[v + step] = members.pop(int(row[0])) + members.pop(int(row[1]))
    found = np.zeros(v, dtype=np.int64)
    for number, group in enumerate(sorted(members.values(), key=min)):
        found[group] = number
    return found


def leaf_order(linkage: Floats) -> tuple[int, ...]:
    """Things in the order in which the tree can be drawn without crossings."""
    v = len(linkage) + 1
    order: dict[int, tuple[int, ...]] = {i: (i,) for i in range(v)}
    for step, row in enumerate(np.asarray(linkage)):
        order[v + step] = order.pop(int(row[0])) + order.pop(int(row[1]))
    return order[2 * v - 2]


def newick(linkage: Floats, names: Sequence[str]) -> str:
    """The tree as Newick text, branches as long as the heights (half the distances) differ.

    Raises:
        ValueError: the names are not as many as the things.
    """
    v = len(linkage) + 1
    if len(names) != v:
        raise ValueError(f"{len(names)} names for a tree of {v}")
    text: dict[int, tuple[str, float]] = {i: (_quoted(name), 0.0) for i, name in enumerate(names)}
    for step, row in enumerate(np.asarray(linkage)):
        height = float(row[2]) / 2
        parts = [text.pop(int(row[side])) for side in (0, 1)]
        inside = ",".join(f"{name}:{height - below:.6g}" for name, below in parts)
        text[v + step] = (f"({inside})", height)
    return text[2 * v - 2][0] + ";"


def _quoted(name: str) -> str:
    """Newick names with punctuation stand in quotes."""
    plain = name.replace("-", "").replace("_", "").replace("@", "").isalnum()
    return name if plain else "'" + name.replace("'", "''") + "'"
