from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.errors import IsoglossError
from isogloss.speech.tokens import Tokenizer
from isogloss.training.examples import (
    Example,
    Skipped,
    choose_items,
    count_reasons,
    drawn,
    make_tokenizer,
    tokenised,
)
from isogloss.training.texts import TextPlan
from isogloss.types import Item
from training.tones import config

if TYPE_CHECKING:
    from pathlib import Path


def item(**values: str) -> Item:
    return Item(**{"id": "a", "variety": "yue", "audio": "/a.wav", **values})


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


GOOD = '{"id": "a", "variety": "cmn", "audio": "a.wav", "transcript": "天", "split": "train"}'


def test_bad_lines_are_left_out_with_their_reason(tmp_path: Path) -> None:
    chosen = choose_items(
        manifest(
            tmp_path,
            GOOD,
            GOOD,
            GOOD.replace('"a"', '"b"').replace("cmn", "cnm"),
            GOOD.replace('"a"', '"c"').replace('"audio": "a.wav", ', ""),
            GOOD.replace('"a"', '"d"').replace("天", ""),
            "{",
            GOOD.replace('"a"', '"e"').replace("train", "dev"),
            GOOD.replace('"a"', '"f"').replace("train", "test"),
        ),
        TextPlan("standard"),
    )
    assert [entry.id for entry in chosen.train] == ["a"]
    assert [entry.id for entry in chosen.dev] == ["e"]
    assert [(entry.id, entry.reason) for entry in chosen.skipped] == [
        ("line 2", "bad id in the manifest"),
        ("line 3", "bad variety in the manifest"),
        ("line 6", "bad line in the manifest"),
        ("c", "no audio"),
        ("d", "no transcript"),
    ]
    assert "did you mean" in chosen.skipped[1].detail
    assert count_reasons(chosen.skipped).startswith("1 x bad id in the manifest")


def test_all_items_are_trained_on_when_none_has_a_split(tmp_path: Path) -> None:
    path = manifest(tmp_path, GOOD.replace(', "split": "train"', ""))
    assert [entry.id for entry in choose_items(path, TextPlan("dialect")).train] == ["a"]


def test_a_corpus_without_a_usable_item_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="1 x no transcript"):
        choose_items(manifest(tmp_path, GOOD.replace("天", "")), TextPlan("standard"))


def test_the_sha_changes_with_the_items(tmp_path: Path) -> None:
    first = choose_items(manifest(tmp_path, GOOD), TextPlan("standard")).sha
    assert choose_items(manifest(tmp_path, GOOD), TextPlan("standard")).sha == first
    assert (
        choose_items(manifest(tmp_path, GOOD.replace("天", "地")), TextPlan("standard")).sha
        != first
    )


def test_text_that_needs_more_steps_than_there_are_is_left_out() -> None:
    # 30 frames give 11 steps at 50 Hz, so 6 at 25 Hz; "天天天" needs 3 units and 2 blanks.
    items = [item(id="fits", transcript="天天天"), item(id="long", transcript="天天天天")]
    examples, skipped = tokenised(
        items, [[(0, 30)], [(1, 30), (2, 40)]], Tokenizer.characters(["天"]), TextPlan("standard")
    )
    assert [(e.id, e.row, e.seconds) for e in examples] == [("fits", 0, 0.3), ("long", 2, 0.4)]
    assert skipped == [
        Skipped("long", "too short for its transcript", "7 steps needed, 6 in 0.30 s")
    ]


def units_of(transcripts: str, **values: str) -> Tokenizer:
    texts = TextPlan(transcripts).of_item(item(**values))
    assert texts is not None
    return make_tokenizer([texts], config(transcripts=transcripts))


def test_units_cover_both_transcripts() -> None:
    both = {"transcript": "佢", "translation": "他"}
    assert set(units_of("both", **both).symbols) >= {"佢", "他"}
    assert "佢" not in units_of("standard", **both).symbols


def test_tagged_targets_begin_with_their_tag_and_read_without_it() -> None:
    values = {"transcript": "佢", "translation": "他"}
    units = units_of("tagged", **values)
    examples, _ = tokenised([item(**values)], [[(0, 90)]], units, TextPlan("tagged"))
    spelt = [[units.symbols[i] for i in target] for target in examples[0].targets if target]
    assert spelt == [["<standard>", "他"], ["<dialect>", "佢"]]
    assert units.decode(examples[0].targets[1] or ()) == "佢"


def test_a_text_that_is_missing_is_no_target_of_its_head() -> None:
    units = Tokenizer.characters(["佢他"])
    only = [item(id="a", transcript="佢"), item(id="b", translation="他")]
    examples, _ = tokenised(only, [[(0, 90)], [(1, 90)]], units, TextPlan("both"))
    assert [example.targets for example in examples] == [(None, (3,)), ((2,), None)]


def test_drawn_targets_depend_on_epoch_and_item_alone() -> None:
    examples = [Example(str(i), i, 1.0, ((1,), (2,))) for i in range(40)]
    examples.append(Example("one", 40, 1.0, (None, (2,))))
    epochs = [drawn(examples, seed=3, epoch=epoch) for epoch in (0, 0, 1)]
    assert epochs[0] == epochs[1] != epochs[2]
    # The same whoever else is in the batch.
    assert drawn(examples[7:9], seed=3, epoch=1) == epochs[2][7:9]
    first = [example.targets[0] for example in epochs[0]]
    assert {first.count((1,)) > 8, first.count((2,)) > 8} == {True}
    assert first[-1] == (2,)
