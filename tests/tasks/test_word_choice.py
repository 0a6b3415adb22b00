from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss._config import config_from_mapping
from isogloss.tasks import WordChoice, check_task
from tasks.planted_voices import Heard, audio_file, corpus_of, rng_of, spoken

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import Corpus, Item, Measurement

N = 12
ASCII = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """The yue word for n sounds like the cmn word for n + 1, but for its last phone."""
    audio = audio_file(tmp_path)
    items = []
    for n in range(N):
        for place, (variety, sound) in enumerate((("cmn", n), ("yue", (n + 1) % N))):
            syllable = f"{ASCII[sound]}1 {ASCII[sound]}2 {ASCII[sound]}3 {variety}"
            items.append(
                spoken(
                    audio,
                    10 * n + place,
                    f"{variety}{n:02d}",
                    variety,
                    meaning=f"m{n:02d}",
                    phones=syllable,
                    transcript=chr(0x4E00 + 100 * place + n),
                    translation=chr(0x5E00 + n),
                )
            )
    return corpus_of(items)


def ear(item: Item) -> np.ndarray:
    return np.stack([rng_of(p).standard_normal(16) for p in str(item.phones).split()])


def mind(item: Item) -> np.ndarray:
    return rng_of(str(item.meaning)).standard_normal((1, 16))


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    return {m.name: m for m in found}


def test_a_mind_is_always_right_and_an_ear_always_wrong(corpus: Corpus) -> None:
    task = WordChoice(bootstrap=50)
    right = by_name(check_task(task, corpus, Heard(mind)))
    wrong = by_name(check_task(task, corpus, Heard(ear)))
    assert list(right) == [f"word choice accuracy{x}" for x in ("", " cmn>yue", " yue>cmn")]
    for name in right:
        assert right[name].value == 1
        assert wrong[name].value == 0
    overall = right["word choice accuracy"]
    assert overall.n == 2 * N
    assert overall.signature["chance"] == 0.5
    assert overall.signature["mean_sound_of_mates"] == 0
    assert overall.signature["mean_sound_of_distractors"] == 0.75
    assert overall.signature["triples"] == 2 * N
    assert overall.item_keys == tuple(f"m{n:02d}" for n in range(N))


def test_who_cannot_tell_is_right_half_of_the_time(corpus: Corpus) -> None:
    found = by_name(WordChoice().run(corpus, Heard(lambda item: np.ones((2, 3)))))
    overall = found["word choice accuracy"]
    assert overall.value == 0.5
    assert overall.signature["ties_found"] == 2 * N
    # Right for half of the meanings, wrong for the others.
    half = Heard(lambda item: mind(item) if str(item.meaning) < "m06" else ear(item))
    mixed = by_name(WordChoice().run(corpus, half))["word choice accuracy"]
    assert 0.2 < mixed.value < 0.8
    assert mixed.low is not None and mixed.high is not None
    assert mixed.low < mixed.value < mixed.high


def test_the_triples_are_those_that_were_planted(corpus: Corpus) -> None:
    found = WordChoice().triples(corpus)
    assert set(found) == {("cmn", "yue"), ("yue", "cmn")}
    for triple in found["cmn", "yue"]:
        n = int(triple.query.id[3:])
        assert triple.mate.id == f"yue{n:02d}"
        assert triple.distractor.id == f"yue{(n - 1) % N:02d}"
        assert triple.distractor_sound == 0.75
        assert triple.key == f"{triple.query.id}|{triple.mate.id}|{triple.distractor.id}"


