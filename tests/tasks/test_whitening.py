from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.tasks import SpeechRetrieval
from isogloss.tasks.comparison import Comparison
from isogloss.tasks.parallel import parallel_sets
from isogloss.tasks.whitening import fit_whitening
from isogloss.types import Corpus, Item, Sequences, Vectors
from tasks.planted_voices import VARIETIES, Heard, audio_file, corpus_of, rng_of, spoken

if TYPE_CHECKING:
    from pathlib import Path

N = 30


def correlated(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((dimensions, dimensions))
    return (rng.standard_normal((rows, dimensions)) @ mixing + 3).astype(np.float32)


def test_the_covariance_becomes_the_identity() -> None:
    values = correlated(500, 8)
    found = fit_whitening([values[:200], values[200:]], shrinkage=0)
    whitened = found(values)
    assert whitened.dtype == np.float32
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(8), atol=1e-3)
    # ZCA: the map is symmetric, so no direction is turned more than needed.
    np.testing.assert_allclose(found.matrix, found.matrix.T, atol=1e-5)


def test_shrinkage_leads_from_whitening_to_scaling() -> None:
    values = correlated(500, 8)
    spread = [
        np.linalg.cond(np.cov(fit_whitening([values], shrinkage=s)(values).T))
        for s in (0.0, 0.1, 0.5, 1.0)
    ]
    assert spread == sorted(spread)
    assert spread[0] == pytest.approx(1, abs=1e-3)
    assert spread[-1] == pytest.approx(np.linalg.cond(np.cov(values.T)), rel=1e-2)


def test_directions_without_variance_and_too_few_vectors() -> None:
    flat = correlated(100, 5)
    flat[:, 2] = 4
    whitened = fit_whitening([flat], shrinkage=0)(flat)
    np.testing.assert_allclose(whitened[:, 2], 0, atol=1e-4)
    few = correlated(8, 8)
    with pytest.raises(ValueError, match="8 vectors of 8 dimensions cannot be whitened"):
        fit_whitening([few], shrinkage=0)
    assert np.isfinite(fit_whitening([few], shrinkage=0.2)(few)).all()
    for values, message in (
        (few[:1], "1 vectors"),
        (np.ones((9, 2), np.float32), "are the same"),
        (np.full((9, 2), np.nan, np.float32), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_whitening([values], shrinkage=0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_whitening([few], shrinkage=2)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    audio = audio_file(tmp_path)
    return corpus_of(
        [
            spoken(
                audio,
                10 * n + place,
                f"{variety}{n:02d}",
                variety,
                meaning=f"m{n:02d}",
                split="test" if n < N else "train",
            )
            for n in range(2 * N)
            for place, variety in enumerate(VARIETIES)
        ]
    )


def drowned(item: Item) -> np.ndarray:
    """A small direction of meaning under a few loud ones that say nothing."""
    meaning = rng_of(str(item.meaning)).standard_normal((6, 4))
    loud = 30 * rng_of(item.id).standard_normal((6, 3))
    return np.hstack([meaning + 0.1 * rng_of(f"{item.id}+").standard_normal((6, 4)), loud])


@pytest.mark.parametrize("score", ["seqsim", "cosine"])
@pytest.mark.parametrize("whiten", ["set", "pooled"])
def test_what_is_scored_is_white(corpus: Corpus, score: str, whiten: str) -> None:
    task = Comparison(score=score, whiten=whiten, shrinkage=0)  # type: ignore[arg-type]
    parallel = parallel_sets(corpus)
    found = task.compared(corpus, Heard(drowned), parallel)
    rows = [np.asarray(found.steps[s.name].values) for s in found.sets]
    kind = Sequences if score == "seqsim" else Vectors
    assert all(isinstance(steps, kind) for steps in found.steps.values())
    for values in rows if whiten == "set" else [np.concatenate(rows)]:
        np.testing.assert_allclose(np.cov(values.T), np.eye(7), atol=1e-3)
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("score", ["seqsim", "cosine"])
def test_whitening_brings_out_what_was_drowned(corpus: Corpus, score: str) -> None:
    def recall(**options: object) -> float:
        task = SpeechRetrieval(score=score, bootstrap=0, **options)  # type: ignore[arg-type]
        found = task.retrieve(corpus, Heard(drowned)).mean("R@1")
        assert found is not None
        return found.value

    plain, white = recall(), recall(whiten="pooled", shrinkage=0.0)
    fitted_elsewhere = recall(whiten="pooled", shrinkage=0.0, whiten_split="train")
    assert plain < 0.3
    assert white > plain + 0.3
    assert fitted_elsewhere > plain + 0.3


def test_whitening_is_signed(corpus: Corpus) -> None:
    def signed(**options: object) -> str:
        task = SpeechRetrieval(bootstrap=0, **options)  # type: ignore[arg-type]
        return str(task.retrieve(corpus, Heard(drowned)).signature["whiten"])

    assert signed() == "none"
    own = signed(whiten="set", shrinkage=0.2)
    assert own == "ZCA of steps, a map for each set, shrinkage 0.2, from the retrieved items"
    other = signed(whiten="pooled", score="cosine", whiten_split="train")
    assert other == "ZCA of pooled vectors, one map for all sets, shrinkage 0.1, from train"


def test_the_split_that_is_judged_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="is the split that is judged"):
        SpeechRetrieval(whiten="set", whiten_split="test")
    with pytest.raises(ValueError, match="no effect without whiten"):
        SpeechRetrieval(whiten_split="train")
    with pytest.raises(ValueError, match="no recordings in split 'dev' to whiten on"):
        SpeechRetrieval(whiten="set", whiten_split="dev").run(corpus, Heard(drowned))
    with pytest.raises(ValueError, match="set 'cmn': 30 vectors of 40 dimensions"):
        wide = Heard(lambda item: rng_of(item.id).standard_normal((2, 40)))
        SpeechRetrieval(score="cosine", whiten="set", shrinkage=0).run(corpus, wide)
    with pytest.raises(ValueError, match="whiten must be one of"):
        SpeechRetrieval(whiten="pca")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shrinkage"):
        SpeechRetrieval(shrinkage=1.5)
