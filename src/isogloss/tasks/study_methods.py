"""Rotation or fine-tuning, sentence pairs or a dictionary: the four ways, at equal data.

    the same meanings -> sentence pairs        -> rotate | fine-tune (contrast)
                      -> words that a list pairs -> rotate | fine-tune (word pairs drawn together)

Rotation is normalisation and orthogonal Procrustes; fine-tuning stands beside masked LM on the same
batches. Judged by retrieval of sentences and of words in context, and by what it costs.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss._files import sha256_of_file
from isogloss.adapt.registry import make_transform
from isogloss.encoders import load_encoder
from isogloss.encoders.item_text import text_of
from isogloss.encoders.pool import words_pool
from isogloss.encoders.words import words_of
from isogloss.measures import gold_ranks
from isogloss.scores import cosine
from isogloss.tasks.study_data import fit_items
from isogloss.tasks.study_folder import claim_study, kept, weights_of
from isogloss.tasks.study_judge import encode_items, judge_items, paired_gain
from isogloss.tasks.study_report import StudyPicture, StudyReport, StudyTable, mean_range, spread
from isogloss.tasks.study_start import StartChoice, begin_study
from isogloss.tasks.study_train import Arm, ArmRun, TrainOptions, train_all
from isogloss.training.word_links import bare, lexicon_links, same_words
from isogloss.types import Corpus, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.adapt.transform import FittedTransform
    from isogloss.tasks.study_data import DataChoice, StudyTexts
    from isogloss.types import Item

__all__ = ["METHODS", "SUPERVISIONS", "MethodsStudy", "run_methods"]

SUPERVISIONS = ("parallel", "dictionary")
METHODS = ("rotate", "finetune")
_RAW, _CONTROL = "raw", "control"
_MEASURES = ("retrieval", "separation", "cka")
# Words of as many meanings are searched for.
_WORD_MEANINGS = 150
_LEAST_TYPE = 2


@dataclass(frozen=True)
class MethodsStudy:
    """The study of alignment methods.

    Attributes:
        data: which texts.
        start: the model to align.
        lexicon: TSV of word pairs (see `read_lexicons`); None pairs words written alike.
        supervisions: of `SUPERVISIONS`.
        methods: of `METHODS`.
        rotation: spec of the transform; {pivot} stands for the pivot.
        meanings: that all cells learn from.
        options: of training.
        seeds: of the choice of meanings, and of training.
        layer: None is the middle.
        pivot: variety that maps go to; where it is not there, the first one.
        jobs: arms trained at once.
    """

    data: DataChoice
    start: StartChoice = field(default_factory=StartChoice)
    lexicon: Path | None = None
    supervisions: tuple[str, ...] = SUPERVISIONS
    methods: tuple[str, ...] = METHODS
    rotation: str = "iterative+procrustes:target={pivot}"
    meanings: int = 500
    options: TrainOptions = field(default_factory=TrainOptions)
    seeds: tuple[int, ...] = (0,)
    layer: int | None = None
    pivot: str = "eng"
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, chosen, known in (
            ("supervision", self.supervisions, SUPERVISIONS),
            ("method", self.methods, METHODS),
        ):
            unknown = [one for one in chosen if one not in known]
            if unknown or not chosen:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {unknown or 'none'}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {self.seeds}")
        if self.meanings < 2:
            raise ValueError(f"meanings must be at least 2, got {self.meanings}")
        make_transform(self.rotation.replace("{pivot}", self.pivot))

    def arms(self, layer: int) -> list[Arm]:
        """What is trained: the control, then fine-tuning under each supervision."""
        if "finetune" not in self.methods:
            return []
        words = f"word-mse:layer={layer}"
        if self.lexicon is not None:
            words += f",lexicon={self.lexicon}"
        objectives = {"parallel": f"infonce:layer={layer}", "dictionary": words}
        found = [Arm(_CONTROL, ("mlm",), "meaning")]
        for supervision in self.supervisions:
            objective = ("mlm", objectives[supervision])
            found.append(Arm(f"finetune, {supervision}", objective, "meaning", _CONTROL))
        return found


def run_methods(
    study: MethodsStudy,
    out: Path,
    *,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> StudyReport:
    """Fit, train and judge every cell in `out`; repeated, it goes on where it stopped.

    Raises:
        IsoglossError: the start is no model, `out` holds a study of other texts.
        ValueError: no two varieties share meanings, or no word is paired in any of them.
        MissingExtra: a package of the extra `text` is not installed.
    """
    say = say or (lambda _line: None)
    out = out.resolve()
    with claim_study(out, {"study": "align-methods", **study.data.settings()}):
        common = begin_study(
            study.data, study.start, study.seeds, study.options, out,
            layer=study.layer, jobs=study.jobs, quiet=quiet, say=say,
        )  # fmt: skip
        texts, begun, layer = common.texts, common.models, common.layer or 0
        learnt = {seed: fit_items(texts, study.meanings, seed) for seed in study.seeds}
        runs = [
            ArmRun(
                arm, seed, out / "arms" / f"{arm.name.replace(', ', '-')}-{seed}",
                _corpus(texts, learnt[seed], f"{seed}:{study.meanings}"),
                study.options, start=begun[seed], quiet=quiet,
            )
            for seed in study.seeds
            for arm in study.arms(layer)
        ]  # fmt: skip
        trained = train_all(runs, jobs=study.jobs, say=say)
        say("judging")
        cells = _Cells(study, texts, layer, out / "judged", quiet)
        rows: dict[str, list[dict[str, Any]]] = {}
        for seed in study.seeds:
            rows.setdefault(_RAW, []).append(cells.found(_RAW, seed, begun[seed], None, learnt))
            if "rotate" in study.methods:
                for supervision in study.supervisions:
                    rows.setdefault(f"rotate, {supervision}", []).append(
                        cells.found(
                            f"rotate, {supervision}", seed, begun[seed], supervision, learnt
                        )
                    )
        for run, result in zip(runs, trained, strict=True):
            found = cells.found(run.arm.name, run.seed, run.folder, None, learnt)
            spent = {**result.spent, "seconds": result.train_seconds}
            rows.setdefault(run.arm.name, []).append({**found, "spent": spent})
    return _report(study, texts, layer, rows)


def _corpus(texts: StudyTexts, items: Sequence[Item], drawn: str) -> Corpus:
    return Corpus("pairs", tuple(items), sha=f"{texts.learn.sha}:{drawn}")


class _Cells:
    """Judges models and rotations of them."""

    def __init__(
        self, study: MethodsStudy, texts: StudyTexts, layer: int, folder: Path, quiet: bool
    ) -> None:
        self.study = study
        self.texts = texts
        self.layer = layer
        self.folder = folder
        self.quiet = quiet
        codes = texts.varieties
        self.pivot = study.pivot if study.pivot in codes else codes[0]
        self.spec = study.rotation.replace("{pivot}", self.pivot)

    def found(
        self,
        name: str,
        seed: int,
        model: Path,
        rotate: str | None,
        learnt: Mapping[int, Sequence[Item]],
    ) -> dict[str, Any]:
        """Numbers of a cell, kept."""
        lexicon = self.study.lexicon
        key = {
            "weights": weights_of(model),
            "layer": self.layer,
            "rotate": None if rotate is None else [rotate, self.spec, self.study.meanings],
            "lexicon": None if lexicon is None else sha256_of_file(lexicon),
        }
        path = self.folder / f"{name.replace(', ', '-')}-{seed}.json"
        return kept(path, key, lambda: self._judge(model, rotate, learnt[seed]))

    def _judge(self, model: Path, rotate: str | None, learnt: Sequence[Item]) -> dict[str, Any]:
        items = self.texts.judge.items
        vectors = encode_items(f"hf:{model}", items, self.layer, progress=not self.quiet)
        transform, seconds, used = None, 0.0, 0
        if rotate is not None:
            began = time.perf_counter()
            if rotate == "parallel":
                on = encode_items(f"hf:{model}", learnt, self.layer, progress=not self.quiet)
                named = {item.id: item for item in learnt}
                known = [named[id_] for id_ in on.ids]
                varieties = [item.variety for item in known]
                meanings = [str(item.meaning) for item in known]
            else:
                on, varieties, meanings = self._types(model, learnt)
            used = len(set(meanings))
            transform = make_transform(self.spec).fit(on, varieties=varieties, meanings=meanings)
            seconds = time.perf_counter() - began
        found = judge_items(vectors, items, transform=transform, measures=_MEASURES)
        recall, pairs = self._words(model, transform)
        found["numbers"] |= {"word R@1": recall}
        return {
            **found, "word_pairs": pairs, "learnt_pairs": used,
            "spent": {"seconds": seconds, "tokens": 0.0, "flops": 0.0},
        }  # fmt: skip

    def _states(self, model: Path, items: Sequence[Item]) -> list[dict[int, Any]]:
        """For each item the state of each of its words."""
        encoder: Any = load_encoder(f"hf:{model}")
        steps = words_pool(encoder.with_layer(self.layer).encode(items))
        found = []
        for row in range(len(items)):
            numbers = steps.item_words(row)
            there = [] if numbers is None else numbers.tolist()
            found.append(dict(zip(there, steps[row], strict=True)))
        return found

    def _types(self, model: Path, items: Sequence[Item]) -> tuple[Vectors, list[str], list[str]]:
        """A vector of each word that the dictionary pairs with a word of the pivot.

        It is the mean over all places of the word in the texts of its variety: which texts are
        translations of each other is not used.
        """
        sums: dict[tuple[str, str], Any] = {}
        counts: Counter[tuple[str, str]] = Counter()
        for item, states in zip(items, self._states(model, items), strict=True):
            text = text_of(item)
            words = [bare(text[a:b]) for a, b in words_of(text)]
            for number, state in states.items():
                place = item.variety, words[number]
                if place[1]:
                    sums[place] = sums.get(place, 0.0) + state.astype(np.float64)
                    counts[place] += 1
        of_pivot = {word for code, word in sums if code == self.pivot}
        listed = (
            None if self.study.lexicon is None else lexicon_links(str(self.study.lexicon)).words
        )
        rows, varieties, meanings = [], [], []
        for (code, word), total in sorted(sums.items()):
            if counts[code, word] < _LEAST_TYPE:
                continue
            if code == self.pivot:
                target: str | None = word
            elif listed is None:
                target = word if word in of_pivot else None
            else:
                known = sorted(set(listed.get(word, ())) & of_pivot)
                target = known[0] if known else None
            if target is not None:
                rows.append((total / counts[code, word]).astype(np.float32))
                varieties.append(code)
                meanings.append(f"word {target}")
        if not rows:
            raise ValueError("the dictionary pairs no word of the texts with a word of the pivot")
        ids = tuple(f"word-{number}" for number in range(len(rows)))
        return Vectors(ids, np.stack(rows), f"hf:{model}"), varieties, meanings

    def _words(self, model: Path, transform: FittedTransform | None) -> tuple[float | None, int]:
        """R@1 of words in context: of linked words in translations, each way, mean over varieties.

        Links are those of the lexicon, else words written alike; a word is searched for among all
        linked words of the other variety.
        """
        by_meaning: dict[str, dict[str, Item]] = {}
        for item in self.texts.judge.items:
            by_meaning.setdefault(str(item.meaning), {}).setdefault(item.variety, item)
        chosen = [f for _, f in sorted(by_meaning.items()) if self.pivot in f][:_WORD_MEANINGS]
        items = [item for found in chosen for item in found.values()]
        if not items:
            return None, 0
        states = {
            item.id: found for item, found in zip(items, self._states(model, items), strict=True)
        }
        lexicon = self.study.lexicon
        links = same_words if lexicon is None else lexicon_links(str(lexicon)).links
        recalls, count = [], 0
        for code in self.texts.varieties:
            if code == self.pivot:
                continue
            sides: tuple[list[Any], list[Any]] = [], []
            for found in chosen:
                if code not in found:
                    continue
                one, other = found[code], found[self.pivot]
                for i, j in links(text_of(one), text_of(other)):
                    if i in states[one.id] and j in states[other.id]:
                        sides[0].append(states[one.id][i])
                        sides[1].append(states[other.id][j])
            if len(sides[0]) < 2:
                continue
            count += len(sides[0])
            recalls.append(_recall(sides, (code, self.pivot), transform))
        return (float(np.mean(recalls)) if recalls else None), count


def _recall(
    sides: tuple[list[Any], list[Any]],
    varieties: tuple[str, str],
    transform: FittedTransform | None,
) -> float:
    both = []
    for rows, code in zip(sides, varieties, strict=True):
        vectors = Vectors(tuple(f"{code}-{i}" for i in range(len(rows))), np.stack(rows))
        if transform is not None:
            changed = transform.transform(vectors, varieties=[code] * len(rows))
            if not isinstance(changed, Vectors):
                raise TypeError("a transform of vectors gave steps")
            vectors = changed
        both.append(replace(vectors, made_by=""))
    table = cosine(both[0], both[1])
    gold = np.arange(len(table))
    tables = table, np.ascontiguousarray(table.T)
    return float(np.mean([(gold_ranks(scores, gold).ranks == 1).mean() for scores in tables]))


def _report(
    study: MethodsStudy,
    texts: StudyTexts,
    layer: int,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> StudyReport:
    def numbers(name: str, what: str) -> list[float | None]:
        return [row["numbers"].get(what) for row in rows[name]]

    cells, says = [], []
    for name, found in rows.items():
        control = {_RAW: None, _CONTROL: _RAW}.get(
            name, _CONTROL if name.startswith("finetune") else _RAW
        )
        test = None if control is None else paired_gain(found, rows[control])
        gain = (
            "" if test is None else f"{test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f})"
        )
        cells.append(
            (
                name,
                mean_range(numbers(name, "R@1")),
                gain,
                mean_range(numbers(name, "word R@1")),
                *(mean_range(numbers(name, n)) for n in ("cosine matched", "cosine random", "CKA")),
                *(_cost(found, what) for what in ("seconds", "tokens", "flops")),
            )
        )
        if test is not None and name != _CONTROL:
            says.append(
                f"{name}: R@1 {mean_range(numbers(name, 'R@1'))}, {gain} against {control}, in "
                f"{_cost(found, 'seconds')} s."
            )
    columns = (
        "cell", "R@1", "gain (95 %)", "word R@1", "matched", "random", "CKA", "seconds", "tokens",
        "FLOPs",
    )  # fmt: skip
    kind = "words written alike" if study.lexicon is None else study.lexicon.name
    table = StudyTable(
        f"supervision and method at layer {layer}", columns, tuple(cells),
        f"all cells learn from the same {study.meanings} meanings; dictionary: {kind}; gain of "
        "rotation over the raw vectors, of fine-tuning over masked LM on the same batches; mean "
        "(least to greatest) over seeds",
    )  # fmt: skip
    picture = StudyPicture(
        "methods", "Is the translation nearest?", "bars", tuple(rows), ("sentence", "word"),
        tuple(
            tuple(_value(numbers(name, what)) for what in ("R@1", "word R@1")) for name in rows
        ),
        y="R@1",
    )  # fmt: skip
    notes = {
        "word R@1": "of words in context that the dictionary links in translations; words written "
        "alike are found by their letters alone, so their number is high from the start",
        "dictionary": "rotation uses the words of the texts without knowing which texts are "
        "translations; fine-tuning uses the words that the dictionary links in translations",
    }
    return StudyReport(
        "align-methods",
        "Rotation or fine-tuning, sentence pairs or a dictionary",
        tuple(says),
        (table,),
        (picture,),
        {"layer": layer, "cells": {n: [_plain(one) for one in found] for n, found in rows.items()}},
        notes,
        {
            "texts": texts.told(),
            "start": study.start.model or f"trained here, {study.start.steps} steps a seed",
            "training": study.options.told(),
            "rotation": study.rotation,
            "meanings": study.meanings,
            "lexicon": kind,
            "seeds": list(study.seeds),
        },
    )


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "hits"}


def _cost(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    found = spread([row.get("spent", {}).get(name) for row in rows])
    return "" if found is None else f"{found[0]:.3g}"


def _value(values: Sequence[float | None]) -> float | None:
    found = spread(values)
    return None if found is None else found[0]
