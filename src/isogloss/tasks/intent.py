"""Does an intent or topic survive the dialect? Classifiers trained on the standard, tried on all.

Three routes side by side on the same items: from speech (pooled steps of an encoder), from the
correct text, and from the cascade (transcribe, then classify the text). What the dialect costs
each route is its gap.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.encoders import encode_cached, mean_pool
from isogloss.errors import UnknownName
from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.tasks.linear_probe import fit_probe
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["IntentClassification"]

Route = Literal["speech", "text", "cascade"]
_ROUTES: tuple[Route, ...] = ("speech", "text", "cascade")
# N-grams kept, those of most training texts: the table of texts by n-grams is a dense one.
_MOST_NGRAMS = 8000


@dataclass(frozen=True)
class IntentClassification:
    """Accuracy of an intent or topic classifier on each variety, by three routes.

    'speech accuracy CODE', 'text accuracy CODE' and 'cascade accuracy CODE' for each variety, and
    'speech gap CODE' and so on: accuracy on the standard minus accuracy on the variety, over the
    meanings that both have, with a paired interval. 'chance' in the signatures is the share of the
    largest class.

    The cascade's classifier is trained on correct text and reads what the encoder transcribed; it
    is left out for encoders that cannot transcribe. Texts are compared in lower case and without
    punctuation, which transcripts seldom have.

    Attributes:
        standard: code of the variety trained on.
        label: key of `Item.extra` that names the class; 'intent', 'topic' or any other.
        routes: which of 'speech', 'text' and 'cascade'.
        train_split: items trained on, of the variety `standard`.
        test_split: items judged, of all varieties.
        longest: character n-grams of 1 to so many characters stand for a text.
        penalty: of the logistic regression (see `fit_probe`).
        head: output of a two-headed model that the cascade reads.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval; nothing else is random.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.
    """

    standard: str
    label: str = "intent"
    routes: tuple[Route, ...] = _ROUTES
    train_split: str = "train"
    test_split: str = "test"
    longest: int = 3
    penalty: float = 1.0
    head: Literal["standard", "dialect"] = "standard"
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if not self.routes or len(set(self.routes)) < len(self.routes):
            raise ValueError(f"routes must be some of {', '.join(_ROUTES)}, got {self.routes}")
        for route in self.routes:
            if route not in _ROUTES:
                raise UnknownName("route", route, _ROUTES)
        if self.train_split == self.test_split:
            raise ValueError(f"train_split and test_split are both '{self.test_split}'")
        if self.longest < 1 or self.bootstrap < 0 or self.penalty <= 0:
            raise ValueError(
                "longest must be at least 1, bootstrap at least 0 and penalty above 0, got "
                f"{self.longest}, {self.bootstrap} and {self.penalty}"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """Accuracies and gaps of every route, varieties in the order of their codes.

        Items whose label was never seen in training count as wrong, and are counted in the
        signature ('unseen'); items without a label, or without the text or the recording that a
        route needs, take part in no route and are counted too ('left_out', 'unreadable').

        Raises:
            ValueError: there is nothing to train on or to judge, only one class, or only the
                cascade is asked of an encoder that cannot transcribe.
            IsoglossError: no recording can be read.
        """
        routes = self.routes
        if getattr(encoder, "tokenizer", None) is None:
            routes = tuple(route for route in routes if route != "cascade")
        if not routes:
            raise ValueError(f"{encoder.made_by} cannot transcribe, so there is no cascade")
        train, left_out = self._items(corpus, self.train_split, {self.standard})
        test, others = self._items(corpus, self.test_split, None)
        left_out += others
        unreadable: list[tuple[str, str]] = []
        vectors: dict[str, FloatArray] = {}
        if {"speech", "cascade"} & set(self.routes):
            steps = encode_cached(
                encoder,
                [*train, *test],
                self.cache_dir,
                progress=self.progress,
                skipped=unreadable,
            )
            vectors = dict(zip(steps.ids, mean_pool(steps).values, strict=True))
            # All routes are judged on the same items.
            train = [item for item in train if item.id in vectors]
            test = [item for item in test if item.id in vectors]
        classes = sorted({item.extra[self.label] for item in train})
        if len(classes) < 2 or not test:
            raise ValueError(
                f"'{corpus.name}' has {len(classes)} classes of '{self.label}' among {len(train)} "
                f"items of {self.standard} in split '{self.train_split}', and {len(test)} items "
                f"in split '{self.test_split}'; at least 2 classes and 1 item are needed"
                + (f" ({len(unreadable)} recordings cannot be read)" if unreadable else "")
            )
        signature = self._signature(corpus, encoder, len(unreadable), left_out)
        found: list[Measurement] = []
        for route in routes:
            if route == "speech":
                rows = (self._stacked(train, vectors), self._stacked(test, vectors))
            else:
                read = {item.id: _text_of(item) for item in test}
                if route == "cascade":
                    read = _transcribed(encoder, test, self.head)
                rows = _ngram_vectors(
                    [_text_of(item) for item in train],
                    [read[item.id] for item in test],
                    self.longest,
                )
            found += self._judged(route, rows, train, test, classes, signature)
        return found

    def _items(
        self, corpus: Corpus, split: str, varieties: set[str] | None
    ) -> tuple[list[Item], Counter[str]]:
        """The items of a split that every route can use, and how many lack what."""
        needs_text = bool({"text", "cascade"} & set(self.routes))
        needs_audio = bool({"speech", "cascade"} & set(self.routes))
        found: list[Item] = []
        lacking: Counter[str] = Counter()
        for item in corpus.items:
            if item.split != split or (varieties is not None and item.variety not in varieties):
                continue
            if not item.extra.get(self.label):
                lacking[f"no {self.label}"] += 1
            elif needs_text and not _text_of(item):
                lacking["no text"] += 1
            elif needs_audio and item.audio is None:
                lacking["no audio"] += 1
            else:
                found.append(item)
        if not found:
            named = f" of {', '.join(varieties)}" if varieties else ""
            reasons = ", ".join(f"{n} x {reason}" for reason, n in lacking.items())
            splits = sorted({item.split or "none" for item in corpus.items})
            raise ValueError(
                f"'{corpus.name}' has no item{named} in split '{split}' that can be used for the "
                f"routes {', '.join(self.routes)} ({reasons or 'none at all'}); the label is "
                f"extra['{self.label}'], its splits are {', '.join(splits)}"
            )
        return found, lacking

    @staticmethod
    def _stacked(items: Sequence[Item], vectors: Mapping[str, FloatArray]) -> FloatArray:
        return np.stack([vectors[item.id] for item in items])

    def _judged(
        self,
        route: Route,
        rows: tuple[FloatArray, FloatArray],
        train: Sequence[Item],
        test: Sequence[Item],
        classes: list[str],
        signature: dict[str, Any],
    ) -> list[Measurement]:
        number = {name: i for i, name in enumerate(classes)}
        labels = np.array([number[item.extra[self.label]] for item in train])
        probe = fit_probe(
            rows[0],
            labels,
            len(classes),
            penalty=self.penalty,
            one_scale=route != "speech",
        )
        guessed = probe.guess(rows[1])
        right = {
            item.id: float(classes[guess] == item.extra[self.label])
            for item, guess in zip(test, guessed.tolist(), strict=True)
        }
        found = []
        varieties = sorted({item.variety for item in test})
        for variety in varieties:
            items = [item for item in test if item.variety == variety]
            counts = Counter(item.extra[self.label] for item in items)
            described = {
                **signature,
                "route": route,
                "variety": variety,
                "classes": len(classes),
                "chance": max(counts.values()) / len(items),
                "unseen": sum(item.extra[self.label] not in number for item in items),
            }
            hits = np.array([right[item.id] for item in items])
            keys = tuple(item.id for item in items)
            found.append(self._mean(f"{route} accuracy {variety}", hits, keys, described))
        for variety in varieties:
            if variety != self.standard and self.standard in varieties:
                gap = self._gap(route, variety, test, right, signature)
                found += [gap] if gap is not None else []
        return found

    def _gap(
        self,
        route: Route,
        variety: str,
        test: Sequence[Item],
        right: Mapping[str, float],
        signature: dict[str, Any],
    ) -> Measurement | None:
        sides: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for item in test:
            if item.meaning is not None and item.variety in (self.standard, variety):
                sides[item.variety == variety].setdefault(item.meaning, right[item.id])
        shared = sorted(sides[0].keys() & sides[1].keys())
        if not shared:
            return None
        lost = np.array([sides[0][m] - sides[1][m] for m in shared])
        described = {**signature, "route": route, "variety": variety, "paired by": "meaning"}
        return self._mean(f"{route} gap {variety}", lost, tuple(shared), described, better=False)

    def _mean(
        self,
        name: str,
        values: npt.NDArray[np.float64],
        keys: tuple[str, ...],
        signature: dict[str, Any],
        *,
        better: bool = True,
    ) -> Measurement:
        """The mean of `values` with an interval over items."""
        drawn = [
            weights @ values / weights.sum(axis=1)
            for weights in resample_counts(len(values), resamples=self.bootstrap, seed=self.seed)
        ]
        bounds = percentile_interval(np.concatenate(drawn), self.level) if drawn else None
        return Measurement(
            name,
            float(values.mean()),
            low=None if bounds is None else bounds[0],
            high=None if bounds is None else bounds[1],
            n=len(values),
            higher_is_better=better,
            signature=signature,
            per_item=values.astype(np.float32),
            item_keys=keys,
        )

    def _signature(
        self, corpus: Corpus, encoder: Encoder, unreadable: int, left_out: Mapping[str, int]
    ) -> dict[str, Any]:
        return {
            "task": "intent",
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "label": self.label,
            "standard": self.standard,
            "train_split": self.train_split,
            "test_split": self.test_split,
            "pool": "mean",
            "text": f"character 1- to {self.longest}-grams, at most {_MOST_NGRAMS}, lower case, no "
            "punctuation; TF-IDF fitted on the training texts",
            "classifier": f"logistic regression, penalty {self.penalty:g}; speech scaled by "
            "dimension, text by one number",
            "head": self.head,
            "left_out": dict(left_out),
            "unreadable": unreadable,
            "interval": f"bootstrap over items, {self.bootstrap} resamples, level {self.level}, "
            f"seed {self.seed}"
            if self.bootstrap
            else None,
            "seed": self.seed,
            "isogloss": __version__,
        }


def _text_of(item: Item) -> str:
    return item.text or item.transcript or ""


def _transcribed(encoder: Any, items: Sequence[Item], head: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for at in range(0, len(items), 64):
        part = items[at : at + 64]
        for item, hypothesis in zip(part, encoder.transcribe(part, head=head), strict=True):
            found[item.id] = hypothesis.text
    return found


def _ngram_vectors(
    train: Sequence[str], test: Sequence[str], longest: int
) -> tuple[FloatArray, FloatArray]:
    """TF-IDF of character n-grams, rows of length 1; units and weights are of `train` alone."""
    counted = [_ngrams(text, longest) for text in train]
    known = Counter(unit for counts in counted for unit in counts)
    kept = sorted(known, key=lambda unit: (-known[unit], unit))[:_MOST_NGRAMS]
    column = {unit: i for i, unit in enumerate(sorted(kept))}
    weight = np.array([np.log((1 + len(train)) / (1 + known[u])) + 1 for u in column])

    def vectors(rows: Sequence[Counter[str]]) -> FloatArray:
        values = np.zeros((len(rows), len(column)), dtype=np.float32)
        for row, counts in zip(values, rows, strict=True):
            for unit, count in counts.items():
                if unit in column:
                    row[column[unit]] = count * weight[column[unit]]
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        np.divide(values, lengths, out=values, where=lengths > 0)
        return values

    return vectors(counted), vectors([_ngrams(text, longest) for text in test])


def _ngrams(text: str, longest: int) -> Counter[str]:
    # Blanks at the edges let an n-gram say that a word begins or ends.
    plain = "".join(
        " " if unicodedata.category(c).startswith("P") else c
        for c in unicodedata.normalize("NFKC", text).lower()
    )
    padded = f" {' '.join(plain.split())} "
    return Counter(
        padded[i : i + size]
        for size in range(1, longest + 1)
        for i in range(len(padded) - size + 1)
    )
