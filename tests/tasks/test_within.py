from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from isogloss.tasks import WithinGroupRetrieval, check_task
from tasks.planted_voices import Heard, audio_file, corpus_of, rng_of, spoken

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from isogloss.types import Corpus, Item, Measurement

N = 10
SITES = {"A": "cmn", "B": "cmn", "C": "yue", "D": "yue", "E": "yue"}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    audio = audio_file(tmp_path)
    return corpus_of(
        [
            spoken(
                audio,
                10 * n + place,
                f"{site}{n}",
                variety,
                meaning=f"m{n}",
                site=site,
                speaker=f"s-{site}",
            )
            for n in range(N)
            for place, (site, variety) in enumerate(SITES.items())
        ]
    )


def native(item: Item) -> np.ndarray:
    """Understands within a variety and nothing across."""
    return rng_of(f"{item.variety} {item.meaning}").standard_normal((1, 16))


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    return {m.name: m for m in found}


@pytest.mark.parametrize("by", ["site", "speaker"])
def test_within_stands_apart_from_across(corpus: Corpus, by: str) -> None:
    task = WithinGroupRetrieval(by=by, bootstrap=50)  # type: ignore[arg-type]
    found = by_name(check_task(task, corpus, Heard(native)))
    assert found["within-group R@1"].value == 1
    assert found["within-group MRR"].value == 1
    assert found["cross-group R@1"].value < 0.4
    # 2 ordered pairs of the two cmn sites, 6 of the three yue sites, 12 across.
    assert found["within-group R@1"].signature["pairs"] == 8
    assert found["cross-group R@1"].signature["pairs"] == 12
    groups = {"site": ("mandarin", "yue"), "speaker": ("cmn", "yue")}[by]
    assert [n for n in found if n.startswith("within-group R@1 ")] == [
        f"within-group R@1 {group}" for group in groups
    ]
    assert found["within-group R@1"].signature["within"] == ("group" if by == "site" else "variety")
    assert f"and {by}s" in str(found["within-group R@1"].signature["interval"])
    assert found["within-group R@1"].item_keys == tuple(sorted(f"m{n}" for n in range(N)))


def test_takes_of_one_sentence_by_different_speakers(corpus: Corpus) -> None:
    # Every sentence has other speakers, so no two speakers share one.
    items = [
        dataclasses.replace(item, speaker=f"{item.id}", site=None)
        for item in corpus.items
        if item.site in "ACD"
    ]
    again = dataclasses.replace(items[0], id="A0-again", start_seconds=999.0, end_seconds=999.5)
    found = WithinGroupRetrieval(by="take", bootstrap=50)
    result = found.retrieve(corpus_of([*items, again]), Heard(native))
    assert result.sets == ("cmn/1", "yue/1", "yue/2")
    assert result.left_out == {"another recording by the same speaker": 1}
    assert "by different speakers" in result.signature["recordings"]
    named = by_name(found.measured(result))
    assert named["within-group R@1"].value == 1
    assert named["within-group R@1"].signature["pairs"] == 2
    with pytest.raises(ValueError, match="no two sets"):
        WithinGroupRetrieval(by="speaker").run(corpus_of(items), Heard(native))


def test_without_cross_pairs_nothing_across_is_scored(corpus: Corpus) -> None:
    task = WithinGroupRetrieval(cross=False, bootstrap=0)
    assert len(task.retrieve(corpus, Heard(native)).pairs) == 8
    assert not [m for m in task.run(corpus, Heard(native)) if m.name.startswith("cross")]


def test_groups_without_two_sets_are_refused(corpus: Corpus) -> None:
    alone = corpus_of([item for item in corpus.items if item.site in "AC"])
    with pytest.raises(ValueError, match="no two sets by site of one group"):
        WithinGroupRetrieval().run(alone, Heard(native))
    with pytest.raises(ValueError, match="never two of one"):
        WithinGroupRetrieval(by="group")
    with pytest.raises(ValueError, match="within must be"):
        WithinGroupRetrieval(within="village")  # type: ignore[arg-type]
