from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.measures import gold_ranks
from isogloss.tasks.check import check_task
from isogloss.tasks.text_retrieval import TextRetrieval, ranks_among_equals
from isogloss.types import Item, Sequences
from sentence_makers import (
    MeaningEncoder,
    TableEncoder,
    corpus_of,
    parallel_corpus,
    sentence,
)

QUICK = {"bootstrap": 0, "floors": ()}


def named(measurements):
    return {m.name: m for m in measurements}


def test_worked_by_hand() -> None:
    """Three sentences: m0 is found both ways, m1 of yue is nearer to m2 of eng."""
    vectors = {
        "eng m0": [1, 0, 0],
        "eng m1": [0, 1, 0],
        "eng m2": [0, 0, 1],
        "yue m0": [1, 0, 0],
        "yue m1": [0, 0.6, 0.8],
        "yue m2": [0, 0, 1],
    }
    corpus = corpus_of([sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(3)])
    found = TextRetrieval(ks=(1, 2), **QUICK).retrieve(corpus, TableEncoder(vectors))
    # eng m1 scores .6 with yue m1 and 0 with the others; yue m1 scores .8 with eng m2.
    assert found.pair("eng", "yue").gold.ranks.tolist() == [1, 1, 1]
    assert found.pair("yue", "eng").gold.ranks.tolist() == [1, 2, 1]
    measured = named(found.measurements())
    assert measured["R@1"].value == pytest.approx((3 + 2) / 6)
    assert measured["R@2"].value == 1
    assert measured["MRR"].value == pytest.approx((3 + 2.5) / 6)
    assert measured["matched score"].value == pytest.approx((1 + 0.6 + 1) / 3)
    assert measured["random score"].value == pytest.approx(0.8 / 6)


def test_the_rotation_of_one_side_and_lengths_do_not_matter() -> None:
    corpus = parallel_corpus("eng yue cmn", 12)
    plain = TextRetrieval(**QUICK).retrieve(corpus, MeaningEncoder(0.5, 1.0))

    class Longer(MeaningEncoder):
        def encode(self, items) -> Sequences:
            found = super().encode(items)
            return replace(found, values=found.values * 7)

    longer = TextRetrieval(**QUICK).retrieve(corpus, Longer(0.5, 1.0))
    assert plain.mean("R@1").value == longer.mean("R@1").value


def test_a_perfect_encoder_finds_all_and_centring_mends_a_shift() -> None:
    corpus = parallel_corpus("eng yue cmn", 20)
    assert TextRetrieval(**QUICK).retrieve(corpus, MeaningEncoder()).mean("R@1").value == 1
    shifted = MeaningEncoder(variety_share=0.8, noise=0.9)
    raw = TextRetrieval(**QUICK).retrieve(corpus, shifted)
    centred = TextRetrieval(center=True, **QUICK).retrieve(corpus, shifted)
    assert centred.mean("matched score").value > raw.mean("matched score").value
    assert "mean vector of each set" in centred.signature["center"]


def test_centre_of_another_split_uses_that_split_alone() -> None:
    judged = [sentence(v, f"m{i}", split="test") for v in ("eng", "yue") for i in range(4)]
    others = [sentence(v, f"d{i}", split="dev") for v in ("eng", "yue") for i in range(4)]
    encoder = MeaningEncoder(0.5, 0.5)
    here = TextRetrieval(center=True, **QUICK).retrieve(corpus_of(judged), encoder)
    there = TextRetrieval(center=True, center_split="dev", **QUICK)
    with_dev = there.retrieve(corpus_of(judged + others), encoder)
    assert with_dev.signature["items"] == 8
    assert with_dev.mean("matched score").value != here.mean("matched score").value


def test_equal_texts_of_targets_count_as_right() -> None:
    """Two English sentences have one translation word for word; text knows no difference."""
    items = [
        sentence("eng", "m0", "yes"),
        sentence("eng", "m1", "sure"),
        sentence("eng", "m2", "no"),
        sentence("yue", "m0", "係"),
        sentence("yue", "m1", "係"),
        sentence("yue", "m2", "唔係"),
    ]
    vectors = {"yes": [1, 0], "sure": [0.9, 0.1], "no": [0, 1], "係": [1, 0], "唔係": [0, 1]}
    task = TextRetrieval(**QUICK)
    found = task.retrieve(corpus_of(items), TableEncoder(vectors))
    assert found.pair("eng", "yue").gold.ranks.tolist() == [1, 1, 1]
    assert found.pair("eng", "yue").gold.ties.tolist() == [0, 0, 0]
    assert not found.pair("eng", "yue").wrong_by_margin.any()
    # Of the queries 係 one means 'sure', which is not the nearest: texts of queries do not help.
    assert found.pair("yue", "eng").gold.ranks.tolist() == [1, 2, 1]
    by_line = replace(task, duplicates="wrong").retrieve(corpus_of(items), TableEncoder(vectors))
    assert by_line.pair("eng", "yue").gold.ranks.tolist() == [2, 2, 1]
    assert by_line.mean("R@1").value < found.mean("R@1").value


