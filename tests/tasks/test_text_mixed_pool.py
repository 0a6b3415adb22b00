from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogloss.tasks.check import check_task
from isogloss.tasks.mixed_pool import MixedPool
from isogloss.types import Item
from sentence_makers import MeaningEncoder, TableEncoder, corpus_of, parallel_corpus, sentence

QUICK = MixedPool(bootstrap=0, floors=())


def named(measurements):
    return {m.name: m for m in measurements}


def test_worked_by_hand() -> None:
    """Two meanings in two varieties; m1 of yue lies nearer to m0 of yue than to its translation."""
    vectors = {"eng m0": [1, 0], "eng m1": [0, 1], "yue m0": [1, 0], "yue m1": [0.8, 0.6]}
    corpus = corpus_of([sentence(v, m) for v in ("eng", "yue") for m in ("m0", "m1")])
    found = named(replace(QUICK, top=1).run(corpus, TableEncoder(vectors)))
    # eng m0 ranks yue m0, yue m1, eng m1; eng m1: yue m1 first; yue m0: eng m0 first;
    # yue m1 (.8, .6): eng m0 and yue m0 score .8, its answer eng m1 .6, so third.
    assert found["mAP"].value == pytest.approx((1 + 1 + 1 + 1 / 3) / 4)
    assert found["R@1"].value == pytest.approx(3 / 4)
    # Among eng alone, yue m1 finds eng m0 first, its answer second.
    assert found["mAP one variety at a time"].value == pytest.approx((1 + 1 + 1 + 1 / 2) / 4)
    assert found["mAP of eng"].value == 1
    # Best answers: yue, yue, eng, and for yue m1 eng m0 (of two equals the first by id).
    assert found["same-variety share"].value == 0
    assert found["same-variety share"].signature["chance"] == pytest.approx(1 / 3)
    heat = found["same-variety share"].signature["heat"]
    assert heat["varieties"] == ["eng", "yue"]
    assert heat["shares"] == [[0, 1], [1, 0]]


def test_weak_alignment_shows_as_bias() -> None:
    """Each variety apart from the others: perfect one at a time, hopeless in one pool."""
    corpus = parallel_corpus("eng yue cmn", 15)
    apart = named(QUICK.run(corpus, MeaningEncoder(variety_share=1.5)))
    assert apart["mAP one variety at a time"].value == pytest.approx(1, abs=0.05)
    assert apart["mAP"].value < 0.3
    assert apart["same-variety share"].value > 0.9
    assert apart["same-variety share"].signature["chance"] == pytest.approx(14 / 44)
    mended = named(replace(QUICK, center=True).run(corpus, MeaningEncoder(variety_share=1.5)))
    assert mended["mAP"].value > 0.9
    strong = named(QUICK.run(corpus, MeaningEncoder()))
    assert strong["mAP"].value == strong["R@1"].value == 1


def test_by_brute_force() -> None:
    corpus = parallel_corpus("eng yue cmn", 9)
    encoder = MeaningEncoder(0.7, 1.3)
    found = named(QUICK.run(corpus, encoder))
    items = sorted(corpus.items, key=lambda item: item.id)
    values = encoder.encode(items).values
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    scores = unit @ unit.T
    wanted = []
    for i, item in enumerate(items):
        others = [j for j in range(len(items)) if j != i]
        ranked = sorted(others, key=lambda j: -scores[i, j])
        places = [r for r, j in enumerate(ranked, 1) if items[j].meaning == item.meaning]
        wanted.append(np.mean([hit / place for hit, place in enumerate(places, 1)]))
    assert found["mAP"].value == pytest.approx(np.mean(wanted), abs=1e-6)


def question(variety: str, meaning: str) -> Item:
    return Item(
        f"q-{meaning}-{variety}", variety, meaning, f"{variety} {meaning}", extra={"r": "question"}
    )


