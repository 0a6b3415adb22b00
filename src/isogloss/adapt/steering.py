"""Texts of two or more varieties in, interventions that lead a model from one to another out.

Three published settings and their baseline, as recipes over `interventions`: mean shift, Language
Surgery's LDA shift, ShifCon's shift to a pivot and back, and expert units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isogloss.adapt.changes import Shift
from isogloss.adapt.experts import find_experts, setting
from isogloss.adapt.interventions import Intervention
from isogloss.adapt.model_states import Place, text_states
from isogloss.adapt.shift_vectors import lda_shift, mean_shift
from isogloss.encoders.hf_blocks import blocks_of
from isogloss.encoders.pool import mean_pool
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.adapt.experts import Experts
    from isogloss.adapt.interventions import Phase
    from isogloss.llm.hf_causal import CausalModel
    from isogloss.types import Vectors

__all__ = ["METHODS", "Method", "Steering", "fit_steering"]

Method = Literal["mean-shift", "lda", "shifcon", "experts"]
METHODS: tuple[Method, ...] = ("mean-shift", "lda", "shifcon", "experts")


@dataclass(frozen=True, eq=False)
class Steering:
    """What was learnt from texts, ready to make interventions of any strength.

    Attributes:
        source: the variety of prompts.
        target: the variety that outputs shall be in.
        pivot: of ShifCon: the variety that states are led to first.
        back_layer: of ShifCon: where they are led on to the target.
        vectors: for each layer one vector a text, the mean of its tokens' states.
        varieties: of each text.
        experts: units that detect the target; None when they were not asked for.
        texts: the texts fitted on; what is judged must not be among them.
    """

    source: str
    target: str
    pivot: str
    back_layer: int
    vectors: Mapping[int, Vectors]
    varieties: tuple[str, ...]
    experts: Experts | None
    texts: frozenset[str]

    def interventions(
        self,
        method: str,
        *,
        layer: int,
        strength: float = 1.0,
        relative: bool = True,
        phase: Phase = "both",
        units: int | None = None,
    ) -> list[Intervention]:
        """The interventions of one method.

        Args:
            method: 'mean-shift': the difference of means at `layer`. 'lda': the shift inside the
                LDA subspace at `layer`. 'shifcon': source to pivot at `layer` (nothing where they
                are the same), pivot to target at `back_layer`. 'experts': units of all layers set
                to their typical value.
            layer: of those that were fitted; experts have layers of their own and ignore it.
            strength: a share of the states' length where `relative`, else a factor of the shift;
                of experts always how far units go to their value.
            relative: see `Intervention`.
            phase: prompt, generated or both.
            units: of experts, how many; all that were found by default.

        Raises:
            UnknownName: no such method.
            ValueError: the layer or the experts were not fitted, or two means are equal.
        """
        if method not in METHODS:
            raise UnknownName("method of steering", method, METHODS)
        if method == "experts":
            if self.experts is None:
                raise ValueError("no experts were looked for; fit with experts=100, say")
            return setting(self.experts, count=units, phase=phase, strength=strength)
        steps = [(layer, self.source, self.target)]
        if method == "shifcon":
            if layer >= self.back_layer:
                raise ValueError(
                    f"shifcon leads to the pivot at layer {layer} and back at layer "
                    f"{self.back_layer}, which must be a later one"
                )
            steps = [
                (layer, self.source, self.pivot),
                (self.back_layer, self.pivot, self.target),
            ]
        find = lda_shift if method == "lda" else mean_shift
        return [
            Intervention(
                Shift(
                    find(self._at(place), self.varieties, source=a, target=b),
                    said=f"{method} {a} to {b}",
                ),
                place,
                strength=strength,
                relative=relative,
                phase=phase,
            )
            for place, a, b in steps
            if a != b
        ]

    def _at(self, layer: int) -> Vectors:
        if layer not in self.vectors:
            fitted = ", ".join(map(str, sorted(self.vectors)))
            raise ValueError(f"layer {layer} was not fitted; fitted are {fitted}")
        return self.vectors[layer]


def fit_steering(
    model: CausalModel,
    texts: Sequence[str],
    varieties: Sequence[str],
    *,
    source: str,
    target: str,
    layers: Sequence[int],
    pivot: str | None = None,
    back_layer: int | None = None,
    experts: int = 0,
    value: Literal["median", "p90"] = "median",
    progress: bool = False,
) -> Steering:
    """Learn from `texts` all that the methods of steering need; no gradient, two passes at most.

    Args:
        model: to be steered; it is left as it is.
        texts: of `source`, `target` and, best, others; a few hundred of each. Those without any
            token are left out.
        varieties: of each text.
        source: from.
        target: to.
        layers: where shifts may be made.
        pivot: of ShifCon; `source` by default.
        back_layer: of ShifCon; the last block by default.
        experts: how many expert units to find; 0 for none.
        value: what they are set to, see `find_experts`.
        progress: show bars on stderr.

    Raises:
        ValueError: source and target are equal, or there is no text of one of them or the pivot,
            or no such layer.
    """
    if source == target:
        raise ValueError(f"source and target are both '{source}'; there is nothing to steer")
    pivot = pivot or source
    known = [
        (text, variety)
        for text, variety in zip(texts, varieties, strict=True)
        if model.token_ids(text, start=False)
    ]
    for wanted in (source, target, pivot):
        if all(variety != wanted for _, variety in known):
            there = ", ".join(sorted({variety for _, variety in known})) or "none"
            raise ValueError(f"there is no text of '{wanted}' to fit on; varieties: {there}")
    depth = len(blocks_of(model.model))
    last = depth if back_layer is None else back_layer
    kept_texts = [text for text, _ in known]
    kept = tuple(variety for _, variety in known)
    places: list[Place] = [(layer, "residual") for layer in sorted({*layers, last})]
    states = text_states(model, kept_texts, places, progress=progress)
    found = None
    if experts:
        found = find_experts(
            model, kept_texts, kept, target, count=experts, value=value, progress=progress
        )
    pooled = {layer: mean_pool(sequences) for (layer, _), sequences in states.items()}
    return Steering(source, target, pivot, last, pooled, kept, found, frozenset(kept_texts))
