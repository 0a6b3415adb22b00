from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from isogloss.errors import AudioError
from isogloss.tasks import Transcription, check_task
from isogloss.types import Corpus, Item, Measurement

ITEMS = (
    Item("a", "cmn", audio="/a", translation="今天吃饭", transcript="今天吃饭", split="test"),
    Item("b", "yue", audio="/b", translation="今天吃饭", transcript="今日食饭", split="test"),
    Item("c", "yue", audio="/c", translation="好", transcript="好", split="train"),
    Item("d", "yue", audio=None, translation="好", split="test"),
)
CORPUS = Corpus("toy", ITEMS)


class Reader:
    """Reads every item as the standard wording; files in `broken` cannot be read."""

    made_by = "reader"

    def __init__(self, broken: tuple[str, ...] = (), dialect_head: bool = False) -> None:
        self.broken = broken
        self.model = SimpleNamespace(has_dialect_head=dialect_head)

    def transcribe(self, items, *, head):
        for item in items:
            if item.id in self.broken:
                raise AudioError(str(item.audio), "broken")
        return [
            SimpleNamespace(text=i.transcript if head == "dialect" else i.translation)
            for i in items
        ]


def by_name(found: list[Measurement]) -> dict[str, float]:
    return {m.name: m.value for m in found}


def test_standard_and_dialect_truth() -> None:
    found = by_name(Transcription().run(CORPUS, Reader()))
    assert found == {"CER": 0, "CER cmn": 0, "CER yue": 0}
    dialect = by_name(Transcription(transcripts="dialect").run(CORPUS, Reader()))
    # The standard wording of b has two of four characters that differ from what was said.
    assert dialect == {"CER": 2 / 8, "CER cmn": 0, "CER yue": 2 / 4}


def test_the_dialect_output_reads_dialect_transcripts_where_there_is_one() -> None:
    reader = Reader(dialect_head=True)
    found = Transcription(transcripts="dialect").run(CORPUS, reader)
    assert found[0].value == 0
    assert found[0].signature["head"] == "dialect"
    forced = Transcription(transcripts="dialect", head="standard").run(CORPUS, reader)
    assert forced[0].value == 2 / 8


def test_splits() -> None:
    assert Transcription(split=None).run(CORPUS, Reader())[0].n == 3
    with pytest.raises(ValueError, match=r"split 'dev'; splits there are: test \(3\), train \(1\)"):
        Transcription(split="dev").run(CORPUS, Reader())
    unsplit = Corpus("toy", tuple(dataclasses.replace(i, split=None) for i in ITEMS))
    assert Transcription().run(unsplit, Reader())[0].n == 3


def test_unreadable_recordings_are_left_out_and_counted() -> None:
    found = Transcription(split=None).run(CORPUS, Reader(broken=("b",)))
    assert (found[0].n, found[0].signature["unreadable"]) == (2, 1)
    with pytest.raises(ValueError, match="none of 2 recordings can be read"):
        Transcription().run(CORPUS, Reader(broken=("a", "b")))


def test_encoders_without_a_reading_are_refused() -> None:
    with pytest.raises(ValueError, match="mute cannot transcribe"):
        Transcription().run(CORPUS, SimpleNamespace(made_by="mute"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'standard' or 'dialect'"):
        Transcription(transcripts="both")  # type: ignore[arg-type]


def test_it_keeps_the_contract_of_tasks() -> None:
    check_task(Transcription(), CORPUS, Reader())  # type: ignore[arg-type]
