from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.tasks.check import check_task
from isogloss.tasks.knn_classification import NearestExamples, majority
from sentence_makers import MeaningEncoder, TableEncoder, corpus_of, sentence

QUICK = NearestExamples(bootstrap=0, floors=(), ks=(1, 3))


def named(measurements):
    return {m.name: m for m in measurements}


def labelled(variety, meaning, label, split, text=None):
    return sentence(variety, meaning, text, split=split, extra={"category": label})


def test_votes_by_hand() -> None:
    distances = np.array([[0.1, 0.2, 0.3, 0.9], [0.1, 0.2, 0.15, 0.9]])
    labels = ["a", "b", "b", "c"]
    assert majority(distances, labels, 1) == ["a", "a"]
    # Two votes beat one that is nearer.
    assert majority(distances, labels, 3) == ["b", "b"]
    # One vote each: the nearer wins.
    assert majority(distances, labels, 2) == ["a", "a"]
    # More voters than examples: all of them.
    assert majority(distances, labels, 99) == ["b", "b"]


def test_ties_have_one_answer() -> None:
    # Equal votes and equal distances: the alphabet.
    assert majority(np.array([[0.5, 0.5]]), ["z", "a"], 2) == ["a"]
    # Equal distances, one voter: the earlier example.
    assert majority(np.array([[0.5, 0.5]]), ["z", "a"], 1) == ["z"]
    # Examples that may not be asked have no vote.
    assert majority(np.array([[np.inf, 0.5, np.inf]]), ["z", "a", "z"], 3) == ["a"]
    with pytest.raises(ValueError, match="query 0 has no example"):
        majority(np.array([[np.inf]]), ["a"], 1)
    with pytest.raises(ValueError, match="NaN"):
        majority(np.array([[np.nan]]), ["a"], 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=8),
    st.integers(1, 5),
)
def test_majority_by_brute_force(examples, k) -> None:
    distances = np.array([[float(d) for d, _ in examples]])
    labels = [label for _, label in examples]
    order = sorted(range(len(labels)), key=lambda i: (distances[0, i], i))[:k]
    votes = {}
    for i in order:
        count, total = votes.get(labels[i], (0, 0.0))
        votes[labels[i]] = (count + 1, total + distances[0, i])
    best = min(votes, key=lambda label: (-votes[label][0], votes[label][1], label))
    assert majority(distances, labels, k) == [best]


def topics():
    """Two topics along two directions; examples and queries in two varieties."""
    items, vectors = [], {}
    for variety, shift in (("eng", 0.0), ("yue", 0.3)):
        for split, count in (("train", 4), ("test", 3)):
            for i in range(count):
                label = "sport" if i % 2 else "food"
                item = labelled(variety, f"{split}{i}", label, split)
                items.append(item)
                vectors[item.text] = [1.0, 0.1 * i + shift] if i % 2 else [0.1 * i + shift, 1.0]
    return corpus_of(items), vectors


def test_mono_and_cross() -> None:
    corpus, vectors = topics()
    found = named(replace(QUICK, sources=("eng",)).run(corpus, TableEncoder(vectors)))
    assert found["accuracy mono k=1"].value == 1 and found["accuracy mono k=1"].n == 6
    assert found["accuracy cross k=1"].n == 3
    assert found["eng>yue accuracy cross k=1"].value == found["accuracy cross k=1"].value
    assert found["macro-F1 mono k=1"].value == 1
    assert found["accuracy mono k=1"].signature["chance"] == pytest.approx(4 / 6)
    none = named(QUICK.run(corpus, TableEncoder(vectors)))
    assert not any("cross" in name for name in none)
    with pytest.raises(UnknownName, match="eng"):
        replace(QUICK, sources=("enq",)).run(corpus, TableEncoder(vectors))


def test_macro_f1_by_hand() -> None:
    """Two of three 'food' right, 'sport' never right, one guess of a label that nobody has."""
    train = [
        labelled("eng", "t0", "food", "train", "f"),
        labelled("eng", "t1", "sport", "train", "s"),
        labelled("eng", "t2", "art", "train", "a"),
    ]
    test = [
        labelled("eng", "q0", "food", "test", "f1"),
        labelled("eng", "q1", "food", "test", "f2"),
        labelled("eng", "q2", "food", "test", "a1"),
        labelled("eng", "q3", "sport", "test", "f3"),
    ]
    vectors = {"f": [1, 0, 0], "s": [0, 1, 0], "a": [0, 0, 1], "f1": [1, 0, 0], "f2": [1, 0, 0]}
    vectors |= {"f3": [1, 0, 0], "a1": [0, 0, 1]}
    found = named(replace(QUICK, ks=(1,)).run(corpus_of(train + test), TableEncoder(vectors)))
    assert found["accuracy mono k=1"].value == pytest.approx(2 / 4)
    # food: 2 hits, 3 true, 3 guessed; sport: none. 'art' is nobody's label and is not averaged.
    assert found["macro-F1 mono k=1"].value == pytest.approx((2 * 2 / (3 + 3) + 0) / 2)


def test_own_translations_are_not_asked() -> None:
    """The nearest example says the same as the query; asking it would be cheating."""
    items = [
        labelled("eng", "m0", "food", None, "x"),
        labelled("eng", "m1", "sport", None, "y"),
        labelled("yue", "m0", "food", None, "x too"),
        labelled("yue", "m1", "sport", None, "y too"),
    ]
    vectors = {"x": [1, 0], "x too": [1, 0], "y": [0, 1], "y too": [0, 1]}
    task = replace(QUICK, ks=(1,), train_split=None, test_split=None, sources=("eng",))
    found = named(task.run(corpus_of(items), TableEncoder(vectors)))
    assert found["accuracy mono k=1"].value == 0
    assert found["accuracy cross k=1"].value == 0


