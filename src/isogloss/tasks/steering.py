"""A causal model and a corpus in; how well interventions lead its output to another variety, out.

For each method, layer and strength: the share of outputs in the target variety, whether the output
still means what it should (retrieval of its translation), and what it costs in bits.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss.adapt.interventions import Phase, intervened
from isogloss.adapt.steering import METHODS, fit_steering
from isogloss.corpora.progress import with_progress
from isogloss.errors import UnknownName
from isogloss.measures.bootstrap import bootstrap_interval
from isogloss.measures.retrieval import chance_level
from isogloss.tasks.steering_meaning import MeaningJudge
from isogloss.tasks.text_variety import fit_variety_classifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.adapt.steering import Steering
    from isogloss.llm.hf_causal import CausalModel
    from isogloss.tasks.text_variety import VarietyClassifier
    from isogloss.types import Corpus, Encoder, Item

__all__ = ["Prompt", "SteeringResult", "SteeringRow", "SteeringTask"]

NONE = "none"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given, and what its output should mean.

    `source` is the whole text in the prompt's variety, `target` its translation; None where a
    prompt is not from the corpus, and then its output enters no retrieval.
    """

    text: str
    source: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class SteeringRow:
    """One setting: `share` of outputs in the target variety, with its interval, and the rest.

    `shares` is of every variety; '' of outputs without a letter, which count as not in the target.
    `bits` are per character under the model as it is; None where nothing was written.
    `retrieval[name]` is R@1 of the output: 'to target' among all translations, 'to source' among
    the texts of the prompts' own variety, each by n-grams and by the model's states.
    """

    method: str
    layer: int | None
    strength: float
    share: float
    low: float | None
    high: float | None
    shares: Mapping[str, float]
    bits: float | None
    retrieval: Mapping[str, float]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SteeringResult:
    """All rows, the first one without intervention; `chance` is of R@1 among `judged` texts."""

    rows: tuple[SteeringRow, ...]
    prompts: tuple[Prompt, ...]
    accuracy: float
    held_out: int
    judged: int
    chance: float | None
    signature: Mapping[str, Any] = field(default_factory=dict)

    @property
    def without(self) -> SteeringRow:
        """The row without intervention."""
        return self.rows[0]

    def best(self, method: str, *, enough: float = 0.8) -> SteeringRow | None:
        """Of the rows of `method` with a share of `enough` the one that keeps meaning best.

        That is the sum of its R@1. Where no row has so much, the one with the greatest share; None
        where there is no row of `method`.
        """
        rows = [row for row in self.rows if row.method == method]
        reached = [row for row in rows if row.share >= enough]
        if reached:
            return max(reached, key=lambda row: sum(row.retrieval.values()))
        return max(rows, key=lambda row: row.share, default=None)


