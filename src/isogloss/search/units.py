"""Steps in, units out: k-means over directions, trained on a sample; called by the index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.corpora.progress import with_progress
from isogloss.scores.seqsim_blocks import thread_count
from isogloss.search.index_settings import FEWEST_UNITS, IndexSettings, units_for
from isogloss.search.step_sample import StepSample

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["Units", "centred_directions", "train_units"]

# Rows of one table of cosines: with 2,048 units 2 MiB, which stays in the second cache of a core.
_TABLE_CELLS = 1 << 19
# Steps of a query whose cosines with all units are held at a time.
_QUERY_STEPS = 512
# Two units whose cosines are nearer than this are told apart in float64: far above the rounding of
# a float32 product of D <= 4,096, and so rare that the slower loop costs nothing.
_CLOSE = 1e-5


@dataclass(frozen=True, eq=False)
class Units:
    """K directions that stand for all steps, and where the steps of each really lie.

    A step is centred by `mean` and goes to the centroid of largest cosine. `prototypes[k]` is the
    mean of the steps of unit k, each divided by its norm, not centred and not of length 1: the
    product of a query's step with it is the mean cosine with the steps of the unit. Unit K, the
    last prototype, is all zeros: it holds steps of norm 0, which have cosine 0 with everything.

    Attributes:
        mean: (D,) float64; zeros where steps are not centred.
        centroids: (K, D) float32 of length 1, in the centred space.
        prototypes: (K + 1, D) float32.
        error: mean over the training steps of the squared distance between a step of norm 1 and
            the prototype of its unit, in [0, 1].
    """

    mean: npt.NDArray[np.float64]
    centroids: FloatArray
    prototypes: FloatArray
    error: float

    @property
    def count(self) -> int:
        """K, without the unit of zero steps."""
        return len(self.centroids)

    @cached_property
    def directions(self) -> FloatArray:
        """The prototypes at length 1, zeros for unit K: (K + 1, D) float32."""
        return centred_directions(self.prototypes, np.zeros(self.prototypes.shape[1]))[0]

    @property
    def spread(self) -> float:
        """What `error` would be if all steps had one prototype, about: how far apart units lie."""
        middle = self.prototypes[:-1].mean(axis=0, dtype=np.float64)
        return 1 - float(middle @ middle)

    def assign(self, steps: FloatArray, *, threads: int | None = None) -> npt.NDArray[np.int64]:
        """The unit of every step (M, D): (M,) int64 in [0, K]; K marks steps of norm 0.

        The same step always gets the same unit, whatever stands beside it and however many
        threads there are: cosines that differ by rounding only are compared again in float64.

        Raises:
            ValueError: D differs.
        """
        if steps.ndim != 2 or steps.shape[1] != self.centroids.shape[1]:
            raise ValueError(
                f"steps must be (M, {self.centroids.shape[1]}) for these units, got {steps.shape}"
            )
        rows = max(64, _TABLE_CELLS // max(1, self.count))
        found = np.empty(len(steps), dtype=np.int64)

        def block(first: int) -> None:
            piece = steps[first : first + rows]
            found[first : first + rows] = self._assign_block(np.ascontiguousarray(piece))

        starts = range(0, len(steps), rows)
        if len(starts) < 2:
            for first in starts:
                block(first)
        else:
            with ThreadPoolExecutor(thread_count(threads)) as pool:
                for _ in pool.map(block, starts):
                    pass
        return found

    def _assign_block(self, steps: FloatArray) -> npt.NDArray[np.int64]:
        directions, _ = centred_directions(steps, self.mean)
        best = _best_units(directions, self.centroids)
        # Not steps that equal the mean: they point somewhere, and must not come back as zeros.
        best[~steps.any(axis=1)] = self.count
        return best

    def nearest(self, steps: FloatArray, count: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """The `count` units nearest to each step (T, D), nearest first: (T, n) units and cosines.

        n is `count`, or K where that is smaller. A step of norm 0 is near to no unit: its cosines
        are 0.
        """
        from isogloss.search import unit_kernels

        shape = (len(steps), min(count, self.count))
        columns = np.zeros(shape, dtype=np.int64)
        values = np.zeros(shape, dtype=np.float32)
        for first in range(0, len(steps), _QUERY_STEPS):
            block = slice(first, first + _QUERY_STEPS)
            directions, _ = centred_directions(steps[block], self.mean)
            directions[~steps[block].any(axis=1)] = 0
            unit_kernels.nearest(directions @ self.centroids.T, columns[block], values[block])
        return columns, values


def train_units(
    sample: StepSample | FloatArray, settings: IndexSettings, *, corpus_steps: int | None = None
) -> Units:
    """Units of a sample of steps, by spherical k-means; the same for the same sample and seed.

    K is `settings.units`, else follows from `corpus_steps` (else from the steps that the sample
    was drawn from). There are never more units than distinct steps in the sample; a sample without
    any direction gives 256 random ones, so that an index can begin empty.

    Args:
        sample: from `sample_steps`, or steps (S, D), finite, in random order; what is more than
            `settings.sample_per_unit` for each unit is not used.
        settings: `units`, `center`, `sample_per_unit`, `iterations`, `seed` are used.
        corpus_steps: steps of the whole corpus.

    Raises:
        ValueError: the sample is not (S, D) or not finite.
        MissingExtra: numba is absent.

    Source: Lloyd 1982 with cosine and centroids of length 1 (Dhillon and Modha 2001); a unit left
    without steps takes the step that fits its own unit worst.
    """
    steps, seen = (sample.steps, sample.seen) if isinstance(sample, StepSample) else (sample, 0)
    if steps.ndim != 2:
        raise ValueError(f"a sample must be (S, D), got shape {steps.shape}")
    wanted = settings.units or units_for(corpus_steps or seen or len(steps))
    steps = np.ascontiguousarray(steps[: wanted * settings.sample_per_unit], dtype=np.float32)
    if not np.isfinite(steps.sum(axis=1, dtype=np.float64)).all():
        raise ValueError("the sample of steps holds NaN or infinity")
    mean = np.zeros(steps.shape[1])
    if settings.center and len(steps):
        mean = steps.mean(axis=0, dtype=np.float64)
    real = steps.any(axis=1)
    directions, norms = centred_directions(steps, mean)
    if not norms[real].any():
        # All steps are alike: what they have in common is all there is.
        mean = np.zeros(steps.shape[1])
        directions, norms = centred_directions(steps, mean)
    real &= norms > 0
    directions = directions[real]
    rng = np.random.default_rng(settings.seed)
    if not len(directions):
        centroids = rng.standard_normal((FEWEST_UNITS, steps.shape[1])).astype(np.float32)
        centroids, _ = centred_directions(centroids, np.zeros(steps.shape[1]))
        prototypes = np.concatenate([centroids, np.zeros_like(centroids[:1])])
        return Units(mean, centroids, prototypes, 0.0)
    centroids = _lloyd(directions, wanted, settings.iterations, rng)
    return _with_prototypes(mean, centroids, steps[real])


def centred_directions(
    steps: FloatArray, mean: npt.NDArray[np.float64]
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Steps less `mean` at length 1 (or 0), (M, D) float32, and their lengths before, (M,)."""
    from isogloss.search import unit_kernels

    directions = np.empty(steps.shape, dtype=np.float32)
    norms = np.empty(len(steps), dtype=np.float64)
    unit_kernels.directions_of(np.ascontiguousarray(steps, np.float32), mean, directions, norms)
    return directions, norms