def test_ties_count_against_the_query() -> None:
    corpus = corpus_of([sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(4)])
    one = TableEncoder({i.text: [1.0, 0.0] for i in corpus.items})
    found = TextRetrieval(**QUICK).retrieve(corpus, one)
    assert found.pair("eng", "yue").gold.ranks.tolist() == [4, 4, 4, 4]
    assert found.mean("R@1").value == 0 and found.mean("xSIM").value == 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.lists(
                st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n),
                min_size=n,
                max_size=n,
            ),
            st.lists(st.integers(0, 2), min_size=n, max_size=n),
        )
    )
)
def test_ranks_among_equals_by_brute_force(drawn) -> None:
    table, equal = np.array(drawn[0], np.float32), np.array(drawn[1])
    found = ranks_among_equals(table, equal)
    for i, row in enumerate(table):
        right = {j for j in range(len(row)) if equal[j] == equal[i]}
        best = max(row[j] for j in right)
        assert found.ranks[i] == 1 + sum(row[j] >= best for j in range(len(row)) if j not in right)
    alone = ranks_among_equals(table, np.arange(len(table)))
    np.testing.assert_array_equal(alone.ranks, gold_ranks(table, np.arange(len(table))).ranks)
    # More right answers never make a rank worse.
    assert (found.ranks <= alone.ranks).all()


def test_pivots_and_unequal_counts() -> None:
    """Tatoeba: every variety against English alone, in different numbers."""
    items = [sentence("eng", f"a{i}") for i in range(5)] + [
        sentence("yue", f"a{i}") for i in range(5)
    ]
    items += [sentence("eng", f"b{i}") for i in range(3)] + [
        sentence("cmn", f"b{i}") for i in range(3)
    ]
    items.append(sentence("deu", "a0"))
    items.append(sentence("deu", "lonely"))
    found = TextRetrieval(**QUICK).retrieve(corpus_of(items), MeaningEncoder())
    assert {(p.query, p.target): len(p) for p in found.pairs} == {
        ("eng", "yue"): 5,
        ("yue", "eng"): 5,
        ("eng", "cmn"): 3,
        ("cmn", "eng"): 3,
    }
    # deu shares one sentence: nobody can be wrong among one, so it is counted, not judged.
    reason = "fewer than 2 sentences in common with another set"
    assert found.left_out[reason] == 1
    assert found.left_out["no other set has its meaning"] == 1
    only = TextRetrieval(pivots=("cmn",), **QUICK).retrieve(corpus_of(items), MeaningEncoder())
    assert {p.query for p in only.pairs} == {"eng", "cmn"}
    with pytest.raises(UnknownName, match="yue"):
        TextRetrieval(pivots=("yeu",), **QUICK).retrieve(corpus_of(items), MeaningEncoder())


def test_items_without_text_are_counted() -> None:
    items = [sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(3)]
    items += [
        Item("empty", "eng", "m7", text="  "),
        Item("none", "eng", "m8"),
        Item("no-meaning", "eng", None, text="eng x"),
        sentence("eng", "m0", "eng again"),
    ]
    items[-1] = replace(items[-1], id="zz")
    found = TextRetrieval(**QUICK).retrieve(corpus_of(items), MeaningEncoder())
    assert found.left_out["empty text"] == 1
    assert found.left_out["no text"] == 1
    assert found.left_out["no meaning"] == 1
    assert found.left_out["another sentence of its meaning comes first"] == 1


def test_a_vector_that_is_not_finite_is_refused_by_name() -> None:
    corpus = corpus_of([sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(3)])
    vectors = {i.text: [1.0, float(n)] for n, i in enumerate(corpus.items)}
    vectors["yue m1"] = [np.nan, 1.0]
    for score in ("cosine", "seqsim"):
        with pytest.raises(ValueError, match="m1-yue"):
            TextRetrieval(score=score, **QUICK).retrieve(corpus, TableEncoder(vectors))


def test_an_encoder_that_reads_no_text_is_refused() -> None:
    class Deaf:
        made_by = "mel:"

    with pytest.raises(ValueError, match="reads no text"):
        TextRetrieval(**QUICK).retrieve(parallel_corpus("eng yue", 3), Deaf())