@dataclass(frozen=True)
class SteeringTask:
    """How a model is steered and judged.

    Texts to fit on, to train and to judge the classifier, and prompts are of different splits
    (train, train, dev, test; items without a split get one by their meaning; where a variety has
    no dev texts, a tenth of the training meanings judges the classifier), so nothing is judged on
    what it was fitted on.

    Attributes:
        source: variety of the prompts.
        target: variety that outputs shall be in.
        methods: of `adapt.steering.METHODS`; mean shift, the baseline, is always there.
        layers: where shifts are made. Experts have layers of their own, and so has ShifCon where
            pivot and source are the same: its one shift is at `back_layer`.
        strengths: how far; see `relative`.
        relative: strengths are shares of the states' length; else factors of the fitted shift.
        phase: which tokens are changed.
        pivot: of ShifCon; the source by default.
        back_layer: of ShifCon; the last block by default.
        units: how many experts are set.
        value: what experts are set to: 'median' or 'p90' of their responses to the target.
        prompts: how many are taken from the corpus.
        prompt_words: first words of a text that make a prompt; 0 is the whole text.
        template: how a prompt is written; {} is its text.
        fit_texts: of each variety, to fit on.
        classifier_texts: of each variety, to train the classifier.
        new_tokens: most tokens of an output.
        least_tokens: fewest.
        temperature: 0 is greedy.
        top_p: see `CausalModel.generate`.
        seed: of choices of texts, draws of tokens, and intervals.
        progress: bars on stderr.
    """

    source: str
    target: str
    methods: tuple[str, ...] = METHODS
    layers: tuple[int, ...] = (1,)
    strengths: tuple[float, ...] = (1.0,)
    relative: bool = True
    phase: Phase = "both"
    pivot: str | None = None
    back_layer: int | None = None
    units: int = 100
    value: str = "median"
    prompts: int = 100
    prompt_words: int = 5
    template: str = "{}"
    fit_texts: int = 300
    classifier_texts: int = 3000
    new_tokens: int = 24
    least_tokens: int = 4
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise UnknownName("method of steering", method, METHODS)
        if not self.layers or not self.strengths:
            raise ValueError("name at least one layer and one strength")
        if "{}" not in self.template:
            raise ValueError(f"the template '{self.template}' has no {{}} for the prompt's text")
        if "experts" in self.methods and self.units < 1:
            raise ValueError(f"units must be at least 1, got {self.units}")

    def run(
        self,
        corpus: Corpus,
        model: CausalModel,
        *,
        prompts: Sequence[Prompt] | None = None,
        encoder: Encoder | None = None,
    ) -> SteeringResult:
        """The settings one after the other, the unsteered model first.

        Args:
            corpus: texts of source, target and, best, other varieties; some parallel.
            model: to be steered; it is left as it was.
            prompts: instead of prompts from the corpus.
            encoder: judges meaning too, as 'encoder'; for a model that aligns the varieties.

        Raises:
            ValueError: the corpus has too few texts of source or target in a split; a prompt's
                text was fitted on; there is no prompt.
        """
        parts = _parts(corpus)
        steering = self._fit(parts["train"], model)
        classifier = self._classifier(parts)
        asked = tuple(prompts) if prompts is not None else self._prompts(parts["test"])
        if not asked:
            raise ValueError("there is no prompt")
        seen = [p.text for p in asked if {p.source, p.target} & steering.texts]
        if seen:
            raise ValueError(
                f"{len(seen)} prompts are of texts that the shift was fitted on, first "
                f"'{seen[0]}'; use prompts of another split"
            )
        judge = MeaningJudge.of(asked, model, encoder)
        settings = self._settings()
        rows = []
        for method, layer, strength in (
            with_progress(settings, "steering", total=len(settings)) if self.progress else settings
        ):
            outputs = self._outputs(model, asked, steering, method, layer, strength)
            rows.append(self._row(method, layer, strength, outputs, model, classifier, judge))
        judged = len(judge)
        return SteeringResult(
            tuple(rows),
            asked,
            classifier.accuracy,
            classifier.held_out,
            judged,
            chance_level(judged) if judged else None,
            self._signature(corpus, model, steering),
        )

    def _settings(self) -> list[tuple[str, int | None, float]]:
        wanted = [m for m in METHODS if m in self.methods or m == "mean-shift"]
        found: list[tuple[str, int | None, float]] = [(NONE, None, 0.0)]
        for method in wanted:
            # Experts are where they are, and from a source that is the pivot nothing leads to it.
            one = method == "experts" or (method == "shifcon" and self.pivot in (None, self.source))
            for layer in (None,) if one else self.layers:
                found += [(method, layer, strength) for strength in self.strengths]
        return found

    def _fit(self, items: Sequence[Item], model: CausalModel) -> Steering:
        chosen = _sample(items, self.fit_texts, self.seed, "fit")
        return fit_steering(
            model,
            [str(item.text) for item in chosen],
            [item.variety for item in chosen],
            source=self.source,
            target=self.target,
            layers=self.layers,
            pivot=self.pivot,
            back_layer=self.back_layer,
            experts=self.units if "experts" in self.methods else 0,
            value="p90" if self.value == "p90" else "median",
            progress=self.progress,
        )

    def _classifier(self, parts: Mapping[str, Sequence[Item]]) -> VarietyClassifier:
        learnt, held = parts["train"], parts["dev"]
        if {item.variety for item in learnt} - {item.variety for item in held}:
            # A corpus without dev texts: a tenth of the training meanings judges in their place.
            held = [item for item in learnt if _tenth(item) == 0]
            learnt = [item for item in learnt if _tenth(item) != 0]
        chosen = _sample(learnt, self.classifier_texts, self.seed, "classifier")
        judged = _sample(held, self.classifier_texts, self.seed, "held out")
        return fit_variety_classifier(
            [str(item.text) for item in chosen],
            [item.variety for item in chosen],
            [str(item.text) for item in judged],
            [item.variety for item in judged],
        )

    def _prompts(self, items: Sequence[Item]) -> tuple[Prompt, ...]:
        """Texts of the source whose meaning the target has too, in an order of the seed."""
        translated: dict[str, str] = {}
        for item in items:
            if item.variety == self.target and item.meaning is not None:
                translated.setdefault(item.meaning, str(item.text))
        usable = [
            item
            for item in items
            if item.variety == self.source
            and item.meaning in translated
            and len(str(item.text).split()) > max(self.prompt_words, 1)
        ]
        if not usable:
            raise ValueError(
                f"no text of '{self.source}' in split test has a translation in '{self.target}' "
                f"and more than {max(self.prompt_words, 1)} words; lower prompt_words"
            )
        chosen = _sample(usable, self.prompts, self.seed, "prompts")
        found = []
        for item in chosen:
            whole = str(item.text)
            words = whole.split()[: self.prompt_words] if self.prompt_words else [whole]
            target = translated[str(item.meaning)]
            found.append(Prompt(self.template.format(" ".join(words)), whole, target))
        return tuple(found)

    def _outputs(
        self,
        model: CausalModel,
        prompts: Sequence[Prompt],
        steering: Steering,
        method: str,
        layer: int | None,
        strength: float,
    ) -> list[str]:
        interventions = (
            []
            if method == NONE
            else steering.interventions(
                method,
                layer=layer or 0,
                strength=strength,
                relative=self.relative and method != "experts",
                phase=self.phase,
            )
        )
        with intervened(model, *interventions):
            return model.generate(
                [prompt.text for prompt in prompts],
                new_tokens=self.new_tokens,
                least_tokens=self.least_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                seed=self.seed,
            )

    def _row(
        self,
        method: str,
        layer: int | None,
        strength: float,
        outputs: Sequence[str],
        model: CausalModel,
        classifier: VarietyClassifier,
        judge: MeaningJudge,
    ) -> SteeringRow:
        named = classifier.name(outputs)
        hits = np.array([name == self.target for name in named], dtype=np.float64)
        interval = bootstrap_interval(hits, seed=self.seed)
        written = [text for text in outputs if text.strip()]
        return SteeringRow(
            method,
            layer,
            strength,
            float(hits.mean()),
            interval[0] if interval else None,
            interval[1] if interval else None,
            {
                variety or "": sum(name == variety for name in named) / len(named)
                for variety in (*classifier.varieties, None)
            },
            model.bits_per_character(written) if written else None,
            judge.retrieval(outputs),
            tuple(outputs),
        )

    def _signature(self, corpus: Corpus, model: CausalModel, steering: Steering) -> dict[str, Any]:
        import dataclasses

        own = {k: v for k, v in dataclasses.asdict(self).items() if k != "progress"}
        return {
            "task": "steering",
            "model": model.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            **own,
            "pivot": steering.pivot,
            "back_layer": steering.back_layer,
            "version": __version__,
        }


