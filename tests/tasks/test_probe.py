from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss._config import config_from_mapping
from isogloss.tasks import Probe, check_task
from isogloss.tasks.linear_probe import fit_probe
from tasks.planted_voices import VARIETIES, Heard, audio_file, corpus_of, rng_of, spoken

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import Corpus, Item, Measurement

MEANINGS, SPEAKERS = 30, 10


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """30 sentences in 3 varieties by 10 speakers, each of whom speaks all three."""
    audio = audio_file(tmp_path)
    return corpus_of(
        [
            spoken(
                audio,
                10 * n + place,
                f"{variety}{n:02d}",
                variety,
                meaning=f"m{n}",
                speaker=f"s{(n + 3 * place) % SPEAKERS}",
                split="test",
            )
            for n in range(MEANINGS)
            for place, variety in enumerate(VARIETIES)
        ]
    )


def noise(item: Item) -> np.ndarray:
    return rng_of(item.id).standard_normal(12)


def accent(item: Item) -> np.ndarray:
    """Noise, and a direction of the variety far beyond it."""
    return (noise(item) + 20 * rng_of(item.variety).standard_normal(12))[np.newaxis]


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    return {m.name: m for m in found}


def test_a_planted_variety_is_found_and_centring_removes_it(corpus: Corpus) -> None:
    found = by_name(check_task(Probe(bootstrap=100), corpus, Heard(accent)))
    assert list(found) == [
        "variety probe accuracy",
        "variety probe macro-F1",
        "variety probe accuracy centred",
        "variety probe macro-F1 centred",
    ]
    whole = found["variety probe accuracy"]
    assert whole.value == 1
    assert found["variety probe macro-F1"].value == 1
    assert whole.signature["chance"] == pytest.approx(1 / 3)
    assert whole.signature["held_out"] == "meaning and speaker, 5 folds of each"
    assert whole.signature["confusion"] == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert whole.signature["classes"] == sorted(VARIETIES)
    assert "speakers" in whole.signature["interval"]
    assert whole.item_keys is not None and len(whole.item_keys) == 90
    centred = found["variety probe accuracy centred"]
    assert centred.low is not None and centred.high is not None
    assert centred.low < 1 / 3 < centred.high
    assert 0.15 < centred.value < 0.5
    assert "training items" in centred.signature["center"]


def test_a_pure_direction_leaves_nothing_behind(corpus: Corpus) -> None:
    # All items of a variety are one point: what rounding leaves must not be scaled up.
    found = by_name(Probe(bootstrap=0).run(corpus, Heard(lambda i: accent(i) - noise(i) + 0.1)))
    assert found["variety probe accuracy"].value == 1
    assert found["variety probe accuracy centred"].value == pytest.approx(1 / 3, abs=0.15)


def test_items_that_share_a_meaning_or_speaker_are_never_on_both_sides(corpus: Corpus) -> None:
    # Vectors that only a memory of the meaning, or of the speaker, could tell apart.
    for shared in ("meaning", "speaker"):
        parrot = Heard(lambda i, s=shared: rng_of(str(getattr(i, s))).standard_normal((1, 12)))  # type: ignore[misc]
        found = by_name(
            Probe("split", split=None, bootstrap=0, least=5).run(halved(corpus, shared), parrot)
        )
        assert abs(found["split probe accuracy"].value - 0.5) < 0.25
    voice = Heard(lambda i: rng_of(str(i.speaker)).standard_normal((1, 12)))
    assert (
        by_name(Probe("speaker", least=5).run(corpus, voice))["speaker probe accuracy"].value == 1
    )


def halved(corpus: Corpus, shared: str) -> Corpus:
    """Every second meaning (or speaker) is in another split, which only memory could know."""

    def side(item: Item) -> str:
        return "ab"[int(str(getattr(item, shared))[1:]) % 2]

    return corpus_of([dataclasses.replace(i, split=side(i)) for i in corpus.items])