def test_late_interaction_finds_what_the_mean_hides() -> None:
    """Both sentences of a side have one mean; their steps differ."""
    vectors = {
        "eng m0": [[1, 0, 0, 0], [0, 1, 0, 0]],
        "eng m1": [[0, 0, 1, 0], [0, 0, 0, 1]],
        "yue m0": [[1, 0, 0, 0], [0, 1, 0, 0]],
        "yue m1": [[0, 0, 1, 0], [0, 0, 0, 1]],
    }
    vectors = {text: np.array(rows) + 1.0 for text, rows in vectors.items()}
    vectors["eng m1"] = vectors["eng m1"] - 0.5
    corpus = corpus_of([sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(2)])
    late = TextRetrieval(score="seqsim", **QUICK).retrieve(corpus, TableEncoder(vectors))
    assert late.mean("R@1").value == 1
    assert "every step by itself" in late.signature["pool"]


def test_pooling_changes_the_vector() -> None:
    vectors = {
        "eng m0": [[1, 0], [0, 1]],
        "eng m1": [[0, 1], [1, 0]],
        "yue m0": [[1, 0], [1, 0]],
        "yue m1": [[0, 1], [0, 1]],
    }
    corpus = corpus_of([sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(2)])
    encoder = TableEncoder(vectors)
    first = TextRetrieval(pool="first", **QUICK).retrieve(corpus, encoder).mean("R@1")
    last = TextRetrieval(pool="last", **QUICK).retrieve(corpus, encoder).mean("R@1")
    assert (first.value, last.value) == (1, 0)
    with pytest.raises(UnknownName, match="mean"):
        TextRetrieval(pool="meen", **QUICK).retrieve(corpus, encoder)


def test_a_ratio_that_is_undefined_falls_back_or_is_refused_and_says_so() -> None:
    rng = np.random.default_rng(0)
    corpus = corpus_of([sentence(v, f"m{i}") for v in ("eng", "yue") for i in range(6)])
    base = {f"m{i}": rng.standard_normal(3) for i in range(6)}
    # Opposite sides: every cosine of a translation is -1, and neighbourhoods have means below 0.
    vectors = {
        i.text: (1 if i.variety == "eng" else -1) * (base[i.meaning] + 10) for i in corpus.items
    }
    encoder = TableEncoder(vectors)
    found = TextRetrieval(**QUICK).retrieve(corpus, encoder)
    assert "distance margin in 1 pairs" in found.signature["xsim"]
    with pytest.raises(ValueError, match=r"eng and yue.*use kind='distance'"):
        TextRetrieval(undefined="refuse", **QUICK).retrieve(corpus, encoder)
    asked = TextRetrieval(margin="distance", undefined="refuse", **QUICK)
    plain = asked.retrieve(corpus, encoder)
    np.testing.assert_array_equal(
        plain.pair("eng", "yue").wrong_by_margin, found.pair("eng", "yue").wrong_by_margin
    )


@pytest.mark.parametrize("adjust", ["csls", "margin"])
def test_adjusting_mends_a_hub(adjust: str) -> None:
    """One target near everything takes all queries, until its neighbourhood is held against it."""
    rng = np.random.default_rng(3)
    corpus = corpus_of([sentence(v, f"m{i:02d}") for v in ("eng", "yue") for i in range(12)])
    base = {f"m{i:02d}": np.eye(13)[i] for i in range(12)}
    vectors = {}
    for item in corpus.items:
        noise = 0.02 * rng.standard_normal(13)
        is_near = item.variety == "eng" or item.meaning == "m00"
        shared = 1.5 * np.eye(13)[12] * is_near
        vectors[item.text] = base[item.meaning] + noise + shared
    encoder = TableEncoder(vectors)
    raw = TextRetrieval(**QUICK).retrieve(corpus, encoder).pair("eng", "yue")
    mended = TextRetrieval(adjust=adjust, **QUICK).retrieve(corpus, encoder).pair("eng", "yue")
    assert (raw.gold.ranks == 1).mean() < 0.2
    assert (mended.gold.ranks == 1).mean() > (raw.gold.ranks == 1).mean()