def _best_units(directions: FloatArray, centroids: FloatArray) -> npt.NDArray[np.int64]:
    """The centroid of largest cosine for each direction, the first of equals."""
    from isogloss.search import unit_kernels

    table = directions @ centroids.T
    best = np.empty(len(directions), dtype=np.int64)
    close = np.empty(len(directions), dtype=np.bool_)
    unit_kernels.largest_of_rows(table, _CLOSE, best, close)
    unit_kernels.settled(directions, centroids, table, _CLOSE, best, close)
    return best


def _lloyd(
    directions: FloatArray, wanted: int, iterations: int, rng: np.random.Generator
) -> FloatArray:
    """At most `wanted` centroids of length 1."""
    from isogloss.search import unit_kernels

    # Equal steps (silence, padding of an encoder) must not become several centroids.
    drawn = rng.permutation(len(directions))
    few = drawn[: 4 * wanted]
    _, first = np.unique(directions[few], axis=0, return_index=True)
    if len(first) < wanted and len(few) < len(drawn):
        few = drawn
        _, first = np.unique(directions[few], axis=0, return_index=True)
    centroids = directions[few[np.sort(first)[:wanted]]].copy()
    zero = np.zeros(directions.shape[1])
    before: npt.NDArray[np.int64] | None = None
    for _ in with_progress(range(iterations), "k-means", total=iterations):
        units = Units(zero, centroids, centroids, 0.0).assign(directions)
        if before is not None and np.array_equal(units, before):
            break
        before = units
        sums = np.zeros(centroids.shape)
        fits = np.empty(len(directions))
        unit_kernels.summed(directions, units, centroids, sums, fits)
        empty = np.setdiff1d(np.arange(len(centroids)), units)
        worst = np.argsort(fits, kind="stable")[: len(empty)]
        sums[empty] = directions[worst]
        moved, norms = centred_directions(sums.astype(np.float32), zero)
        # Steps that cancel out leave no direction; their centroid stays where it was.
        centroids = np.where((norms > 0)[:, np.newaxis], moved, centroids)
    return centroids


def _with_prototypes(
    mean: npt.NDArray[np.float64], centroids: FloatArray, steps: FloatArray
) -> Units:
    """Units whose prototypes are the means of the sample's steps at length 1."""
    from isogloss.search import unit_kernels

    units = Units(mean, centroids, centroids, 0.0).assign(steps)
    unit_steps, _ = centred_directions(steps, np.zeros(steps.shape[1]))
    sums = np.zeros((len(centroids) + 1, steps.shape[1]))
    fits = np.empty(len(steps))
    unit_kernels.summed(unit_steps, units, np.zeros_like(sums, dtype=np.float32), sums, fits)
    counts = np.bincount(units, minlength=len(sums))
    sums[:-1] /= np.maximum(counts[:-1, np.newaxis], 1)
    alone = np.flatnonzero(counts[:-1] == 0)
    sums[alone] = centred_directions((centroids[alone] + mean).astype(np.float32), 0 * mean)[0]
    sums[-1] = 0
    prototypes = sums.astype(np.float32)
    difference = unit_steps - prototypes[units]
    error = float(np.einsum("td,td->", difference, difference, dtype=np.float64) / len(steps))
    return Units(mean, centroids, prototypes, error)
