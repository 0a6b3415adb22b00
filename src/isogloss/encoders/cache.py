"""An encoder and items in, their `Sequences` out; every item is encoded once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.item_text import has_text, text_of
from isogloss.errors import AudioError, IsoglossError, TextError
from isogloss.types import FloatArray, Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.types import Encoder, Item

__all__ = ["encode_cached", "identity_of"]

_FORMAT = "isogloss-steps-1"
# Items encoded between two writes: what a crash can lose.
_ITEMS_AT_ONCE = 64

_Entry = tuple[FloatArray, float | None, "npt.NDArray[np.int64] | None"]


def encode_cached(
    encoder: Encoder,
    items: Sequence[Item],
    cache_dir: Path | None,
    *,
    progress: bool = True,
    skipped: list[tuple[str, str]] | None = None,
) -> Sequences:
    """Step vectors of `items` in their order, read from `cache_dir` where they are known.

    One file for each item, named by a checksum of the encoder's `made_by` and of what the encoder
    hears or reads: the recording's path, size and time of change, start and end, or the text and
    its words; and the variety. Files appear whole or not at all and carry a checksum, so several
    processes may write the same cache and any of them may be killed; a damaged file is encoded
    again. Nothing is ever deleted: remove the folder to free its space.

    Args:
        encoder: any `Encoder`.
        items: what to encode, at least one; the same recording twice is encoded once.
        cache_dir: made if absent; None keeps nothing.
        progress: show a bar on stderr while encoding.
        skipped: when a list is given, items whose recording or text cannot be used are left out
            of the result and (id, reason) is appended here; without it the first one is raised.

    Returns:
        Float32 steps, with the encoder's `made_by`, and `words` where it knows them.

    Raises:
        AudioError: a recording cannot be used and `skipped` is None.
        TextError: a text cannot be used and `skipped` is None.
        IsoglossError: all items were skipped.
        ValueError: there is no item, or the encoder breaks its contract (other ids than asked
            for, steps of different dimensions).
    """
    if not items:
        raise ValueError("there is no item to encode")
    if cache_dir is not None and cache_dir.exists() and not cache_dir.is_dir():
        raise IsoglossError(f"{cache_dir} is a file; the cache needs a folder")
    keys: list[str | None] = []
    for item in items:
        try:
            keys.append(_key(encoder, item))
        except AudioError as error:
            _skip(item, error, skipped)
            keys.append(None)
    entries: dict[str, _Entry] = {}
    missing: dict[str, Item] = {}
    for key, item in zip(keys, items, strict=True):
        if key is None or key in entries or key in missing:
            continue
        entry = None if cache_dir is None else _read(_path(cache_dir, key))
        if entry is None:
            missing[key] = item
        else:
            entries[key] = entry
    if missing:
        broken: dict[str, AudioError | TextError] | None = None if skipped is None else {}
        _encode_missing(encoder, missing, entries, cache_dir, progress, broken)
        if skipped is not None:
            # Several items may have one recording or text; it was tried once, and all are told.
            skipped += [
                (item.id, _told(broken[key], item))
                for key, item in zip(keys, items, strict=True)
                if broken and key in broken
            ]
    kept = [(item, key) for item, key in zip(items, keys, strict=True) if key in entries]
    if not kept:
        first = f"; first: {skipped[0][1]}" if skipped else ""
        raise IsoglossError(f"none of {len(items)} items could be encoded{first}")
    _check_dimensions(kept, entries)
    found = [entries[str(key)] for _, key in kept]
    words = [own for _, _, own in found if own is not None]
    return Sequences.from_list(
        [item.id for item, _ in kept],
        [steps for steps, _, _ in found],
        step_seconds=found[0][1],
        made_by=encoder.made_by,
        words=words if len(words) == len(found) else None,
    )


def _encode_missing(
    encoder: Encoder,
    missing: dict[str, Item],
    entries: dict[str, _Entry],
    cache_dir: Path | None,
    progress: bool,
    broken: dict[str, AudioError | TextError] | None,
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    # Neighbours in size make batches with little padding.
    todo = sorted(missing.items(), key=lambda pair: _size(encoder, pair[1]))
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("encoding"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeLeft(),
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )
    with bar:
        line = bar.add_task("", total=len(todo))
        for first in range(0, len(todo), _ITEMS_AT_ONCE):
            chunk = todo[first : first + _ITEMS_AT_ONCE]
            for key, entry in _encoded(encoder, chunk, broken):
                entries[key] = entry
                if cache_dir is not None:
                    _write(_path(cache_dir, key), encoder.made_by, entry)
            bar.advance(line, len(chunk))


def _encoded(
    encoder: Encoder,
    chunk: list[tuple[str, Item]],
    broken: dict[str, AudioError | TextError] | None,
) -> list[tuple[str, _Entry]]:
    try:
        sequences = encoder.encode([item for _, item in chunk])
    except (AudioError, TextError) as error:
        if broken is None:
            raise
        if len(chunk) == 1:
            broken[chunk[0][0]] = error
            return []
        # One broken recording must not cost the others: find it by encoding them one by one.
        return [found for pair in chunk for found in _encoded(encoder, [pair], broken)]
    if not isinstance(sequences, Sequences):
        raise ValueError(
            f"the encoder {encoder.made_by} returned {type(sequences).__name__}, not Sequences; "
            "run check_encoder on it"
        )
    expected = tuple(item.id for _, item in chunk)
    if sequences.ids != expected:
        raise ValueError(
            f"the encoder {encoder.made_by} returned ids {sequences.ids[:3]}... for items "
            f"{expected[:3]}...; run check_encoder on it"
        )
    return [
        (key, (sequences[i].copy(), sequences.step_seconds, _copy(sequences.item_words(i))))
        for i, (key, _) in enumerate(chunk)
    ]


def _told(error: AudioError | TextError, item: Item) -> str:
    """The message for `item`: a text's names its item, which another one of that text is not."""
    return str(TextError(item.id, error.problem) if isinstance(error, TextError) else error)