def test_floors_stand_beside_and_say_what_they_asked() -> None:
    items = [sentence("deu", f"m{i}", f"wort{i} satz{i * 7} ende") for i in range(8)]
    items += [sentence("gsw", f"m{i}", f"wort{i} satz{i * 7} ändi") for i in range(8)]
    encoder = TableEncoder({i.text: [1.0, 0.0] for i in items})
    found = TextRetrieval(bootstrap=50, edit_queries=3).retrieve(corpus_of(items), encoder)
    assert found.mean("R@1").value == 0
    tfidf, edit = found.mean("R@1 by tfidf"), found.mean("R@1 by edit")
    assert tfidf.value == 1 and tfidf.n == 8
    assert edit.value == 1 and edit.n == 3
    assert "at most 3 queries" in edit.signature["floors"]
    written = found.to_dict()
    asked = [r for r in written["pairs"][0]["items"] if "rank_by_edit" in r]
    assert len(asked) == 3
    again = TextRetrieval(bootstrap=50, edit_queries=3, seed=1).retrieve(corpus_of(items), encoder)
    assert again.mean("R@1 by edit").item_keys != edit.item_keys


def test_most_sentences_are_drawn_by_seed() -> None:
    corpus = parallel_corpus("eng yue", 40)
    task = TextRetrieval(most_sentences=10, **QUICK)
    first = task.retrieve(corpus, MeaningEncoder()).pairs[0].meanings
    assert len(first) == 10
    assert first == task.retrieve(corpus, MeaningEncoder()).pairs[0].meanings
    other = replace(task, seed=5).retrieve(corpus, MeaningEncoder()).pairs[0].meanings
    assert other != first


class TwoEars:
    """Hears recordings named after what they mean, in the space of `MeaningEncoder`."""

    made_by = "ears"
    takes_text = False

    def encode(self, items) -> Sequences:
        texts = [
            replace(i, text=f"yue {i.audio.rpartition('/')[2].removesuffix('.wav')}") for i in items
        ]
        return replace(MeaningEncoder().encode(texts), made_by="ears")


def spoken_corpus(folder):
    items = [sentence("eng", f"m{i}") for i in range(4)]
    for i in range(4):
        path = folder / f"m{i}.wav"
        path.write_bytes(b"RIFF")
        items.append(Item(f"said-{i}", "yue", f"m{i}", audio=str(path), transcript=f"yue m{i}"))
    return corpus_of(items)


def test_either_side_may_be_speech(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("isogloss.encoders.load_encoder", lambda _name: TwoEars())
    corpus = spoken_corpus(tmp_path)
    task = TextRetrieval(hear=True, speech_encoder="own:ears", **QUICK)
    found = task.retrieve(corpus, MeaningEncoder())
    assert found.sets == ("eng", "yue/speech")
    assert found.mean("R@1").value == 1
    assert "ears" in found.signature["encoder"]
    # Read instead of heard, the transcripts stand for the recordings.
    read = TextRetrieval(**QUICK).retrieve(corpus, MeaningEncoder())
    assert read.sets == ("eng", "yue")
    with pytest.raises(ValueError, match="no effect without hear"):
        TextRetrieval(speech_encoder="own:ears")


def test_encoders_of_different_spaces_are_refused(tmp_path, monkeypatch) -> None:
    class Wide(TwoEars):
        def encode(self, items) -> Sequences:
            found = super().encode(items)
            return replace(found, values=np.repeat(found.values, 2, axis=1))

    monkeypatch.setattr("isogloss.encoders.load_encoder", lambda _name: Wide())
    task = TextRetrieval(hear=True, speech_encoder="own:ears", **QUICK)
    with pytest.raises(ValueError, match=r"share a space|dimensions"):
        task.retrieve(spoken_corpus(tmp_path), MeaningEncoder())


def test_keeps_the_contract_of_tasks(tmp_path) -> None:
    corpus = parallel_corpus("eng yue cmn", 6)
    task = TextRetrieval(bootstrap=50, cache_dir=tmp_path / "cache")
    found = check_task(task, corpus, MeaningEncoder(0.3, 1.0))
    assert {"R@1", "xSIM", "R@1 by tfidf", "R@1 by edit", "R@1 eng>yue"} <= set(named(found))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"margin": "ratoi"}, "ratio"),
        ({"undefined": "ask"}, "refuse"),
        ({"duplicates": "maybe"}, "right"),
        ({"floors": ("edti",)}, "edit"),
        ({"floors": ("edit", "edit")}, "twice"),
        ({"ks": (5,)}, "hold 1"),
        ({"most_sentences": 1}, "at least 2"),
        ({"score": "dot"}, "cosine"),
    ],
)
def test_bad_options_are_refused(options, told) -> None:
    with pytest.raises(ValueError, match=told):
        TextRetrieval(**options)


def test_a_corpus_without_translations_says_what_it_has() -> None:
    items = [sentence("eng", "m0"), sentence("yue", "m1")]
    with pytest.raises(ValueError, match="no two sets by variety that share a meaning"):
        TextRetrieval(**QUICK).retrieve(corpus_of(items), MeaningEncoder())
