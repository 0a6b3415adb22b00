"""The rows of the study of repairs in; its table, gains against controls, and sentences out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss.measures import holm
from isogloss.tasks.study_judge import paired_gain
from isogloss.tasks.study_repairs import RAW
from isogloss.tasks.study_report import (
    StudyPicture,
    StudyReport,
    StudyTable,
    mean_range,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.measures import PairedTest
    from isogloss.tasks.study_repairs import RepairRow, RepairsFound, RepairsStudy
    from isogloss.tasks.study_report import Cell

__all__ = ["repairs_report"]

_SHOWN = {
    "xSIM": "xSIM",
    "cosine matched": "matched",
    "cosine random": "random",
    "MEXA": "MEXA",
    "CKA": "CKA",
    "ANC": "ANC",
    "variety identification": "variety id",
}
"""Numbers of the table that is printed, and their heads; the page and results.json have all."""

_WORST = "a control with R@1 0"


def repairs_report(study: RepairsStudy, found: RepairsFound) -> StudyReport:
    """The report of a finished study."""
    by_name = {row.name: row for row in found.rows}
    gains = _gains(found.rows, by_name, study.resamples)
    says = [*_best(found.rows, gains), *_whitening(found, gains), *_pair(study, found, by_name)]
    notes = {row.name: row.problem for row in found.rows if row.problem} | {
        "R@1 gain": "against the control: of an objective masked LM on the same batches for as "
        "many steps, of a transform the vectors before it, of a control the start; mean over the "
        "same meanings and all seeds, 95 % interval over meanings, p adjusted for the number of "
        "rows (Holm)",
        "equal steps": "are not equal compute: seconds, tokens and FLOPs stand beside each gain; "
        "those of a transform are of its fit alone",
        "layer": f"one for all rows, {found.layer}; another layer may rank them otherwise",
    }
    return StudyReport(
        "repairs",
        "Which repair buys what at what cost",
        tuple(says),
        (_table(study, found, gains), *_full(found)),
        tuple(_pictures(found, gains)),
        {
            "layer": found.layer,
            "rows": [_told(study, row, gains.get(row.name)) for row in found.rows],
        },
        notes,
        {
            "texts": dict(found.texts),
            "start": study.start.model or f"trained here, {study.start.steps} steps a seed",
            "training": study.options.told(),
            "objectives": {arm.name: list(arm.objectives) for arm in found.arms},
            "transforms": list(study.specs(found.pivot)),
            "fit_meanings": study.fit_meanings,
            "measures": list(study.measures),
            "pool": study.pool,
            "seeds": list(study.seeds),
            "resamples": study.resamples,
        },
    )


def _numbers(row: RepairRow, name: str) -> list[float | None]:
    return [one["numbers"].get(name) for one in row.judged]


def _pair_recall(row: RepairRow, pair: tuple[str, str]) -> list[float | None]:
    """R@1 of a pair, both ways, for each seed."""
    found: list[float | None] = []
    for one in row.judged:
        ways = [one["pairs"].get(f"{a}>{b}", {}).get("R@1") for a, b in (pair, pair[::-1])]
        known = [way for way in ways if way is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def _gains(
    rows: Sequence[RepairRow], by_name: Mapping[str, RepairRow], resamples: int
) -> dict[str, tuple[PairedTest, float]]:
    """Name of a row to its gain and its adjusted p-value."""
    tests: dict[str, PairedTest] = {}
    for row in rows:
        control = None if row.control is None else by_name.get(row.control)
        if control is None or not row.judged or not control.judged:
            continue
        test = paired_gain(row.judged, control.judged, resamples=resamples)
        if test is not None:
            tests[row.name] = test
    adjusted = holm([test.p_value for test in tests.values()])
    return {name: (test, p) for (name, test), p in zip(tests.items(), adjusted, strict=True)}


def _differences(row: RepairRow, control: RepairRow | None) -> list[float]:
    """R@1 less that of the control, seed by seed."""
    if control is None or len(control.judged) != len(row.judged):
        return []
    pairs = zip(_numbers(row, "R@1"), _numbers(control, "R@1"), strict=True)
    return [a - b for a, b in pairs if a is not None and b is not None]


def _table(
    study: RepairsStudy, found: RepairsFound, gains: Mapping[str, tuple[PairedTest, float]]
) -> StudyTable:
    measured = {name for row in found.rows for one in row.judged for name in one["numbers"]}
    shown = {name: head for name, head in _SHOWN.items() if name in measured}
    pair = study.pair
    columns = (
        "repair", "R@1", "gain", "over seeds", "p",
        *(("/".join(pair),) if pair else ()),
        *shown.values(), "seconds", "tokens", "FLOPs",
    )  # fmt: skip
    by_name = {row.name: row for row in found.rows}
    rows: list[tuple[Cell, ...]] = []
    for row in found.rows:
        gain = gains.get(row.name)
        control = None if row.control is None else by_name.get(row.control)
        rows.append(
            (
                row.name,
                mean_range(_numbers(row, "R@1")),
                "" if gain is None else _interval(gain[0]),
                mean_range(_differences(row, control), sign=True) if row.judged else "",
                "" if gain is None else f"{gain[1]:.3f}",
                *((mean_range(_pair_recall(row, pair)),) if pair else ()),
                *(_mean(_numbers(row, name)) for name in shown),
                *(_mean([one.get(n) for one in row.spent]) for n in ("seconds", "tokens", "flops")),
            )
        )
    note = (
        f"layer {found.layer}; {found.texts['meanings_judged']} held-out meanings in "
        f"{len(study.data.varieties or _codes(found))} varieties; mean (least to greatest) over "
        f"{len(study.seeds)} seeds"
    )
    return StudyTable(f"repairs at layer {found.layer}", columns, tuple(rows), note)


def _codes(found: RepairsFound) -> Sequence[str]:
    codes = found.texts["varieties"]
    return codes if isinstance(codes, list) else []


def _full(found: RepairsFound) -> list[StudyTable]:
    """All numbers, where more were measured than the first table shows."""
    names = list(dict.fromkeys(n for r in found.rows for one in r.judged for n in one["numbers"]))
    if not set(names) - {"R@1", "R@5", "MRR", "separation", *_SHOWN}:
        return []
    rows = tuple((row.name, *(_mean(_numbers(row, n)) for n in names)) for row in found.rows)
    return [StudyTable("every measure", ("repair", *names), rows, "means over seeds")]


def _pictures(
    found: RepairsFound, gains: Mapping[str, tuple[PairedTest, float]]
) -> list[StudyPicture]:
    rows = [row for row in found.rows if row.judged]
    held = [row for row in rows if row.name in gains]
    numbers = ["R@1", *(n for n in _SHOWN if any(_mean(_numbers(r, n)) for r in rows))]
    pictures = [
        StudyPicture(
            "gains", "R@1 gained over the control (95 % interval over meanings)", "bars",
            tuple(row.name for row in held), ("gain",),
            tuple((gains[row.name][0].difference,) for row in held),
            tuple((gains[row.name][0].low,) for row in held),
            tuple((gains[row.name][0].high,) for row in held), y="gain in R@1",
        )
    ] if held else []  # fmt: skip
    pictures.append(
        StudyPicture(
            "measures", "Measures of every repair (shades within each measure)", "heat",
            tuple(numbers), tuple(row.name for row in rows),
            tuple(tuple(_value(_numbers(row, name)) for row in rows) for name in numbers),
            by_row=True,
        )
    )  # fmt: skip
    return pictures


def _best(rows: Sequence[RepairRow], gains: Mapping[str, tuple[PairedTest, float]]) -> list[str]:
    said = []
    for title, chosen in (
        ("transform of the start", [r for r in rows if r.transform and r.base == RAW]),
        ("objective", [r for r in rows if not r.transform and r.control not in (None, RAW)]),
    ):
        known = [row for row in chosen if row.name in gains]
        if not known:
            continue
        best = max(known, key=lambda row: gains[row.name][0].difference)
        test, p = gains[best.name]
        before = _value(_numbers(best, "R@1"))
        sure = "" if p < 0.05 else "; no gain that its interval is sure of"
        said.append(
            f"Best {title}: {best.name}, R@1 {before:.3f}, gain {_interval(test)} over its control "
            f"in {_mean([one.get('seconds') for one in best.spent])} s{sure}."
        )
    return said


def _whitening(found: RepairsFound, gains: Mapping[str, tuple[PairedTest, float]]) -> list[str]:
    said = []
    for spec in ("zca", "subspace"):
        known = {
            row.base: gains[row.name][0]
            for row in found.rows
            if row.transform is not None
            and row.transform.partition(":")[0] == spec
            and row.name in gains
        }
        if RAW in known and len(known) > 1:
            others = ", ".join(f"{b} {_interval(t)}" for b, t in known.items() if b != RAW)
            said.append(
                f"{spec}: gain on the start {_interval(known[RAW])}, on trained models {others}."
            )
    return said


def _pair(study: RepairsStudy, found: RepairsFound, by_name: Mapping[str, RepairRow]) -> list[str]:
    if study.pair is None:
        return []
    said = []
    for row in found.rows:
        control = by_name.get(row.control or "")
        if row.transform or control is None or row.base == RAW or control.base == RAW:
            continue
        now, before = (spread(_pair_recall(r, study.pair)) for r in (row, control))
        if now is None or before is None:
            continue
        times = f"{now[0] / before[0]:.1f} times" if before[0] else _WORST
        said.append(
            f"{row.name}: R@1 of {' and '.join(study.pair)} {now[0]:.3f}, its control "
            f"{before[0]:.3f} ({times})."
        )
    return said


def _told(
    study: RepairsStudy, row: RepairRow, gain: tuple[PairedTest, float] | None
) -> dict[str, Any]:
    names = list(dict.fromkeys(n for one in row.judged for n in one["numbers"]))
    told: dict[str, Any] = {
        "repair": row.name,
        "base": row.base,
        "transform": row.transform,
        "control": row.control,
        "numbers": {
            name: {"mean": s[0], "least": s[1], "greatest": s[2], "seeds": _numbers(row, name)}
            for name in names
            if (s := spread(_numbers(row, name))) is not None
        },
        "pairs": [dict(one["pairs"]) for one in row.judged],
        "spent": [dict(one) for one in row.spent],
        "problem": row.problem,
    }
    if study.pair is not None:
        told["pair_r_at_1"] = _pair_recall(row, study.pair)
    if gain is not None:
        test, p = gain
        told["gain"] = {
            "difference": test.difference, "low": test.low, "high": test.high,
            "p": test.p_value, "p_holm": p,
        }  # fmt: skip
    return told


def _interval(test: PairedTest) -> str:
    return f"{test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f})"


def _value(values: Sequence[float | None]) -> float | None:
    found = spread(values)
    return None if found is None else found[0]


def _mean(values: Sequence[float | None]) -> str:
    found = _value(values)
    if found is None:
        return ""
    return f"{found:.3f}" if abs(found) < 100 else f"{found:.3g}"
