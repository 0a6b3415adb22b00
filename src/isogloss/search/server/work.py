"""Where requests meet encoder and index: batches in, steps, rankings and transcripts out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from isogloss.errors import AudioError, UnknownName
from isogloss.search.encoder_note import fitting
from isogloss.search.server.batching import Batcher
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.search.ranking import Ranking
    from isogloss.search.server.live import Live, Snapshot
    from isogloss.search.server.metrics import Metrics
    from isogloss.search.server.settings import ServeSettings
    from isogloss.search.store import Filter
    from isogloss.speech.long_transcription import SpeechReader
    from isogloss.speech.transcripts import Transcript
    from isogloss.types import Encoder, FloatArray

__all__ = ["Answer", "Ask", "Encoded", "Work", "reads_speech", "takes_audio", "takes_text"]


Job = TypeVar("Job")
Result = TypeVar("Result")


def takes_text(encoder: Encoder) -> bool:
    """Whether the encoder gives steps for items that have text and no recording.

    An encoder says so with an attribute `takes_text = True`; one without it takes recordings.
    """
    return bool(getattr(encoder, "takes_text", False))


def takes_audio(encoder: Encoder) -> bool:
    """Whether the encoder gives steps for recordings.

    One that takes text is thought to take nothing else, unless it has an attribute
    `takes_audio = True`.
    """
    return bool(getattr(encoder, "takes_audio", not takes_text(encoder)))


def reads_speech(encoder: Encoder) -> bool:
    """Whether the encoder is a model that can transcribe."""
    return getattr(encoder, "tokenizer", None) is not None and hasattr(
        encoder, "posteriors_of_samples"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """(T, D) steps of one query and the seconds between two of them."""

    steps: FloatArray
    step_seconds: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One query of a batch; the item `leave_out` is no answer to it."""

    steps: FloatArray
    k: int
    wanted: Filter | None = None
    leave_out: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Hits of one query, best first, and the commit they are from."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    tied: tuple[bool, ...]
    exact: bool
    snapshot: Snapshot


class Work:
    """Encoder and index, each asked in a thread of its own, with batches of what arrives together.

    The answer to a query does not depend on the batch: encoders promise the same steps alone as in
    any batch, and queries are grouped by `k` and filter, as the index is asked for both.
    """

    def __init__(
        self, encoder: Encoder, live: Live, settings: ServeSettings, metrics: Metrics
    ) -> None:
        self.encoder = encoder
        self._live = live
        model_thread = ThreadPoolExecutor(1, thread_name_prefix="isogloss-encode")
        self.encoding: Batcher[Item, Encoded] = Batcher(
            "encode",
            _one_by_one_if_needed(self._encode),
            metrics,
            size=settings.batch_size,
            window_seconds=settings.batch_window_seconds,
            thread=model_thread,
        )
        self.searching: Batcher[Ask, Answer] = Batcher(
            "search",
            self._search,
            metrics,
            size=settings.batch_size,
            window_seconds=settings.batch_window_seconds,
        )
        # Few at a time: a search waits no longer than these take.
        self.transcribing: Batcher[Item, Transcript] = Batcher(
            "transcribe",
            _one_by_one_if_needed(self._transcribe),
            metrics,
            size=4,
            window_seconds=settings.batch_window_seconds,
            thread=model_thread,
        )

    def start(self) -> None:
        """Begin to work; needs a running event loop."""
        for batcher in (self.encoding, self.searching, self.transcribing):
            batcher.start()

    async def stop(self) -> None:
        """Stop after the batches at hand."""
        for batcher in (self.encoding, self.searching, self.transcribing):
            await batcher.stop()

    def _encode(self, items: Sequence[Item]) -> list[Encoded | Exception]:
        # Ids of one call must differ; two requests may ask for the same text or item.
        named = [_renamed(item, str(number)) for number, item in enumerate(items)]
        found = self.encoder.encode(named)
        encoded: list[Encoded | Exception] = []
        for number in range(len(found)):
            steps = np.array(found[number])
            if not np.isfinite(steps).all():
                encoded.append(AudioError("recording", "it gives steps that are no numbers"))
            else:
                encoded.append(Encoded(steps, found.step_seconds))
        return encoded

    def _search(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        snapshot = self._live.now
        groups: dict[tuple[int, Filter | None], list[int]] = {}
        for number, ask in enumerate(asks):
            most = ask.k + (ask.leave_out is not None)
            groups.setdefault((most, ask.wanted), []).append(number)
        answers: dict[int, Answer | Exception] = {}
        for (k, wanted), numbers in groups.items():
            ranked = partial(self._ranked, snapshot, k=k, wanted=wanted)
            found = _one_by_one_if_needed(ranked)([asks[number] for number in numbers])
            answers.update(zip(numbers, found, strict=True))
        return [answers[number] for number in range(len(asks))]

    def _ranked(
        self, snapshot: Snapshot, asks: Sequence[Ask], k: int, wanted: Filter | None
    ) -> list[Answer]:
        index = snapshot.index
        queries = Sequences.from_list(
            [str(number) for number in range(len(asks))],
            [ask.steps for ask in asks],
            step_seconds=index.step_seconds,
            made_by=self.encoder.made_by,
        )
        # Steps or their means, whichever this index holds; its type cannot say so.
        ranked: Callable[..., Ranking] = index.search_ranked
        ranking = ranked(fitting(index, queries), k, filter=wanted)
        hits = ranking.hits
        answers = []
        for ask, *row in zip(asks, hits.ids, hits.scores, ranking.tied, strict=True):
            kept = [hit for hit in zip(*row, strict=True) if hit[0] != ask.leave_out][: ask.k]
            ids, scores, tied = zip(*kept, strict=True) if kept else ((), (), ())
            answers.append(Answer(ids, scores, tied, ranking.exact, snapshot))
        return answers

    def _transcribe(self, items: Sequence[Item]) -> list[Transcript | Exception]:
        from isogloss.speech.long_transcription import Unread, transcribe_recordings

        reader = cast("SpeechReader", self.encoder)
        found = transcribe_recordings(reader, items)
        return [
            AudioError(one.id, one.problem) if isinstance(one, Unread) else one for one in found
        ]


def _one_by_one_if_needed(
    run: Callable[[Sequence[Job]], Sequence[Result | Exception]],
) -> Callable[[Sequence[Job]], list[Result | Exception]]:
    """`run`, whose errors reach those jobs alone that raise them: halves are tried, and theirs."""

    def results(jobs: Sequence[Job]) -> list[Result | Exception]:
        try:
            return list(run(jobs))
        except UnknownName as error:  # of the filter, which all jobs of the call share
            return [error] * len(jobs)
        except Exception as error:  # encoders of others raise what they like; the asker is told
            if len(jobs) == 1:
                return [error]
            half = len(jobs) // 2
            return results(jobs[:half]) + results(jobs[half:])

    return results


def _renamed(item: Item, name: str) -> Item:
    return Item(
        id=name,
        variety=item.variety,
        text=item.text,
        audio=item.audio,
        start_seconds=item.start_seconds,
        end_seconds=item.end_seconds,
    )
