"""CTC posteriors to text: `greedy`, `prefix_beam`, `align`; numpy only, an utterance at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.speech.tokens import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["Hypothesis", "align", "greedy", "greedy_batch", "prefix_beam", "prefix_beam_batch"]

_Float64 = npt.NDArray[np.float64]
_BLANK = Tokenizer.blank_id


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A reading of one utterance.

    `tokens` are unit numbers without blanks, `spans[i]` the steps [start, end) in which unit i is
    said on the best path (steps between two spans are blank). `score` is a natural logarithm of a
    probability; of which one, the function that made it says.
    """

    text: str
    tokens: tuple[int, ...]
    score: float
    spans: tuple[tuple[int, int], ...]


def greedy(log_probs: FloatArray, tokenizer: Tokenizer) -> Hypothesis:
    """The reading of the most probable path: best unit a step, repeats merged, blanks dropped.

    Args:
        log_probs: (T, V) natural log-probabilities of units, rows sum to 1 after exp; T may be 0.
        tokenizer: names of the V units.

    Returns:
        The reading; `score` is the log-probability of that one path, so not more than that of the
        text, which sums over all its paths. Equal units: the lower number wins.

    Raises:
        ValueError: wrong shape, NaN, or rows that are not log-probabilities.

    Source: Graves et al. 2006, sec. 3.2, "best path decoding".
    """
    values = _checked(log_probs, tokenizer)
    path = values.argmax(axis=1)
    score = float(np.take_along_axis(values, path[:, None], axis=1).sum())
    spans = _runs(path)
    tokens = tuple(int(path[start]) for start, _ in spans)
    return Hypothesis(tokenizer.decode(tokens), tokens, score, spans)


def greedy_batch(
    log_probs: FloatArray, lengths: npt.NDArray[np.int64], tokenizer: Tokenizer
) -> list[Hypothesis]:
    """`greedy` for each utterance of a padded batch: (N, T, V) log-probabilities, (N,) lengths."""
    return [greedy(rows, tokenizer) for rows in _utterances(log_probs, lengths)]


def prefix_beam(
    log_probs: FloatArray,
    tokenizer: Tokenizer,
    *,
    beam: int = 8,
    best: int = 1,
    insertion_bonus: float = 0.0,
) -> list[Hypothesis]:
    """The `best` most probable texts, each summed over all of its paths that stay in the beam.

    Args:
        log_probs: (T, V) natural log-probabilities of units; T may be 0.
        tokenizer: names of the V units.
        beam: how many prefixes survive a step. With as many as there are prefixes the search is
            exact.
        best: how many readings to return, at most `beam`; fewer come back when fewer exist.
        insertion_bonus: added to the score for each unit, in nats; above 0 it counters the
            deletions of a model that is unsure, below 0 insertions.

    Returns:
        Readings, best first; `score` is the log-probability of the text plus the bonuses. `spans`
        are those of its most probable path. Equal scores keep the order in which they were found.

    Raises:
        ValueError: wrong shape, NaN, rows that are not log-probabilities, or beam or best < 1.

    Source: Hannun et al. 2014 (arXiv 1408.2873), algorithm 1, without a language model.
    """
    if not 1 <= best <= beam:
        raise ValueError(f"best must be between 1 and beam, got best={best}, beam={beam}")
    if not math.isfinite(insertion_bonus):
        raise ValueError(f"insertion_bonus must be finite, got {insertion_bonus}")
    values = _checked(log_probs, tokenizer)
    found = _search(values, beam, insertion_bonus)[:best]
    return [
        Hypothesis(tokenizer.decode(tokens), tokens, score, align(values, tokens))
        for tokens, score in found
    ]


def prefix_beam_batch(
    log_probs: FloatArray,
    lengths: npt.NDArray[np.int64],
    tokenizer: Tokenizer,
    *,
    beam: int = 8,
    insertion_bonus: float = 0.0,
) -> list[Hypothesis]:
    """The best reading by `prefix_beam` of each utterance of a padded batch (N, T, V), (N,)."""
    return [
        prefix_beam(rows, tokenizer, beam=beam, insertion_bonus=insertion_bonus)[0]
        for rows in _utterances(log_probs, lengths)
    ]


