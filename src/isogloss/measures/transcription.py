"""References and hypotheses in, character and word error rates out."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.measures.bootstrap import bootstrap_ratio_interval
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EditCounts", "cer", "edit_counts", "wer"]


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Edits that turn a reference into a hypothesis, and how long the reference is."""

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """All edits together: the Levenshtein distance."""
        return self.substitutions + self.deletions + self.insertions


def edit_counts(reference: Sequence[str], hypothesis: Sequence[str]) -> EditCounts:
    """Substitutions, deletions and insertions of one cheapest path from reference to hypothesis.

    The total is the Levenshtein distance. Where several paths cost the same, the one read from the
    end backwards that prefers a match or substitution, then a deletion, then an insertion, is
    counted: other programs may split the same total differently. Either side may be empty.
    """
    code: dict[str, int] = {}
    ref = np.array([code.setdefault(s, len(code)) for s in reference], dtype=np.int32)
    hyp = np.array([code.setdefault(s, len(code)) for s in hypothesis], dtype=np.int32)
    columns = np.arange(len(hyp) + 1, dtype=np.int32)
    table = np.empty((len(ref) + 1, len(hyp) + 1), dtype=np.int32)
    table[0] = columns
    for i, symbol in enumerate(ref):
        row = table[i] + 1
        np.minimum(row[1:], table[i, :-1] + (hyp != symbol), out=row[1:])
        table[i + 1] = np.minimum.accumulate(row - columns) + columns
    substitutions = deletions = insertions = 0
    i, j = len(ref), len(hyp)
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (ref[i - 1] != hyp[j - 1]):
            substitutions += int(ref[i - 1] != hyp[j - 1])
            i, j = i - 1, j - 1
        elif i and table[i, j] == table[i - 1, j] + 1:
            deletions += 1
            i -= 1
        else:
            insertions += 1
            j -= 1
    return EditCounts(substitutions, deletions, insertions, len(ref))


def cer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    keep_punctuation: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """Character error rate: all edits over all reference characters; 0.25 means 25 %.

    A fraction, 0 when all are right, above 1 when there are more edits than reference characters.
    Both sides are put into Unicode form NFKC, lower-cased, and freed of white space and (unless
    `keep_punctuation`) of punctuation; the signature says so. An empty reference adds its
    hypothesis' characters as insertions and nothing to the length.

    Args:
        references: N true transcripts.
        hypotheses: N recognised ones, in the same order.
        keep_punctuation: whether punctuation (Unicode categories P*) counts as characters.
        resamples: for the bootstrap over items; 0 for no interval.
        level: of the interval.
        seed: of the bootstrap.
        signature: what else changes the number; kept in the result.

    Returns:
        'CER', `per_item` (N, 4) float32: substitutions, deletions, insertions, reference length.
        Their totals are in the signature.

    Raises:
        ValueError: N differs or is 0, or all references are empty.
    """
    return _error_rate(
        "CER",
        [_characters(text, keep_punctuation) for text in references],
        [_characters(text, keep_punctuation) for text in hypotheses],
        "NFKC, lower case, no white space" + (", no punctuation" * (not keep_punctuation)),
        (resamples, level, seed),
        signature,
    )


def wer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """Word error rate: all edits over all reference words, where words stand between spaces.

    As `cer`, on words as they are written (no normalisation); also for strings of phones.
    """
    return _error_rate(
        "WER",
        [text.split() for text in references],
        [text.split() for text in hypotheses],
        "split at white space",
        (resamples, level, seed),
        signature,
    )


def _characters(text: str, keep_punctuation: bool) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).lower()
    return [
        c
        for c in folded
        if not c.isspace() and (keep_punctuation or not unicodedata.category(c).startswith("P"))
    ]


def _error_rate(
    name: str,
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    normalisation: str,
    bootstrap: tuple[int, float, int],
    signature: Mapping[str, Any] | None,
) -> Measurement:
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses")
    if not references:
        raise ValueError("there is no item")
    counts = [edit_counts(r, h) for r, h in zip(references, hypotheses, strict=True)]
    table = np.array(
        [(c.substitutions, c.deletions, c.insertions, c.reference_length) for c in counts],
        dtype=np.float64,
    )
    length = table[:, 3].sum()
    if not length:
        raise ValueError(f"all {len(references)} references are empty after: {normalisation}")
    errors = table[:, :3].sum(axis=1)
    resamples, level, seed = bootstrap
    interval = bootstrap_ratio_interval(
        errors, table[:, 3], resamples=resamples, level=level, seed=seed
    )
    return Measurement(
        name,
        float(errors.sum() / length),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        n=len(references),
        higher_is_better=False,
        signature={
            **(signature or {}),
            "normalisation": normalisation,
            "substitutions": int(table[:, 0].sum()),
            "deletions": int(table[:, 1].sum()),
            "insertions": int(table[:, 2].sum()),
            "reference_length": int(length),
            "empty_references": int((table[:, 3] == 0).sum()),
            "interval": f"bootstrap over items, {resamples} resamples, level {level}, seed {seed}"
            if interval
            else None,
        },
        per_item=table.astype(np.float32),
    )
