"""Log-mel features of many items, computed once and mapped into memory; used by `loop`.

A store is a folder `features-<key>` with `values.f32` (rows of 80 float32, utterance after
utterance) and `index.json`, which is written last: without it there is no store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss._files import atomic_writer, write_json
from isogloss.corpora.audio import probe_audio, read_audio
from isogloss.corpora.check_findings import CheckLimits
from isogloss.corpora.progress import with_progress
from isogloss.errors import AudioError
from isogloss.speech.augment import perturb_speed
from isogloss.speech.features import MEL_BINS, fbank
from isogloss.speech.subsampling import MINIMUM_FRAMES
from isogloss.training.examples import Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray, Item

__all__ = ["FeatureStore", "build_store", "item_features", "store_key"]

_FORMAT = 1
_INDEX = "index.json"
_VALUES = "values.f32"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStore:
    """Features of items: `values` is (sum of T, 80) float32, row r owns `offsets[r:r + 2]`.

    `rows[id]` lists the rows of an item, one for each speed; items that were left out are in
    `skipped` instead.
    """

    values: FloatArray
    offsets: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    rows: dict[str, tuple[int, ...]]
    skipped: tuple[Skipped, ...]

    def __getitem__(self, row: int) -> FloatArray:
        """(T, 80) of one row, a view of the file."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def frames(self, row: int) -> int:
        """T of one row."""
        return int(self.offsets[row + 1] - self.offsets[row])

    @property
    def seconds(self) -> float:
        """Audio of all rows."""
        return len(self.values) / 100


def item_features(
    item: Item, *, min_seconds: float, max_seconds: float, speeds: Sequence[float]
) -> list[FloatArray] | Skipped:
    """(T, 80) for each speed, or why the item cannot be used.

    A recording that is too long is not decoded: its header tells.
    """
    if item.audio is None:
        return Skipped(item.id, "no audio", "the item names no recording")
    try:
        duration = probe_audio(item.audio).duration_seconds
        end = duration if item.end_seconds is None else min(item.end_seconds, duration)
        span = end - (item.start_seconds or 0.0)
        if span > max_seconds:
            return _too_long(item.id, span, max_seconds)
        samples = read_audio(
            item.audio, start_seconds=item.start_seconds, end_seconds=item.end_seconds
        )
    except AudioError as error:
        return Skipped(item.id, "audio cannot be read", error.problem)
    # The header may have lied.
    seconds = len(samples) / 16000
    if seconds > max_seconds:
        return _too_long(item.id, seconds, max_seconds)
    if seconds < min_seconds:
        detail = f"{seconds:.2f} s, at least {min_seconds:g} s are needed"
        return Skipped(item.id, "too short", detail)
    if np.abs(samples).max(initial=0.0) < CheckLimits().silence_peak:
        return Skipped(item.id, "silence", "the recording has no sound in it")
    features = [fbank(perturb_speed(samples, speed)).numpy() for speed in speeds]
    shortest = min(len(array) for array in features)
    if shortest < MINIMUM_FRAMES:
        detail = f"{shortest} frames, the encoder needs {MINIMUM_FRAMES}"
        return Skipped(item.id, "too short", detail)
    return features


def _too_long(name: str, seconds: float, most: float) -> Skipped:
    return Skipped(name, "too long", f"{seconds:.1f} s, at most {most:g} s are used")


def store_key(
    items: Sequence[Item], *, min_seconds: float, max_seconds: float, speeds: Sequence[float]
) -> str:
    """16 hex digits that change with whatever changes the features.

    Recordings count by path, size and time of change, so that reading them is not needed.
    """
    digest = hashlib.sha256()
    digest.update(repr((_FORMAT, min_seconds, max_seconds, tuple(speeds))).encode())
    for item in items:
        try:
            stat = Path(item.audio or "").stat()
            recording = (stat.st_size, stat.st_mtime_ns)
        except OSError:
            recording = (-1, -1)
        entry = (item.id, item.audio, item.start_seconds, item.end_seconds, recording)
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:16]


def build_store(
    items: Sequence[Item],
    parent: Path,
    *,
    min_seconds: float,
    max_seconds: float,
    speeds: Sequence[float] = (1.0,),
    progress: bool = True,
) -> FeatureStore:
    """The store of `items` below `parent`, computed unless it is there already.

    Args:
        items: items with audio and ids of their own.
        parent: folder that holds `features-<key>`.
        min_seconds: shorter items are left out.
        max_seconds: longer items are left out.
        speeds: speeds at which each item is there, see `perturb_speed`.
        progress: show a bar on stderr when it takes long.

    Raises:
        MissingExtra: a decoder is not installed.
        OSError: no room.
    """
    key = store_key(items, min_seconds=min_seconds, max_seconds=max_seconds, speeds=speeds)
    folder = parent / f"features-{key}"
    found = _opened(folder)
    if found is not None:
        return found
    offsets = [0]
    rows: dict[str, list[int]] = {}
    skipped: list[Skipped] = []
    with atomic_writer(folder / _VALUES) as handle:
        for item in with_progress(items, "features", total=len(items)) if progress else items:
            features = item_features(
                item, min_seconds=min_seconds, max_seconds=max_seconds, speeds=speeds
            )
            if isinstance(features, Skipped):
                skipped.append(features)
            else:
                rows[item.id] = list(range(len(offsets) - 1, len(offsets) - 1 + len(features)))
                for array in features:
                    handle.write(np.ascontiguousarray(array, dtype="<f4").tobytes())
                    offsets.append(offsets[-1] + len(array))
    index = {
        "format": _FORMAT,
        "offsets": offsets,
        "rows": rows,
        "skipped": [asdict(entry) for entry in skipped],
    }
    write_json(folder / _INDEX, index)
    store = _opened(folder)
    if store is None:
        raise OSError(f"{folder}: the feature store just written is not whole")
    return store


def _opened(folder: Path) -> FeatureStore | None:
    """The store in `folder`, or None when there is none or it is not whole."""
    index_path, values_path = folder / _INDEX, folder / _VALUES
    if not (index_path.is_file() and values_path.is_file()):
        return None
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return None
    offsets = np.array(index["offsets"], dtype=np.int64)
    if values_path.stat().st_size != int(offsets[-1]) * MEL_BINS * 4:
        return None
    if offsets[-1]:
        values = np.memmap(values_path, dtype="<f4", mode="r", shape=(int(offsets[-1]), MEL_BINS))
    else:
        values = np.zeros((0, MEL_BINS), dtype=np.float32)  # type: ignore[assignment]
    return FeatureStore(
        values,
        offsets,
        {name: tuple(rows) for name, rows in index["rows"].items()},
        tuple(Skipped(**entry) for entry in index["skipped"]),
    )
