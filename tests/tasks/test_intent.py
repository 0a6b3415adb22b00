from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.errors import UnknownName
from isogloss.tasks.check import check_task
from isogloss.tasks.intent import IntentClassification
from isogloss.types import Corpus, Item, Sequences
from makers import melody, write_wav

if TYPE_CHECKING:
    from pathlib import Path

RAIN, ALARM = "will it rain", "set an alarm"


def corpus_of(folder: Path) -> Corpus:
    """Ten requests of two intents in deu; in bar, the alarms are said in words never seen."""
    audio = str(write_wav(folder / "x.wav", melody([0, 4])))
    items = []
    for split, count in (("train", 6), ("test", 10)):
        for number in range(count):
            rain = number % 2 == 0
            for variety in ("deu", "bar"):
                said = f"{RAIN} {number}" if rain else f"{ALARM} {number}"
                if variety == "bar" and not rain:
                    said = f"{RAIN} {number}"
                items.append(
                    Item(
                        id=f"{split}-{number}-{variety}",
                        variety=variety,
                        meaning=f"{split}-{number}",
                        audio=audio,
                        start_seconds=0.0,
                        end_seconds=0.1 + 0.01 * len(items) / 10,
                        text=said,
                        split=split,
                        extra={"intent": "rain" if rain else "alarm"},
                    )
                )
    return Corpus("requests", tuple(items))


@dataclass(frozen=True)
class Planted:
    """One step an item: the intent, plainly; transcribes everything as the given text."""

    reads: str | None = None
    made_by: str = "planted"
    seen: list[str] = field(default_factory=list)

    @property
    def tokenizer(self) -> Any:
        return None if self.reads is None else object()

    def encode(self, items: list[Item]) -> Sequences:
        self.seen.extend(item.id for item in items)
        steps = [
            np.array([[1.0, 0.0] if item.extra["intent"] == "rain" else [0.0, 1.0]], np.float32)
            for item in items
        ]
        return Sequences.from_list([item.id for item in items], steps, step_seconds=0.1)

    def transcribe(self, items: list[Item], *, head: str = "standard") -> list[Any]:
        @dataclass
        class Hypothesis:
            text: str

        return [Hypothesis(self.reads or "") for _ in items]


class Named(Planted):
    def encode(self, items: list[Item]) -> Sequences:
        found = super().encode(items)
        return Sequences(found.ids, found.values, found.offsets, 0.1, self.made_by)


def values(found: list[Any]) -> dict[str, float]:
    return {measurement.name: measurement.value for measurement in found}


