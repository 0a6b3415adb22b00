from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss._config import config_from_mapping
from isogloss.errors import IsoglossError
from isogloss.tasks import ControlledRetrieval, check_task
from tasks.planted_voices import (
    VARIETIES,
    Heard,
    audio_file,
    characters_of_translation,
    corpus_of,
    one_hot_phones,
    rng_of,
    spoken,
)

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import Corpus, Measurement

N = 40


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Sentences whose sound in each variety has nothing to do with their meaning."""
    audio = audio_file(tmp_path)
    items = []
    for number in range(N):
        text = "".join(rng_of(f"text {number}").choice(list("天地玄黄宇宙洪荒日月盈昃辰宿列张"), 6))
        for place, variety in enumerate(VARIETIES):
            phones = " ".join(rng_of(f"{variety} {number}").choice(list("aeioukst"), 8))
            items.append(
                spoken(
                    audio,
                    10 * number + place,
                    f"{variety}{number:02d}",
                    variety,
                    meaning=f"m{number:02d}",
                    phones=phones,
                    translation=text,
                    transcript=text,
                    words=tuple(text) if variety == "cmn" else (),
                )
            )
    return corpus_of(items)


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    return {m.name: m for m in found}


def test_an_ear_follows_sound_and_a_mind_follows_meaning(corpus: Corpus) -> None:
    task = ControlledRetrieval(bootstrap=200)
    ear = by_name(check_task(task, corpus, Heard(one_hot_phones, "ear")))
    mind = by_name(check_task(task, corpus, Heard(characters_of_translation, "mind")))
    assert ear["partial Spearman sound"].value > 0.6
    assert abs(ear["partial Spearman meaning"].value) < 0.05
    assert mind["partial Spearman meaning"].value > 0.8
    assert abs(mind["partial Spearman sound"].value) < 0.05
    # The right answer sounds like any other: the ear takes one of the six by chance or worse.
    assert ear["hard R@1"].value < 1 / 6 + 0.05
    assert mind["hard R@1"].value == 1
    assert ear["partial Pearson sound"].value > 0.6
    assert mind["partial Pearson meaning"].value > 0.7
    # How far the controls agree does not depend on the encoder.
    name = "Spearman sound-meaning"
    assert ear[name].value == mind[name].value
    interval = ear["partial Spearman meaning"]
    assert interval.low is not None and interval.high is not None
    assert interval.low < 0 < interval.high
    assert interval.high - interval.low < 0.2


def test_a_score_that_is_the_control_itself_has_correlation_one(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.scores import edit_similarity

    items = {item.id: item for item in corpus.items}

    def edit(self: object, a: object, b: object) -> np.ndarray:
        strings = [[str(items[i].phones).split() for i in x.ids] for x in (a, b)]  # type: ignore[attr-defined]
        return edit_similarity(*strings)

    monkeypatch.setattr(ControlledRetrieval, "scores", edit)
    monkeypatch.setattr("isogloss.tasks.speech_retrieval.SpeechRetrieval.scores", edit)
    found = by_name(ControlledRetrieval(bootstrap=50).run(corpus, Heard(one_hot_phones)))
    for kind in ("Spearman", "Pearson"):
        sound = found[f"partial {kind} sound"]
        assert sound.value == pytest.approx(1)
        assert sound.low == pytest.approx(1)
        # Sound is the score: it leaves nothing for meaning to explain, so there is no number.
        assert f"partial {kind} meaning" not in found


def test_every_ordered_pair_and_its_parts_are_named(corpus: Corpus) -> None:
    found = ControlledRetrieval(bootstrap=20).run(corpus, Heard(one_hot_phones))
    names = [m.name for m in found]
    assert names[:2] == ["R@1", "hard R@1"]
    for way in ("cmn>yue", "yue>cmn", "hak>yue"):
        for name in ("R@1", "hard R@1", "partial Spearman sound", "Pearson meaning"):
            assert f"{name} {way}" in names
        assert any(name.startswith("R@1 distance") and name.endswith(way) for name in names)
    named = by_name(found)
    overall, both = named["partial Pearson sound"], []
    for a in VARIETIES:
        both += [named[f"partial Pearson sound {a}>{b}"].value for b in VARIETIES if a != b]
    assert overall.value == pytest.approx(np.mean(both))
    signature = overall.signature
    assert signature["pairs"] == 6
    assert signature["task"] == "controlled_retrieval"
    assert signature["phonetic_basis"] == "phones"
    assert "TF-IDF of 1 and 2 characters" in signature["meaning"]
    assert "meanings" in signature["interval"]
    hard = named["hard R@1"]
    assert hard.item_keys == tuple(sorted({str(i.meaning) for i in corpus.items}))
    assert hard.per_item is not None and len(hard.per_item) == N
    assert signature["encoder"] == "planted" and hard.signature["meaning"] == signature["meaning"]


def test_words_and_given_vectors_tell_meaning(corpus: Corpus, tmp_path: Path) -> None:
    mind = Heard(characters_of_translation)
    words = by_name(ControlledRetrieval(meaning="words", bootstrap=0).run(corpus, mind))
    assert words["partial Pearson meaning"].value > 0.5
    assert words["partial Pearson meaning"].low is None
    assert "words of cmn" in words["partial Pearson meaning"].signature["meaning"]
    path = tmp_path / "meanings.npz"
    names = sorted({str(i.meaning) for i in corpus.items})
    np.savez(path, meanings=np.array(names), vectors=np.eye(N))
    given = ControlledRetrieval(meaning="vectors", meaning_vectors=path, bootstrap=0)
    found = by_name(given.run(corpus, mind))["partial Pearson meaning"]
    assert "sha256" in found.signature["meaning"]
    # Right answers alone are alike, so without them nothing varies and there is no number.
    apart = by_name(dataclasses.replace(given, unmatched_only=True).run(corpus, mind))
    assert "partial Pearson meaning" not in apart and "R@1" in apart
    assert apart["Pearson sound"].signature["cells"] == "wrong answers"
    np.savez(path, meanings=np.array(names[1:]), vectors=np.eye(N - 1))
    with pytest.raises(ValueError, match="nothing tells what meaning 'm00' is like"):
        given.run(corpus, mind)
    np.savez(path, vectors=np.eye(N))
    with pytest.raises(IsoglossError, match=r"meanings\.npz: expected"):
        given.run(corpus, mind)
    path.write_text("nothing")
    with pytest.raises(IsoglossError, match=r"expected an \.npz"):
        given.run(corpus, mind)


def test_a_constant_encoder_has_no_correlation_and_retrieves_nothing(corpus: Corpus) -> None:
    found = by_name(ControlledRetrieval(bootstrap=20).run(corpus, Heard(lambda i: np.ones((4, 3)))))
    assert found["R@1"].value == 0
    assert "partial Spearman sound" not in found
    assert "Spearman sound-meaning" in found


def test_without_sound_or_meaning_it_refuses(corpus: Corpus) -> None:
    ear = Heard(one_hot_phones)

    def without(**fields: object) -> Corpus:
        return corpus_of([dataclasses.replace(i, **fields) for i in corpus.items])  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="how alike they sound is unknown"):
        mute = corpus_of(
            [dataclasses.replace(i, phones=None, transcript=None) for i in corpus.items]
        )
        ControlledRetrieval().run(mute, Heard(characters_of_translation))
    with pytest.raises(ValueError, match="so how alike sentences are in meaning is unknown"):
        ControlledRetrieval().run(without(translation=None, transcript=None), ear)
    with pytest.raises(ValueError, match="no item of 'cmn' has words"):
        ControlledRetrieval(meaning="words").run(without(words=()), ear)


def test_sites_are_resampled_in_their_groups(corpus: Corpus) -> None:
    items = [
        dataclasses.replace(item, id=f"{item.id}{town}", site=f"{item.variety}{town}")
        for item in corpus.items
        if item.variety != "hak"
        for town in "AB"
    ]
    found = by_name(
        ControlledRetrieval(by="site", bootstrap=50).run(corpus_of(items), Heard(one_hot_phones))
    )
    sound = found["partial Spearman sound"]
    assert sound.signature["pairs"] == 12
    assert "and sites" in sound.signature["interval"]


def test_options_come_from_a_recipe_and_are_checked() -> None:
    task = config_from_mapping(
        ControlledRetrieval, {"by": "site", "center": True, "meaning": "words", "hard": 9}
    )
    assert task == ControlledRetrieval(by="site", center=True, meaning="words", hard=9)
    with pytest.raises(ValueError, match="meaning must be one of"):
        ControlledRetrieval(meaning="luck")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="go together"):
        ControlledRetrieval(meaning="vectors")
    with pytest.raises(ValueError, match="hard must be"):
        ControlledRetrieval(hard=0)
    with pytest.raises(ValueError, match="by must be one of"):
        ControlledRetrieval(by="village")  # type: ignore[arg-type]


def test_its_numbers_are_json(corpus: Corpus) -> None:
    from isogloss.tasks import measurement_to_dict

    found = ControlledRetrieval(bootstrap=20).run(corpus, Heard(one_hot_phones))
    json.dumps([measurement_to_dict(m) for m in found], allow_nan=False)


def test_a_corpus_without_standard_wording_is_told_what_to_do(corpus: Corpus) -> None:
    items = [dataclasses.replace(item, translation=None) for item in corpus.items]
    with pytest.raises(
        ValueError, match=r"no item .* has a translation and none of 'nan' .*vectors"
    ):
        ControlledRetrieval(standard="nan").run(corpus_of(items), Heard(one_hot_phones))
