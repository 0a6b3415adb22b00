"""Retrieval inside one group or variety: the upper anchor of retrieval across them.

Called by suites as 'within'. Two sites of one group, or two speakers of one variety, say the same
sentence in nearly the same words. An encoder that does not find it there has no reason to find it
across groups; what it loses from here to there is what the crossing costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from isogloss.tasks.comparison import Comparison
from isogloss.tasks.parallel import By  # noqa: TC001  (recipes are read by the fields' types)
from isogloss.tasks.speech_retrieval import SpeechRetrieval

if TYPE_CHECKING:
    from isogloss.tasks.parallel import ParallelSet
    from isogloss.tasks.retrieval_result import PairResult, RetrievalResult
    from isogloss.types import Corpus, Encoder, Measurement

__all__ = ["WithinGroupRetrieval"]

_MEASURES = ("R@1", "MRR", "hard R@1", "R@1 phonetic")


@dataclass(frozen=True)
class WithinGroupRetrieval(Comparison):
    """Retrieval between sets of one group, apart from retrieval between groups.

    Attributes, besides those of `Comparison` (`by` is 'site' here unless said otherwise):
        by: 'site', 'speaker' (speakers of one variety), or 'take' (the first and second recording
            of each sentence of a variety, for corpora where sentences have different speakers).
            'variety' compares the varieties of one group.
        within: what two sets must have in common to count as within: 'group' or 'variety'; None
            takes 'variety' for speakers and takes, else 'group'.
        cross: also compare sets that have not, for the numbers beside. Without it a table of many
            sites costs a small part of the time.
        hard: as in `SpeechRetrieval`.
    """

    by: By = "site"
    within: Literal["group", "variety"] | None = None
    cross: bool = True
    hard: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.within not in (None, "group", "variety"):
            raise ValueError(f"within must be 'group', 'variety' or None, got {self.within!r}")
        if self.by == "group" or (self.by == "variety" and self.within == "variety"):
            raise ValueError(
                f"sets by {self.by} are never two of one {self.within or 'group'}; take by='site', "
                "'speaker' or 'take'"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'within-group R@1', 'within-group MRR', ..., then 'cross-group R@1', and each group.

        Means over ordered pairs of sets as in `SpeechRetrieval`; 'within-group R@1 yue' for each
        group. With `within` 'variety' the groups are varieties. Pools may be smaller within than
        across; the chance in each signature tells.

        Raises:
            ValueError: no two sets of one group share 2 readable meanings; or as
                `SpeechRetrieval.retrieve`.
        """
        return self.measured(self.retrieve(corpus, encoder))

    def retrieve(self, corpus: Corpus, encoder: Encoder) -> RetrievalResult:
        """The retrieval with `set_groups` as this task takes them.

        Raises:
            ValueError: as `run`.
        """
        labels: dict[str, str] = {}

        def wanted(a: ParallelSet, b: ParallelSet) -> bool:
            for s in (a, b):
                labels[s.name] = self._label(s)
            return self.cross or labels[a.name] == labels[b.name]

        task = SpeechRetrieval(**self.shared(), hard=self.hard)
        found = task.retrieve(corpus, encoder, pairs=wanted)
        groups = {name: labels[name] for name in found.sets}
        drawn = self.by in ("site", "speaker")
        result = replace(
            found,
            set_groups=groups,
            strata=groups if drawn else {name: name for name in groups},
            pairs=tuple(
                replace(pair, groups=(groups[pair.query], groups[pair.target]))
                for pair in found.pairs
            ),
            signature={
                **found.signature,
                "task": "within_group_retrieval",
                "within": self._what(),
            },
        )
        if not any(_is_within(pair) for pair in result.pairs):
            raise ValueError(
                f"corpus '{corpus.name}': no two sets by {self.by} of one {self._what()} share 2 "
                f"meanings; sets are {', '.join(f'{n} ({g})' for n, g in list(groups.items())[:8])}"
            )
        return result

    def measured(self, result: RetrievalResult) -> list[Measurement]:
        """The measurements of `run` from what `retrieve` gave."""
        within = [pair for pair in result.pairs if _is_within(pair)]
        across = [pair for pair in result.pairs if not _is_within(pair)]
        found = _means(result, within, "within-group", _MEASURES)
        found += _means(result, across, "cross-group", _MEASURES) if across else []
        for group in result.groups:
            of_it = [pair for pair in within if pair.groups[0] == group]
            if of_it:
                found += _means(result, of_it, "within-group", ("R@1",), label=group)
        return found

    def _what(self) -> str:
        if self.within is not None:
            return self.within
        return "variety" if self.by in ("speaker", "take") else "group"

    def _label(self, s: ParallelSet) -> str:
        if self._what() == "group":
            return s.group
        varieties = {item.variety for item in s.items.values()}
        return "+".join(sorted(varieties))


def _is_within(pair: PairResult) -> bool:
    return pair.groups[0] == pair.groups[1]


def _means(
    result: RetrievalResult,
    pairs: list[PairResult],
    kind: str,
    names: tuple[str, ...],
    label: str = "",
) -> list[Measurement]:
    means = [result.mean(name, pairs, label=label) for name in names]
    return [replace(mean, name=f"{kind} {mean.name}") for mean in means if mean is not None]
