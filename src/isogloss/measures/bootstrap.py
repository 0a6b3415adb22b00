"""Per-item statistics in, percentile bootstrap intervals out; used by every measure and task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "bootstrap_interval",
    "bootstrap_ratio_interval",
    "percentile_interval",
    "resample_counts",
    "two_way_interval",
    "two_way_samples",
]

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]
Interval = tuple[float, float]

# Resamples computed at one time are bounded by this many numbers, so memory does not grow with n.
_CELLS_AT_ONCE = 2_000_000


def bootstrap_interval(
    per_item: Floats, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Percentile interval of the mean of `per_item`, (low, high).

    Args:
        per_item: (N,) one statistic an item.
        resamples: how often N items are drawn with replacement.
        level: share of the resampled means inside the interval.
        seed: fixes the draw; equal input and seed give equal bounds.

    Returns:
        The bounds; None when N is 0 or 1 or `resamples` is 0, where nothing can be resampled. A
        constant column gives an interval of width 0, which says that these items do not differ,
        not that the value is certain.

    Raises:
        ValueError: `per_item` is not (N,) or not finite, `resamples` is negative, or `level` is
            not between 0 and 1.

    Source: Efron 1979; percentile method.
    """
    ones = np.ones(np.shape(per_item), dtype=np.float64)
    return bootstrap_ratio_interval(per_item, ones, resamples=resamples, level=level, seed=seed)


