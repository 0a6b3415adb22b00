"""What transliteration buys across scripts: as data, as contrast, and joined; at equal steps.

Four arms see the same batches in the same order: texts alone, texts and their transliteration as
data, both with a contrast between them (TransliCo), and that with translation LM on both joined.
No arm is told which texts are translations. Each is judged by similarities of matched and random
pairs, original and transliterated, and by retrieval.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.encoders.item_text import text_of
from isogloss.measures import gold_ranks, separation_of_table
from isogloss.scores import cosine
from isogloss.tasks.study_folder import claim_study, kept, weights_of
from isogloss.tasks.study_judge import encode_items
from isogloss.tasks.study_report import StudyPicture, StudyReport, StudyTable, mean_range, spread
from isogloss.tasks.study_start import StartChoice, begin_study
from isogloss.tasks.study_train import Arm, ArmRun, TrainOptions, train_all, viewer
from isogloss.types import Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.tasks.study_data import DataChoice, StudyTexts
    from isogloss.types import FloatArray, Item

__all__ = ["SCRIPT_ARMS", "ScriptsStudy", "run_scripts"]

_VIEW = "::transliterated"
_SETTINGS = ("original-original", "transliterated-transliterated", "original-transliterated")
_NUMBERS = ("matched", "random", "R@1")
_START = "start"


def script_arms(layer: int, weight: float) -> tuple[Arm, ...]:
    """The arms; all have rows of a text and its transliteration, so all see the same texts."""
    contrast = f"infonce:layer={layer},weight={weight:g},negatives=all"
    return (
        Arm("control", ("mlm:sides=first",), "views", None, "masked LM on the texts alone"),
        Arm("both scripts", ("mlm",), "views", "control", "and on their transliterations, as data"),
        Arm("contrast", ("mlm", contrast), "views", "both scripts", "and a contrast of the two"),
        Arm(
            "contrast+tlm", ("mlm", contrast, "tlm"), "views", "both scripts",
            "and masked LM on the two joined",
        ),
    )  # fmt: skip


SCRIPT_ARMS = tuple(arm.name for arm in script_arms(1, 1.0))
"""Names of the arms."""


@dataclass(frozen=True)
class ScriptsStudy:
    """The study of scripts.

    Attributes:
        data: which texts; `data.must` should hold the pair.
        pair: two varieties to look at; the other pairs are in the means.
        start: the model that arms start from.
        options: of training; `options.views` makes the transliteration.
        arms: names out of `SCRIPT_ARMS`; 'control' is always there.
        seeds: of training; each is a run of all arms.
        layer: at which contrast is made and vectors are judged; None is the middle.
        weight: of the contrast.
        jobs: arms trained at once.
    """

    data: DataChoice
    pair: tuple[str, str]
    start: StartChoice = field(default_factory=StartChoice)
    options: TrainOptions = field(default_factory=TrainOptions)
    arms: tuple[str, ...] = SCRIPT_ARMS
    seeds: tuple[int, ...] = (0,)
    layer: int | None = None
    weight: float = 0.5
    jobs: int = 1

    def __post_init__(self) -> None:
        if len(set(self.pair)) != 2:
            raise ValueError(f"the pair must be two varieties, got {self.pair}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {self.seeds}")
        unknown = [name for name in self.arms if name not in SCRIPT_ARMS]
        if unknown:
            raise ValueError(f"no arm '{unknown[0]}'; there are {', '.join(SCRIPT_ARMS)}")
        if not self.weight > 0:
            raise ValueError(f"the weight of the contrast must be above 0, got {self.weight}")


def run_scripts(
    study: ScriptsStudy,
    out: Path,
    *,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> StudyReport:
    """Train and judge all arms in `out`; repeated, it goes on where it stopped.

    Raises:
        IsoglossError: a variety is not there, the start is no model, or `out` holds a study of
            other texts.
        MissingExtra: uroman or transformers is not installed.
    """
    say = say or (lambda _line: None)
    out = out.resolve()
    cache = out / "romanised.sqlite"
    settings = {"study": "scripts", "pair": list(study.pair), **study.data.settings()}
    with claim_study(out, settings):
        common = begin_study(
            study.data, study.start, study.seeds, study.options, out,
            layer=study.layer, jobs=study.jobs, quiet=quiet, say=say,
        )  # fmt: skip
        texts, begun, layer = common.texts, common.models, common.layer
        if layer is None:
            raise ValueError("the start has no layers to choose from")
        wanted = [
            arm for arm in script_arms(layer, study.weight) if arm.name in ("control", *study.arms)
        ]
        runs = [
            ArmRun(
                arm, seed, out / "arms" / f"{arm.name.replace(' ', '-')}-{seed}", texts.learn,
                study.options, start=begun[seed], cache=cache, quiet=quiet,
            )
            for seed in study.seeds
            for arm in wanted
        ]  # fmt: skip
        trained = train_all(runs, jobs=study.jobs, say=say)
        say("judging")
        seen = _with_views(texts, viewer(study.options.views, cache))
        rows: dict[str, list[dict[str, Any]]] = {}
        for seed in study.seeds:
            rows.setdefault(_START, []).append(
                _judged(begun[seed], seen, layer, out / "judged" / f"start-{seed}.json", quiet)
            )
        for run, result in zip(runs, trained, strict=True):
            name = f"{run.folder.name}.json"
            found = _judged(run.folder, seen, layer, out / "judged" / name, quiet)
            spent = {**result.spent, "seconds": result.train_seconds}
            rows.setdefault(run.arm.name, []).append({**found, "spent": spent})
    return _report(study, texts, layer, wanted, rows)


def _with_views(texts: StudyTexts, view: Callable[[Sequence[str]], list[str]]) -> tuple[Item, ...]:
    """The judged items, and behind them their transliterations."""
    items = texts.judge.items
    views = view([text_of(item) for item in items])
    return (
        *items,
        *(
            replace(item, id=item.id + _VIEW, text=text, transcript=None)
            for item, text in zip(items, views, strict=True)
        ),
    )


def _judged(
    model: Path, items: Sequence[Item], layer: int, path: Path, quiet: bool
) -> dict[str, Any]:
    key = {
        "weights": weights_of(model),
        "layer": layer,
        "items": len(items),
    }

    def make() -> dict[str, Any]:
        return similarities(encode_items(f"hf:{model}", items, layer, progress=not quiet), items)

    return kept(path, key, make)


def similarities(vectors: Vectors, items: Sequence[Item]) -> dict[str, Any]:
    """For every pair of varieties and each of three settings: matched, random, R@1.

    Setting to pair ('srp>srp-latn') to numbers, over the meanings that both varieties have.
    'original-transliterated' is the mean of both ways round. Under 'own transliteration' each
    variety is held against the transliteration of its own texts.
    """
    place = {id_: row for row, id_ in enumerate(vectors.ids)}
    by_variety: dict[str, dict[str, Item]] = {}
    for item in items:
        if not item.id.endswith(_VIEW) and item.meaning is not None:
            by_variety.setdefault(item.variety, {}).setdefault(item.meaning, item)
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in _SETTINGS}
    found["own transliteration"] = {}

    def rows(of: Sequence[Item], view: bool) -> Vectors:
        names = [item.id + (_VIEW if view else "") for item in of]
        chosen = [place[name] for name in names]
        return Vectors(tuple(names), vectors.values[chosen], vectors.made_by)

    def usable(item: Item) -> bool:
        return item.id in place and item.id + _VIEW in place

    for code, own in by_variety.items():
        there = [item for item in own.values() if usable(item)]
        if len(there) > 1:
            found["own transliteration"][code] = _numbers(rows(there, False), rows(there, True))
    for a, b in combinations(by_variety, 2):
        shared = [
            m for m in by_variety[a]
            if m in by_variety[b] and usable(by_variety[a][m]) and usable(by_variety[b][m])
        ]  # fmt: skip
        if len(shared) < 2:
            continue
        one, other = [by_variety[a][m] for m in shared], [by_variety[b][m] for m in shared]
        name = f"{a}>{b}"
        found[_SETTINGS[0]][name] = _numbers(rows(one, False), rows(other, False))
        found[_SETTINGS[1]][name] = _numbers(rows(one, True), rows(other, True))
        both = (
            _numbers(rows(one, False), rows(other, True)),
            _numbers(rows(one, True), rows(other, False)),
        )
        found[_SETTINGS[2]][name] = {k: (both[0][k] + both[1][k]) / 2 for k in both[0]}
    return {"settings": found}


def _numbers(one: Vectors, other: Vectors) -> dict[str, float]:
    table: FloatArray = cosine(one, other)
    apart = separation_of_table(table)
    gold = np.arange(len(table))
    ways = [
        gold_ranks(scores, gold).ranks == 1 for scores in (table, np.ascontiguousarray(table.T))
    ]
    recall = float(np.mean([way.mean() for way in ways]))
    return {"matched": apart.matched, "random": apart.random, "R@1": recall}


def _at(
    row: Mapping[str, Any], setting: str, name: str, pair: tuple[str, str] | None
) -> float | None:
    """A number of one run: of the pair, or the mean over all pairs."""
    table: Mapping[str, Mapping[str, float]] = row["settings"][setting]
    if pair is None:
        values = [one[name] for one in table.values()]
        return float(np.mean(values)) if values else None
    known = table.get(">".join(pair)) or table.get(">".join(reversed(pair)))
    return None if known is None else known[name]


def _report(
    study: ScriptsStudy,
    texts: StudyTexts,
    layer: int,
    arms: Sequence[Arm],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> StudyReport:
    names = [_START, *(arm.name for arm in arms)]
    tables = []
    for title, pair in ((f"{' and '.join(study.pair)}", study.pair), ("all pairs", None)):
        cells = [
            (
                name,
                *(
                    mean_range([_at(row, setting, number, pair) for row in rows[name]])
                    for setting in _SETTINGS
                    for number in _NUMBERS
                ),
                _cost(rows[name], "seconds"),
                _cost(rows[name], "tokens"),
                _cost(rows[name], "flops"),
            )
            for name in names
        ]
        columns = (
            "arm",
            *(f"{short} {n}" for short in ("o-o", "t-t", "o-t") for n in _NUMBERS),
            "seconds", "tokens", "FLOPs",
        )  # fmt: skip
        note = (
            "o original, t transliterated; mean (least to greatest) over seeds. Matched means "
            "nothing without random beside it."
        )
        tables.append(StudyTable(f"{title}, layer {layer}", columns, tuple(cells), note))
    own = StudyTable(
        "each text and its own transliteration",
        ("arm", "matched", "random", "R@1"),
        tuple(
            (name, *(mean_range([_at(r, "own transliteration", n, None) for r in rows[name]])
                     for n in _NUMBERS))
            for name in names
        ),
    )  # fmt: skip
    pictures = tuple(_pictures(study, names, rows))
    return StudyReport(
        "scripts",
        f"Transliteration across scripts: {' and '.join(study.pair)}",
        tuple(_says(study, arms, rows)),
        (*tables, own),
        pictures,
        {
            "pair": list(study.pair),
            "layer": layer,
            "arms": {name: [dict(row) for row in rows[name]] for name in names},
        },
        {
            "arms": "all arms see the same texts in the same order; steps are equal, compute is "
            "not, and stands beside the gain",
        },
        {
            "texts": texts.told(),
            "start": study.start.model or f"trained here, {study.start.steps} steps a seed",
            "training": study.options.told(),
            "objectives": {arm.name: list(arm.objectives) for arm in arms},
            "seeds": list(study.seeds),
        },
    )


def _cost(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    found = spread([row.get("spent", {}).get(name) for row in rows])
    return "" if found is None else f"{found[0]:.3g}"


def _pictures(
    study: ScriptsStudy, names: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[StudyPicture]:
    def part(setting: str, number: str, end: int) -> list[float | None]:
        found = [spread([_at(r, setting, number, study.pair) for r in rows[n]]) for n in names]
        return [None if one is None else one[end] for one in found]

    pictures = []
    for name, title, number in (
        ("retrieval", "Is the translation nearest?", ("R@1",)),
        ("similarities", "How near, and how near is anything?", ("matched", "random")),
    ):
        columns = tuple(f"{s}, {n}" if len(number) > 1 else s for s in _SETTINGS for n in number)
        ends = [
            tuple(zip(*(part(s, n, end) for s in _SETTINGS for n in number), strict=True))
            for end in range(3)
        ]
        pictures.append(
            StudyPicture(
                name, f"{title} {' and '.join(study.pair)}", "bars", tuple(names), columns,
                ends[0], ends[1], ends[2], y="R@1" if name == "retrieval" else "mean cosine",
            )
        )  # fmt: skip
    return pictures


def _says(
    study: ScriptsStudy, arms: Sequence[Arm], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    said = []

    def mean(name: str, number: str) -> float | None:
        found = spread([_at(row, _SETTINGS[0], number, study.pair) for row in rows[name]])
        return None if found is None else found[0]

    held = [(arm.name, arm.control) for arm in arms if arm.control in rows]
    held += [(arm.name, "control") for arm in arms if arm.control not in (None, "control")]
    for name, control in held:
        now = {n: mean(name, n) for n in _NUMBERS}
        before = {n: mean(str(control), n) for n in _NUMBERS}
        if any(value is None for value in (*now.values(), *before.values())):
            continue
        ratio = now["R@1"] / before["R@1"] if before["R@1"] else float("inf")  # type: ignore[operator]
        times = f", {ratio:.1f} times as often" if np.isfinite(ratio) else ""
        said.append(
            f"{name} against {control}: R@1 of {' and '.join(study.pair)} "
            f"{before['R@1']:.3f} to {now['R@1']:.3f}{times}; matched similarity "
            f"{before['matched']:.3f} to {now['matched']:.3f}, random {before['random']:.3f} to "
            f"{now['random']:.3f}."
        )
    said.append(
        "A higher similarity of translations is worth nothing where that of random pairs rises as "
        "much; only retrieval, or the gap, tells."
    )
    return said