def test_code_switched_views(tmp_path) -> None:
    corpus, vectors = topics()
    lines = []
    for item in corpus.items:
        if item.variety == "eng" and item.split == "test":
            text = f"{item.text} switched"
            vectors[text] = vectors[item.text]
            extra = {**item.extra, "varied_from": item.id}
            record = {"id": f"{item.id}:cs", "variety": "eng", "meaning": item.meaning}
            lines.append(json.dumps({**record, "text": text, "split": "test", "extra": extra}))
    views = tmp_path / "views.jsonl"
    views.write_text("\n".join(lines) + "\n", encoding="utf-8")
    task = replace(QUICK, views=str(views))
    found = named(task.run(corpus, TableEncoder(vectors)))
    # Without sources the examples are of the variety that was varied.
    assert found["eng>eng accuracy switched k=1"].value == 1
    assert found["accuracy switched k=1"].n == 3
    assert found["accuracy switched k=1"].signature["views_sha"]
    assert found["eng>eng accuracy mono k=1"].n == 3
    by_yue = named(replace(task, sources=("yue",)).run(corpus, TableEncoder(vectors)))
    assert "yue>eng accuracy switched k=1" in by_yue
    lines[0] = lines[0].replace(":cs", "")
    views.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="ids of their own"):
        task.run(corpus, TableEncoder(vectors))


def test_distances_of_several_encoders_are_added(monkeypatch) -> None:
    corpus, vectors = topics()
    wrong = TableEncoder({text: row[::-1] for text, row in vectors.items()}, made_by="noise")
    test_texts = {i.text for i in corpus.items if i.split == "test"}
    mixed = {t: row[::-1] if t in test_texts else row for t, row in vectors.items()}
    misled = TableEncoder(mixed, made_by="misled")
    monkeypatch.setattr("isogloss.encoders.load_encoder", lambda _name: misled)
    one = named(QUICK.run(corpus, misled))["accuracy mono k=1"].value
    assert one < 0.5
    fused = replace(QUICK, fuse=("x:",), weights=(9.0, 1.0))
    found = named(fused.run(corpus, TableEncoder(vectors)))["accuracy mono k=1"]
    assert found.value == 1 and found.signature["weights"] == [9.0, 1.0]
    assert "misled" in found.signature["encoder"]
    other = replace(QUICK, fuse=("x:",), weights=(1.0, 9.0))
    assert named(other.run(corpus, TableEncoder(vectors)))["accuracy mono k=1"].value == one
    # Both sides turned alike change nothing.
    assert named(QUICK.run(corpus, wrong))["accuracy mono k=1"].value == 1


def test_euclidean_distance_sees_lengths() -> None:
    items = [
        labelled("eng", "t0", "near", "train", "long"),
        labelled("eng", "t1", "far", "train", "aside"),
        labelled("eng", "q", "near", "test", "query"),
    ]
    vectors = {"long": [9.0, 0.0], "aside": [1.0, 1.0], "query": [1.0, 0.0]}
    task = replace(QUICK, ks=(1,))
    by_cosine = named(task.run(corpus_of(items), TableEncoder(vectors)))
    by_length = named(
        replace(task, distance="euclidean").run(corpus_of(items), TableEncoder(vectors))
    )
    assert by_cosine["accuracy mono k=1"].value == 1
    assert by_length["accuracy mono k=1"].value == 0


def test_centring_mends_a_shifted_variety() -> None:
    corpus, vectors = topics()
    shifted = {
        i.text: np.array(vectors[i.text]) + ([8.0, 0.0] if i.variety == "yue" else [0.0, 0.0])
        for i in corpus.items
    }
    task = replace(QUICK, sources=("eng",))
    raw = named(task.run(corpus, TableEncoder(shifted)))["accuracy cross k=1"].value
    mended = named(replace(task, center=True).run(corpus, TableEncoder(shifted)))
    assert mended["accuracy cross k=1"].value > raw


def test_floors_contract_and_refusals(tmp_path) -> None:
    corpus, vectors = topics()
    encoder = TableEncoder(vectors)
    task = NearestExamples(bootstrap=30, ks=(1,), edit_queries=2, cache_dir=tmp_path)
    found = named(check_task(task, corpus, encoder))
    assert found["accuracy mono k=1 by tfidf"].n == 6
    assert found["accuracy mono k=1 by edit"].n == 4
    with pytest.raises(ValueError, match=r"0 labels extra\['topic'\].*extra has category"):
        NearestExamples(label="topic").run(corpus, encoder)
    with pytest.raises(ValueError, match="no effect without fuse"):
        NearestExamples(weights=(1.0,))
    with pytest.raises(ValueError, match="encoder and 1 more"):
        NearestExamples(fuse=("a:",), weights=(1.0,))
    with pytest.raises(ValueError, match="different numbers"):
        NearestExamples(ks=(1, 1))
    vectors["yue test1"] = [np.nan, 0.0]
    with pytest.raises(ValueError, match="test1-yue"):
        QUICK.run(corpus, TableEncoder(vectors))


def test_reads_no_recording() -> None:
    class Deaf(MeaningEncoder):
        takes_text = False

    with pytest.raises(ValueError, match="reads no text"):
        QUICK.run(topics()[0], Deaf(takes_text=False))
