from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.errors import IsoglossError
from isogloss.speech.tokens import Tokenizer
from isogloss.training.examples import (
    Skipped,
    choose_items,
    count_reasons,
    make_tokenizer,
    texts_of,
    tokenised,
)
from isogloss.types import Item
from training.tones import config

if TYPE_CHECKING:
    from pathlib import Path


def item(**values: str) -> Item:
    return Item(**{"id": "a", "variety": "yue", "audio": "/a.wav", **values})


@pytest.mark.parametrize(
    ("values", "transcripts", "texts"),
    [
        ({"transcript": "佢", "translation": "他"}, "standard", ("他",)),
        ({"transcript": "佢", "translation": "他"}, "dialect", ("佢",)),
        ({"transcript": "佢", "translation": "他"}, "both", ("他", "佢")),
        ({"transcript": "佢"}, "standard", ("佢",)),
        ({"transcript": "佢"}, "both", None),
        ({"translation": "他"}, "dialect", None),
        ({"transcript": " \u200b"}, "dialect", None),
        ({}, "standard", None),
    ],
)
def test_text_of_each_kind_of_transcript(
    values: dict[str, str], transcripts: str, texts: tuple[str, ...] | None
) -> None:
    assert texts_of(item(**values), transcripts) == texts


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
        "standard",
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
    assert [entry.id for entry in choose_items(path, "dialect").train] == ["a"]


def test_a_corpus_without_a_usable_item_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="1 x no transcript"):
        choose_items(manifest(tmp_path, GOOD.replace("天", "")), "standard")


def test_the_sha_changes_with_the_items(tmp_path: Path) -> None:
    first = choose_items(manifest(tmp_path, GOOD), "standard").sha
    assert choose_items(manifest(tmp_path, GOOD), "standard").sha == first
    assert choose_items(manifest(tmp_path, GOOD.replace("天", "地")), "standard").sha != first


def test_text_that_needs_more_steps_than_there_are_is_left_out() -> None:
    # 30 frames give 11 steps at 50 Hz, so 6 at 25 Hz; "天天天" needs 3 units and 2 blanks.
    items = [item(id="fits", transcript="天天天"), item(id="long", transcript="天天天天")]
    examples, skipped = tokenised(
        items, [[(0, 30)], [(1, 30), (2, 40)]], Tokenizer.characters(["天"]), "standard"
    )
    assert [(e.id, e.row, e.seconds) for e in examples] == [("fits", 0, 0.3), ("long", 2, 0.4)]
    assert skipped == [
        Skipped("long", "too short for its transcript", "7 steps needed, 6 in 0.30 s")
    ]


def test_units_cover_both_transcripts() -> None:
    both = [item(transcript="佢", translation="他")]
    assert set(make_tokenizer(both, config(transcripts="both")).symbols) >= {"佢", "他"}
    assert "佢" not in make_tokenizer(both, config(transcripts="standard")).symbols
