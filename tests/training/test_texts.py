from __future__ import annotations

from typing import Any

import pytest

from isogloss.training.lexicon import WordTies
from isogloss.training.texts import ItemTexts, TextPlan, has_standard_text
from isogloss.types import Item
from training.tones import config

BOTH = {"transcript": "佢", "translation": "他"}
TIES = WordTies.of([("佢", "他", "")])


def item(**values: str) -> Item:
    return Item(**{"id": "a", "variety": "yue", "audio": "/a.wav", **values})


@pytest.mark.parametrize(
    ("values", "transcripts", "heads"),
    [
        (BOTH, "standard", ("他",)),
        (BOTH, "dialect", ("佢",)),
        (BOTH, "both", ("他", "佢")),
        (BOTH, "tagged", ("他", "佢")),
        ({"transcript": "佢"}, "standard", ("佢",)),
        ({"transcript": "佢"}, "both", (None, "佢")),
        ({"translation": "他"}, "both", ("他", None)),
        ({"translation": "他"}, "tagged", ("他", None)),
        ({"translation": "他"}, "dialect", None),
        ({"transcript": " \u200b"}, "dialect", None),
        ({"transcript": " \u200b"}, "both", None),
        ({}, "standard", None),
    ],
)
def test_text_of_each_kind_of_transcript(
    values: dict[str, str], transcripts: str, heads: tuple[str | None, ...] | None
) -> None:
    found = TextPlan(transcripts).of_item(item(**values))
    assert (None if found is None else found.heads) == heads


@pytest.mark.parametrize(
    ("transcripts", "values", "heads"),
    [
        ("dialect", BOTH, ("他",)),
        ("standard", {"transcript": "佢"}, ("他",)),
        ("standard", {"transcript": "佢", "translation": "她"}, ("她",)),
        ("both", {"transcript": "佢"}, ("他", "佢")),
    ],
)
def test_a_lexicon_stands_in_for_standard_text(
    transcripts: str, values: dict[str, str], heads: tuple[str, ...]
) -> None:
    found = TextPlan(transcripts, ties=TIES).of_item(item(**values))
    assert found is not None
    assert found.heads == heads


def test_each_loss_has_its_text() -> None:
    plan = TextPlan("dialect", inter="standard", teacher="dialect", contrast="same")
    assert plan.of_item(item(**BOTH)) == ItemTexts(("佢",), "他", "佢", "佢")
    assert plan.of_item(item(transcript="佢")) == ItemTexts(("佢",), None, "佢", "佢")


def test_without_its_share_an_item_shows_no_standard_text() -> None:
    plan = TextPlan("both", standard_share=0.0)
    found = plan.of_item(item(**BOTH))
    assert found is not None
    assert found.heads == (None, "佢")
    # What is measured is measured against the truth.
    measured = plan.of_item(item(**BOTH), all_standard=True)
    assert measured is not None
    assert measured.heads == ("他", "佢")
    assert plan.of_item(item(translation="他")) is None


def test_the_share_is_of_names_and_grows_by_adding() -> None:
    names = [f"utterance-{i}" for i in range(4000)]
    tenth = {name for name in names if has_standard_text(name, 0.1)}
    third = {name for name in names if has_standard_text(name, 0.3)}
    assert tenth < third
    assert len(tenth) == pytest.approx(400, abs=80)
    assert not any(has_standard_text(name, 0.0) for name in names)
    assert all(has_standard_text(name, 1.0) for name in names)
    # Fixed for good: a run of a later version must take the same items.
    assert sorted(tenth)[:3] == ["utterance-1005", "utterance-1007", "utterance-1016"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ("", "", "")),
        ({"inter_ctc": 0.3, "inter_ctc_text": "standard"}, ("standard", "", "")),
        ({"pooled_teacher": 1.0, "contrastive": 1.0}, ("", "same", "same")),
    ],
)
def test_the_plan_of_a_run_asks_for_no_idle_text(
    changes: dict[str, Any], found: tuple[str, ...]
) -> None:
    plan = TextPlan.of(config(**changes))
    assert (plan.inter, plan.teacher, plan.contrast) == found