def test_each_threshold_refuses(corpus: Corpus) -> None:
    def changed(change: dict[str, object], number: int) -> Corpus:
        return corpus_of(
            [
                dataclasses.replace(item, **change) if int(item.id[3:]) == number else item  # type: ignore[arg-type]
                for item in corpus.items
            ]
        )

    def asked(found: Corpus, **options: object) -> set[str]:
        triples = WordChoice(**options).triples(found)  # type: ignore[arg-type]
        return {t.query.id for t in triples["cmn", "yue"]}

    everything = {f"cmn{n:02d}" for n in range(N)}
    assert asked(corpus) == everything
    assert asked(changed({"transcript": "一二"}, 3)) == everything - {"cmn03"}
    assert asked(changed({"transcript": "一二"}, 3), shared_at_most=1.0) == everything
    assert asked(changed({"phones": "x y z"}, 3)) == everything - {"cmn03", "cmn04"}
    # 3 and 4 have one wording, so the near-homophone of 4 may be its synonym.
    assert asked(changed({"translation": chr(0x5E03)}, 4)) == everything - {"cmn04"}
    assert asked(changed({"translation": chr(0x5E03)}, 4), meaning_at_most=None) == everything
    with pytest.raises(ValueError, match="no other word sounds near enough: 24"):
        WordChoice(distractor_at_least=0.8).triples(corpus)
    mute = corpus_of([dataclasses.replace(i, phones=None, transcript=None) for i in corpus.items])
    with pytest.raises(ValueError, match="no phones or transcripts on all items: 24"):
        WordChoice().triples(mute)
    # Without phones characters stand for sound; here no two words share any.
    spelt = corpus_of([dataclasses.replace(i, phones=None) for i in corpus.items])
    with pytest.raises(ValueError, match="sounds near enough: 24"):
        WordChoice().triples(spelt)


def test_more_distractors_for_each_query(corpus: Corpus) -> None:
    task = WordChoice(per_query=3, distractor_at_least=0, gap=0)
    found = by_name(task.run(corpus, Heard(mind)))["word choice accuracy cmn>yue"]
    assert found.n == 3 * N
    assert found.per_item is not None and found.per_item.shape == (N,)


def test_pools_are_whole_when_scores_are_adjusted(corpus: Corpus) -> None:
    for adjust in ("csls", "margin"):
        task = WordChoice(adjust=adjust, score="cosine", center=True)  # type: ignore[arg-type]
        assert by_name(task.run(corpus, Heard(mind)))["word choice accuracy"].value == 1


def test_script_is_normalised(tmp_path: Path) -> None:
    pytest.importorskip("opencc")
    audio = audio_file(tmp_path)
    words = [
        ("意志", "意誌"),
        ("奋斗", "奮鬥"),
        ("可爱", "得意"),
        ("得体", "好睇"),
        ("好看", "可惡"),
    ]
    items = [
        spoken(audio, 10 * n + k, f"{v}{n}", v, meaning=f"m{n}", transcript=pair[k])
        for n, pair in enumerate(words)
        for k, v in enumerate(("cmn", "yue"))
    ]
    found = WordChoice(script="Hans").triples(corpus_of(items))
    assert {(t.query.transcript, t.distractor.transcript) for t in found["cmn", "yue"]} == {
        ("可爱", "可惡"),
        ("得体", "得意"),
        ("好看", "好睇"),
    }


def test_unreadable_recordings_are_left_out(corpus: Corpus) -> None:
    from isogloss.errors import AudioError

    def broken(item: Item) -> np.ndarray:
        if item.id == "yue05":
            raise AudioError(str(item.audio), "broken")
        return mind(item)

    found = by_name(WordChoice().run(corpus, Heard(broken)))["word choice accuracy cmn>yue"]
    assert found.signature["unreadable"] == 1
    assert found.n == N - 2


def test_options_are_checked() -> None:
    assert config_from_mapping(WordChoice, {"gap": 0, "per_query": 2}) == WordChoice(
        gap=0.0, per_query=2
    )
    for options, message in (
        ({"sound": "tone"}, "sound must be"),
        ({"gap": 2.0}, "gap must lie"),
        ({"per_query": 0}, "per_query"),
        ({"meaning_at_most": -1.0}, "meaning_at_most"),
    ):
        with pytest.raises(ValueError, match=message):
            WordChoice(**options)  # type: ignore[arg-type]