def bootstrap_ratio_interval(
    numerators: Floats,
    denominators: Floats,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of sum(numerators) / sum(denominators) over items, (low, high).

    For rates such as errors per reference character, where long items weigh more. Resamples whose
    denominator is 0 are left out.

    Raises:
        ValueError: the two are not (N,) of one N and finite, or as `bootstrap_interval`.
    """
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    _check(resamples, level)
    if top.ndim != 1 or top.shape != bottom.shape:
        raise ValueError(f"expected one number an item, got shapes {top.shape}, {bottom.shape}")
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        raise ValueError("per-item statistics hold NaN or infinity")
    n = len(top)
    if n < 2 or not resamples:
        return None
    rng = np.random.default_rng(seed)
    values = []
    for count in _batches(resamples, n):
        drawn = rng.integers(0, n, (count, n))
        below = bottom[drawn].sum(axis=1)
        usable = below != 0
        values.append(top[drawn].sum(axis=1)[usable] / below[usable])
    return _percentiles(np.concatenate(values), level)


def two_way_interval(
    hits: Mapping[tuple[str, str], Floats],
    *,
    strata: Mapping[str, str] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of the mean over pairs of sites, resampling sentences and sites.

    The pairs of a table of sites share their sentences and their sites, so neither pairs nor
    (pair, sentence) cells are independent. Each resample draws sentences with replacement, and
    within each stratum sites with replacement; a pair counts as often as its first site was drawn
    times its second. A stratum of one site keeps it, so with one site each (varieties instead of
    sites) only sentences are resampled.

    Args:
        hits: for each ordered pair (query site, target site) an (S,) row over one common list of
            S sentences; NaN where the pair lacks a sentence. Pairs may be absent. Every row has
            the same S.
        strata: group of each site, so that resampled sites keep their groups' sizes; by default
            all sites form one stratum.
        resamples: how many tables are drawn. Tables with no pair left (a group whose only drawn
            site would have to meet itself) are left out.
        level: share of the resampled means inside the interval.
        seed: fixes the draw.

    Returns:
        (low, high) around the mean over pairs of each pair's mean over its sentences; None when
        there is no pair, fewer than 2 sentences, or `resamples` is 0.

    Raises:
        ValueError: rows differ in length, a row has no number at all, a site has no stratum, or
            as `bootstrap_interval`.

    Source: the pigeonhole bootstrap of Owen 2007 for crossed random effects.
    """
    _check(resamples, level)
    samples = two_way_samples(hits, strata=strata, resamples=resamples, seed=seed)
    return None if samples is None else _percentiles(samples, level)


def two_way_samples(
    hits: Mapping[tuple[str, str], Floats],
    *,
    strata: Mapping[str, str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> npt.NDArray[np.float64] | None:
    """The resampled means behind `two_way_interval`: (B,) with B at most `resamples`.

    Arguments, None and errors as there; `paired_two_way` feeds it differences of two encoders.
    """
    if not hits:
        return None
    pairs = list(hits)
    if len({np.shape(row) for row in hits.values()}) > 1:
        raise ValueError("all pairs need one row over the same sentences")
    table = np.array([np.asarray(hits[pair], dtype=np.float64) for pair in pairs])  # (P, S)
    if table.ndim != 2:
        raise ValueError(f"expected one row of sentences for each pair, got {table.shape[1:]}")
    present = ~np.isnan(table)
    if not present.any(axis=1).all():
        raise ValueError(f"pair {pairs[int(np.argmin(present.any(axis=1)))]} has no sentence")
    if table.shape[1] < 2 or not resamples:
        return None
    sites = sorted({site for pair in pairs for site in pair})
    members = _strata(sites, strata)
    column = {site: i for i, site in enumerate(sites)}
    first = np.array([column[a] for a, _ in pairs])
    second = np.array([column[b] for _, b in pairs])
    filled = np.where(present, table, 0)
    known = present.astype(np.float64)
    rng = np.random.default_rng(seed)
    values = []
    for count in _batches(resamples, len(pairs) + table.shape[1]):
        sentence_weights = _draws(rng, count, table.shape[1])
        site_weights = np.ones((count, len(sites)))
        for indices in members:
            if len(indices) > 1:
                site_weights[:, indices] = _draws(rng, count, len(indices))
        sums = sentence_weights @ filled.T
        counts = sentence_weights @ known.T
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        pair_weights = site_weights[:, first] * site_weights[:, second] * (counts > 0)
        total = pair_weights.sum(axis=1)
        usable = total > 0
        values.append((pair_weights * means).sum(axis=1)[usable] / total[usable])
    return np.concatenate(values)


def resample_counts(
    *sizes: int, resamples: int = 1000, seed: int = 0, of_item: Sequence[Indices] = ()
) -> Iterator[npt.NDArray[np.float64]]:
    """How often each unit or item counts in each resample, in blocks (B, n) of `resamples` rows.

    For statistics that are no mean of items: give the counts to it as weights. With one size n,
    the rows are draws of n units with replacement. With several sizes, the kinds of units are
    crossed (speakers and meanings): each kind is drawn for itself, and an item counts as often as
    the product of its units' draws; `of_item` then says which unit of each kind an item belongs
    to, as one (N,) row of numbers for each size.

    Nothing comes when there are fewer than 2 units of every kind, or `resamples` is 0. A kind of
    one unit is kept as it is.

    Raises:
        ValueError: `resamples` is negative, or `of_item` has another number of rows than sizes.

    Source: Owen 2007 for crossed units.
    """
    _check(resamples, 0.5)
    if len(of_item) not in ((0, 1) if len(sizes) == 1 else (len(sizes),)):
        raise ValueError(f"{len(of_item)} rows of units for {len(sizes)} kinds of units")
    if max(sizes, default=0) < 2:
        return
    rng = np.random.default_rng(seed)
    width = max([*sizes, *(len(row) for row in of_item)])
    for count in _batches(resamples, width) if resamples else ():
        draws = [_draws(rng, count, n) if n > 1 else np.ones((count, n)) for n in sizes]
        if of_item:
            draws = [draw[:, row] for draw, row in zip(draws, of_item, strict=True)]
        weights = draws[0]
        for draw in draws[1:]:
            weights = weights * draw
        yield weights


def percentile_interval(values: Floats, level: float = 0.95) -> Interval | None:
    """Percentile bounds (low, high) of resampled statistics; NaN is left out, None if none is left.

    Args:
        values: (B,) one statistic for each resample; NaN where it is undefined.
        level: share of `values` between the bounds.

    Raises:
        ValueError: `level` is not between 0 and 1.
    """
    _check(0, level)
    known = np.asarray(values, dtype=np.float64)
    return _percentiles(known[~np.isnan(known)], level)


def _check(resamples: int, level: float) -> None:
    if resamples < 0:
        raise ValueError(f"resamples must not be negative, got {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")


def _batches(resamples: int, width: int) -> list[int]:
    at_once = max(1, min(resamples, _CELLS_AT_ONCE // max(width, 1)))
    return [min(at_once, resamples - done) for done in range(0, resamples, at_once)]


def _draws(rng: np.random.Generator, count: int, n: int) -> npt.NDArray[np.float64]:
    """How often each of n was drawn in n draws with replacement: (count, n)."""
    drawn = rng.integers(0, n, (count, n)) + np.arange(0, count * n, n)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


def _strata(sites: Sequence[str], strata: Mapping[str, str] | None) -> list[npt.NDArray[np.int64]]:
    if strata is None:
        return [np.arange(len(sites))]
    missing = [site for site in sites if site not in strata]
    if missing:
        raise ValueError(f"site '{missing[0]}' has no stratum ({len(missing)} such sites)")
    names = np.array([strata[site] for site in sites])
    return [np.flatnonzero(names == name) for name in sorted(set(names.tolist()))]


def _percentiles(values: npt.NDArray[np.float64], level: float) -> Interval | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
