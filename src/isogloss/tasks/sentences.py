"""Items of a corpus in, their steps or vectors out, whether read or heard; for tasks on sentences.

    items -> as_read (text alone, or recording alone) -> Reader -> steps -> pooled vectors

Sentences are read by an encoder of text. Where an encoder takes both, or two encoders share a
space, items with a recording may be heard instead.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.encoders import encode_cached
from isogloss.encoders.item_text import has_text, text_of
from isogloss.encoders.pool import POOLINGS
from isogloss.encoders.pool import pool as pool_steps
from isogloss.measures import bootstrap_ratio_interval
from isogloss.tasks.comparison import at_layer
from isogloss.types import Measurement, Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.types import Encoder, Item

__all__ = [
    "Reader",
    "as_read",
    "centred",
    "check_finite_vectors",
    "drawn",
    "place_of",
    "pooled",
    "rate_over_meanings",
    "reader_of",
    "usable",
    "vectors_of",
]


@dataclass(frozen=True, slots=True)
class Reader:
    """One encoder for what is read and one for what is heard, as an encoder.

    Both must put sentences into one space, so their steps have the same dimensions.
    """

    text: Encoder
    speech: Encoder

    @property
    def made_by(self) -> str:
        """Of both, or of the one that does both."""
        if self.text is self.speech:
            return self.text.made_by
        return f"{self.text.made_by} and, of recordings, {self.speech.made_by}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of `items` in their order; those with a recording are heard.

        Raises:
            ValueError: the two encoders give steps of different dimensions.
        """
        heard = [item.audio is not None for item in items]
        parts: list[Sequences] = []
        for encoder, wanted in ((self.text, False), (self.speech, True)):
            of_part = [i for i, is_heard in zip(items, heard, strict=True) if is_heard is wanted]
            if of_part:
                parts.append(encoder.encode(of_part))
        if len({part.values.shape[1] for part in parts}) > 1:
            dimensions = " and ".join(str(part.values.shape[1]) for part in parts)
            raise ValueError(
                f"the encoders of text and speech give steps of {dimensions} dimensions; they must "
                "share a space to be compared"
            )
        rows = {id_: part[i] for part in parts for i, id_ in enumerate(part.ids)}
        # Steps of words have no duration, so a mixture has none either.
        return Sequences.from_list(
            [item.id for item in items], [rows[item.id] for item in items], made_by=self.made_by
        )


def reader_of(
    encoder: Encoder,
    *,
    layer: int | None = None,
    hear: bool = False,
    speech_encoder: str | None = None,
) -> Encoder:
    """What encodes sentences: `encoder` itself, or with a second one for recordings.

    Args:
        encoder: of text.
        layer: of `encoder`; None keeps its own.
        hear: whether items with a recording are heard; then `encoder` may be one of speech.
        speech_encoder: name for `load_encoder` of what hears; `encoder` itself by default.

    Raises:
        ValueError: `encoder` reads no text, though items are read; it has no such layer; or
            `speech_encoder` without `hear`.
    """
    if speech_encoder is not None and not hear:
        raise ValueError("speech_encoder has no effect without hear=True")
    if not getattr(encoder, "takes_text", False) and not (hear and speech_encoder is None):
        raise ValueError(
            f"{encoder.made_by} reads no text; name an encoder of text such as ngram:, hf:FOLDER "
            "or st:FOLDER"
        )
    chosen = at_layer(encoder, layer)
    if not hear:
        return chosen
    if speech_encoder is None:
        return Reader(chosen, chosen)
    from isogloss.encoders import load_encoder

    return Reader(chosen, load_encoder(speech_encoder))


def as_read(item: Item, *, hear: bool = False) -> Item:
    """`item` with what is encoded of it alone: its recording when it is heard, else its text.

    Raises:
        TextError: it is read and has neither text nor transcript.
    """
    if hear and item.audio is not None:
        return replace(item, text=None, transcript=None)
    return replace(item, text=text_of(item), audio=None, start_seconds=None, end_seconds=None)


def usable(item: Item, *, hear: bool = False) -> str | None:
    """Why `item` can be neither read nor heard; None when it can."""
    if (hear and item.audio is not None) or has_text(item):
        return None
    return "no text" if item.text is None and item.transcript is None else "empty text"


