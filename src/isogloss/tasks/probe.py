"""Probes: how much of variety, speaker or site can still be read off the vectors, linearly?

Called by suites as 'probe'. A corpus with labels and an encoder in; accuracy, macro-F1 and the
confusion matrix of a linear classifier out, on pooled vectors as they are and after centring. An
encoder of meaning alone would leave nothing to read.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.corpora.progress import with_progress
from isogloss.encoders import encode_cached, mean_pool
from isogloss.measures import accuracy_and_f1
from isogloss.tasks.comparison import at_layer
from isogloss.tasks.linear_probe import fit_probe
from isogloss.tasks.parallel import group_namer, splits_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from isogloss.types import Corpus, Encoder, FloatArray, Item, Measurement

__all__ = ["Probe"]

Target = Literal["variety", "speaker", "site", "group", "split"]
Unit = Literal["meaning", "speaker", "site"]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier of `target` on mean-pooled vectors, cross-validated.

    Items are judged by classifiers that have seen neither their meaning nor, for varieties, their
    speaker: the items are dealt into folds of meanings crossed with folds of speakers, and those
    that share either with the judged ones are left out of training.

    Centring by the very label that is probed makes the training means of the classes equal, so that
    a logistic probe has no slope: chance by construction, not by merit.

    Attributes:
        target: what is read off: 'variety', 'speaker', 'site', 'group' or 'split'.
        split: only items of this split; None for all (needed for the target 'split').
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        hold_out: what judged and training items must not share. None takes meaning, and speaker
            too where the target is variety, group or split and speakers are known.
        center_by: what centring removes the mean of: 'variety', 'site', 'speaker' or 'group'; None
            takes the target when it is variety, site or group, else the variety, as retrieval
            does. Means come from training items; an item whose class has none there is judged on
            the mean of all.
        folds: folds of each held-out kind.
        least: least items of a class; with fewer, the probe refuses or drops it (`rare`).
        rare: 'refuse' a corpus with a class that is too small, or 'drop' the class.
        penalty: of the squared weights; the inverse of scikit-learn's C.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval and of the dealing into folds.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.
    """

    target: Target = "variety"
    split: str | None = "test"
    layer: int | None = None
    hold_out: tuple[Unit, ...] | None = None
    center_by: Literal["variety", "site", "speaker", "group"] | None = None
    folds: int = 5
    least: int = 10
    rare: Literal["refuse", "drop"] = "refuse"
    penalty: float = 1.0
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[Any, ...]] = {
            "target": get_args(Target),
            "center_by": (None, "variety", "site", "speaker", "group"),
            "rare": ("refuse", "drop"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, values))}, "
                    f"got {getattr(self, name)!r}"
                )
        wrong = [unit for unit in self.hold_out or () if unit not in get_args(Unit)]
        if wrong or self.target in (self.hold_out or ()):
            raise ValueError(
                f"hold_out must be some of {', '.join(get_args(Unit))} and not the target, "
                f"got {self.hold_out}"
            )
        if self.folds < 2 or self.least < 2 or self.bootstrap < 0 or self.penalty <= 0:
            raise ValueError(
                "folds and least must be at least 2, bootstrap not negative and penalty above 0, "
                f"got {self.folds}, {self.least}, {self.bootstrap}, {self.penalty}"
            )
        if self.target == "split" and self.split is not None:
            raise ValueError("to tell splits apart all are needed; set split=None")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'variety probe accuracy' and 'variety probe macro-F1', then both with ' centred' behind.

        (With the target's name.) The signature has the classes, their items, the share of the
        largest ('chance'), and the confusion matrix, rows for the truth. `per_item` of an accuracy
        is 1 where an item is told rightly. A smaller value means less of the label is left, so
        neither direction is better; `higher_is_better` is False, as for an encoder of meaning.

        Intervals resample what is held out: meanings, and speakers.

        Raises:
            ValueError: there are not 2 classes; a class has too few items, meanings or speakers
                (each class is counted); a recording gives no steps.
            IsoglossError: no recording can be read.
        """
        encoder = at_layer(encoder, self.layer)
        items = self._items(corpus)
        skipped: list[tuple[str, str]] = []
        sequences = encode_cached(
            encoder, items, self.cache_dir, progress=self.progress, skipped=skipped
        )
        readable = set(sequences.ids)
        items = [item for item in items if item.id in readable]
        keep, classes = self._classes(items, corpus)
        items = [items[i] for i in keep]
        vectors = mean_pool(sequences).values[keep]
        labels = self._labels(items, self.target, corpus)
        truth = np.array([classes.index(str(label)) for label in labels], dtype=np.int64)
        held = self._held_out(items)
        units = {unit: _numbers(_unit_labels(items, unit)) for unit in held}
        self._check_units(truth, classes, units)
        fold_of = [self._dealt(units[unit], unit, truth) for unit in held]
        signature = {
            "task": "probe",
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "target": self.target,
            "pool": "mean",
            "classifier": f"multinomial logistic regression, penalty {self.penalty:g}",
            "held_out": f"{' and '.join(held)}, {self.folds} folds of each",
            "least": f"{self.least} items a class, smaller ones: {self.rare}",
            "items": len(items),
            "unreadable": len(skipped),
            "seed": self.seed,
            "isogloss": __version__,
        }
        center_by = self.center_by or (
            self.target if self.target in ("variety", "site", "group") else "variety"
        )
        places = _numbers([str(label) for label in self._labels(items, center_by, corpus)])
        found: list[Measurement] = []
        for suffix, centred_by in (("", None), (" centred", places)):
            guessed = self._guessed(vectors, truth, classes, fold_of, centred_by)
            source = f"mean vector of each {center_by}, from training items"
            measured = accuracy_and_f1(
                truth,
                guessed,
                classes,
                units=[units[unit] for unit in held],
                unit_names=[f"{unit}s" for unit in held],
                keys=tuple(item.id for item in items),
                resamples=self.bootstrap,
                level=self.level,
                seed=self.seed,
                signature={**signature, "center": source if suffix else "none"},
            )
            found += [
                replace(m, name=f"{self.target} probe {m.name}{suffix}", higher_is_better=False)
                for m in measured
            ]
        return found

    def _guessed(
        self,
        vectors: FloatArray,
        truth: Rows,
        classes: Sequence[str],
        fold_of: Sequence[Rows],
        centred_by: Rows | None,
    ) -> Rows:
        """A class for each item, from a probe that saw nothing it shares a held-out unit with."""
        guessed = np.full(len(truth), -1, dtype=np.int64)
        # What centring leaves of a dimension by rounding must not be scaled up into a signal.
        floor = 1e-6 * float(np.abs(vectors).max())
        shares = np.bincount(truth, minlength=len(classes)) / len(truth)
        cells = list(itertools.product(range(self.folds), repeat=len(fold_of)))
        for cell in with_progress(cells, "probing", total=len(cells)) if self.progress else cells:
            judged = np.all([fold == f for fold, f in zip(fold_of, cell, strict=True)], axis=0)
            if not judged.any():
                continue
            apart = np.all([fold != f for fold, f in zip(fold_of, cell, strict=True)], axis=0)
            missing = sorted(set(range(len(classes))) - set(truth[apart].tolist()))
            if missing:
                raise ValueError(
                    f"what fold {cell} holds out leaves no training item of {self.target} "
                    f"'{classes[missing[0]]}'; use fewer folds or hold out less"
                )
            inside, outside = vectors[apart], vectors[judged]
            if centred_by is not None:
                inside, outside = _centred(inside, outside, centred_by[apart], centred_by[judged])
            probe = fit_probe(
                inside,
                truth[apart],
                len(classes),
                penalty=self.penalty,
                least_spread=floor,
                shares=shares,
            )
            guessed[judged] = probe.guess(outside)
        return guessed

    def _items(self, corpus: Corpus) -> list[Item]:
        with_splits = any(item.split is not None for item in corpus.items)
        known = self._labels(corpus.items, self.target, corpus)
        found = [
            item
            for item, label in zip(corpus.items, known, strict=True)
            if item.audio is not None
            and label is not None
            and (self.split is None or not with_splits or item.split == self.split)
        ]
        if not found:
            raise ValueError(
                f"corpus '{corpus.name}' has no item with audio and a known {self.target}"
                + ("" if self.split is None else f" in split '{self.split}'")
                + splits_there(corpus.items, self.split)
            )
        return sorted(found, key=lambda item: item.id)

    def _classes(self, items: Sequence[Item], corpus: Corpus) -> tuple[list[int], list[str]]:
        """Rows of the items that take part, and the names of the classes, sorted."""
        labels = [str(label) for label in self._labels(items, self.target, corpus)]
        counts = Counter(labels)
        small = sorted(name for name, count in counts.items() if count < self.least)
        listed = ", ".join(f"{name} {counts[name]}" for name in sorted(counts)[:20])
        if small and self.rare == "refuse":
            raise ValueError(
                f"{self.target} '{small[0]}' has {counts[small[0]]} items, the probe needs "
                f"{self.least} of each ({len(small)} of {len(counts)} have fewer; items: "
                f"{listed}); set least, or rare='drop'"
            )
        classes = sorted(name for name in counts if name not in small)
        if len(classes) < 2:
            raise ValueError(
                f"a probe of {self.target} needs 2 classes of {self.least} items; items: {listed}"
            )
        return [i for i, label in enumerate(labels) if label in classes], classes

    def _labels(self, items: Sequence[Item], what: str, corpus: Corpus) -> list[str | None]:
        if what == "group":
            name: Callable[[Item], str] = group_namer(corpus.items)
            return [name(item) for item in items]
        return [getattr(item, what) for item in items]

    def _held_out(self, items: Sequence[Item]) -> tuple[Unit, ...]:
        if self.hold_out is not None:
            return self.hold_out
        by_voice = self.target in ("variety", "group", "split")
        if by_voice and all(item.speaker is not None for item in items):
            return ("meaning", "speaker")
        return ("meaning",)

    def _check_units(self, truth: Rows, classes: list[str], units: dict[Unit, Rows]) -> None:
        if not units:
            raise ValueError("hold_out is empty; name at least one of meaning, speaker, site")
        for unit, numbers in units.items():
            of_class = [len(set(numbers[truth == c].tolist())) for c in range(len(classes))]
            if min(of_class) < self.folds:
                listed = ", ".join(f"{n} {k}" for n, k in zip(classes, of_class, strict=True))
                raise ValueError(
                    f"the probe holds out {unit}s in {self.folds} folds, but a {self.target} has "
                    f"fewer of them ({listed}); a {self.target} cannot be told from its {unit}s. "
                    f"Set folds, or hold_out without '{unit}' and say so"
                )

    def _dealt(self, numbers: Rows, unit: str, truth: Rows) -> Rows:
        """Fold of each item, (N,): units are shuffled, then dealt to the fold with fewest items.

        Unless all units of a class would come to lie in that fold, which left none to train on.
        """
        sizes = np.bincount(numbers)
        classes_of: list[set[int]] = [set() for _ in sizes]
        for u, c in zip(numbers.tolist(), truth.tolist(), strict=True):
            classes_of[u].add(c)
        waiting = Counter(c for classes in classes_of for c in classes)
        folds_of: dict[int, set[int]] = {c: set() for c in waiting}
        order = list(range(len(sizes)))
        random.Random(f"{self.seed} {unit}").shuffle(order)
        order.sort(key=lambda u: -sizes[u])
        load = [0] * self.folds
        fold = np.empty(len(sizes), dtype=np.int64)
        for u in order:
            # The last unit of a class must not join all the others.
            barred = {
                f
                for c in classes_of[u]
                if waiting[c] == 1 and len(folds_of[c]) == 1
                for f in folds_of[c]
            }
            open_to = [f for f in range(self.folds) if f not in barred] or range(self.folds)
            fold[u] = chosen = min(open_to, key=lambda f: load[f])
            load[chosen] += int(sizes[u])
            for c in classes_of[u]:
                waiting[c] -= 1
                folds_of[c].add(chosen)
        dealt: Rows = fold[numbers]
        return dealt


def _centred(
    inside: FloatArray, outside: FloatArray, places_in: Rows, places_out: Rows
) -> tuple[FloatArray, FloatArray]:
    """Both less the mean of their place among `inside`; of all of `inside` for a place not there.

    Means of the judged items themselves would push them to the other side of training items whose
    means were taken with them, and a probe would do worse than chance.
    """
    overall = inside.mean(axis=0, dtype=np.float64).astype(np.float32)
    found = [inside.copy(), outside.copy()]
    for place in np.unique(np.concatenate([places_in, places_out])):
        there = places_in == place
        mean = inside[there].mean(axis=0, dtype=np.float64) if there.any() else overall
        found[0][there] -= mean.astype(np.float32)
        found[1][places_out == place] -= mean.astype(np.float32)
    return found[0], found[1]


def _unit_labels(items: Sequence[Item], unit: Unit) -> list[str]:
    """The unit of each item; an item without one is a unit of its own."""
    found: Iterator[tuple[Item, str | None]] = ((item, getattr(item, unit)) for item in items)
    return [f"={label}" if label is not None else f"#{item.id}" for item, label in found]


def _numbers(labels: Sequence[str]) -> Rows:
    return np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)
