"""Items as JSON and their recordings as WAV; files come from the index alone, never from a URL."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from isogloss.corpora.audio import mono_blocks
from isogloss.errors import AudioError
from isogloss.search.server.audio_upload import RATE_HZ, wav_bytes
from isogloss.search.server.census import place_of, variety_of
from isogloss.search.server.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.server.live import Snapshot
    from isogloss.types import Item

__all__ = ["ItemSounds", "byte_range", "item_record"]

_KEPT_BYTES = 32 * 1024 * 1024
# The tail of a recording without times is not needed to hear whether it is the right one.
_LONGEST_SECONDS = 120.0
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def item_record(snapshot: Snapshot, item: Item, *, audio: bool) -> dict[str, Any]:
    """The JSON object of an item; `audio` says whether recordings are served."""
    row = variety_of(item.variety)
    latitude, longitude = place_of(item)
    return {
        "id": item.id,
        "variety": item.variety,
        "variety_name": row.name if row else None,
        "variety_native_name": row.native_name if row else None,
        "group": row.group if row else None,
        "site": item.site,
        "latitude": latitude,
        "longitude": longitude,
        "speaker": item.speaker,
        "text": item.text,
        "transcript": item.transcript,
        "translation": item.translation,
        "seconds": _seconds(snapshot, item),
        "meaning": item.meaning,
        "audio": (
            f"/v1/items/{quote(item.id, safe='', errors='surrogatepass')}/audio"
            if audio and item.audio is not None
            else None
        ),
    }


def _seconds(snapshot: Snapshot, item: Item) -> float | None:
    """Length of the recording: by its times, else by the number of its steps."""
    if item.start_seconds is not None and item.end_seconds is not None:
        return round(item.end_seconds - item.start_seconds, 3)
    step = snapshot.index.step_seconds
    if step is None or item.audio is None:
        return None
    count = snapshot.step_count(item.id)
    return None if count is None else round(count * step, 3)


class ItemSounds:
    """Recordings of items as 16-bit WAV of 16 kHz; the last few are kept.

    A recording is decoded and written anew, so that nothing of a file but its sound leaves the
    machine. Threads may share it.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def wav(self, item: Item) -> bytes:
        """The sound of `item`, at most 120 s of it.

        Raises:
            Problem: 404 when it has no recording, or none that may or can be read.
        """
        if item.audio is None:
            raise _no_sound(f"item '{item.id}' has no recording")
        key = (item.audio, item.start_seconds, item.end_seconds)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = self._read(item, Path(item.audio))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content
                self._bytes += len(content)
            while self._bytes > _KEPT_BYTES and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)
        return content

    def _read(self, item: Item, path: Path) -> bytes:
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise _no_sound(f"the recording of item '{item.id}' cannot be found") from error
        if self._roots and not any(real.is_relative_to(root) for root in self._roots):
            raise _no_sound(f"the recording of item '{item.id}' lies where none is served from")
        pieces, heard = [], 0
        try:
            for block in mono_blocks(
                real,
                start_seconds=item.start_seconds,
                end_seconds=item.end_seconds,
                sample_rate_hz=RATE_HZ,
                untrusted=True,
            ):
                pieces.append(block)
                heard += len(block)
                if heard >= _LONGEST_SECONDS * RATE_HZ:
                    break
        except AudioError as error:
            raise _no_sound(
                f"the recording of item '{item.id}' cannot be read: {error.problem}"
            ) from error
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return wav_bytes(samples[: int(_LONGEST_SECONDS * RATE_HZ)])


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and byte after the last of one range; None stands for the whole.

    Several ranges, other units and malformed headers are answered with the whole, as RFC 9110
    allows.

    Raises:
        Problem: 416, no byte of the content is asked for.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match.group(1), match.group(2)
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise Problem(
            416,
            "bad_range",
            f"the recording has {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, stop


def _no_sound(message: str) -> Problem:
    return Problem(404, "no_audio", message, param="id")
