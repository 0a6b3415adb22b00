from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index_makers import (
    COUNT,
    MADE_BY,
    SMALL,
    answers_of,
    items_of,
    part_of,
    planted,
    run_python,
    sequences_of,
)
from isogloss.errors import IsoglossError, UnknownName
from isogloss.scores.seqsim import seqsim
from isogloss.search.index_settings import IndexSettings
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.store import Filter
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data() -> tuple[Sequences, Sequences]:
    return planted(COUNT)


@pytest.fixture(scope="module")
def index(
    data: tuple[Sequences, Sequences], tmp_path_factory: pytest.TempPathFactory
) -> SequenceIndex:
    folder = tmp_path_factory.mktemp("index") / "whole"
    return SequenceIndex.build(folder, data[0], items_of(data[0]), settings=SMALL)


def plain(queries: Sequences, items: Sequences, k: int) -> list[list[tuple[str, float]]]:
    """Exhaustive, equal scores in the order of ids."""
    found = []
    for row in seqsim(queries, items):
        named = sorted((-float(score), name) for score, name in zip(row, items.ids, strict=True))
        found.append([(name, -score) for score, name in named[:k]])
    return found


class TestExactness:
    def test_all_candidates_give_the_exact_answer_over_stored_steps(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        _, queries = data
        expected = plain(queries, index.sequences(), 7)
        by_candidates = index.search_ranked(queries, 7, candidates=COUNT)
        exhaustive = index.search_ranked(queries, 7, exact=True)
        for ranking in (by_candidates, exhaustive):
            assert ranking.exact
            assert ranking.scored == (COUNT,) * len(queries)
            for found, right in zip(answers_of(ranking), expected, strict=True):
                assert [name for name, _ in found] == [name for name, _ in right]
                assert [s for _, s in found] == pytest.approx([s for _, s in right], abs=2e-6)
        assert answers_of(by_candidates) == answers_of(exhaustive)

    @pytest.mark.parametrize(("residuals", "error"), [("int8", 2e-3), ("float16", 1e-4)])
    def test_scores_are_those_of_the_original_steps_up_to_rounding(
        self, data: tuple[Sequences, Sequences], tmp_path: Path, residuals: str, error: float
    ) -> None:
        sequences, queries = data
        chosen = IndexSettings(units=256, iterations=2, residuals=residuals)  # type: ignore[arg-type]
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=chosen)
        hits = index.search(queries, 5, candidates=COUNT)
        scores = seqsim(queries, sequences)
        for row, ids, found in zip(scores, hits.ids, hits.scores, strict=True):
            by_id = dict(zip(sequences.ids, row.tolist(), strict=True))
            assert [by_id[name] for name in ids] == pytest.approx(found, abs=error)
            assert row.max() == pytest.approx(found[0], abs=error)

    def test_default_search_finds_the_planted_item(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        _, queries = data
        ranking = index.search_ranked(queries, 3)
        assert not ranking.exact
        assert set(ranking.scored) == {60}
        firsts = [ids[0] for ids in ranking.hits.ids]
        right = [f"item-{5 * number:05d}" for number in range(len(queries))]
        assert np.mean([a == b for a, b in zip(firsts, right, strict=True)]) >= 0.95

    def test_check_exactness_measures_recall(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        _, queries = data
        measured = index.check_exactness(queries, k=3, sample=20, seed=4)
        assert measured.n == 20
        assert measured.item_keys is not None
        found = index.search(queries, 3)
        right = index.search_ranked(queries, 3, exact=True).hits
        places = [queries.ids.index(name) for name in measured.item_keys]
        shares = [len(set(found.ids[i]) & set(right.ids[i])) / 3 for i in places]
        assert measured.value == pytest.approx(np.mean(shares))
        assert measured.signature["k"] == 3
        assert measured.signature["settings"]["candidates"] == 60
        with pytest.raises(ValueError, match="no query"):
            index.check_exactness(part_of(queries, 0, 0))

    def test_threads_and_company_change_nothing(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        _, queries = data
        whole = answers_of(index.search_ranked(queries, 5, threads=1))
        assert answers_of(index.search_ranked(queries, 5, threads=3)) == whole
        with ThreadPoolExecutor(4) as pool:
            alone = list(
                pool.map(
                    lambda i: answers_of(index.search_ranked(part_of(queries, i, i + 1), 5)),
                    range(len(queries)),
                )
            )
        assert [answers for (answers,) in alone] == whole

    def test_without_residuals_the_order_is_that_of_units(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, queries = data
        chosen = IndexSettings(units=256, iterations=3, residuals="none")
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=chosen)
        assert index.bytes_per_item() == pytest.approx(
            sum(p.stat().st_size for p in (tmp_path / "i").rglob("*") if p.is_file()) / COUNT
        )
        expected = plain(queries, index.sequences(), 4)
        ranking = index.search_ranked(queries, 4, candidates=COUNT)
        assert not ranking.exact
        found = answers_of(ranking)
        for one, right in zip(found, expected, strict=True):
            assert [s for _, s in one] == pytest.approx([s for _, s in right], abs=2e-6)


class TestFilters:
    @pytest.mark.parametrize("candidates", [10, COUNT])
    def test_only_chosen_items_answer_and_none_is_starved(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex, candidates: int
    ) -> None:
        _, queries = data
        wanted = Filter(varieties=("yue",), speakers=("s3", "s4"))
        left = [item for item in items_of(data[0]) if item.variety == "yue"]
        names = {item.id for item in left if item.speaker in ("s3", "s4")}
        assert 10 < len(names) < 60
        for k in (10, COUNT):
            hits = index.search(queries, k, filter=wanted, candidates=candidates)
            assert all(len(ids) == min(k, len(names)) for ids in hits.ids)
            assert all(set(ids) <= names for ids in hits.ids)

    def test_a_filter_that_leaves_many_is_applied_before_the_first_cut(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        sequences, queries = data
        wanted = Filter(varieties=("hak",))
        hits = index.search_ranked(queries, 100, filter=wanted, first=5, candidates=100).hits
        assert all(len(ids) == 100 for ids in hits.ids)
        assert {index.item(name).variety for ids in hits.ids for name in ids} == {"hak"}
        assert len(sequences) == COUNT

    def test_unknown_values_are_refused_with_near_ones(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        with pytest.raises(UnknownName, match="did you mean yue"):
            index.search(data[1], filter=Filter(varieties=("yeu",)))


class TestDegenerate:
    def test_an_empty_index_answers_nothing_and_grows(self, tmp_path: Path) -> None:
        sequences, queries = planted(30)
        nothing = part_of(sequences, 0, 0)
        index = SequenceIndex.build(tmp_path / "i", nothing, [], settings=SMALL)
        ranking = index.search_ranked(queries, 3)
        assert ranking.hits.ids == ((),) * len(queries)
        assert ranking.exact
        assert index.check_exactness(queries).value == 1
        assert len(index.sequences()) == 0
        assert index.compact() == index.store.version
        index.append(sequences, items_of(sequences))
        hits = index.search(queries, 1)
        assert [ids[0] for ids in hits.ids] == [f"item-{5 * n:05d}" for n in range(len(queries))]

    def test_fewer_items_than_k(self, tmp_path: Path) -> None:
        sequences, queries = planted(4)
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=SMALL)
        assert all(len(ids) == 4 for ids in index.search(queries, 50, candidates=1).ids)

    def test_no_queries_no_hits(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        assert index.search(part_of(data[1], 0, 0)).ids == ()

    def test_duplicates_are_reported_as_ties_in_the_order_of_ids(self, tmp_path: Path) -> None:
        sequences, queries = planted(60)
        same = [sequences[0]] * 5 + [sequences[number] for number in range(1, 60)]
        repeated = sequences_of(same)
        index = SequenceIndex.build(tmp_path / "i", repeated, items_of(repeated), settings=SMALL)
        ranking = index.search_ranked(part_of(queries, 0, 1), 3)
        assert ranking.hits.ids[0] == ("item-00000", "item-00001", "item-00002")
        # The fourth of equals stands just behind the answer.
        assert ranking.tied[0] == (True, True, True)
        ranking = index.search_ranked(part_of(queries, 0, 1), 7)
        assert ranking.tied[0][:5] == (True,) * 5
        assert ranking.tied[0][5:] == (False, False)

    def test_zero_steps_have_cosine_zero_with_everything(self, tmp_path: Path) -> None:
        zeros = np.zeros((3, 4), np.float32)
        half = np.array([[1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
        sequences = sequences_of([zeros, half, np.ones((2, 4), np.float32)])
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences))
        queries = sequences_of([np.array([[2, 0, 0, 0]], np.float32), zeros], prefix="query")
        hits = index.search(queries, 3)
        assert hits.ids[0] == ("item-00001", "item-00002", "item-00000")
        # P = 1; R = (1 + 0) / 2.
        assert hits.scores[0] == pytest.approx((2 / 3, 0.5, 0), abs=3e-3)
        assert hits.scores[1] == (0, 0, 0)

    @pytest.mark.parametrize("residuals", ["int8", "none"])
    @pytest.mark.parametrize("count", [1, 40])
    def test_items_that_are_all_alike_are_found(
        self, tmp_path: Path, residuals: Literal["int8", "none"], count: int
    ) -> None:
        step = np.array([[3, 0, 4, 0]], np.float32)
        sequences = sequences_of([step] * count)
        chosen = IndexSettings(residuals=residuals)
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=chosen)
        ranking = index.search_ranked(sequences_of([step], prefix="query"), 3)
        assert ranking.hits.ids[0] == sequences.ids[:3]
        assert ranking.hits.scores[0] == pytest.approx([1] * min(count, 3), abs=1e-6)
        assert ranking.tied[0] == (count > 1,) * min(count, 3)
        # With residuals the step itself comes back, else its direction.
        length = 5 if residuals == "int8" else 1
        assert index.steps("item-00000") == pytest.approx(length * step / 5, abs=1e-5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"values": np.zeros((3, 5), np.float32)}, "5 dimensions, the index has 16"),
            ({"made_by": "another"}, "made by 'another', the index by 'planted'"),
            ({"values": np.full((3, 16), np.nan, np.float32)}, "'odd' holds NaN"),
            ({"values": np.zeros((0, 16), np.float32)}, "'odd' has no steps"),
        ],
    )
    def test_queries_and_appends_that_do_not_fit_are_refused(
        self, index: SequenceIndex, change: dict[str, object], message: str
    ) -> None:
        values = change.get("values", np.ones((3, 16), np.float32))
        assert isinstance(values, np.ndarray)
        odd = Sequences(
            ("odd",), values, np.array([0, len(values)]), 0.04, str(change.get("made_by", MADE_BY))
        )
        with pytest.raises(ValueError, match=message):
            index.search(odd)
        with pytest.raises(ValueError, match=message):
            index.append(odd, [Item("odd", "cmn")])
        assert len(SequenceIndex.open(index.store.folder)) == COUNT

    def test_bad_numbers_are_refused(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        for bad in ({"k": 0}, {"candidates": 0}, {"first": 0}, {"budget_ms": 0.0}, {"threads": 0}):
            with pytest.raises(ValueError, match=next(iter(bad))):
                index.search_ranked(data[1], **bad)  # type: ignore[arg-type]

    def test_items_must_match_sequences(self, tmp_path: Path) -> None:
        sequences, _ = planted(10)
        items = items_of(sequences)
        for given_, message in (
            (items[:9], "'item-00009': there is no item left"),
            ([*items, Item("more", "cmn")], "'more' and those behind it have no sequence"),
            ([items[1], items[0], *items[2:]], "'item-00000': the item is 'item-00001'"),
        ):
            with pytest.raises(ValueError, match=message):
                SequenceIndex.build(tmp_path / "i", sequences, given_, settings=SMALL)
            assert list(tmp_path.iterdir()) == []

    def test_without_numba_the_extra_is_named(self, tmp_path: Path) -> None:
        script = """
import sys
sys.modules["numba"] = None
from index_makers import items_of, planted
from isogloss.errors import MissingExtra
from isogloss.search.sequence_index import SequenceIndex
sequences, _ = planted(10)
try:
    SequenceIndex.build(sys.argv[1], sequences, items_of(sequences))
except MissingExtra as error:
    sys.exit(str(error))
"""
        done = run_python(script, str(tmp_path / "i"))
        assert done.returncode == 1
        assert "numba is not installed; run: pip install 'isogloss[search]'" in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_another_kind_of_index_is_refused(self, tmp_path: Path) -> None:
        from isogloss.search.store import Store

        Store.create(tmp_path / "i", kind="vectors", settings={}, shared={})
        with pytest.raises(IsoglossError, match="index of vectors, not of sequences"):
            SequenceIndex.open(tmp_path / "i")

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 40), st.integers(1, 60))
    def test_hits_are_right_and_falling_whatever_the_sizes(
        self, tmp_path_factory: pytest.TempPathFactory, seed: int, k: int, first: int, count: int
    ) -> None:
        sequences, queries = planted(count, dimensions=6, seed=seed)
        folder = tmp_path_factory.mktemp("law") / "i"
        chosen = IndexSettings(iterations=1, first=first, candidates=max(1, first // 2))
        index = SequenceIndex.build(folder, sequences, items_of(sequences), settings=chosen)
        exact = dict(zip(sequences.ids, seqsim(queries, index.sequences()).T, strict=True))
        ranking = index.search_ranked(queries, k)
        for number, answer in enumerate(answers_of(ranking)):
            assert len(answer) == min(k, count)
            assert len({name for name, _ in answer}) == len(answer)
            scores = [score for _, score in answer]
            assert scores == sorted(scores, reverse=True)
            assert scores == pytest.approx([exact[name][number] for name, _ in answer], abs=2e-6)


class TestBudget:
    def test_scores_fewer_when_the_time_is_used_up_and_says_so(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        _, queries = data
        ranking = index.search_ranked(queries, 3, candidates=300, first=300, budget_ms=1e-6)
        assert all(3 <= scored < 300 for scored in ranking.scored)
        assert all(len(ids) == 3 for ids in ranking.hits.ids)
        answers = index.answers(queries, 3, candidates=300, budget_ms=1e-6)
        assert all(answer.out_of_time for answer in answers)
        ample = index.answers(queries, 3, candidates=300, budget_ms=1e6)
        assert all(answer.scored == 300 and not answer.out_of_time for answer in ample)

    def test_k_items_are_scored_whatever_the_time(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex
    ) -> None:
        hits = index.search(data[1], 200, candidates=5, budget_ms=1e-6)
        assert all(len(ids) == 200 for ids in hits.ids)