def test_each_route_is_judged_by_what_it_sees(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    found = IntentClassification("deu").run(corpus, Named(reads=ALARM))
    assert values(found) == {
        # The encoder knows the intent, whatever the variety.
        "speech accuracy bar": 1.0,
        "speech accuracy deu": 1.0,
        "speech gap bar": 0.0,
        # The text of a Bavarian alarm is that of rain: half are wrong.
        "text accuracy bar": 0.5,
        "text accuracy deu": 1.0,
        "text gap bar": 0.5,
        # The transcript always speaks of an alarm.
        "cascade accuracy bar": 0.5,
        "cascade accuracy deu": 0.5,
        "cascade gap bar": 0.0,
    }
    gap = next(m for m in found if m.name == "text gap bar")
    assert gap.n == 10
    assert gap.low is not None
    assert gap.low < 0.5 < gap.high
    assert not gap.higher_is_better
    assert found[0].signature["chance"] == 0.5


def test_the_standard_alone_is_trained_on(tmp_path: Path) -> None:
    encoder = Named()
    IntentClassification("deu", routes=("speech",)).run(corpus_of(tmp_path), encoder)
    trained = [name for name in encoder.seen if name.startswith("train")]
    assert trained
    assert all(name.endswith("deu") for name in trained)


def test_an_encoder_that_cannot_transcribe_has_no_cascade(tmp_path: Path) -> None:
    names = values(IntentClassification("deu").run(corpus_of(tmp_path), Named()))
    assert not any(name.startswith("cascade") for name in names)


def test_a_label_never_seen_in_training_counts_as_wrong(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    strange = Item(
        "new",
        "deu",
        meaning="new",
        text=RAIN,
        split="test",
        audio=corpus.items[0].audio,
        extra={"intent": "other"},
    )
    found = IntentClassification("deu", routes=("text",)).run(
        Corpus("requests", (*corpus.items, strange)), Named()
    )
    german = next(m for m in found if m.name == "text accuracy deu")
    assert german.value == pytest.approx(10 / 11)
    assert german.signature["unseen"] == 1


def test_it_is_a_task(tmp_path: Path) -> None:
    check_task(IntentClassification("deu"), corpus_of(tmp_path), Named(reads=RAIN))


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    with pytest.raises(UnknownName, match="cascade"):
        IntentClassification("deu", routes=("cascades",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both 'test'"):
        IntentClassification("deu", train_split="test")
    with pytest.raises(ValueError, match="no item of gsw in split 'train'"):
        IntentClassification("gsw").run(corpus, Named())
    one = Corpus("one", tuple(i for i in corpus.items if i.extra["intent"] == "rain"))
    with pytest.raises(ValueError, match="1 classes of 'intent'"):
        IntentClassification("deu").run(one, Named())


def test_what_items_lack_is_counted(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    items = list(corpus.items)
    items[20] = dataclasses.replace(items[20], extra={})
    items[21] = dataclasses.replace(items[21], audio=None, start_seconds=None, end_seconds=None)
    items[22] = dataclasses.replace(items[22], text=None)
    items[23] = dataclasses.replace(items[23], audio=str(tmp_path / "gone.wav"))
    found = IntentClassification("deu").run(Corpus("c", tuple(items)), Named(reads=RAIN))
    signature = found[0].signature
    assert signature["left_out"] == {"no intent": 1, "no audio": 1, "no text": 1}
    assert signature["unreadable"] == 1
    assert {m.n for m in found if "accuracy" in m.name} == {8}
    # Where only texts are read, a recording that is gone is nobody's business.
    texts = IntentClassification("deu", routes=("text",)).run(Corpus("c", tuple(items)), Named())
    assert {m.n for m in texts if "accuracy" in m.name} == {8, 10}


def test_nothing_to_hear(tmp_path: Path) -> None:
    silent = tuple(
        dataclasses.replace(item, audio=None, start_seconds=None, end_seconds=None)
        for item in corpus_of(tmp_path).items
    )
    with pytest.raises(ValueError, match="6 x no audio"):
        IntentClassification("deu").run(Corpus("c", silent), Named())
    corpus = corpus_of(tmp_path)
    gone = tuple(
        dataclasses.replace(item, audio=str(tmp_path / "gone.wav"))
        if item.split == "train"
        else item
        for item in corpus.items
    )
    with pytest.raises(ValueError, match=r"0 classes of .intent. among 0 items.*cannot be read"):
        IntentClassification("deu").run(Corpus("c", gone), Named())


def test_a_cascade_alone_needs_an_encoder_that_transcribes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="named cannot transcribe"):
        IntentClassification("deu", routes=("cascade",)).run(
            corpus_of(tmp_path), Named(made_by="named")
        )


def test_punctuation_and_case_tell_nothing(tmp_path: Path) -> None:
    """Transcripts come without them, so that a classifier of correct text must not lean on them."""
    items = tuple(
        dataclasses.replace(
            item, text=f"{item.text}?".title() if item.split == "test" else item.text
        )
        for item in corpus_of(tmp_path).items
    )
    found = IntentClassification("deu", routes=("text",)).run(Corpus("c", items), Named())
    assert values(found)["text accuracy deu"] == 1.0


def test_a_word_that_decides_is_not_drowned_by_rare_ones(tmp_path: Path) -> None:
    """Each text has one telling word among letters that occur nowhere else."""
    items = []
    for i in range(60):
        intent = ("rain", "alarm")[i % 2]
        noise = "".join(chr(0x4E00 + 40 * i + j) for j in range(40))
        items.append(
            Item(
                f"u{i}",
                "deu",
                text=f"{intent} {noise}",
                split="train" if i < 20 else "test",
                extra={"intent": intent},
            )
        )
    found = IntentClassification("deu", routes=("text",)).run(Corpus("c", tuple(items)), Named())
    assert values(found) == {"text accuracy deu": 1.0}
