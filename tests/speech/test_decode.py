from __future__ import annotations

import itertools
import time
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isogloss.speech.decode import align, greedy, greedy_batch, prefix_beam, prefix_beam_batch
from isogloss.speech.tokens import Tokenizer

TOKENIZER = Tokenizer(("<blk>", "<unk>", "a", "b"))
SMALL = Tokenizer(("<blk>", "<unk>", "a"))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits - logits.max(axis=-1, keepdims=True)
    return (top - np.log(np.exp(top).sum(axis=-1, keepdims=True))).astype(np.float32)


def path_log_probs(*path: int, sure: float = 0.9, units: int = 4) -> np.ndarray:
    rest = (1 - sure) / (units - 1)
    rows = np.full((len(path), units), rest)
    rows[np.arange(len(path)), path] = sure
    return np.log(rows).astype(np.float32)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(unit for unit, _ in itertools.groupby(path) if unit)


def every_text(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """Probability of every text, from all V ** T paths."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        total = sum(float(log_probs[t, unit]) for t, unit in enumerate(path))
        sums[collapsed(path)] += float(np.exp(total))
    return dict(sums)


def posteriors(max_steps: int, units: int):
    logits = hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, max_steps), st.just(units)),
        elements=st.floats(-6, 6, width=32),
    )
    return logits.map(log_softmax)


@pytest.mark.parametrize(
    ("path", "tokens", "spans"),
    [
        ((2, 2, 0, 2), (2, 2), ((0, 2), (3, 4))),
        ((2, 2, 2), (2,), ((0, 3),)),
        ((0, 0), (), ()),
        ((0, 2, 3, 3, 0), (2, 3), ((1, 2), (2, 4))),
        ((), (), ()),
    ],
)
def test_greedy_merges_repeats_and_drops_blanks(path, tokens, spans) -> None:
    log_probs = path_log_probs(*path)
    found = greedy(log_probs, TOKENIZER)
    assert found.tokens == tokens
    assert found.spans == spans
    assert found.text == TOKENIZER.decode(tokens)
    assert found.score == pytest.approx(len(path) * np.log(0.9), abs=1e-6)
    # So sure a model leaves the beam no other answer.
    (best,) = prefix_beam(log_probs, TOKENIZER)
    assert (best.tokens, best.spans) == (tokens, spans)
    assert best.score >= found.score - 1e-6


def test_the_beam_sums_paths_where_greedy_takes_one() -> None:
    # The textbook case: blank is the best unit of both steps (0.36 for the silent path), but
    # "a" has three paths: 0.4 * 0.4 + 2 * 0.4 * 0.6 = 0.64.
    log_probs = np.log(np.array([[0.6, 1e-9, 0.4]] * 2)).astype(np.float32)
    assert greedy(log_probs, SMALL).tokens == ()
    first, second = prefix_beam(log_probs, SMALL, best=2)
    assert first.tokens == (2,)
    assert first.text == "a"
    assert first.score == pytest.approx(np.log(0.64), abs=1e-6)
    assert second.score == pytest.approx(np.log(0.36), abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(posteriors(5, 3))
def test_a_wide_beam_gives_every_text_its_exact_probability(log_probs) -> None:
    expected = every_text(log_probs)
    found = prefix_beam(log_probs, SMALL, beam=100, best=100)
    assert len({h.tokens for h in found}) == len(found)
    assert {h.tokens for h in found} == set(expected)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(np.log(expected[hypothesis.tokens]), abs=1e-5)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


@settings(max_examples=80, deadline=None)
@given(posteriors(4, 4), st.floats(-3, 3))
def test_the_insertion_bonus_counts_units(log_probs, bonus: float) -> None:
    expected = {
        tokens: np.log(p) + bonus * len(tokens) for tokens, p in every_text(log_probs).items()
    }
    (best,) = prefix_beam(log_probs, TOKENIZER, beam=400, insertion_bonus=bonus)
    assert best.score == pytest.approx(max(expected.values()), abs=1e-5)
    assert best.score == pytest.approx(expected[best.tokens], abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(posteriors(6, 4), st.integers(1, 4))
def test_a_narrow_beam_never_counts_more_than_the_truth(log_probs, beam: int) -> None:
    expected = every_text(log_probs)
    for hypothesis in prefix_beam(log_probs, TOKENIZER, beam=beam, best=beam):
        assert np.exp(hypothesis.score) <= expected[hypothesis.tokens] * (1 + 1e-5)


def slow_beam(log_probs: np.ndarray, beam: int) -> list[tuple[tuple[int, ...], float]]:
    """The same search without any pruning of units, prefixes written out, in probabilities."""
    ends: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    for row in np.exp(log_probs.astype(np.float64)):
        new: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, unit) in ends.items():
            new[prefix][0] += (blank + unit) * row[0]
            for i in range(1, len(row)):
                repeated = prefix[-1:] == (i,)
                new[(*prefix, i)][1] += (blank if repeated else blank + unit) * row[i]
                if repeated:
                    new[prefix][1] += unit * row[i]
        kept = sorted(new.items(), key=lambda entry: -sum(entry[1]))[:beam]
        ends = {prefix: (sums[0], sums[1]) for prefix, sums in kept}
    return [(prefix, float(np.log(sum(sums)))) for prefix, sums in ends.items()]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.sampled_from([0.5, 2.0]))
def test_looking_at_likely_units_only_changes_nothing(seed: int, beam: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    log_probs = log_softmax(spread * generator.standard_normal((12, 30)))
    tokenizer = Tokenizer(("<blk>", "<unk>", *(chr(0x4E00 + i) for i in range(28))))
    found = prefix_beam(log_probs, tokenizer, beam=beam, best=beam)
    expected = slow_beam(log_probs, beam)
    assert [h.tokens for h in found] == [tokens for tokens, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(posteriors(5, 3), st.lists(st.integers(1, 2), max_size=3))
def test_align_finds_the_best_path(log_probs, tokens: list[int]) -> None:
    paths = itertools.product(range(3), repeat=len(log_probs))
    scores = {
        path: sum(float(log_probs[t, unit]) for t, unit in enumerate(path))
        for path in paths
        if collapsed(path) == tuple(tokens)
    }
    if not scores:
        with pytest.raises(ValueError, match="no path"):
            align(log_probs, tokens)
        return
    spans = align(log_probs, tokens)
    path = [0] * len(log_probs)
    for (start, end), unit in zip(spans, tokens, strict=True):
        assert 0 <= start < end <= len(log_probs)
        path[start:end] = [unit] * (end - start)
    assert collapsed(tuple(path)) == tuple(tokens)
    assert scores[tuple(path)] == pytest.approx(max(scores.values()), abs=1e-4)


def test_impossible_units_are_never_said() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 0, 1.0]])).astype(np.float32)
    found = prefix_beam(log_probs, SMALL, best=8)
    assert [h.tokens for h in found] == [(2, 2)]
    assert found[0].score == 0.0
    assert found[0].spans == ((0, 1), (2, 3))


def test_a_batch_gives_what_single_utterances_give() -> None:
    generator = np.random.default_rng(1)
    log_probs = log_softmax(2 * generator.standard_normal((3, 9, 4)))
    lengths = np.array([9, 4, 0])
    log_probs[1, 4:] = np.nan  # padding is not looked at
    for batched, single in (
        (greedy_batch(log_probs, lengths, TOKENIZER), lambda x: greedy(x, TOKENIZER)),
        (
            prefix_beam_batch(log_probs, lengths, TOKENIZER, beam=4),
            lambda x: prefix_beam(x, TOKENIZER, beam=4)[0],
        ),
    ):
        assert batched == [single(log_probs[i, :n]) for i, n in enumerate(lengths)]
        assert batched[2].text == ""
        assert batched[2].score == 0.0


def test_bad_input_is_refused() -> None:
    good = path_log_probs(2, 3)
    with pytest.raises(ValueError, match=r"expected \(T, 4\)"):
        greedy(good[:, :3], TOKENIZER)
    with pytest.raises(ValueError, match="instead of 1"):
        greedy(good + 1.0, TOKENIZER)
    with pytest.raises(ValueError, match="without NaN"):
        prefix_beam(np.where(good < -1, np.nan, good), TOKENIZER)
    with pytest.raises(ValueError, match="best must be between 1 and beam"):
        prefix_beam(good, TOKENIZER, beam=2, best=3)
    with pytest.raises(ValueError, match="finite"):
        prefix_beam(good, TOKENIZER, insertion_bonus=float("nan"))
    with pytest.raises(ValueError, match=r"\(N, T, V\)"):
        greedy_batch(good, np.array([2]), TOKENIZER)
    with pytest.raises(ValueError, match="between 0 and 2"):
        greedy_batch(good[None], np.array([3]), TOKENIZER)


def test_decoding_is_fast() -> None:
    # Aims on an idle core: 100 greedy readings in 0.1 s, a beam of 8 on 3 s of speech in 20 ms.
    # The limits are far wider, so that a busy machine passes and a quadratic slip does not.
    generator = np.random.default_rng(0)
    log_probs = log_softmax(4 * generator.standard_normal((75, 3000)))
    tokenizer = Tokenizer(("<blk>", "<unk>", *(chr(0x4E00 + i) for i in range(2998))))
    start = time.process_time()
    for _ in range(100):
        greedy(log_probs, tokenizer)
    middle = time.process_time()
    for _ in range(5):
        prefix_beam(log_probs, tokenizer, beam=8)
    end = time.process_time()
    assert middle - start < 2.0
    assert (end - middle) / 5 < 0.2
