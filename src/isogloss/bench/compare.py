"""Results of several encoders in one suite in; one table with intervals and paired tests out.

Every encoder is set against a baseline that is named, or else against the best of each measure.
Tests are paired: over the items that two encoders share, and where the sets of a suite are sites,
over sentences and sites. All p-values of one table are adjusted together (Holm 1979).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.bench.entries import keys_of, per_item_of, signature_of, table_of
from isogloss.bench.store import load_results
from isogloss.corpora.progress import with_progress
from isogloss.errors import UnknownName
from isogloss.measures import holm, paired_bootstrap, paired_two_way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.bench.store import RunResult
    from isogloss.measures import PairedTest

__all__ = ["Cell", "Comparison", "Difference", "Row", "compare"]

ALPHA = 0.05
# Items make up a value when their mean agrees with it to this ...
_SAME = 1e-4
# ... and to this where the value is a mean over pairs of sets with unequally many items.
_NEAR = 0.03
# Sets of these kinds are drawn from a population, so items alone must not be resampled.
_DRAWN = ("site", "speaker")


@dataclass(frozen=True, slots=True)
class Difference:
    """`encoder` minus `against`, on the items that both have; `p_holm` is adjusted."""

    encoder: str
    against: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    n: int
    resampled: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One encoder in one measure.

    `alike` says that it is the best or cannot be told from it; None where that was not tested.
    With a baseline it says so of the baseline.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    alike: bool | None
    test: Difference | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A measure of a task: a cell for each encoder that has it."""

    task: str
    measure: str
    higher_is_better: bool
    reference: str
    cells: Mapping[str, Cell]
    chance: float | None = None

    @property
    def tested(self) -> bool:
        """Whether any two encoders could be compared; if not, the row has no best."""
        return any(cell.test is not None for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class Comparison:
    """A suite's table: `encoders` are its columns, `rows` the measures that the suite shows.

    `left_out` says, for each task and encoder without numbers, why.
    """

    suite: str
    corpus: Mapping[str, Any]
    encoders: tuple[str, ...]
    baseline: str | None
    rows: tuple[Row, ...]
    tests: int
    resamples: int
    level: float
    seed: int
    left_out: tuple[tuple[str, str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values of everything."""
        plain: dict[str, Any] = dataclasses.asdict(self)
        plain["left_out"] = [
            {"task": task, "encoder": encoder, "reason": reason}
            for task, encoder, reason in self.left_out
        ]
        return plain


def compare(
    results: Sequence[RunResult] | Path | str,
    *,
    suite: str | None = None,
    baseline: str | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Every encoder beside every other, with intervals, paired tests and honest ties.

    Without a baseline each measure's best encoder is the reference, and every encoder that cannot
    be told from it is marked like it. (The best of several is partly so by luck; a difference that
    must hold is tested against a baseline that was named before.)

    Args:
        results: of one suite and corpus, or the folder of a run.
        suite: which, where the folder holds several.
        baseline: an encoder to set all others against.
        resamples: of every test.
        level: of the interval of every difference.
        seed: of every test.
        progress: a bar on stderr where it takes long, as with 78 sites.

    Returns:
        A table with the measures that the suite shows; a measure that only some encoders have is
        there for those. A test is missing (None) where two encoders share no items, or a measure,
        such as a correlation, is no mean of items.

    Raises:
        ValueError: there is no result, or results of different suites or corpora.
        UnknownName: no such baseline or suite; near matches are offered.
        IsoglossError: the folder holds no run, or several suites and none is named.
    """
    if isinstance(results, str | Path):
        results = load_results(Path(results), suite)
    if not results:
        raise ValueError("there is no result to compare")
    if len({(r.suite, r.corpus["sha"]) for r in results}) > 1:
        raise ValueError("the results come from different suites or corpora; compare one at a time")
    encoders = tuple(r.encoder for r in results)
    if baseline is not None and baseline not in encoders:
        raise UnknownName("encoder of these results", baseline, encoders)
    drafts = [_Draft(task, measure, found, baseline) for task, measure, found in _measured(results)]
    for draft in with_progress(drafts, "testing", total=len(drafts)) if progress else drafts:
        draft.test(resamples, level, seed)
    tested = [(draft, name) for draft in drafts for name in draft.tests]
    adjusted = holm([draft.tests[name].p_value for draft, name in tested])
    p_holm: dict[tuple[int, str], float] = {
        (id(draft), name): p for (draft, name), p in zip(tested, adjusted, strict=True)
    }
    rows = tuple(draft.row({n: p_holm[id(draft), n] for n in draft.tests}) for draft in drafts)
    left_out = tuple(
        (name, result.encoder, str(entry["left_out"]))
        for result in results
        for name, entry in result.tasks.items()
        if "left_out" in entry
    )
    first = results[0]
    return Comparison(
        first.suite,
        dict(first.corpus),
        encoders,
        baseline,
        rows,
        len(tested),
        resamples,
        level,
        seed,
        left_out,
    )


_Stored = tuple["Mapping[str, Any]", "Mapping[str, Any]"]  # entry, measurement


def _measured(
    results: Sequence[RunResult],
) -> list[tuple[str, str, dict[str, _Stored]]]:
    """Task, measure, and who has it, in the order of the suite and of its `show`."""
    order: dict[tuple[str, str], dict[str, _Stored]] = {}
    tasks = list(dict.fromkeys(name for r in results for name in r.tasks))
    wanted = list(results[0].config.get("tasks", tasks))
    tasks.sort(key=lambda name: wanted.index(name) if name in wanted else len(wanted))
    for task in tasks:
        entries = {r.encoder: r.tasks[task] for r in results if task in r.tasks}
        patterns = dict.fromkeys(p for entry in entries.values() for p in entry.get("show", ()))
        for pattern in patterns:
            for encoder, entry in entries.items():
                for m in entry.get("measurements", ()):
                    if fnmatchcase(m["name"], pattern):
                        order.setdefault((task, m["name"]), {})[encoder] = (entry, m)
    return [(task, measure, found) for (task, measure), found in order.items()]


class _Draft:
    """A row before its p-values are adjusted."""

    def __init__(
        self, task: str, measure: str, found: Mapping[str, _Stored], baseline: str | None
    ) -> None:
        self.task, self.measure, self.found = task, measure, found
        self.higher = all(m["higher_is_better"] for _, m in found.values())
        values = {name: m["value"] for name, (_, m) in found.items()}
        best = max(values, key=lambda name: values[name] if self.higher else -values[name])
        self.reference = baseline if baseline is not None and baseline in found else best
        # Where the baseline lacks the measure nobody can be set against it.
        self.has_reference = baseline is None or baseline in found
        self.tests: dict[str, PairedTest] = {}
        self.over: dict[str, str] = {}

    def test(self, resamples: int, level: float, seed: int) -> None:
        if not self.has_reference:
            return
        for name in self.found:
            if name != self.reference:
                known = _test(
                    self.measure,
                    self.found[name],
                    self.found[self.reference],
                    {"resamples": resamples, "level": level, "seed": seed},
                )
                if known is not None:
                    self.tests[name], self.over[name] = known

    def row(self, p_holm: Mapping[str, float]) -> Row:
        cells = {}
        for name, (_, m) in self.found.items():
            alike = True if name == self.reference and self.tests else None
            test = None
            if name in self.tests:
                t = self.tests[name]
                test = Difference(
                    encoder=name,
                    against=self.reference,
                    difference=t.difference,
                    low=t.low,
                    high=t.high,
                    p_value=t.p_value,
                    p_holm=p_holm[name],
                    n=t.n,
                    resampled=self.over[name],
                )
                alike = p_holm[name] >= ALPHA
            cells[name] = Cell(m["value"], m["low"], m["high"], m["n"], alike, test)
        entry, m = next(iter(self.found.values()))
        chance = signature_of(entry, m).get("chance")
        return Row(
            self.task,
            self.measure,
            self.higher,
            self.reference,
            cells,
            chance if isinstance(chance, float) else None,
        )


def _test(
    measure: str, first: _Stored, second: _Stored, how: Mapping[str, Any]
) -> tuple[PairedTest, str] | None:
    table, other = table_of(first[0], measure), table_of(second[0], measure)
    if table is not None and other is not None:
        (meanings, rows_a, strata), (others, rows_b, _) = table, other
        if meanings != others:
            rows_b = _reordered(rows_b, others, meanings)
        tested = paired_two_way(rows_a, rows_b, strata=strata, **how)
        names = list(strata.values())
        over = "sentences and sites" if len(set(names)) < len(names) else "sentences"
        return None if tested is None else (tested, over)
    if signature_of(*first).get("by") in _DRAWN:
        return None
    shared = _shared_items(first, second)
    if shared is None:
        return None
    tested = paired_bootstrap(shared[0], shared[1], **how)
    return None if tested is None else (tested, shared[2])


def _reordered(
    rows: Mapping[tuple[str, str], Any], meanings: Sequence[str], wanted: Sequence[str]
) -> dict[tuple[str, str], Any]:
    """`rows` over the sentences `wanted`; NaN where they lack one."""
    column = {meaning: i for i, meaning in enumerate(meanings)}
    found = {}
    for pair, row in rows.items():
        found[pair] = np.array([row[column[m]] if m in column else np.nan for m in wanted])
    return found


def _shared_items(first: _Stored, second: _Stored) -> tuple[Any, Any, str] | None:
    """Statistics of the items that both have, in one order, and what they are called.

    None where they cannot be paired.
    """
    a, b = per_item_of(first[1]), per_item_of(second[1])
    if a is None or b is None or a.shape[1:] != b.shape[1:]:
        return None
    # What is no mean of these items at all is not tested by them.
    gap = max(_gap(a, first[1]["value"]), _gap(b, second[1]["value"]))
    if gap > _NEAR:
        return None
    over = "items" if gap <= _SAME else "items, weighed alike"
    keys_a, keys_b = keys_of(*first), keys_of(*second)
    if keys_a is None or keys_b is None:
        signatures = signature_of(*first), signature_of(*second)
        # Without keys the order is only known to be the same where nothing was left out.
        whole = all(not s.get("unreadable") for s in signatures)
        return (a, b, over) if len(a) == len(b) and whole else None
    place = {key: i for i, key in enumerate(keys_b)}
    both = [(i, place[key]) for i, key in enumerate(keys_a) if key in place]
    if len(place) != len(keys_b) or not both:
        return None
    rows = np.array(both)
    return a[rows[:, 0]], b[rows[:, 1]], over


def _gap(values: Any, value: float) -> float:
    """How far the mean (or rate) of stored statistics lies from their value."""
    if values.ndim == 1:
        return float(abs(values.mean() - value))
    total = values[:, -1].sum()
    return float(abs(values[:, :-1].sum() / total - value)) if total else np.inf
