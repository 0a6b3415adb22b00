from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from alignment_makers import Planted, Spoken, parallel_texts
from isogloss.errors import IsoglossError, UnknownName
from isogloss.tasks.alignment import Alignment
from isogloss.tasks.alignment_explain import EXPLAINED, MEASURES, explained
from isogloss.tasks.alignment_pairs import CcaOptions
from isogloss.tasks.alignment_words import ConceptOptions
from isogloss.tasks.check import check_task
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.tasks.alignment_result import AlignmentResult

CORPUS = parallel_texts(meanings=30)
QUICK = Alignment(
    measures=tuple(m for m in MEASURES if m not in ("gradients", "concepts")),
    bootstrap=20,
    permutations=49,
)


@pytest.fixture(scope="module")
def found() -> AlignmentResult:
    return QUICK.measure(CORPUS, Planted())


def value(result: AlignmentResult, name: str, layer: int, site: str = "residual") -> float:
    return next(row.value for row in result.means(name, site) if row.layer == layer)


def test_vectors_that_are_alike_are_aligned_by_every_measure(found: AlignmentResult) -> None:
    for name in ("R@1", "R@5", "MRR", "MEXA", "ANC", "CKA", "debiased CKA", "RSA", "SVCCA",
                 "PWCCA", "cosine matched"):  # fmt: skip
        assert value(found, name, 0) == pytest.approx(1.0, abs=1e-6), name
    assert value(found, "word R@1", 0) > 0.9
    assert value(found, "xSIM", 0) == 0
    assert value(found, "separation", 0) > 2
    assert value(found, "neutrality", 0) > 0.7


def test_a_rotation_is_seen_by_anc_and_retrieval_and_not_by_cka(found: AlignmentResult) -> None:
    for name in ("CKA", "debiased CKA", "RSA", "SVCCA"):
        assert value(found, name, 1) == pytest.approx(1.0, abs=1e-5), name
    assert abs(value(found, "ANC", 1)) < 0.35
    assert value(found, "R@1", 1) < 0.3


def test_unrelated_items_are_found_by_chance(found: AlignmentResult) -> None:
    assert value(found, "R@1", 2) < 0.1
    assert abs(value(found, "debiased CKA", 2)) < 0.1
    assert abs(value(found, "separation", 2)) < 0.5
    assert value(found, "MEXA", 2) < 0.1


def test_an_offset_of_each_variety_shows_and_centring_takes_it_away(
    found: AlignmentResult,
) -> None:
    assert value(found, "variety identification", 3) == 1.0
    assert value(found, "neutrality", 3) == 0.0
    assert value(found, "neutrality centred", 3) > 0.6
    assert value(found, "R@1", 3) < value(found, "R@1", 0)
    assert value(found, "CKA", 3) == pytest.approx(1.0, abs=1e-4)


def test_a_cone_has_high_similarity_and_no_alignment(found: AlignmentResult) -> None:
    """What entry after entry got wrong: matched cosines near 1 that mean nothing."""
    assert value(found, "cosine matched", 4) > 0.95
    assert value(found, "cosine random", 4) > 0.95
    assert value(found, "random cosine", 4) > 0.95
    assert value(found, "R@1", 4) < 0.1
    assert abs(value(found, "separation", 4)) < 0.5


def test_every_number_has_an_interval_around_it_and_a_sentence(found: AlignmentResult) -> None:
    for row in found.means():
        if np.isnan(row.value):
            continue
        assert row.low is not None and row.high is not None, row
        assert row.low <= row.value <= row.high, row
        assert row.n > 0
        assert explained(row.name).means and explained(row.name).misleads
    names = {row.name for row in found.rows}
    wanted = {one.name for one in EXPLAINED if one.measure in QUICK.measures}
    missing = wanted - names - {"correlation with * distance", "NeuronXA"}
    assert missing == set(), found.notes


def test_retrieval_has_a_row_each_way_and_other_measures_one(found: AlignmentResult) -> None:
    pairs = [row.pair for row in found.rows if row.name == "R@1" and row.layer == 0 and row.pair]
    assert len(pairs) == len(set(pairs)) == 20
    assert {("eng", "deu"), ("deu", "eng")} <= set(pairs)
    single = [row.pair for row in found.rows if row.name == "CKA" and row.layer == 0 and row.pair]
    assert len(single) == 10


def test_the_chosen_layer_is_the_one_with_best_retrieval(found: AlignmentResult) -> None:
    assert found.chosen_layer == {"residual": 0}
    best = found.best("xSIM", "residual")
    assert best is not None and (best.layer, best.value) == (0, 0)


