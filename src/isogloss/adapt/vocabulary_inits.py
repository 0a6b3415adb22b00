"""Embeddings of an old vocabulary in, a first guess of those of a new one out.

Arrays only: which tokens are shared and how new tokens split is told by `Vocabularies`, which
`vocabulary` fills from tokenizers.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss.adapt.sparsemax import sparsemax
from isogloss.errors import UnknownName
from isogloss.measures.rows import unit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import FloatArray

__all__ = ["INITS", "NEEDS", "Vocabularies", "first_guess"]

INITS = ("random", "copy", "fvt", "clp", "clp-softmax", "sava", "sava-orthogonal", "unibridge")
NEEDS: dict[str, Literal["helper", "spaces"]] = {
    "clp": "helper",
    "clp-softmax": "helper",
    "sava": "helper",
    "sava-orthogonal": "helper",
    "unibridge": "spaces",
}
"""What an init needs besides the two vocabularies."""

_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Vocabularies:
    """How a new vocabulary of M tokens stands to an old one of V.

    Attributes:
        shared: old token of each new one that says the same, special roles included.
        split: old tokens of which the text of a new one consists; for those not shared.
        similar: old token of each new one that says the same but for upper and lower case.
        spaces: (V, S) and (M, S) vectors of old and new tokens in one space, and which rows of
            each are known, of `static_spaces`; for 'unibridge'.
        size: M.
    """

    size: int
    shared: Mapping[int, int]
    split: Mapping[int, Sequence[int]]
    similar: Mapping[int, int] = field(default_factory=dict)
    spaces: tuple[FloatArray, FloatArray] | None = None


@dataclass(frozen=True, eq=False)
class Guess:
    """(M, D) float32 embeddings and, for each way, how many tokens got theirs by it."""

    values: FloatArray
    counts: Mapping[str, int]


def first_guess(
    name: str,
    old: FloatArray,
    vocabularies: Vocabularies,
    *,
    helper: FloatArray | None = None,
    ridge: float = 1.0,
    temperature: float = 0.1,
    seed: int = 0,
) -> Guess:
    """Embeddings of the new vocabulary: shared tokens copied (not by 'random'), others by `name`.

    What no rule reaches is drawn from a normal distribution with each dimension's mean and spread
    of the old embeddings, by a seed of its own for each token.

    Args:
        name: 'random': all drawn. 'copy': shared copied, others drawn. 'fvt': others the mean of
            the old tokens that they consist of. 'clp': others the mean of the shared ones,
            weighted by cosine in the helper's space, negative cosines as 0; 'clp-softmax': weights
            softmax(cosine / temperature). 'sava': the helper's embeddings, standardised, led into
            the standardised old space by the ridge map that fits shared tokens best;
            'sava-orthogonal': by a rotation. 'unibridge': equal but for case, then mutual nearest
            neighbours in static spaces, then sparsemax-weighted means of tokens that have a vector
            by now.
        old: (V, D).
        vocabularies: which tokens correspond.
        helper: (M, H) embeddings of a model trained with the new vocabulary.
        ridge: of 'sava', on standardised dimensions.
        temperature: of 'clp-softmax'.
        seed: of what is drawn.

    Raises:
        UnknownName: no such init.
        ValueError: an init lacks its helper, spaces, or any shared token; shapes do not fit; a
            value is not finite.
    """
    if name not in INITS:
        raise UnknownName("init of a vocabulary", name, INITS)
    if not np.isfinite(old).all():
        raise ValueError("the old embeddings hold NaN or infinity")
    values = _drawn(old, vocabularies.size, seed)
    if name == "random":
        return Guess(values, {"drawn": vocabularies.size})
    new = np.array(sorted(vocabularies.shared), dtype=np.int64)
    source = np.array([vocabularies.shared[i] for i in new], dtype=np.int64)
    values[new] = old[source]
    counts = {"copied": len(new)}
    rest = np.setdiff1d(np.arange(vocabularies.size), new)
    need = NEEDS.get(name)
    if need == "helper":
        if helper is None or helper.shape[0] != vocabularies.size:
            got = "none" if helper is None else str(helper.shape)
            raise ValueError(
                f"'{name}' needs the embeddings of a helper model of the new tokenizer, "
                f"({vocabularies.size}, H); got {got}"
            )
        if len(new) < 2:
            raise ValueError(f"'{name}' needs two shared tokens to start from, found {len(new)}")
        known = helper.astype(np.float64)
        if name.startswith("clp"):
            soft = temperature if name == "clp-softmax" else None
            values[rest] = _by_cosine(known[rest], known[new], old[source], soft)
        else:
            mapped = _mapped(known, new, old, source, None if "orth" in name else ridge)
            values[rest] = mapped[rest]
        counts[name] = len(rest)
    elif name == "fvt":
        reached = [i for i in rest if vocabularies.split.get(int(i))]
        for i in reached:
            values[i] = old[list(vocabularies.split[int(i)])].mean(axis=0, dtype=np.float64)
        counts |= {"mean of pieces": len(reached), "drawn": len(rest) - len(reached)}
    elif name == "unibridge":
        counts |= _unibridge(values, old, vocabularies, rest)
    else:
        counts["drawn"] = len(rest)
    return Guess(values, counts)


def _drawn(old: FloatArray, size: int, seed: int) -> FloatArray:
    mean, spread = old.mean(axis=0, dtype=np.float64), old.std(axis=0, dtype=np.float64)
    rows = [
        np.random.default_rng(zlib.crc32(f"{seed} token {i}".encode())).normal(size=old.shape[1])
        for i in range(size)
    ]
    found: FloatArray = (mean + spread * np.array(rows)).astype(np.float32)
    return found


def _by_cosine(
    asked: npt.NDArray[np.float64],
    known: npt.NDArray[np.float64],
    values: FloatArray,
    temperature: float | None,
) -> FloatArray:
    """Means of `values` (K, D) weighted by the cosine of `asked` (R, H) with `known` (K, H)."""
    known, asked = unit_rows(known), unit_rows(asked)
    found = np.zeros((len(asked), values.shape[1]), dtype=np.float32)
    for first in range(0, len(asked), _BLOCK):
        similar = asked[first : first + _BLOCK] @ known.T
        if temperature is None:
            weights = np.clip(similar, 0, None)
            # Like nothing that is shared: the plain mean.
            weights[~(weights.sum(axis=1) > 0)] = 1.0
        else:
            weights = np.exp((similar - similar.max(axis=1, keepdims=True)) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        found[first : first + _BLOCK] = weights @ values
    return found


def _mapped(
    helper: npt.NDArray[np.float64],
    new: npt.NDArray[np.int64],
    old: FloatArray,
    source: npt.NDArray[np.int64],
    ridge: float | None,
) -> FloatArray:
    """All of `helper` (M, H) led into the space of `old`, by what shared tokens show."""

    def scaled(
        values: npt.NDArray[np.floating],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        mean, spread = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
        spread = np.where(spread > 0, spread, 1.0)
        return (values - mean) / spread, mean, spread

    a, _, _ = scaled(helper)
    b, mean, spread = scaled(old)
    x, y = a[new], b[source]
    if ridge is None:
        left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
        found = a @ (left @ right)
    else:
        found = a @ np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    mapped: FloatArray = (found * spread + mean).astype(np.float32)
    return mapped


def _unibridge(
    values: FloatArray, old: FloatArray, known: Vocabularies, rest: npt.NDArray[np.int64]
) -> dict[str, int]:
    """Fill `values[rest]`; how many tokens by each of the ways."""
    if known.spaces is None:
        raise ValueError("'unibridge' needs static spaces of both vocabularies; name texts")
    space_old, space_new = (unit_rows(space) for space in known.spaces)
    if len(space_old) != len(old) or len(space_new) != len(values):
        raise ValueError(
            f"static spaces of {len(space_old)} and {len(space_new)} tokens do not fit "
            f"vocabularies of {len(old)} and {len(values)}"
        )
    done = np.ones(len(values), dtype=bool)
    done[rest] = False
    counts = {"equal but for case": 0, "mutual neighbours": 0, "sparsemax": 0, "drawn": 0}
    for new in rest:
        if int(new) in known.similar:
            values[new] = old[known.similar[int(new)]]
            done[new] = True
            counts["equal but for case"] += 1
    seen_old, seen_new = space_old.any(axis=1), space_new.any(axis=1)
    open_new = np.flatnonzero(~done & seen_new)
    candidates = np.flatnonzero(seen_old)
    if len(open_new) and len(candidates):
        forward = _nearest(space_new[open_new], space_old[candidates])
        backward = _nearest(space_old[candidates], space_new[open_new])
        for row, column in enumerate(forward):
            if backward[column] == row:
                values[open_new[row]] = old[candidates[column]]
                done[open_new[row]] = True
                counts["mutual neighbours"] += 1
    ready = np.flatnonzero(done & seen_new)
    open_new = np.flatnonzero(~done & seen_new)
    if len(ready):
        filled = values[ready].copy()
        for first in range(0, len(open_new), _BLOCK):
            rows = open_new[first : first + _BLOCK]
            values[rows] = sparsemax(space_new[rows] @ space_new[ready].T) @ filled
        counts["sparsemax"] = len(open_new)
        done[open_new] = True
    counts["drawn"] = int((~done).sum())
    return counts


def _nearest(
    asked: npt.NDArray[np.float64], among: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    found = [
        (asked[first : first + _BLOCK] @ among.T).argmax(axis=1)
        for first in range(0, len(asked), _BLOCK)
    ]
    return np.concatenate(found)
