"""What all comparing experiments share: sets of a corpus in, their scores with each other out.

Encoding (each item once), the choice of the layer, centring, whitening, and the score. The tasks
`SpeechRetrieval`, `ControlledRetrieval`, `WithinGroupRetrieval` and `WordChoice` are comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from isogloss import __version__
from isogloss.encoders import encode_cached, mean_pool
from isogloss.scores import cosine, csls_scores, margin, seqsim
from isogloss.tasks.parallel import BYS, By, ParallelSet
from isogloss.tasks.whitening import fit_whitening
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.tasks.parallel import Parallel
    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["Compared", "Comparison", "at_layer"]

T = TypeVar("T", bound=Sequences | Vectors)

_ALLOWED: dict[str, tuple[str | None, ...]] = {
    "by": BYS,
    "score": ("seqsim", "cosine"),
    "adjust": ("none", "csls", "margin"),
    "whiten": ("none", "set", "pooled"),
    "script": (None, "Hans", "Hant"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The readable `sets` and what is scored of each, by name; `unreadable` is (item id, reason).

    `steps[name]` has the set's items in their order: steps for SeqSim, one vector each for
    cosine, after centring and whitening.
    """

    sets: tuple[ParallelSet, ...]
    steps: Mapping[str, Sequences | Vectors]
    unreadable: tuple[tuple[str, str], ...]

    def rows(self, of: ParallelSet, meanings: Sequence[str]) -> Sequences | Vectors:
        """What is scored of `meanings` in the set `of`, in that order."""
        place = {meaning: i for i, meaning in enumerate(of.items)}
        chosen = [place[meaning] for meaning in meanings]
        found = self.steps[of.name]
        if isinstance(found, Sequences):
            return found.select(chosen)
        return Vectors(tuple(found.ids[i] for i in chosen), found.values[chosen], found.made_by)