def test_two_runs_agree_and_items_are_encoded_once(corpus: Corpus, tmp_path: Path) -> None:
    task = Probe(cache_dir=tmp_path / "cache", bootstrap=20)
    encoder = Heard(accent)
    first = task.run(corpus, encoder)
    again = task.run(corpus, encoder)
    assert encoder.calls == 90
    assert [(m.name, m.value, m.low) for m in first] == [(m.name, m.value, m.low) for m in again]
    mixed = corpus_of(corpus.items[::-1])
    assert [m.value for m in task.run(mixed, encoder)] == [m.value for m in first]


def test_small_classes_are_refused_with_counts_or_dropped(corpus: Corpus) -> None:
    few = corpus_of([i for i in corpus.items if i.variety != "hak" or i.meaning in ("m1", "m2")])
    with pytest.raises(ValueError, match=r"variety 'hak' has 2 items.*cmn 30, hak 2, yue 30"):
        Probe().run(few, Heard(accent))
    found = by_name(Probe(rare="drop", bootstrap=0).run(few, Heard(accent)))
    assert found["variety probe accuracy"].signature["classes"] == ["cmn", "yue"]
    assert found["variety probe accuracy"].n == 60
    with pytest.raises(ValueError, match="needs 2 classes of 10 items; items: cmn 30"):
        Probe().run(corpus_of([i for i in corpus.items if i.variety == "cmn"]), Heard(accent))


def test_a_variety_of_one_speaker_cannot_be_told_from_the_speaker(corpus: Corpus) -> None:
    alone = corpus_of([dataclasses.replace(i, speaker=i.variety) for i in corpus.items])
    with pytest.raises(ValueError, match=r"holds out speakers.*cmn 1, hak 1, yue 1"):
        Probe().run(alone, Heard(accent))
    found = by_name(Probe(hold_out=("meaning",), bootstrap=0).run(alone, Heard(accent)))
    assert found["variety probe accuracy"].value == 1
    unknown = corpus_of([dataclasses.replace(i, speaker=None) for i in corpus.items])
    found = by_name(Probe(bootstrap=0).run(unknown, Heard(accent)))
    assert found["variety probe accuracy"].signature["held_out"] == "meaning, 5 folds of each"


def test_groups_sites_and_missing_labels(corpus: Corpus) -> None:
    found = by_name(Probe("group", bootstrap=0).run(corpus, Heard(accent)))
    assert found["group probe accuracy"].signature["classes"] == ["hakka", "mandarin", "yue"]
    with pytest.raises(ValueError, match="no item with audio and a known site"):
        Probe("site").run(corpus, Heard(accent))
    with pytest.raises(ValueError, match=r"in split 'dev'; splits there are: test \(90\)"):
        Probe(split="dev").run(corpus, Heard(accent))


def test_options_are_checked() -> None:
    assert config_from_mapping(Probe, {"target": "speaker", "hold_out": ["meaning"]}) == Probe(
        "speaker", hold_out=("meaning",)
    )
    for options, message in (
        ({"target": "mood"}, "target must be one of"),
        ({"hold_out": ("variety",)}, "hold_out must be some of"),
        ({"target": "speaker", "hold_out": ("speaker",)}, "not the target"),
        ({"folds": 1}, "folds and least"),
        ({"penalty": 0.0}, "penalty above 0"),
        ({"target": "split"}, "set split=None"),
    ):
        with pytest.raises(ValueError, match=message):
            Probe(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hold_out is empty"):
        Probe("speaker", hold_out=())._check_units(np.zeros(1, int), ["a"], {})


def test_the_classifier_is_that_of_another_program() -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((60, 4)).astype(np.float32)
    values = ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)
    labels = (values[:, 0] + 0.5 * rng.standard_normal(60) > 0).astype(np.int64)
    labels[values[:, 1] > 1] = 2
    probe = fit_probe(values, labels, 3, penalty=0.5)
    # scikit-learn 1.9.1: LogisticRegression(C=2, tol=1e-10, max_iter=10000).coef_.T, intercept_.
    weights = [
        [-1.9199, 2.0638, -0.1439],
        [-1.4159, -1.0434, 2.4592],
        [0.4475, -0.1390, -0.3085],
        [0.5419, 0.5766, -1.1185],
    ]
    np.testing.assert_allclose(probe.weights, weights, atol=2e-3)
    np.testing.assert_allclose(probe.bias - probe.bias.mean(), [1.2926, 0.7772, -2.0698], atol=2e-3)