def test_the_result_is_json_without_nan(found: AlignmentResult) -> None:
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    first = told["measurements"][0]
    assert {"name", "layer", "site", "value", "low", "high", "n", "pair"} <= set(first)
    assert told["signature"]["encoder"].startswith("planted")
    assert told["trees"]["residual"]["0"]["newick"].endswith(";")
    assert len(told["maps"]["residual"]["0"]["places"]) == 5


def test_a_second_run_gives_the_same_numbers_and_another_seed_other_intervals(
    found: AlignmentResult,
) -> None:
    quick = replace(QUICK, layers=(3,))
    again = quick.measure(CORPUS, Planted())
    told = [row for row in found.to_dict()["measurements"] if row["layer"] == 3]
    assert again.to_dict()["measurements"] == told
    other = replace(quick, seed=1).measure(CORPUS, Planted())
    assert [r.low for r in other.means("R@1")] != [r.low for r in again.means("R@1")]


def test_it_keeps_the_contract_of_tasks() -> None:
    task = Alignment(
        measures=("retrieval", "separation", "cka", "identification", "isotropy", "similarity"),
        bootstrap=10, items=20, permutations=19,
    )  # fmt: skip
    names = [m.name for m in check_task(task, CORPUS, Planted())]
    assert "R@1 layer 3" in names


SMALL = Alignment(
    measures=("retrieval", "xsim", "svcca", "words", "similarity", "outliers", "identification"),
    layers=(3,), bootstrap=8, items=24, permutations=19, varieties=("eng", "deu", "nld", "fra"),
)  # fmt: skip
CONCEPTS = Alignment(
    measures=("concepts",), layers=(2,), bootstrap=8, varieties=("eng", "deu"),
    concepts=ConceptOptions(clusters=8, least_count=1, least_types=2, match=0.2),
)  # fmt: skip
_KNOWN: dict[Alignment, dict[str, Any]] = {}


def told(task: Alignment) -> dict[str, Any]:
    """What a task finds, without its recipe; each task is run once."""
    if task not in _KNOWN:
        found = task.measure(CORPUS, Planted()).to_dict()
        _KNOWN[task] = {key: value for key, value in found.items() if key != "signature"}
    return _KNOWN[task]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("measures", ("retrieval",)),
        ("layers", (2,)),
        ("sites", ("mlp",)),
        ("pool", "weighted"),
        ("form", "binary"),
        ("varieties", ("eng", "deu", "nld", "ita")),
        ("pivot", "deu"),
        ("pairs", "pivot"),
        ("items", 12),
        ("neighbours", 1),
        ("cca", CcaOptions(keep=1)),
        ("word_meanings", 15),
        ("word_states", 200),
        ("word_pairs", 12),
        ("word_neighbours", 1),
        ("distances", ("spelling",)),
        ("permutations", 29),
        ("outlier_z", 0.5),
        ("folds", 2),
        ("bootstrap", 12),
        ("level", 0.5),
        ("seed", 5),
    ],
)
def test_every_option_changes_something(field: str, changed: Any) -> None:
    start = replace(SMALL, pairs="pivot") if field == "pivot" else SMALL
    assert told(start) != told(replace(start, **{field: changed}))


@pytest.mark.parametrize(
    "changed",
    [
        {"clusters": 5},
        {"least_count": 2},
        {"most_count": 1},
        {"match": 0.05},
        {"least_types": 20},
        {"least_size_ratio": 1.0},
        {"overlap": 0.45},
        {"least_tokens": 30},
    ],
)
def test_every_option_of_concepts_changes_something(changed: dict[str, Any]) -> None:
    assert told(CONCEPTS) != told(replace(CONCEPTS, concepts=replace(CONCEPTS.concepts, **changed)))


def test_concepts_have_curves_and_what_chance_would_give() -> None:
    found = replace(CONCEPTS, layers=(0,)).measure(CORPUS, Planted())
    assert set(found.curves["residual"]["0"]["eng deu"]) == {"CALIGN", "COLAP"}
    assert value(found, "COLAP", 0) > 0.9
    rows = {row.name: row.note for row in found.rows if row.pair is not None}
    assert "shuffled words give" in rows["CALIGN"]
    assert "fully mixed varieties give" in rows["COLAP"]
    curve = found.curves["residual"]["0"]["eng deu"]["CALIGN"]
    known = [share for share in curve.values() if share is not None]
    assert known == sorted(known, reverse=True)
    apart = replace(CONCEPTS, layers=(3,)).measure(CORPUS, Planted())
    assert value(apart, "COLAP", 3) < 0.1


