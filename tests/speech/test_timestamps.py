from __future__ import annotations

import numpy as np
import pytest

from isogloss.speech.decode import Hypothesis, greedy, prefix_beam
from isogloss.speech.timestamps import TimedText, mean_confidence, timed_units, timed_words
from isogloss.speech.tokens import Tokenizer

BYTES = ["<0xE4>", "<0xB8>", "<0xAD>"]
TOKENIZER = Tokenizer(["<blk>", "<unk>", "▁", "a", "b", "我", "们", *BYTES, "<standard>"])


def log_probs_of(path: list[int], sure: float | list[float] = 0.9) -> np.ndarray:
    """(T, V) posteriors whose best path is `path`; each step's best unit has probability `sure`."""
    units = TOKENIZER.vocab_size
    values = np.empty((len(path), units), dtype=np.float64)
    best = [sure] * len(path) if isinstance(sure, float) else sure
    for row, unit, probability in zip(values, path, best, strict=True):
        row[:] = (1 - probability) / (units - 1)
        row[unit] = probability
    return np.log(values).astype(np.float32)


def timed(path: list[int], sure: float | list[float] = 0.9, start: float = 0.0) -> list[TimedText]:
    log_probs = log_probs_of(path, sure)
    reading = greedy(log_probs, TOKENIZER)
    return list(timed_units(log_probs, reading, TOKENIZER, start_seconds=start))


def test_steps_become_seconds() -> None:
    # Step 0 begins at 25 ms; 我 is steps 1 and 2, 们 step 4.
    first, second = timed([0, 5, 5, 0, 6], [0.9, 0.6, 0.8, 0.9, 0.7], start=10.0)
    assert (first.text, second.text) == ("我", "们")
    assert first.start_seconds == pytest.approx(10.065)
    assert first.end_seconds == pytest.approx(10.145)
    assert second.start_seconds == pytest.approx(10.185)
    assert second.end_seconds == pytest.approx(10.225)
    assert first.confidence == pytest.approx(0.8)
    assert second.confidence == pytest.approx(0.7)


def test_a_space_belongs_to_the_word_after_it() -> None:
    # a b _ a: the second word begins where its letter is said, not where the space fired.
    units = timed([3, 4, 2, 0, 0, 3])
    assert [unit.text for unit in units] == ["a", "b", " a"]
    assert units[2].start_seconds == pytest.approx(0.025 + 5 * 0.04)
    words = timed_words(units)
    assert [word.text for word in words] == ["ab", "a"]
    assert words[0].start_seconds == pytest.approx(0.025)
    assert words[0].end_seconds == pytest.approx(0.105)


def test_a_tag_is_no_part_of_the_first_unit() -> None:
    first, second = timed([10, 0, 5, 6])
    assert (first.text, second.text) == ("我", "们")
    assert first.start_seconds == pytest.approx(0.025 + 2 * 0.04)


def test_scripts_without_spaces_have_a_word_a_unit() -> None:
    # 我们ab我: letters beside Han characters are a word of their own.
    words = timed_words(timed([5, 6, 3, 4, 5]))
    assert [word.text for word in words] == ["我", "们", "ab", "我"]


def test_bytes_of_one_character_are_one_unit() -> None:
    (first, second) = timed([5, 7, 8, 9], [0.9, 0.5, 0.8, 0.6])
    assert (first.text, second.text) == ("我", "中")
    assert second.start_seconds == pytest.approx(0.065)
    assert second.end_seconds == pytest.approx(0.185)
    assert second.confidence == pytest.approx(0.5)


def test_units_joined_are_the_reading() -> None:
    rng = np.random.default_rng(0)
    for beam in (1, 4):
        for _ in range(50):
            scores = rng.standard_normal((12, TOKENIZER.vocab_size)) * 3
            log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
            log_probs = log_probs.astype(np.float32)
            reading = (
                greedy(log_probs, TOKENIZER)
                if beam == 1
                else prefix_beam(log_probs, TOKENIZER, beam=beam)[0]
            )
            units = timed_units(log_probs, reading, TOKENIZER)
            assert "".join(unit.text for unit in units) == reading.text
            starts = [unit.start_seconds for unit in units]
            assert starts == sorted(starts)
            assert all(0.0 <= u.confidence <= 1.0 for u in units)
            assert all(u.start_seconds < u.end_seconds <= 0.025 + 12 * 0.04 + 1e-9 for u in units)


def test_nothing_read() -> None:
    assert timed_units(log_probs_of([0, 0]), Hypothesis("", (), -1.0, ()), TOKENIZER) == ()
    assert timed_words(()) == ()
    assert mean_confidence(()) is None


def test_confidence_is_a_geometric_mean() -> None:
    units = [TimedText("a", 0, 1, 0.9), TimedText("b", 1, 2, 0.4)]
    assert mean_confidence(units) == pytest.approx(0.6)
    assert mean_confidence([TimedText("a", 0, 1, 0.0)]) == pytest.approx(0.0)
