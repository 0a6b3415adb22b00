"""How well does an encoder align varieties, at which layer, by which measure.

A corpus of parallel items and an encoder of text or speech in, every measure by layer and site
out, retrieval always beside the similarities of matched and of random pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss import __version__
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError, MissingExtra, UnknownName
from isogloss.tasks.alignment_distances import DISTANCES, variety_distances
from isogloss.tasks.alignment_encode import (
    Form,
    at_site_of,
    encode_layers_pooled,
    layer_label,
    layers_of,
    reads_left_to_right,
)
from isogloss.tasks.alignment_explain import MEASURES, chosen_measures
from isogloss.tasks.alignment_gradients import (
    GradientOptions,
    block_gradients,
    gradient_estimates,
    gradient_model_folder,
)
from isogloss.tasks.alignment_layer import LayerFound, LayerWork, gradient_rows, layer_rows
from isogloss.tasks.alignment_pairs import CcaOptions, make_draws
from isogloss.tasks.alignment_result import AlignmentResult, AlignmentRow
from isogloss.tasks.alignment_sets import SETS_BY, AlignedSets, SetsBy, aligned_sets
from isogloss.tasks.alignment_transform import AppliedTransform
from isogloss.tasks.alignment_varieties import VarietyOptions
from isogloss.tasks.alignment_words import ConceptOptions, item_words, read_lexicon
from isogloss.varieties import builtin_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isogloss.tasks.alignment_encode import EncodedLayers
    from isogloss.tasks.alignment_layer import Pairs
    from isogloss.tasks.alignment_words import Doubles
    from isogloss.types import Corpus, Encoder, Measurement

__all__ = ["FLOOR_MEASURES", "PAIRS", "Alignment"]

PAIRS = ("auto", "all", "pivot")
"""Which pairs are measured; 'auto' is all of up to 8 varieties, then those of the pivot."""

FLOOR_MEASURES = ("retrieval", "xsim", "separation", "mexa")
"""What is measured of a floor: similarities of thousands of n-gram counts tell no more."""

_MOST_FOR_ALL = 8
_FORMS = ("value", "binary")


@dataclass(frozen=True)
class Alignment:
    """Every alignment measure of an encoder on parallel items, by layer and site.

    Attributes:
        measures: keys of `MEASURES`; none is all of them.
        layers: numbers; None is every layer of the encoder.
        sites: 'residual', and where the encoder can, 'mlp' and 'attention'.
        pool: see `isogloss.encoders.pool`; 'auto' is 'weighted' for decoders, else 'mean'.
        form: 'binary' pools whether a value is above 0 (neurons on or off) at site mlp.
        by: what makes a set: 'variety', 'site' or 'speaker'.
        split: only items of this split; None takes all.
        varieties: only these; none takes all.
        pivot: the variety that the pairs of 'pivot' share; where it is not there, the one with
            most items.
        pairs: 'all', 'pivot', or 'auto'.
        items: meanings measured at most; None for all.
        neighbours: of xSIM's margin.
        cca: directions kept by SVCCA and PWCCA.
        concepts: what concept clusters are.
        gradients: how gradients are taken.
        lexicon: TSV of word translations (variety, word, variety, word); None pairs words that
            are written alike.
        word_meanings: meanings whose words are kept.
        word_states: word states kept of each layer at most.
        word_pairs: word pairs of two varieties at most.
        word_neighbours: of CSLS.
        distances: kinds that the model's distances are held against (see `DISTANCES`).
        permutations: of Mantel's test.
        outlier_z: standard deviations at which a dimension's mean stands out.
        folds: of the probes of the variety.
        transform: folder of a transform that `isogloss adapt fit` wrote; items it was fitted on
            are refused.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every random choice.
        memory_gib: what vectors may take.
        progress: bars on stderr; does not change a number.
    """

    measures: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    sites: tuple[str, ...] = ("residual",)
    pool: str = "auto"
    form: Form = "value"
    by: SetsBy = "variety"
    split: str | None = None
    varieties: tuple[str, ...] = ()
    pivot: str = "eng"
    pairs: Literal["auto", "all", "pivot"] = "auto"
    items: int | None = 400
    neighbours: int = 4
    cca: CcaOptions = field(default_factory=CcaOptions)
    concepts: ConceptOptions = field(default_factory=ConceptOptions)
    gradients: GradientOptions = field(default_factory=GradientOptions)
    lexicon: Path | None = None
    word_meanings: int = 200
    word_states: int = 20_000
    word_pairs: int = 2000
    word_neighbours: int = 10
    distances: tuple[str, ...] = ("genealogical", "geographic", "phones", "spelling")
    permutations: int = 999
    outlier_z: float = 3.0
    folds: int = 5
    transform: Path | None = None
    bootstrap: int = 200
    level: float = 0.95
    seed: int = 0
    memory_gib: float = 4.0
    progress: bool = False

    def __post_init__(self) -> None:
        chosen_measures(self.measures)
        for name, value, known in (
            ("pairs", self.pairs, PAIRS),
            ("by", self.by, SETS_BY),
            ("form", self.form, _FORMS),
            *(("distance", kind, DISTANCES) for kind in self.distances),
        ):
            if value not in known:
                raise UnknownName(name, value, known)
        if not self.sites or len(set(self.sites)) != len(self.sites):
            raise ValueError(
                f"sites must be named once each, got {', '.join(self.sites) or 'none'}"
            )
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be between 0 and 1, got {self.level}")
        if self.bootstrap < 0 or self.permutations < 1:
            raise ValueError("bootstrap must not be negative and permutations at least 1")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """Means over pairs as measurements 'R@1 layer 3'; see `measure`."""
        return self.measure(corpus, encoder).measurements()

    def measure(
        self,
        corpus: Corpus,
        encoder: Encoder,
        *,
        name: str | None = None,
        floor: Encoder | None = None,
    ) -> AlignmentResult:
        """Every number of `encoder` on `corpus`.

        Args:
            corpus: items that share meanings across varieties.
            encoder: with `takes_text` it reads texts, else it hears recordings.
            name: what the encoder was loaded by; gradients need it, to load the model's head.
            floor: a second encoder, such as character n-grams, measured on the same items.

        Raises:
            ValueError: no two varieties share two meanings; no such layer or site; a vector is
                not finite (item and layer are named).
            IsoglossError: no item can be encoded, vectors would not fit the memory, or items to
                judge were those that the transform was fitted on.
        """
        takes_text = bool(getattr(encoder, "takes_text", False))
        sets = aligned_sets(
            corpus, takes_text=takes_text, by=self.by, split=self.split,
            varieties=self.varieties, most=self.items, seed=self.seed,
        )  # fmt: skip
        transform = AppliedTransform.of(self.transform)
        if transform is not None:
            transform.refuse_fitted(sets)
        notes: dict[str, str] = {}
        found: dict[tuple[str, int], LayerFound] = {}
        rows: list[AlignmentRow] = []
        labels: dict[int, str] = {}
        apart: dict[bytes, dict[str, Doubles]] = {}
        last = sets
        for site in self.sites:
            at_site = at_site_of(encoder, site)
            layers = layers_of(at_site, self.layers)
            if transform is not None:
                layers = transform.layers(
                    at_site, layers, named=self.layers is not None, pool=self._pool(at_site),
                    notes=notes,
                )  # fmt: skip
            encoded = self._encode(at_site, sets, layers)
            last = sets.without(encoded.broken)
            self._check_company(corpus, last)
            work = self._work(last, site, notes, self._distances(last, notes, apart))
            labels |= {layer: layer_label(layer, at_site) for layer in layers}
            for layer in self._bar(layers, f"measuring {site}"):
                vectors, words = encoded.vectors[layer], encoded.words.get(layer)
                if transform is not None:
                    vectors = transform.vectors(last, vectors, at_site.made_by)
                    words = transform.words(last, words, at_site.made_by)
                one = layer_rows(work, site, layer, vectors, words)
                found[site, layer] = one
                rows += one.rows
        if "gradients" in chosen_measures(self.measures):
            rows += self._gradients(last, name, notes)
        result = AlignmentResult(
            rows=tuple(rows),
            layers=dict(sorted(labels.items())),
            chosen_layer={},
            similarities=_gathered(found, "similarity"),
            trees=_gathered(found, "tree"),
            places=_gathered(found, "places"),
            sources=_gathered(found, "sources"),
            curves=_gathered_text(found),
            varieties=_told(last),
            notes=_compressed(notes),
            left_out=last.left_out,
            signature=self._signature(corpus, encoder, last, takes_text, transform),
        )
        result = replace(result, chosen_layer=_chosen(result, self.sites))
        if floor is not None:
            result = replace(result, floor=self._floor(corpus, floor, takes_text))
        return result

    def _floor(self, corpus: Corpus, floor: Encoder, takes_text: bool) -> AlignmentResult | None:
        if bool(getattr(floor, "takes_text", False)) != takes_text:
            raise ValueError(
                f"the floor {floor.made_by} and the encoder do not take the same: one reads text, "
                "the other hears"
            )
        task = replace(
            self, measures=FLOOR_MEASURES, layers=None, sites=("residual",), pool="mean",
            form="value", transform=None,
        )  # fmt: skip
        return task.measure(corpus, floor)

    def _encode(
        self, encoder: Encoder, sets: AlignedSets, layers: tuple[int, ...]
    ) -> EncodedLayers:
        wants_words = any(MEASURES[m] == "words" for m in chosen_measures(self.measures))
        column = sets.table[:, : self.word_meanings]
        return encode_layers_pooled(
            encoder,
            sets.items,
            layers=layers,
            how=self._pool(encoder),
            form=self.form,
            word_items=frozenset(column[column >= 0].tolist()) if wants_words else frozenset(),
            most_words=self.word_states,
            most_gib=self.memory_gib,
            progress=self.progress,
        )

    def _pool(self, encoder: Encoder) -> str:
        if self.pool != "auto":
            return self.pool
        return "weighted" if reads_left_to_right(encoder) else "mean"

    def _distances(
        self, sets: AlignedSets, notes: dict[str, str], known: dict[bytes, dict[str, Doubles]]
    ) -> dict[str, Doubles]:
        """Distances of varieties; `known` keeps them, since sites nearly always share them."""
        if "similarity" not in chosen_measures(self.measures):
            return {}
        key = repr(sets.varieties).encode() + sets.table.tobytes()
        if key not in known:
            known[key] = variety_distances(sets, self.distances, notes=notes)
        return known[key]

    def _work(
        self,
        sets: AlignedSets,
        site: str,
        notes: dict[str, str],
        distances: Mapping[str, Doubles] | None = None,
    ) -> LayerWork:
        chosen = chosen_measures(self.measures)
        # NeuronXA is MEXA of neurons: each has its site.
        if "neuronxa" in self.measures and "mlp" not in self.sites:
            notes["neuronxa"] = "measured at site mlp alone (--site mlp)"
        chosen = tuple(n for n in chosen if n != ("mexa" if site == "mlp" else "neuronxa"))
        wants_words = any(MEASURES[m] == "words" for m in chosen)
        column = sets.table[:, : self.word_meanings]
        reads = wants_words and not all(i.text is None and i.transcript is None for i in sets.items)
        return LayerWork(
            sets=sets,
            pairs=self._pairs(sets),
            draws=make_draws(len(sets.meanings), resamples=self.bootstrap, seed=self.seed),
            measures=chosen,
            distances=dict(distances or {}),
            words={i: item_words(sets.items[i]) for i in column[column >= 0].tolist()}
            if reads
            else {},
            lexicon=None if self.lexicon is None else read_lexicon(self.lexicon),
            cca=self.cca,
            varieties=VarietyOptions(
                folds=self.folds, outlier_z=self.outlier_z, permutations=self.permutations,
                seed=self.seed, resamples=self.bootstrap,
            ),
            concepts=replace(self.concepts, seed=self.seed),
            neighbours=self.neighbours,
            word_neighbours=self.word_neighbours,
            word_pairs=self.word_pairs,
            permutations=self.permutations,
            level=self.level,
            seed=self.seed,
            notes=notes,
        )  # fmt: skip

    def _pairs(self, sets: AlignedSets) -> Pairs:
        v = len(sets.varieties)
        every = [(a, b) for a in range(v) for b in range(a + 1, v) if len(sets.shared(a, b)) > 1]
        if self.pairs == "all" or (self.pairs == "auto" and v <= _MOST_FOR_ALL):
            return tuple(every)
        pivot = self._pivot(sets)
        of_pivot = [(pivot, b if a == pivot else a) for a, b in every if pivot in (a, b)]
        if not of_pivot:
            raise ValueError(
                f"'{sets.varieties[pivot]}' shares no two meanings with any other variety; choose "
                "another pivot or all pairs"
            )
        return tuple(of_pivot)

    def _pivot(self, sets: AlignedSets) -> int:
        if self.pivot in sets.varieties:
            return sets.varieties.index(self.pivot)
        return int(np.argmax((sets.table >= 0).sum(axis=1)))

    def _check_company(self, corpus: Corpus, sets: AlignedSets) -> None:
        if len(sets.varieties) < 2:
            raise IsoglossError(
                f"corpus '{corpus.name}': fewer than two varieties are left when what cannot be "
                f"encoded is left out ({dict(sets.left_out)})"
            )

    def _gradients(
        self, sets: AlignedSets, name: str | None, notes: dict[str, str]
    ) -> list[AlignmentRow]:
        if self.transform is not None:
            # Told, and no error: the CLI says so where gradients were asked for by name.
            notes["gradients"] = "they are of the model itself, which a transform does not change"
            return []
        try:
            if name is None:
                raise ValueError("the encoder was not named, so its model cannot be loaded")
            folder = gradient_model_folder(name)
            column = sets.table[:, : self.gradients.meanings]
            places = column[column >= 0].tolist()
            gradients = block_gradients(
                folder,
                [sets.items[i] for i in places],
                options=replace(self.gradients, seed=self.seed),
                progress=self.progress,
            )
        except (IsoglossError, ValueError) as error:
            if "gradients" in self.measures and not isinstance(error, MissingExtra):
                raise
            notes["gradients"] = str(error)
            return []
        work = replace(self, measures=("gradients",))._work(sets, "gradients", {})
        return gradient_rows(
            work, gradients, {place: row for row, place in enumerate(places)}, gradient_estimates
        )

    def _signature(
        self,
        corpus: Corpus,
        encoder: Encoder,
        sets: AlignedSets,
        takes_text: bool,
        transform: AppliedTransform | None,
    ) -> dict[str, Any]:
        return {
            "task": "alignment",
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "takes": "text" if takes_text else "audio",
            "by": self.by,
            "split": self.split,
            "varieties": list(sets.varieties),
            "meanings": len(sets.meanings),
            "pairs": [[sets.varieties[a], sets.varieties[b]] for a, b in self._pairs(sets)],
            "sites": list(self.sites),
            "pool": self._pool(encoder),
            "form": self.form,
            "cca": {"keep": self.cca.keep, "share": self.cca.share},
            "neighbours": self.neighbours,
            "lexicon": None if self.lexicon is None else self.lexicon.name,
            "transform": None if transform is None else transform.fitted.signed(),
            "interval": f"{self.bootstrap} resamples of meanings, level {self.level}",
            "seed": self.seed,
            "isogloss": __version__,
        }

    def _bar(self, layers: tuple[int, ...], label: str) -> Any:
        return with_progress(layers, label, total=len(layers)) if self.progress else layers


def _told(sets: AlignedSets) -> dict[str, dict[str, Any]]:
    table = builtin_table()
    found = {}
    for row, name in enumerate(sets.varieties):
        code = sets.items[int(sets.table[row][sets.table[row] >= 0][0])].variety
        known = table.get(code)
        found[name] = {
            "group": sets.groups[row],
            "items": int((sets.table[row] >= 0).sum()),
            "name": None if known is None else known.name,
            "latitude": None if known is None else known.latitude,
            "longitude": None if known is None else known.longitude,
        }
    return found


def _gathered(found: Mapping[tuple[str, int], LayerFound], name: str) -> dict[str, dict[int, Any]]:
    tables: dict[str, dict[int, Any]] = {}
    for (site, layer), one in found.items():
        value = getattr(one, name)
        if value:
            tables.setdefault(site, {})[layer] = value
    return tables


def _gathered_text(found: Mapping[tuple[str, int], LayerFound]) -> dict[str, Any]:
    return {
        site: {str(layer): curves for layer, curves in layers.items()}
        for site, layers in _gathered(found, "curves").items()
    }


def _chosen(result: AlignmentResult, sites: tuple[str, ...]) -> dict[str, int]:
    """The layer with the best R@1 of each site; without retrieval, by the first number there is."""
    chosen = {}
    for site in sites:
        names = result.names(site)
        name = "R@1" if "R@1" in names else next(iter(names), None)
        best = None if name is None else result.best(name, site)
        if best is not None:
            chosen[site] = best.layer
    return chosen


def _compressed(notes: Mapping[str, str]) -> dict[str, str]:
    """A reason that holds at several layers is told once."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for key, reason in notes.items():
        name, _, where = key.partition(", ")
        by_reason.setdefault((name, reason), []).append(where)
    found: dict[str, str] = {}
    for (name, reason), places in by_reason.items():
        known = [place for place in places if place]
        key = name if len(known) != 1 else f"{name}, {known[0]}"
        found[key if key not in found else f"{name} ({len(found)})"] = reason
    return found
