"""Which repair buys what at what cost: transforms and objectives in one table over all measures.

    start -> raw vectors -> every transform
          -> every objective, beside its equal-steps control -> every transform on the chosen one

All rows are judged on the same held-out meanings at the same layer, so that gains are paired.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isogloss.adapt.registry import make_transform
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError
from isogloss.tasks.alignment_explain import chosen_measures
from isogloss.tasks.study_data import fit_items
from isogloss.tasks.study_folder import claim_study, kept, weights_of
from isogloss.tasks.study_judge import SHORT_MEASURES, encode_items, judge_items
from isogloss.tasks.study_repair_arms import SHORT_OBJECTIVES, SHORT_TRANSFORMS, repair_arms
from isogloss.tasks.study_start import StartChoice, begin_study
from isogloss.tasks.study_train import ArmRun, TrainOptions, train_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.tasks.study_data import DataChoice, StudyTexts
    from isogloss.tasks.study_train import Arm
    from isogloss.types import Item, Vectors

__all__ = ["RAW", "RepairRow", "RepairsFound", "RepairsStudy", "run_repairs"]

RAW = "raw"
"""The start as it is."""


@dataclass(frozen=True)
class RepairsStudy:
    """The study of repairs.

    Attributes:
        data: which texts.
        start: the model to repair.
        transforms: specs; {pivot} stands for the pivot.
        objectives: see `repair_arms`.
        on: rows that transforms are tried on: 'raw' and names of objectives.
        options: of training.
        seeds: each trains all arms, and draws other meanings to fit transforms on.
        layer: of contrast and of all vectors; None is the middle.
        pool: see `isogloss.encoders.pool`.
        measures: see `ALL_MEASURES`.
        fit_meanings: that transforms are fitted on, out of the texts to learn from.
        pivot: variety that maps go to; where it is not there, the first one.
        pair: two varieties whose R@1 gets a column of its own; None for none.
        resamples: of the intervals of gains, over meanings; with 50 rows a p-value adjusted for
            them cannot fall below 50 / resamples.
        jobs: arms trained at once.
    """

    data: DataChoice
    start: StartChoice = field(default_factory=StartChoice)
    transforms: tuple[str, ...] = SHORT_TRANSFORMS
    objectives: tuple[str, ...] = SHORT_OBJECTIVES
    on: tuple[str, ...] = (RAW, "infonce")
    options: TrainOptions = field(default_factory=TrainOptions)
    seeds: tuple[int, ...] = (0, 1, 2)
    layer: int | None = None
    pool: str = "mean"
    measures: tuple[str, ...] = SHORT_MEASURES
    fit_meanings: int = 500
    pivot: str = "eng"
    pair: tuple[str, str] | None = None
    resamples: int = 10_000
    jobs: int = 1

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {self.seeds}")
        if self.fit_meanings < 2:
            raise ValueError(f"fit_meanings must be at least 2, got {self.fit_meanings}")
        for spec in self.specs(self.pivot):
            make_transform(spec)
        repair_arms(self.objectives, layer=1)
        known = (RAW, *self.objectives)
        unknown = [name for name in self.on if name not in known]
        if unknown:
            raise ValueError(
                f"transforms cannot be tried on '{unknown[0]}'; rows are {', '.join(known)}"
            )
        if "retrieval" not in chosen_measures(self.measures):
            raise ValueError("the measure 'retrieval' must be among those asked for")

    def specs(self, pivot: str) -> tuple[str, ...]:
        """The transforms with the pivot in its place."""
        return tuple(spec.replace("{pivot}", pivot) for spec in self.transforms)


@dataclass(frozen=True, slots=True)
class RepairRow:
    """One row of the table.

    Attributes:
        base: 'raw', or the objective whose model it is.
        transform: spec, or None.
        control: name of the row it is held against: of an objective its control, of a transform
            its base, of a control the start; None for the start.
        judged: what `judge_items` gave for each seed.
        spent: of each seed "seconds" (in training steps, or in fitting), "tokens", "flops".
        problem: why there are no numbers; '' where there are.
    """

    base: str
    transform: str | None
    control: str | None
    judged: tuple[Mapping[str, Any], ...] = ()
    spent: tuple[Mapping[str, float], ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """Base and transform."""
        return self.base if self.transform is None else f"{self.base} > {self.transform}"


@dataclass(frozen=True, slots=True)
class RepairsFound:
    """All rows, the start first; at which layer; with which objectives; on which texts."""

    rows: tuple[RepairRow, ...]
    layer: int | None
    arms: tuple[Arm, ...]
    pivot: str
    texts: Mapping[str, object]


def run_repairs(
    study: RepairsStudy,
    out: Path,
    *,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> RepairsFound:
    """Train, transform and judge everything in `out`; repeated, it goes on where it stopped.

    A transform that cannot be fitted keeps its row, which says why.

    Raises:
        IsoglossError: the start is no model, `out` holds a study of other texts, training failed.
        ValueError: no two varieties share meanings, or the model has no such layer.
        MissingExtra: a package of the extra `text` is not installed.
    """
    say = say or (lambda _line: None)
    out = out.resolve()
    with claim_study(out, {"study": "repairs", **study.data.settings()}):
        common = begin_study(
            study.data, study.start, study.seeds, study.options, out,
            layer=study.layer, jobs=study.jobs, quiet=quiet, say=say,
        )  # fmt: skip
        texts, begun, layer = common.texts, common.models, common.layer
        arms = repair_arms(study.objectives, layer=layer or 0)
        runs = [
            ArmRun(
                arm, seed, out / "arms" / f"{_plain(arm.name)}-{seed}", texts.learn, study.options,
                start=begun[seed], cache=out / "romanised.sqlite", quiet=quiet,
            )
            for seed in study.seeds
            for arm in arms
        ]  # fmt: skip
        trained = train_all(runs, jobs=study.jobs, say=say)
        models = {(RAW, seed): folder for seed, folder in begun.items()}
        models |= {(run.arm.name, run.seed): run.folder for run in runs}
        spent = {
            (run.arm.name, run.seed): {
                "seconds": result.train_seconds,
                "tokens": result.spent.get("tokens", 0.0),
                "flops": result.spent.get("flops", 0.0),
            }
            for run, result in zip(runs, trained, strict=True)
        }
        say("judging")
        judge = _Judge(study, texts, layer, out / "judged", quiet)
        rows = [judge.row(RAW, None, None, models, spent)]
        rows += [judge.row(arm.name, None, arm.control or RAW, models, spent) for arm in arms]
        tried = [(base, spec) for base in study.on for spec in study.specs(judge.pivot)]
        for base, spec in tried if quiet else with_progress(tried, "transforms"):
            rows.append(judge.row(base, spec, base, models, spent))
    return RepairsFound(tuple(rows), layer, tuple(arms), judge.pivot, texts.told())


class _Judge:
    """Vectors of models, encoded once, and what they are worth."""

    def __init__(
        self, study: RepairsStudy, texts: StudyTexts, layer: int | None, folder: Path, quiet: bool
    ) -> None:
        self.study = study
        self.texts = texts
        self.layer = layer
        self.folder = folder
        self.quiet = quiet
        codes = texts.varieties
        self.pivot = study.pivot if study.pivot in codes else codes[0]
        self._fit: dict[int, list[Item]] = {}
        self._held: dict[tuple[str, str], Vectors] = {}

    def row(
        self,
        base: str,
        spec: str | None,
        control: str | None,
        models: Mapping[tuple[str, int], Path],
        spent: Mapping[tuple[str, int], Mapping[str, float]],
    ) -> RepairRow:
        """The row of a model, or of a transform of it, over all seeds."""
        judged, costs, problem = [], [], ""
        for seed in self.study.seeds:
            model = models[base, seed]
            found = self._judged(base, spec, seed, model)
            problem = problem or found.get("problem", "")
            judged.append(found)
            costs.append(found.get("spent") or spent.get((base, seed), {}))
        if problem:
            return RepairRow(base, spec, control, problem=problem)
        return RepairRow(base, spec, control, tuple(judged), tuple(costs))

    def _judged(self, base: str, spec: str | None, seed: int, model: Path) -> dict[str, Any]:
        key = {
            "weights": weights_of(model),
            "layer": self.layer,
            "pool": self.study.pool,
            "measures": list(self.study.measures),
            "transform": spec,
            "fit_meanings": None if spec is None else self.study.fit_meanings,
        }
        name = _plain(base if spec is None else f"{base}+{spec}")
        if base == RAW and spec is None and self.study.start.model is not None:
            seed = self.study.seeds[0]  # one model, nothing drawn
        return kept(
            self.folder / f"{name}-{seed}.json", key, lambda: self._judge(spec, seed, model)
        )

    def _judge(self, spec: str | None, seed: int, model: Path) -> dict[str, Any]:
        items = self.texts.judge.items
        vectors = self._vectors(model, "judge", items)
        if spec is None:
            return judge_items(vectors, items, measures=self.study.measures)
        if seed not in self._fit:
            self._fit[seed] = fit_items(self.texts, self.study.fit_meanings, seed)
        fit_on = self._fit[seed]
        learnt = self._vectors(model, f"fit {seed}", fit_on)
        there = {item.id: item for item in fit_on}
        known = [there[id_] for id_ in learnt.ids]
        began = time.perf_counter()
        try:
            transform = make_transform(spec).fit(
                learnt,
                varieties=[item.variety for item in known],
                meanings=[item.meaning for item in known],
            )
            seconds = time.perf_counter() - began
            found = judge_items(vectors, items, transform=transform, measures=self.study.measures)
        except (ValueError, IsoglossError) as error:
            return {"problem": str(error)}
        return {**found, "spent": {"seconds": seconds, "tokens": 0.0, "flops": 0.0}}

    def _vectors(self, model: Path, what: str, items: Sequence[Item]) -> Vectors:
        place = str(model), what
        if place not in self._held:
            # Of two models at once nothing is needed.
            self._held = {k: v for k, v in self._held.items() if k[0] == place[0]}
            self._held[place] = encode_items(
                f"hf:{model}", items, self.layer, pool=self.study.pool, progress=not self.quiet
            )
        return self._held[place]


def _plain(name: str) -> str:
    """A name as part of a file's name; two different names stay different."""
    import zlib

    plain = "".join(c if c.isalnum() or c in "-." else "-" for c in name)
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}"