def align(log_probs: FloatArray | _Float64, tokens: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Steps [start, end) of each of `tokens` on their most probable path (Viterbi).

    Args:
        log_probs: (T, V) natural log-probabilities of units.
        tokens: (U,) unit numbers without blanks, possibly none.

    Raises:
        ValueError: no path of T steps reads as `tokens`, or all of them have probability 0.
    """
    if not len(tokens):
        return ()
    steps = len(log_probs)
    # States: blank, unit 1, blank, unit 2, ..., blank (Graves et al. 2006, eq. 6).
    states = np.full(2 * len(tokens) + 1, _BLANK)
    states[1::2] = tokens
    may_skip = np.zeros(len(states), dtype=bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    emit = np.asarray(log_probs, dtype=np.float64)[:, states]
    came_from = np.zeros((steps, len(states)), dtype=np.int8)
    best = np.full(len(states), -np.inf)
    best[:2] = emit[0, :2] if steps else -np.inf
    moves = np.full((3, len(states)), -np.inf)
    for t in range(1, steps):
        moves[0] = best
        moves[1, 1:] = best[:-1]
        moves[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        came_from[t] = moves.argmax(axis=0)
        best = moves.max(axis=0) + emit[t]
    state = len(states) - 1 if best[-1] > best[-2] else len(states) - 2
    if best[state] == -np.inf:
        raise ValueError(f"no path of {steps} steps with probability above 0 reads as {tokens}")
    starts = [0] * len(tokens)
    ends = [0] * len(tokens)
    for t in range(steps - 1, -1, -1):
        if state % 2:
            starts[state // 2] = t
            ends[state // 2] = max(ends[state // 2], t + 1)
        state -= int(came_from[t, state])
    return tuple(zip(starts, ends, strict=True))


def _search(values: _Float64, beam: int, bonus: float) -> list[tuple[tuple[int, ...], float]]:
    """Surviving prefixes with their scores, best first.

    A prefix is a node of a tree, numbered when first met: `(parent node, unit) -> node`. Each has
    two sums, over its paths that end in blank and over those that end in its last unit.
    """
    units = _likely_units(values, beam)
    parents, last_units = [-1], [-1]
    numbers: dict[tuple[int, int], int] = {}
    nodes = np.zeros(1, dtype=np.int64)
    lasts = np.full(1, -1)
    depths = np.zeros(1, dtype=np.int64)
    in_blank, in_unit = np.zeros(1), np.full(1, -np.inf)
    for t in range(len(values)):
        row = values[t]
        both = np.logaddexp(in_blank, in_unit)
        # The same prefix again: a blank more, or its last unit said longer.
        said = np.where(lasts >= 0, row[lasts], -np.inf)
        stay_blank = both + row[_BLANK]
        stay_unit = in_unit + said
        # A longer prefix. After a path that ends in the same unit, the unit would merge with it.
        candidates = units[t]
        longer = both[:, None] + row[candidates]
        same = lasts[:, None] == candidates
        longer = np.where(same, in_blank[:, None] + row[candidates], longer)
        # A prefix of the beam may be another one's child: that mass belongs to the child.
        names = nodes.tolist()
        place = {name: i for i, name in enumerate(names)}
        for child, name in enumerate(names):
            parent = place.get(parents[name])
            if parent is None:
                continue
            ends = in_blank if lasts[parent] == lasts[child] else both
            stay_unit[child] = np.logaddexp(stay_unit[child], ends[parent] + said[child])
            longer[parent, candidates == lasts[child]] = -np.inf
        stay = np.logaddexp(stay_blank, stay_unit) + bonus * depths
        totals = np.concatenate([stay, (longer + bonus * (depths[:, None] + 1)).ravel()])
        kept = _largest(totals, beam)
        old = kept[kept < len(nodes)]
        rows, columns = np.divmod(kept[kept >= len(nodes)] - len(nodes), len(candidates))
        added = []
        for parent, unit in zip(nodes[rows].tolist(), candidates[columns].tolist(), strict=True):
            node = numbers.setdefault((parent, unit), len(parents))
            if node == len(parents):
                parents.append(parent)
                last_units.append(unit)
            added.append(node)
        in_blank = np.concatenate([stay_blank[old], np.full(len(added), -np.inf)])
        in_unit = np.concatenate([stay_unit[old], longer[rows, columns]])
        nodes = np.concatenate([nodes[old], np.array(added, dtype=np.int64)])
        lasts = np.concatenate([lasts[old], candidates[columns]])
        depths = np.concatenate([depths[old], depths[rows] + 1])
    scores = np.logaddexp(in_blank, in_unit) + bonus * depths
    order = np.argsort(-scores, kind="stable")
    return [(_spelt(int(nodes[i]), parents, last_units), float(scores[i])) for i in order]


def _likely_units(values: _Float64, beam: int) -> npt.NDArray[np.int64]:
    """(T, K) units besides the blank that can enter a beam of this size at each step.

    2 * beam suffice: of a prefix's extensions at most beam are kept, at most beam - 1 lie in the
    beam already, and one (the repeated last unit) scores lower than its probability.
    """
    without_blank = values[:, 1:]
    count = min(2 * beam, without_blank.shape[1])
    if count == without_blank.shape[1]:
        return np.broadcast_to(np.arange(1, count + 1), (len(values), count))
    # Sorted by number, so that equal scores resolve in the same way for every vocabulary size.
    return np.sort(np.argpartition(-without_blank, count - 1, axis=1)[:, :count], axis=1) + 1


def _largest(totals: _Float64, count: int) -> npt.NDArray[np.int64]:
    """Indices of the `count` largest finite entries, the first of equals, in rising order."""
    finite = np.flatnonzero(totals > -np.inf)
    if len(finite) <= count:
        return finite
    return np.sort(finite[np.argsort(-totals[finite], kind="stable")[:count]])


def _spelt(node: int, parents: list[int], units: list[int]) -> tuple[int, ...]:
    reversed_units = []
    while parents[node] >= 0:
        reversed_units.append(units[node])
        node = parents[node]
    return tuple(reversed(reversed_units))


def _runs(path: npt.NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Steps [start, end) of each run of one unit, runs of blank left out."""
    if not len(path):
        return ()
    borders = np.flatnonzero(np.diff(path)) + 1
    starts = np.concatenate([[0], borders])
    ends = np.concatenate([borders, [len(path)]])
    said = path[starts] != _BLANK
    return tuple(zip(starts[said].tolist(), ends[said].tolist(), strict=True))


def _utterances(log_probs: FloatArray, lengths: npt.NDArray[np.int64]) -> list[FloatArray]:
    if log_probs.ndim != 3 or lengths.shape != log_probs.shape[:1]:
        raise ValueError(
            f"expected (N, T, V) log-probabilities and (N,) lengths, got {log_probs.shape} and "
            f"{lengths.shape}"
        )
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= log_probs.shape[1]:
        raise ValueError(
            f"lengths must lie between 0 and {log_probs.shape[1]}, got {lengths.min()} to "
            f"{lengths.max()}"
        )
    return [rows[:length] for rows, length in zip(log_probs, lengths, strict=True)]


def _checked(log_probs: FloatArray, tokenizer: Tokenizer) -> _Float64:
    if log_probs.ndim != 2 or log_probs.shape[1] != tokenizer.vocab_size:
        raise ValueError(
            f"expected (T, {tokenizer.vocab_size}) log-probabilities for {tokenizer}, got "
            f"{log_probs.shape}"
        )
    values = np.asarray(log_probs, dtype=np.float64)
    sums = np.exp(np.minimum(values, 1.0)).sum(axis=1)
    # bfloat16 keeps 8 bits, so rows may be off by some percent; logits are off by far more.
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) < 0.1))
    if len(wrong):
        raise ValueError(
            f"step {wrong[0]} sums to {sums[wrong[0]]:.4g} instead of 1 after exp ({len(wrong)} "
            "such steps); give log-probabilities (log_softmax of the logits), without NaN"
        )
    return values