@dataclass(frozen=True)
class Comparison:
    """How recordings of a corpus are compared; the fields that comparing tasks share.

    Attributes:
        by: what makes a set: 'variety', 'site', 'group', 'speaker' or 'take' (see
            `parallel_sets`).
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        score: 'seqsim' (Ma et al. 2025) or 'cosine' of mean-pooled steps.
        adjust: 'none', 'csls' (Conneau et al. 2018) or 'margin' (ratio, Artetxe and Schwenk 2019),
            which set a score against its neighbourhood in the same pool.
        neighbours: of csls and margin, and of xSIM; 4 as in LASER, pools are often of 50.
        center: subtract each set's mean step first. A mean shared by all steps squeezes SeqSim
            together (random steps score 0.1 before and 0.9 after adding one).
        center_split: split whose items, of the same set, give that mean; None takes the very items
            that are compared, which uses no pairing but sees the test items.
        whiten: 'none', or ZCA of what is scored (steps for SeqSim, pooled vectors for cosine):
            'set' fits a map for each set, 'pooled' one map for all sets together.
        whiten_split: split whose items give that map; None takes the very items that are compared.
        shrinkage: of the covariance that is whitened, from 0 (none) to 1 (no whitening); pooled
            vectors are few, so some is needed.
        script: put transcripts and translations into 'Hans' or 'Hant' before they are compared;
            None compares them as they are.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval; nothing else is random.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.
    """

    # Text loses the mean of its pooled vectors, speech the mean of all steps.
    _pools_first: ClassVar[bool] = False

    by: By = "variety"
    split: str | None = "test"
    layer: int | None = None
    score: Literal["seqsim", "cosine"] = "seqsim"
    adjust: Literal["none", "csls", "margin"] = "none"
    neighbours: int = 4
    center: bool = False
    center_split: str | None = None
    whiten: Literal["none", "set", "pooled"] = "none"
    whiten_split: str | None = None
    shrinkage: float = 0.1
    script: Literal["Hans", "Hant"] | None = None
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        for name, values in _ALLOWED.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, values))}, "
                    f"got {getattr(self, name)!r}"
                )
        if self.neighbours < 1 or self.bootstrap < 0:
            raise ValueError(
                "neighbours must be at least 1 and bootstrap not negative, "
                f"got {self.neighbours}, {self.bootstrap}"
            )
        if not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage must lie between 0 and 1, got {self.shrinkage}")
        self._check_split("center_split", self.center_split, "center=True", self.center)
        self._check_split("whiten_split", self.whiten_split, "whiten", self.whiten != "none")

    def _check_split(self, name: str, split: str | None, needs: str, used: bool) -> None:
        if split is None:
            return
        if not used:
            raise ValueError(f"{name} has no effect without {needs}")
        if split == self.split:
            raise ValueError(
                f"{name} '{split}' is the split that is judged; leave it out to "
                "fit on the compared items themselves"
            )

    def shared(self) -> dict[str, Any]:
        """The fields of `Comparison` by name, to hand to another comparison."""
        return {f.name: getattr(self, f.name) for f in fields(Comparison)}

    def compared(self, corpus: Corpus, encoder: Encoder, parallel: Parallel) -> Compared:
        """Every set of `parallel` encoded, centred, whitened and, for cosine, pooled.

        Recordings that cannot be read are left out and listed. `encoder` is at its layer already
        (see `at_layer`).

        Raises:
            ValueError: a set has nothing in the split to centre or whiten on, or too little.
            IsoglossError: no recording can be read.
        """
        unreadable: list[tuple[str, str]] = []
        sequences = encode_cached(
            encoder, parallel.items, self.cache_dir, progress=self.progress, skipped=unreadable
        )
        row = {id_: i for i, id_ in enumerate(sequences.ids)}
        readable = [
            replace(s, items={m: item for m, item in s.items.items() if item.id in row})
            for s in parallel.sets
        ]
        sets = tuple(s for s in readable if s.items)
        steps: dict[str, Sequences | Vectors] = {}
        fitted: dict[str, FloatArray] = {}
        for s in sets:
            own = sequences.select([row[item.id] for item in s.items.values()])
            mean = self._mean(s, own, corpus, encoder)
            steps[s.name] = self._less(own, mean)
            if self.whiten != "none":
                others = self._fit_on(s, self.whiten_split, "whiten", corpus, encoder)
                found = steps[s.name] if others is None else self._less(others, mean)
                fitted[s.name] = found.values
        return Compared(sets, self._whitened(steps, fitted), tuple(unreadable))

    def scores(self, a: Sequences | Vectors, b: Sequences | Vectors) -> FloatArray:
        """Score of every item of `a` with every item of `b`, (N, M), not adjusted."""
        if isinstance(a, Sequences) and isinstance(b, Sequences):
            return seqsim(a, b)
        if isinstance(a, Vectors) and isinstance(b, Vectors):
            return cosine(a, b)
        raise ValueError("steps are compared with steps, and vectors with vectors")

    def adjusted(self, scores: FloatArray) -> FloatArray:
        """`scores` (N, M) set against their neighbourhoods as `adjust` says."""
        if self.adjust == "csls":
            return csls_scores(scores, neighbours=self.neighbours)
        if self.adjust == "margin":
            return margin(scores, neighbours=self.neighbours)
        return scores

    def signed(
        self, task: str, corpus: Corpus, encoder: Encoder, items: int, unreadable: int
    ) -> dict[str, Any]:
        """The part of a signature that all comparisons share."""
        center = "none"
        if self.center:
            center = f"mean step of each set, from {self.center_split or 'the retrieved items'}"
        adjusted = self.adjust != "none"
        return {
            "task": task,
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "by": self.by,
            "score": self.score,
            "adjust": f"{self.adjust}, {self.neighbours} neighbours" if adjusted else "none",
            "center": center,
            "whiten": self._whiten_signed(),
            "script": self.script or "as written",
            "items": items,
            "unreadable": unreadable,
            "seed": self.seed,
            "isogloss": __version__,
        }

    def _whiten_signed(self) -> str:
        if self.whiten == "none":
            return "none"
        what = "steps" if self.score == "seqsim" else "pooled vectors"
        maps = "a map for each set" if self.whiten == "set" else "one map for all sets"
        source = self.whiten_split or "the retrieved items"
        return f"ZCA of {what}, {maps}, shrinkage {self.shrinkage:g}, from {source}"

    def _mean(
        self, of: ParallelSet, own: Sequences, corpus: Corpus, encoder: Encoder
    ) -> FloatArray | None:
        if not self.center:
            return None
        steps = self._fit_on(of, self.center_split, "centre", corpus, encoder) or own
        fitted = self._pooled(steps) if self._pools_first else steps
        mean: FloatArray = fitted.values.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean

    def _fit_on(
        self, of: ParallelSet, split: str | None, purpose: str, corpus: Corpus, encoder: Encoder
    ) -> Sequences | None:
        """Steps of the items of `split` that belong to the same set; None without a split."""
        if split is None:
            return None
        others = self._items_of_split(of, split, purpose, corpus)
        return encode_cached(encoder, others, self.cache_dir, progress=self.progress, skipped=[])

    def _items_of_split(
        self, of: ParallelSet, split: str, purpose: str, corpus: Corpus
    ) -> list[Item]:
        def member(item: Item) -> tuple[str | None, ...]:
            if self.by == "site":
                return (item.site,)
            return (item.variety, item.speaker) if self.by == "speaker" else (item.variety,)

        judged = {item.id for item in of.items.values()}
        members = {member(item) for item in of.items.values()}
        found = [
            item
            for item in corpus.items
            if member(item) in members
            and item.split == split
            and self._takes(item)
            and item.id not in judged
        ]
        if not found:
            raise ValueError(
                f"set '{of.name}' has no recordings in split '{split}' to {purpose} on"
            )
        return found

    def _takes(self, item: Item) -> bool:
        return item.audio is not None

    def _less(self, steps: Sequences, mean: FloatArray | None) -> Sequences | Vectors:
        """What is scored of `steps`, without `mean`."""
        if self._pools_first:
            return _less(self._pooled(steps), mean)
        return self._pooled(_less(steps, mean))

    def _pooled(self, steps: Sequences) -> Sequences | Vectors:
        return steps if self.score == "seqsim" else mean_pool(steps)

    def _whitened(
        self, steps: dict[str, Sequences | Vectors], fitted: dict[str, FloatArray]
    ) -> dict[str, Sequences | Vectors]:
        if self.whiten == "none":
            return steps
        if self.whiten == "pooled":
            one = fit_whitening(fitted.values(), shrinkage=self.shrinkage)
            maps = dict.fromkeys(steps, one)
        else:
            maps = {}
            for name, values in fitted.items():
                try:
                    maps[name] = fit_whitening([values], shrinkage=self.shrinkage)
                except ValueError as error:
                    raise ValueError(f"set '{name}': {error}") from error
        return {
            name: replace(
                found, values=maps[name](found.values), made_by=f"{found.made_by};whitened"
            )
            for name, found in steps.items()
        }


def at_layer(encoder: Encoder, layer: int | None) -> Encoder:
    """`encoder` at `layer`; None keeps the encoder's own.

    Raises:
        ValueError: the encoder cannot change its layer, or has no such layer.
    """
    if layer is None:
        return encoder
    with_layer = getattr(encoder, "with_layer", None)
    if with_layer is None:
        raise ValueError(f"{encoder.made_by} cannot change its layer; load it with layer={layer}")
    changed: Encoder = with_layer(layer)
    return changed


def _less(steps: T, mean: FloatArray | None) -> T:
    if mean is None:
        return steps
    return replace(steps, values=steps.values - mean, made_by=f"{steps.made_by};centered")