def _parts(corpus: Corpus) -> dict[str, list[Item]]:
    """Items with text by split; those without a split get one by their meaning, 80 / 10 / 10."""
    parts: dict[str, list[Item]] = {"train": [], "dev": [], "test": []}
    for item in corpus.items:
        if item.text is None or not item.text.strip():
            continue
        split = item.split
        if split is None:
            split = {8: "dev", 9: "test"}.get(_tenth(item), "train")
        parts.setdefault(split, []).append(item)
    return parts


def _tenth(item: Item) -> int:
    """0 to 9, the same for all items of a meaning."""
    return zlib.crc32((item.meaning or str(item.text)).encode()) % 10


def _sample(items: Sequence[Item], count: int, seed: int, what: str) -> list[Item]:
    """At most `count` items of each variety, texts each once, the same for the same seed."""
    by_variety: dict[str, dict[str, Item]] = {}
    for item in items:
        by_variety.setdefault(item.variety, {}).setdefault(str(item.text), item)
    chosen = []
    for variety, texts in sorted(by_variety.items()):
        draw = np.random.default_rng(zlib.crc32(f"{seed} {what} {variety}".encode()))
        those = list(texts.values())
        picked = draw.permutation(len(those))[:count]
        chosen += [those[i] for i in picked]
    return chosen