def test_splits_and_sets() -> None:
    parts = parallel_texts(split="test").items + tuple(
        replace(item, id=f"train-{item.id}", meaning=f"train-{item.meaning}", split="train",
                site=f"{item.variety}-town", speaker="anna")
        for item in CORPUS.items
    )  # fmt: skip
    corpus = Corpus("parts", parts)
    task = Alignment(measures=("retrieval",), layers=(0,), bootstrap=0)
    assert task.measure(corpus, Planted()).signature["meanings"] == 70
    assert replace(task, split="test").measure(corpus, Planted()).signature["meanings"] == 40
    by_site = replace(task, by="site", split="train").measure(corpus, Planted())
    assert set(by_site.varieties) == {f"{v}-town" for v in ("eng", "deu", "nld", "fra", "ita")}
    by_speaker = replace(task, by="speaker").measure(corpus, Planted())
    assert "eng/anna" in by_speaker.varieties
    with pytest.raises(ValueError, match=r"no two sets.*splits there are: test"):
        replace(task, split="dev").measure(corpus, Planted())


def test_what_is_left_out_is_counted() -> None:
    items = (
        *parallel_texts(("eng", "deu"), 6).items,
        Item("a", "eng", text="no meaning"),
        Item("b", "eng", meaning="m000", text="a second one"),
        Item("c", "fra", meaning="m000", text="seul"),
        Item("d", "deu", meaning="lonely", text="allein"),
        Item("e", "deu", meaning="m001", text="   "),
        Item("f", "deu", meaning="m001"),
    )
    found = Alignment(measures=("retrieval",), bootstrap=0).measure(Corpus("x", items), Planted())
    assert found.left_out == {
        "no meaning": 1,
        "another item of its meaning comes first": 1,
        "variety with one item": 1,
        "no other variety has its meaning": 1,
        "empty text": 1,
        "no text": 1,
    }
    assert set(found.varieties) == {"eng", "deu"}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((), "sets found: none"),
        (parallel_texts(("eng",)).items, "no two sets by variety that share 2 meanings"),
        (parallel_texts(("eng", "deu"), 1).items, r"2 x variety with one item"),
    ],
)
def test_nothing_to_compare(items: tuple[Item, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alignment().measure(Corpus("x", items), Planted())


def test_a_vector_that_is_not_finite_is_named() -> None:
    with pytest.raises(ValueError, match=r"item 'deu-003' at layer 0 holds NaN"):
        Alignment(measures=("retrieval",)).measure(CORPUS, Planted(broken=("deu-003",)))


def test_a_million_vectors_are_refused_before_they_are_made() -> None:
    with pytest.raises(IsoglossError, match=r"--items.*--layers.*--memory"):
        Alignment(measures=("retrieval",), memory_gib=1e-6).measure(CORPUS, Planted())


@pytest.mark.parametrize(
    "options",
    [
        {"measures": ("bleu",)},
        {"distances": ("social",)},
        {"pairs": "some"},
        {"by": "mood"},
        {"form": "analog"},
    ],
)
def test_unknown_names(options: dict[str, Any]) -> None:
    with pytest.raises(UnknownName):
        Alignment(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (9,)}, "no layer 9"),
        ({"sites": ("residual", "residual")}, "once each"),
        ({"folds": 1}, "folds"),
        ({"level": 1.0}, "level"),
        ({"varieties": ("eng", "tlh")}, "no items of tlh"),
        ({"items": 1}, "at least 2 meanings"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alignment(**options).measure(CORPUS, Planted())


def test_a_pivot_has_a_pair_with_each() -> None:
    task = Alignment(measures=("retrieval",), layers=(0,), pairs="pivot", bootstrap=0)
    pairs = task.measure(CORPUS, Planted()).signature["pairs"]
    assert pairs == [["eng", other] for other in ("deu", "nld", "fra", "ita")]
    fallback = replace(task, pivot="zzz").measure(CORPUS, Planted()).signature["pairs"]
    assert len(fallback) == 4


def test_neurons_are_measured_at_their_own_site() -> None:
    task = Alignment(measures=("mexa", "neuronxa"), sites=("residual", "mlp"), bootstrap=0)
    found = task.measure(CORPUS, Planted())
    assert {row.site for row in found.means("MEXA")} == {"residual"}
    assert {row.site for row in found.means("NeuronXA")} == {"mlp"}
    assert min(row.layer for row in found.means("NeuronXA")) == 1
    with pytest.raises(ValueError, match="one site, residual"):
        Alignment(sites=("mlp",)).measure(_spoken_corpus(), Spoken())


def _spoken_corpus() -> Corpus:
    items = tuple(replace(item, audio="/never/opened.wav") for item in CORPUS.items)
    return Corpus("spoken", items)


def test_speech_is_measured_by_the_same_numbers() -> None:
    found = Alignment(bootstrap=10, permutations=19).measure(_spoken_corpus(), Spoken())
    assert found.signature["takes"] == "audio"
    assert value(found, "R@1", 0) > 0.15
    assert "the encoder does not tell words" in found.notes.values()
    assert "gradients" in found.notes
    with pytest.raises(ValueError, match="no audio"):
        Alignment().measure(CORPUS, Spoken())


def test_one_corpus_may_hold_both() -> None:
    mixed = Corpus(
        "mixed",
        CORPUS.items
        + tuple(
            replace(item, id=f"a-{item.id}", text=None, audio="/never/opened.wav")
            for item in CORPUS.items
        ),
    )
    task = Alignment(measures=("retrieval",), bootstrap=0)
    read = task.measure(mixed, Planted())
    heard = task.measure(mixed, Spoken())
    assert read.left_out == {"no text": 150}
    assert heard.left_out == {"no audio": 150}


def test_a_floor_stands_beside() -> None:
    from isogloss.encoders import load_encoder

    task = Alignment(measures=("retrieval", "cka"), layers=(0,), bootstrap=5)
    found = task.measure(CORPUS, Planted(), floor=load_encoder("ngram:"))
    assert found.floor is not None
    assert 0 < value(found.floor, "R@1", 0) <= 1
    assert found.floor.signature["encoder"].startswith("ngram")
    assert found.to_dict()["floor"]["measurements"]
    with pytest.raises(ValueError, match="do not take the same"):
        task.measure(CORPUS, Planted(), floor=Spoken())


def test_a_fitted_transform_is_applied_and_its_own_items_are_refused(tmp_path: Path) -> None:
    from isogloss.adapt import make_transform
    from isogloss.encoders.pool import pool

    pytest.importorskip("safetensors")
    fit_on = parallel_texts(meanings=60).items
    fit_on = tuple(item for item in fit_on if int(item.id[-3:]) >= 40)
    encoder = Planted(layer=3)
    vectors = pool(encoder.encode(fit_on), "mean")
    transform = make_transform("center:per=variety").fit(
        vectors, varieties=[i.variety for i in fit_on], meanings=[i.meaning for i in fit_on]
    )
    transform.save(tmp_path / "centre")
    task = Alignment(measures=("retrieval", "identification"), bootstrap=5)
    before = task.measure(CORPUS, encoder)
    after = replace(task, transform=tmp_path / "centre").measure(CORPUS, encoder)
    assert list(after.layers) == [3]
    assert value(before, "R@1", 3) < 0.9
    assert value(after, "R@1", 3) > value(before, "R@1", 3) + 0.1
    assert value(after, "variety identification", 3) < 0.6
    assert after.signature["transform"].startswith("center")
    with pytest.raises(IsoglossError, match="fitted on"):
        replace(task, transform=tmp_path / "centre").measure(parallel_texts(meanings=60), encoder)
    named = replace(task, transform=tmp_path / "centre", layers=(0, 3)).measure(CORPUS, encoder)
    assert list(named.layers) == [0, 3]
    assert "transform" in named.notes


def test_a_transform_changes_words_and_gradients_are_not_measured(tmp_path: Path) -> None:
    from isogloss.adapt import make_transform
    from isogloss.encoders.pool import pool

    pytest.importorskip("safetensors")
    encoder = Planted(layer=3)
    fit_on = tuple(i for i in parallel_texts(meanings=60).items if int(i.id[-3:]) >= 40)
    transform = make_transform("outliers:largest=2").fit(
        pool(encoder.encode(fit_on), "mean"),
        varieties=[i.variety for i in fit_on],
        meanings=[i.meaning for i in fit_on],
    )
    transform.save(tmp_path / "t")
    task = Alignment(measures=("words", "gradients"), bootstrap=0, layers=(3,))
    plain = replace(task, measures=("words",)).measure(CORPUS, encoder)
    after = replace(task, transform=tmp_path / "t").measure(CORPUS, encoder, name="hf:x")
    name = "word cosine random"
    assert value(after, name, 3) != pytest.approx(value(plain, name, 3), abs=1e-6)
    assert "a transform does not change" in after.notes["gradients"]