def _copy(words: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
    return None if words is None else words.copy()


def _skip(item: Item, error: AudioError, skipped: list[tuple[str, str]] | None) -> None:
    if skipped is None:
        raise error
    skipped.append((item.id, str(error)))


def _check_dimensions(kept: Sequence[tuple[Item, str | None]], entries: dict[str, _Entry]) -> None:
    wanted, seconds, _ = entries[str(kept[0][1])]
    for item, key in kept:
        steps, step_seconds, _ = entries[str(key)]
        if steps.shape[1] != wanted.shape[1] or step_seconds != seconds:
            raise ValueError(
                f"item '{item.id}' has {steps.shape[1]} dimensions every {step_seconds} s, "
                f"others {wanted.shape[1]} every {seconds} s, under the same made_by; "
                "the encoder's made_by must name everything that changes its output"
            )


def _size(encoder: Encoder, item: Item) -> float:
    """What orders items by length without opening them: seconds, bytes of the file, characters."""
    if item.audio is None or _reads(encoder, item):
        return len(item.text or item.transcript or "")
    if item.start_seconds is not None and item.end_seconds is not None:
        return item.end_seconds - item.start_seconds
    return Path(item.audio).stat().st_size


def _reads(encoder: Encoder, item: Item) -> bool:
    """Whether it is the item's text that the encoder turns into steps."""
    return bool(getattr(encoder, "takes_text", False)) and has_text(item)


def identity_of(encoder: Encoder, item: Item) -> list[object]:
    """What of `item` decides its steps, besides its variety: the recording, or text and words.

    Raises:
        AudioError: the recording is not there.
    """
    if _reads(encoder, item):
        # An encoder that takes both may hear as well: a recording that is there counts too.
        heard = _recording(item) if item.audio and Path(item.audio).is_file() else []
        return ["text", text_of(item), list(item.words), *heard]
    if item.audio is None:
        return ["text", item.text]
    return _recording(item)


def _recording(item: Item) -> list[object]:
    path = Path(str(item.audio))
    try:
        status = path.stat()
    except OSError as error:
        raise AudioError(path, f"item '{item.id}': {error.strerror}") from error
    return [
        "audio",
        str(path.resolve()),
        status.st_size,
        status.st_mtime_ns,
        item.start_seconds,
        item.end_seconds,
    ]


def _key(encoder: Encoder, item: Item) -> str:
    described = json.dumps(
        [_FORMAT, encoder.made_by, item.variety, *identity_of(encoder, item)], ensure_ascii=False
    )
    # File names need not be valid Unicode.
    return hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()


def _path(cache_dir: Path, key: str) -> Path:
    return cache_dir / key[:2] / f"{key}.steps"


def _write(path: Path, made_by: str, entry: _Entry) -> None:
    """One line of JSON, then the values, then the words where they are known.

    The rename makes the file whole or absent for every reader; a power failure may still leave a
    torn one, which its checksum shows, so there is no need to wait for the disk at each item.
    """
    steps, step_seconds, words = entry
    payload = np.ascontiguousarray(steps, dtype="<f4").tobytes()
    if words is not None:
        payload += np.ascontiguousarray(words, dtype="<i8").tobytes()
    header = {
        "format": _FORMAT,
        "shape": list(steps.shape),
        "step_seconds": step_seconds,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "made_by": made_by,
        "words": words is not None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n" + payload)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path) -> _Entry | None:
    """The entry at `path`; None when it is absent or damaged."""
    try:
        head, _, payload = path.read_bytes().partition(b"\n")
        header = json.loads(head)
        if header["format"] != _FORMAT:
            return None
        if hashlib.sha256(payload).hexdigest() != header["sha256"]:
            return None
        count, width = header["shape"]
        steps = np.frombuffer(payload[: 4 * count * width], dtype="<f4").reshape(count, width)
        words = None
        # Entries from before there were words have no such field.
        if header.get("words"):
            words = np.frombuffer(payload[4 * count * width :], dtype="<i8").astype(np.int64)
            if len(words) != count:
                return None
        return steps.astype(np.float32), header["step_seconds"], words
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None