def test_a_bound_of_the_curvature_leads_to_the_same_minimum_sooner() -> None:
    rng = np.random.default_rng(5)
    # Dimensions that go together, so that a circle is a bad guess of the curvature.
    mixed = (
        rng.standard_normal((6, 6)) @ np.diag([9, 5, 2, 1, 0.3, 0.1]) @ rng.standard_normal((6, 6))
    )
    values = (rng.standard_normal((300, 6)) @ mixed).astype(np.float32)
    labels = (values[:, :3] + 5 * rng.standard_normal((300, 3))).argmax(axis=1)
    exact = fit_probe(values, labels, 3, steps=2000)
    np.testing.assert_allclose(
        fit_probe(values, labels, 3, curved=True, steps=2000).weights, exact.weights, atol=0.02
    )

    def off(**options: bool) -> float:
        found = fit_probe(values, labels, 3, steps=15, **options)  # type: ignore[arg-type]
        return float(np.abs(found.weights - exact.weights).max())

    assert off(curved=True) < off()


def test_the_classifier_on_hard_input() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    # Separable, one dimension constant, one of far larger scale.
    values = np.column_stack([labels * 2 - 1, np.full(40, 7), 1e6 * rng.standard_normal(40)])
    probe = fit_probe(values.astype(np.float32), labels, 2)
    assert (probe.guess(values.astype(np.float32)) == labels).all()
    assert np.isfinite(probe.weights).all()
    constant = fit_probe(np.ones((6, 2), np.float32), np.array([0, 0, 0, 0, 1, 1]), 2)
    assert (constant.guess(np.ones((3, 2), np.float32)) == 0).all()
    for bad, message in (
        ((np.ones((2, 2), np.float32), np.array([0, 2]), 2), "labels run"),
        ((np.full((2, 2), np.nan, np.float32), np.array([0, 1]), 2), "NaN"),
        ((np.ones(2, np.float32), np.array([0, 1]), 2), r"\(N, D\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_probe(*bad)
    with pytest.raises(ValueError, match="penalty"):
        fit_probe(np.ones((2, 2), np.float32), np.array([0, 1]), 2, penalty=0)


def test_a_class_never_lies_in_one_fold_alone(tmp_path: Path) -> None:
    """Four sentences of each of eight places: chance alone would put some into one fold of two."""
    audio = audio_file(tmp_path)
    items = [
        spoken(audio, n, f"i{n:02d}", "cmn", meaning=f"m{n}", site=f"place {n % 8}", split="test")
        for n in range(32)
    ]
    for seed in range(10):
        probe = Probe("site", folds=2, least=2, bootstrap=0, seed=seed)
        found = probe.run(
            corpus_of(items),
            Heard(lambda item: 5 * rng_of(str(item.site)).standard_normal((1, 12))),
        )
        assert found[0].value == 1.0


def test_what_a_fold_leaves_without_training_is_named(tmp_path: Path) -> None:
    audio = audio_file(tmp_path)
    items = [
        spoken(
            audio,
            10 * n + place,
            f"{variety}{n}",
            variety,
            meaning=f"m{n}",
            speaker=f"{variety}{n}",
            split="test",
        )
        for n in range(2)
        for place, variety in enumerate(VARIETIES)
    ]
    with pytest.raises(ValueError, match=r"leaves no training item of variety '(cmn|hak|yue)'"):
        Probe(folds=2, least=2).run(corpus_of(items), Heard(noise_step))


def noise_step(item: Item) -> np.ndarray:
    return noise(item)[np.newaxis]