def vectors_of(
    items: Sequence[Item],
    reader: Encoder,
    *,
    pool: str = "mean",
    cache_dir: Path | None = None,
    progress: bool = False,
    skipped: list[tuple[str, str]] | None = None,
) -> Vectors:
    """One finite vector an item, in their order: (N, D) float32.

    Args:
        items: each given by `as_read`.
        reader: from `reader_of`, at its layer.
        pool: how steps become one vector, see `encoders.pool`.
        cache_dir: where encoded items are kept; None keeps nothing.
        progress: a bar on stderr.
        skipped: recordings that cannot be read are appended as (id, reason) and left out; without
            it the first is raised.

    Raises:
        ValueError: there is no item, or a vector holds NaN or infinity (its id is named).
    """
    steps = encode_cached(reader, items, cache_dir, progress=progress, skipped=skipped)
    found = pooled(steps, pool)
    check_finite_vectors(found)
    return found


def pooled(steps: Sequences, how: str) -> Vectors:
    """One vector an item from its steps; `how` as `encoders.pool` knows it.

    Raises:
        ValueError: an item has no steps, or there is no such pooling.
    """
    if how in POOLINGS and (steps.lengths == 1).all():
        # One step is the vector, however it is pooled; long ones need not be held twice.
        return Vectors(steps.ids, steps.values, f"{steps.made_by};pool={how}")
    return pool_steps(steps, how)


def centred(vectors: Vectors, sets: Sequence[str]) -> Vectors:
    """`vectors` less the mean of their set; `sets` (N,) names the set of each."""
    values = vectors.values.copy()
    _, rows = np.unique(np.array(sets, dtype=object).astype(str), return_inverse=True)
    for number in range(int(rows.max(initial=-1)) + 1):
        of_set = rows == number
        values[of_set] -= values[of_set].mean(axis=0, dtype=np.float64).astype(np.float32)
    return Vectors(vectors.ids, values, f"{vectors.made_by};centered")


def check_finite_vectors(vectors: Vectors) -> None:
    """Refuse vectors that have no cosine.

    Raises:
        ValueError: a row holds NaN or infinity (its id is named).
    """
    broken = np.flatnonzero(~np.isfinite(vectors.values).all(axis=1))
    if len(broken):
        raise ValueError(
            f"item '{vectors.ids[broken[0]]}' holds NaN or infinity ({len(broken)} such items); "
            "check its text and the encoder"
        )


def drawn(keys: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of `keys`, drawn by `seed`; all, as they stand, when there are no more.

    A key is drawn whatever the others are, so that two encoders and two pools draw alike.
    """
    if len(keys) <= count:
        return list(keys)
    chosen = sorted(keys, key=lambda key: (place_of(key, "drawn", seed), key))[:count]
    kept = set(chosen)
    return [key for key in keys if key in kept]


def place_of(key: str, purpose: str, seed: int) -> float:
    """A number in [0, 1) that depends on its arguments alone; of two purposes, independent ones.

    (The checksum crc32 would not do: it is linear, so what one purpose draws decides another's.)
    """
    told = f"{seed}:{purpose}:{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(told, digest_size=6).digest(), "big") / 2**48


def rate_over_meanings(
    name: str,
    values: npt.NDArray[np.floating[Any]],
    meanings: Sequence[str],
    *,
    resamples: int,
    level: float,
    seed: int,
    signature: Mapping[str, Any],
    higher_is_better: bool = True,
) -> Measurement:
    """The mean of one value a query, with an interval that resamples meanings.

    Queries of one meaning are translations of each other, so they are drawn together. `per_item`
    is (S, 2): the sum of a meaning's values and their number, whose rate is the value; `item_keys`
    are the meanings, sorted.

    Args:
        name: of the measurement.
        values: (N,) one a query, N at least 1.
        meanings: (N,) what each query means.
        resamples: of the interval; 0 for none.
        level: of the interval.
        seed: of the interval.
        signature: what changes the number.
        higher_is_better: as it says.
    """
    keys, row = np.unique(np.array(meanings, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(row, weights=values.astype(np.float64)).astype(np.float64)
    counts = np.bincount(row).astype(np.float64)
    bounds = bootstrap_ratio_interval(sums, counts, resamples=resamples, level=level, seed=seed)
    value = float(sums.sum() / counts.sum())
    drawn_from = (
        f"bootstrap over meanings, {resamples} resamples, level {level}, seed {seed}"
        if bounds
        else None
    )
    return Measurement(
        name,
        value,
        low=min(bounds[0], value) if bounds else None,
        high=max(bounds[1], value) if bounds else None,
        n=len(values),
        higher_is_better=higher_is_better,
        signature={**signature, "interval": drawn_from},
        per_item=np.stack([sums, counts], axis=1).astype(np.float32),
        item_keys=tuple(keys.tolist()),
    )
