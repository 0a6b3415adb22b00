"""How well do models align varieties: every measure at every layer, several models side by side.

models x poolings -> measures x layers x pairs
models x transforms, fitted on other meanings -> retrieval and similarities by layer
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.model_vectors import encode_model
from isogloss.adapt.registry import make_transform
from isogloss.encoders import load_encoder
from isogloss.errors import IsoglossError
from isogloss.tasks.alignment import Alignment
from isogloss.tasks.study_data import fit_items, study_texts
from isogloss.tasks.study_folder import claim_study, kept
from isogloss.tasks.study_judge import judge_items
from isogloss.tasks.study_report import StudyPicture, StudyReport, StudyTable, mean_range
from isogloss.types import Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.tasks.study_data import DataChoice, StudyTexts
    from isogloss.tasks.study_report import Cell

__all__ = ["LayersStudy", "run_layers"]

_MEASURES = ("retrieval", "separation", "cka")
_MOST_MATRICES = 8


@dataclass(frozen=True)
class LayersStudy:
    """The study of layers.

    Attributes:
        models: names for `load_encoder`.
        data: which texts.
        task: what is measured; its `pool` is replaced by each of `pools`.
        pools: ways to make one vector of an item.
        transforms: tried at every layer, with the first of `pools`; {pivot} stands for the pivot.
        fit_meanings: that transforms are fitted on.
        pivot: variety that maps go to; where it is not there, the first one.
        seeds: of the meanings that transforms are fitted on.
    """

    models: tuple[str, ...]
    data: DataChoice
    task: Alignment = field(default_factory=Alignment)
    pools: tuple[str, ...] = ("mean",)
    transforms: tuple[str, ...] = ()
    fit_meanings: int = 500
    pivot: str = "eng"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name, values in (("model", self.models), ("pool", self.pools), ("seed", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"name each {name} once, at least one, got {values}")
        if self.fit_meanings < 2:
            raise ValueError(f"fit_meanings must be at least 2, got {self.fit_meanings}")
        for spec in self.transforms:
            make_transform(spec.replace("{pivot}", self.pivot))

    def told(self) -> dict[str, Any]:
        """What changes the numbers of one model."""
        task = self.task
        return {
            "measures": list(task.measures), "layers": task.layers and list(task.layers),
            "pairs": task.pairs, "bootstrap": task.bootstrap, "seed": task.seed,
        }  # fmt: skip


def run_layers(
    study: LayersStudy,
    out: Path,
    *,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> StudyReport:
    """Measure every model in `out`; repeated, it goes on where it stopped.

    Raises:
        IsoglossError: a model reads no text, or `out` holds a study of other texts.
        ValueError: no two varieties share meanings, or a model has no such layer.
        UnknownName: no such model, pooling or measure.
    """
    say = say or (lambda _line: None)
    out = out.resolve()
    with claim_study(out, {"study": "layers", **study.data.settings()}):
        say("reading the texts")
        texts = study_texts(study.data, out / "texts", progress=not quiet)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        changed: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for number, model in enumerate(study.models):
            say(f"measuring {model}")
            encoder = load_encoder(model)
            if not getattr(encoder, "takes_text", False):
                raise IsoglossError(f"{model} reads no text; isogloss measure takes speech too")
            for pool in study.pools:
                task = replace(study.task, pool=pool, items=None, progress=not quiet)
                key = {"made_by": encoder.made_by, "pool": pool, **study.told()}
                found[model, pool] = kept(
                    out / "measured" / f"{number}-{pool}.json", key,
                    lambda task=task, encoder=encoder, model=model: task.measure(  # type: ignore[misc]
                        texts.judge, encoder, name=model
                    ).to_dict(),
                )  # fmt: skip
            for spec in study.transforms:
                pivot = study.pivot if study.pivot in texts.varieties else texts.varieties[0]
                asked = spec.replace("{pivot}", pivot)
                for seed in study.seeds:
                    key = {
                        "made_by": encoder.made_by, "pool": study.pools[0], "transform": asked,
                        "fit_meanings": study.fit_meanings, "layers": study.told()["layers"],
                    }  # fmt: skip
                    changed.setdefault((model, asked), []).append(
                        kept(
                            out / "measured" / f"{number}-{_plain(asked)}-{seed}.json", key,
                            lambda model=model, asked=asked, seed=seed: _transformed(  # type: ignore[misc]
                                study, texts, model, asked, seed, quiet
                            ),
                        )
                    )  # fmt: skip
    return _report(study, texts, found, changed)


def _transformed(
    study: LayersStudy, texts: StudyTexts, model: str, spec: str, seed: int, quiet: bool
) -> dict[str, Any]:
    """Numbers of the transformed vectors at every layer, or why there are none."""
    layers = "all" if study.task.layers is None else study.task.layers
    options: dict[str, Any] = {"layers": layers, "pool": study.pools[0], "progress": not quiet}
    fit = encode_model(model, fit_items(texts, study.fit_meanings, seed), **options)
    judged = encode_model(model, texts.judge.items, **options)
    found: dict[str, Any] = {}
    for learnt, other in zip(fit, judged, strict=True):
        name = str(learnt.layer or 0)
        if not isinstance(other.vectors, Vectors):
            raise TypeError("steps cannot be judged here; they must be pooled")
        try:
            transform = make_transform(spec).fit(
                learnt.vectors, varieties=learnt.varieties, meanings=learnt.meanings
            )
            judgement = judge_items(
                other.vectors, texts.judge.items, transform=transform, measures=_MEASURES
            )
            found[name] = judgement["numbers"]
        except (ValueError, IsoglossError) as error:
            found[name] = {"problem": str(error)}
    return found


def _report(
    study: LayersStudy,
    texts: StudyTexts,
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    changed: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
) -> StudyReport:
    labels = _labels(study)
    curves = {(model, pool): _curve(told, "residual") for (model, pool), told in found.items()}
    tables = [_best(study, labels, found), *_poolings(study, labels, curves)]
    if changed:
        tables.append(_changes(labels, study, curves, changed))
    notes = {
        f"{labels[model]}, {name}": reason
        for (model, pool), told in found.items()
        for name, reason in told["notes"].items()
        if pool == study.pools[0]
    }
    notes |= {
        f"{labels[model]}, {spec}, layer {layer}": numbers["problem"]
        for (model, spec), runs in changed.items()
        for run in runs
        for layer, numbers in run.items()
        if "problem" in numbers
    }
    says = [
        f"{labels[model]}, pooled by {pool}: the translation is nearest most often at layer "
        f"{best[0]} (R@1 {best[1]:.3f})."
        for (model, pool), curve in curves.items()
        if (best := max(curve.get("R@1", {}).items(), key=lambda kv: kv[1], default=None))
    ]
    says.append(
        "The best layer is chosen on the very items that are judged, so its number is a little "
        "high."
    )
    return StudyReport(
        "layers",
        f"Alignment by layer: {texts.name}",
        tuple(says),
        tuple(tables),
        tuple(_pictures(study, labels, found, curves, changed)),
        {
            "models": {
                model: {
                    pool: {
                        "measurements": found[model, pool]["measurements"],
                        "chosen_layer": found[model, pool]["chosen_layer"],
                        "layers": found[model, pool]["layers"],
                    }
                    for pool in study.pools
                }
                for model in study.models
            },
            "transforms": [
                {"model": model, "transform": spec, "seeds": [dict(run) for run in runs]}
                for (model, spec), runs in changed.items()
            ],
        },
        notes,
        {
            "texts": texts.told(), "models": list(study.models), "pools": list(study.pools),
            **study.told(), "transforms": list(study.transforms),
            "fit_meanings": study.fit_meanings, "seeds": list(study.seeds),
        },
    )  # fmt: skip


def _curve(told: Mapping[str, Any], site: str) -> dict[str, dict[int, float]]:
    """Name of a number to its mean over pairs at each layer."""
    found: dict[str, dict[int, float]] = {}
    for row in told["measurements"]:
        if row["pair"] is None and row["site"] == site and row["value"] is not None:
            found.setdefault(row["name"], {})[row["layer"]] = row["value"]
    return found


def _best(
    study: LayersStudy,
    labels: Mapping[str, str],
    found: Mapping[tuple[str, str], Mapping[str, Any]],
) -> StudyTable:
    """The best layer of every number for each model."""
    rows: list[tuple[Cell, ...]] = []
    best: dict[str, dict[str, dict[str, Any]]] = {}
    for model in study.models:
        for row in found[model, study.pools[0]]["measurements"]:
            if row["pair"] is not None or row["value"] is None:
                continue
            held = best.setdefault(row["name"], {}).get(model)
            sign = 1 if row["higher_is_better"] else -1
            if held is None or sign * row["value"] > sign * held["value"]:
                best[row["name"]][model] = row
    for name, by_model in best.items():
        cells: list[Cell] = [name]
        for model in study.models:
            row = by_model.get(model)
            if row is None:
                cells += ["", ""]
                continue
            between = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
            cells += [row["layer"], f"{row['value']:.3f}{between}"]
        rows.append(tuple(cells))
    columns = ("number", *(c for m in study.models for c in (f"{labels[m]}: layer", "there")))
    return StudyTable(
        "every number at its best layer", columns, tuple(rows),
        f"pooled by {study.pools[0]}; intervals over meanings; isogloss measure --explain says "
        "what each number means and where it misleads",
    )  # fmt: skip


def _poolings(
    study: LayersStudy,
    labels: Mapping[str, str],
    curves: Mapping[tuple[str, str], Mapping[str, Mapping[int, float]]],
) -> list[StudyTable]:
    if len(study.pools) < 2:
        return []
    layers = sorted({layer for c in curves.values() for layer in c.get("R@1", {})})
    rows = tuple(
        (labels[model], pool, *(curve.get("R@1", {}).get(layer) for layer in layers))
        for (model, pool), curve in curves.items()
    )
    columns = ("model", "pooling", *(f"layer {layer}" for layer in layers))
    return [StudyTable("R@1 by pooling and layer", columns, rows)]


def _changes(
    labels: Mapping[str, str],
    study: LayersStudy,
    curves: Mapping[tuple[str, str], Mapping[str, Mapping[int, float]]],
    changed: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
) -> StudyTable:
    layers = sorted({int(layer) for runs in changed.values() for layer in runs[0]})
    rows: list[tuple[Cell, ...]] = []
    for model in study.models:
        before = curves[model, study.pools[0]].get("R@1", {})
        rows.append((labels[model], "(before)", *(_three(before.get(layer)) for layer in layers)))
        for (of, spec), runs in changed.items():
            if of == model:
                values = [[run.get(str(layer), {}).get("R@1") for run in runs] for layer in layers]
                rows.append((labels[model], spec, *(mean_range(v) for v in values)))
    return StudyTable(
        "R@1 before and after transforms", ("model", "transform", *(f"layer {n}" for n in layers)),
        tuple(rows),
        f"fitted on {study.fit_meanings} other meanings, drawn by {len(study.seeds)} seeds",
    )  # fmt: skip


def _pictures(
    study: LayersStudy,
    labels: Mapping[str, str],
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    curves: Mapping[tuple[str, str], Mapping[str, Mapping[int, float]]],
    changed: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
) -> list[StudyPicture]:
    pictures = []
    for number, model in enumerate(study.models, 1):
        curve = curves[model, study.pools[0]]
        layers = sorted({layer for values in curve.values() for layer in values})
        pictures.append(
            StudyPicture(
                f"measures-{number}", f"{labels[model]}: every number by layer (shades in a row)",
                "heat", tuple(curve), tuple(str(layer) for layer in layers),
                tuple(tuple(curve[name].get(layer) for layer in layers) for name in curve),
                x="layer", by_row=True,
            )
        )  # fmt: skip
        pictures += _matrices(number, labels[model], found[model, study.pools[0]])
    every = sorted({layer for curve in curves.values() for layer in curve.get("R@1", {})})
    lines = {
        f"{labels[model]}, {pool}" if len(study.pools) > 1 else labels[model]: [
            curve.get("R@1", {}).get(layer) for layer in every
        ]
        for (model, pool), curve in curves.items()
    }
    for (model, spec), runs in changed.items():
        values = [[run.get(str(layer), {}).get("R@1") for run in runs] for layer in every]
        lines[f"{labels[model]} > {spec}"] = [
            float(np.mean(known)) if (known := [v for v in one if v is not None]) else None
            for one in values
        ]
    pictures.insert(
        0,
        StudyPicture(
            "retrieval", "Is the translation nearest?", "lines", tuple(lines),
            tuple(str(layer) for layer in every), tuple(tuple(v) for v in lines.values()),
            x="layer", y="R@1, mean over pairs",
        ),
    )  # fmt: skip
    return pictures


def _matrices(number: int, label: str, told: Mapping[str, Any]) -> list[StudyPicture]:
    """R@1 from variety to variety, a picture a layer; of many layers evenly spread ones."""
    cells: dict[int, dict[tuple[str, str], float]] = {}
    for row in told["measurements"]:
        if row["name"] == "R@1" and row["pair"] and row["site"] == "residual":
            cells.setdefault(row["layer"], {})[tuple(row["pair"])] = row["value"]
    layers = sorted(cells)
    if len(layers) > _MOST_MATRICES:
        at = np.linspace(0, len(layers) - 1, _MOST_MATRICES).round().astype(int)
        layers = [layers[i] for i in at]
    pictures = []
    for layer in layers:
        names = list(dict.fromkeys(code for pair in cells[layer] for code in pair))
        pictures.append(
            StudyPicture(
                f"pairs-{number}-layer-{layer}",
                f"{label}, layer {layer}: R@1 from row to column", "heat", tuple(names),
                tuple(names),
                tuple(tuple(cells[layer].get((a, b)) for b in names) for a in names), y="R@1",
            )
        )  # fmt: skip
    return pictures


def _labels(study: LayersStudy) -> dict[str, str]:
    """Short names of the models; the whole name where two would be alike."""
    short = {model: model.rstrip("/").rpartition("/")[2] or model for model in study.models}
    doubles = len(set(short.values())) < len(short)
    return {model: model for model in study.models} if doubles else short


def _plain(spec: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in spec)


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