def test_questions_ask_answers_that_may_answer_several() -> None:
    items = [question(v, q) for v in ("eng", "yue") for q in ("q0", "q1", "q2")]
    for variety in ("eng", "yue"):
        for name, answers in (("s0", "q0 q1"), ("s1", "q2"), ("s2", "")):
            extra = {"r": "answer", **({"answers": answers} if answers else {})}
            text = f"{variety} {answers.split()[0] if answers else name}"
            items.append(Item(f"{name}-{variety}", variety, f"{name}-{variety}", text, extra=extra))
    items.append(Item("other", "eng", "q0", "eng q0", extra={"r": "comment"}))
    items.append(question("eng", "nobody"))
    found = named(replace(QUICK, role="r").run(corpus_of(items), MeaningEncoder()))
    map_ = found["mAP"]
    assert map_.signature["queries"] == 6 and map_.signature["answers"] == 6
    assert map_.signature["left_out"]["no right answer in the pool"] == 1
    assert map_.signature["left_out"]["extra['r'] is neither question nor answer"] == 1
    # q0 and q2 lie on their answers; q1 lies nowhere near s0.
    assert found["R@1"].value >= 4 / 6
    with pytest.raises(ValueError, match="0 questions and 0 answers"):
        replace(QUICK, role="roll").run(corpus_of(items), MeaningEncoder())


def test_answers_with_one_text_are_one_answer() -> None:
    items = [sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(3)]
    items += [sentence("eng", "m3", "eng yes"), sentence("eng", "m4", "eng yes")]
    items += [sentence("yue", "m3", "yue yes"), sentence("yue", "m4", "yue yes")]
    found = named(QUICK.run(corpus_of(items), MeaningEncoder()))
    assert found["mAP"].value == 1
    left_out = found["mAP"].signature["left_out"]
    assert left_out["another answer of its variety has the same text"] == 2


def test_floors_and_seeds() -> None:
    items = [sentence("deu", f"m{i}", f"{'abcdefgh'[i] * 9} ende") for i in range(8)]
    items += [sentence("gsw", f"m{i}", f"{'abcdefgh'[i] * 9} ändi") for i in range(8)]
    encoder = TableEncoder({i.text: [1.0, 0.0] for i in items})
    task = MixedPool(bootstrap=20, edit_queries=5)
    found = named(task.run(corpus_of(items), encoder))
    assert found["R@1"].value == 0
    assert found["R@1 by tfidf"].value == found["R@1 by edit"].value == 1
    assert found["R@1 by tfidf"].n == 16 and found["R@1 by edit"].n == 5
    few = named(replace(QUICK, most_meanings=3).run(corpus_of(items), encoder))
    assert few["mAP"].signature["answers"] == 6


def test_contract_and_refusals(tmp_path) -> None:
    corpus = parallel_corpus("eng yue", 6)
    check_task(MixedPool(bootstrap=20, cache_dir=tmp_path), corpus, MeaningEncoder(0.5, 1.0))
    bad = {i.text: [1.0, 2.0] for i in corpus.items} | {"yue m002": [np.inf, 0.0]}
    with pytest.raises(ValueError, match="m002-yue"):
        QUICK.run(corpus, TableEncoder(bad))
    with pytest.raises(ValueError, match="none of 2 queries has a right answer"):
        QUICK.run(corpus_of([sentence("eng", "a"), sentence("yue", "b")]), MeaningEncoder())
    nobody = corpus_of([Item("a", "eng", text="a"), Item("b", "yue", meaning="m")])
    with pytest.raises(ValueError, match="no item that can ask; 1 with no meaning; 1 with no text"):
        QUICK.run(nobody, MeaningEncoder())
    with pytest.raises(ValueError, match="top"):
        MixedPool(top=0)


def test_a_variety_with_one_item_takes_part_and_is_reported() -> None:
    items = [sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(4)]
    found = named(QUICK.run(corpus_of([*items, sentence("cmn", "m0")]), MeaningEncoder()))
    assert found["mAP of cmn"].n == 1 and found["mAP of cmn"].low is None
