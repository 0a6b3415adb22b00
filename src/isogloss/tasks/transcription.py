"""Recordings with transcripts and a model trained here in; character error rates out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from isogloss import __version__
from isogloss.errors import AudioError
from isogloss.measures import cer
from isogloss.tasks.parallel import splits_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Corpus, Encoder, Item, Measurement

__all__ = ["Transcription"]


class _Reading(Protocol):
    text: str


class _Transcriber(Protocol):
    def transcribe(
        self, items: Sequence[Item], *, head: Literal["standard", "dialect"]
    ) -> Sequence[_Reading]: ...


@dataclass(frozen=True)
class Transcription:
    """CER of greedy CTC decoding, of all items and of each variety.

    Attributes:
        transcripts: what the truth is: 'standard' (`translation`, else `transcript`, as in
            training) or 'dialect' (`transcript`).
        head: which output of the model reads; None takes 'dialect' for dialect transcripts when
            the model has such an output, else its first.
        split: only items of this split; None for all. Where no item has a split, all are taken.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval.
    """

    transcripts: Literal["standard", "dialect"] = "standard"
    head: Literal["standard", "dialect"] | None = None
    split: str | None = "test"
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.transcripts not in ("standard", "dialect"):
            raise ValueError(
                f"transcripts must be 'standard' or 'dialect', got '{self.transcripts}'"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'CER' over all items (errors over characters), then 'CER <variety>' for each variety.

        Recordings that cannot be read are left out and counted in the signature.

        Raises:
            ValueError: no item has audio and the transcript asked for, or the encoder cannot
                transcribe (only models trained here can).
        """
        if not hasattr(encoder, "transcribe"):
            raise ValueError(
                f"{encoder.made_by} cannot transcribe; load a trained model with 'own:FOLDER'"
            )
        head = self._head(encoder)
        chosen = self._items(corpus)
        unreadable: list[AudioError] = []
        read = _read(cast("_Transcriber", encoder), chosen, head, unreadable)
        if not read:
            raise ValueError(
                f"none of {len(chosen)} recordings can be read; first: {unreadable[0]}"
            )
        items = [item for item, _ in read]
        texts = [text for _, text in read]
        signature: dict[str, Any] = {
            "task": "transcription",
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "transcripts": self.transcripts,
            "head": head,
            "decoding": "greedy",
            "unreadable": len(unreadable),
            "isogloss": __version__,
        }
        found = [self._measured(items, texts, signature, "")]
        for variety in dict.fromkeys(item.variety for item in items):
            of_it = [(item, text) for item, text in read if item.variety == variety]
            found.append(
                self._measured(
                    [item for item, _ in of_it], [text for _, text in of_it], signature, variety
                )
            )
        return found

    def _measured(
        self, items: Sequence[Item], texts: Sequence[str], signature: dict[str, Any], variety: str
    ) -> Measurement:
        found = cer(
            [self._truth(item) for item in items],
            texts,
            resamples=self.bootstrap,
            level=self.level,
            seed=self.seed,
            signature=signature,
        )
        return replace(
            found,
            name=f"{found.name} {variety}".rstrip(),
            item_keys=tuple(item.id for item in items),
        )

    def _items(self, corpus: Corpus) -> list[Item]:
        with_splits = any(item.split is not None for item in corpus.items)
        items = [
            item
            for item in corpus.items
            if (self.split is None or not with_splits or item.split == self.split)
            and item.audio is not None
            and self._truth(item)
        ]
        if not items:
            raise ValueError(
                f"corpus '{corpus.name}' has no item with audio and a {self.transcripts} "
                f"transcript"
                + ("" if self.split is None else f" in split '{self.split}'")
                + splits_there(corpus.items, self.split)
            )
        return items

    def _truth(self, item: Item) -> str:
        if self.transcripts == "dialect":
            return item.transcript or ""
        return item.translation or item.transcript or ""

    def _head(self, encoder: Encoder) -> Literal["standard", "dialect"]:
        if self.head is not None:
            return self.head
        has_dialect = getattr(getattr(encoder, "model", None), "has_dialect_head", False)
        return "dialect" if self.transcripts == "dialect" and has_dialect else "standard"


def _read(
    transcriber: _Transcriber,
    items: Sequence[Item],
    head: Literal["standard", "dialect"],
    unreadable: list[AudioError],
) -> list[tuple[Item, str]]:
    """Each item that can be read with its text; the errors of the others go to `unreadable`."""
    try:
        readings = transcriber.transcribe(items, head=head)
    except AudioError as error:
        if len(items) == 1:
            unreadable.append(error)
            return []
        # Halving finds a few broken recordings among many without reading each alone.
        middle = len(items) // 2
        return [
            *_read(transcriber, items[:middle], head, unreadable),
            *_read(transcriber, items[middle:], head, unreadable),
        ]
    return [(item, reading.text) for item, reading in zip(items, readings, strict=True)]
