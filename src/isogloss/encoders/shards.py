"""A corpus too large for memory, encoded share by share into one folder that can be mapped.

    items -> shards of 256 -> one part file each, by this process or by Ray workers -> one folder

A part is whole or absent, so a job that is killed goes on where it stopped, and a worker that is
lost costs its shard alone. Who encodes a shard changes no number: shards are cut by the order of
items and each is encoded as a batch of its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss._files import atomic_writer, write_json
from isogloss.corpora.progress import with_progress
from isogloss.encoders.cache import encode_cached
from isogloss.encoders.registry import load_encoder
from isogloss.errors import IsoglossError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from isogloss.types import Encoder, FloatArray, Item

__all__ = ["EncodedFolder", "ShardJob", "encode_to_folder", "read_folder"]

_PARTS = "parts"
_DESCRIPTION = "sequences.json"


@dataclass(frozen=True, slots=True)
class EncodedFolder:
    """What `encode_to_folder` wrote: how much, by whom, and (id, reason) of what was left out."""

    folder: Path
    items: int
    steps: int
    dimensions: int
    step_seconds: float | None
    made_by: str
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What a worker must know: which encoder, and where parts and known items lie.

    Attributes:
        encoder: a name for `load_encoder`.
        parts: folder of the part files, seen by all workers.
        layer: of the encoder.
        device: of the encoder.
        cache_dir: folder of single items, or None.
    """

    encoder: str
    parts: Path
    layer: int | None = None
    device: str = "cpu"
    cache_dir: Path | None = None

    def load(self) -> Encoder:
        """The encoder of this job."""
        return load_encoder(self.encoder, layer=self.layer, device=self.device)

    def encode(self, encoder: Encoder, shard: int, items: Sequence[Item]) -> None:
        """Write the part of `shard`; items that cannot be used are noted in it."""
        skipped: list[tuple[str, str]] = []
        try:
            found = encode_cached(encoder, items, self.cache_dir, progress=False, skipped=skipped)
        except IsoglossError:
            if len(skipped) < len(items):
                raise
            found = Sequences((), np.zeros((0, 0), np.float32), np.zeros(1, np.int64))
        arrays: dict[str, Any] = {} if found.words is None else {"words": found.words}
        with atomic_writer(_part(self.parts, shard)) as handle:
            np.savez(
                handle,
                values=found.values,
                lengths=found.lengths,
                **arrays,
                described=np.array(
                    json.dumps(
                        {
                            "ids": found.ids,
                            "step_seconds": found.step_seconds,
                            "made_by": found.made_by,
                            "skipped": skipped,
                        }
                    )
                ),
            )


def encode_to_folder(
    encoder: str,
    items: Sequence[Item],
    folder: Path,
    *,
    layer: int | None = None,
    device: str = "cpu",
    cache_dir: Path | None = None,
    ray_workers: int = 0,
    ray_address: str | None = None,
    shard_items: int = 256,
) -> EncodedFolder:
    """Encode `items` into `folder`: values.npy, offsets.npy and sequences.json.

    Where the encoder knows words, words.npy has them too.

    Memory holds one shard at a time. The same call goes on with a job that was killed, and returns
    at once when the folder is finished.

    Args:
        encoder: a name for `load_encoder`; each worker loads it.
        items: at least one, with different ids.
        folder: made if absent; with workers on several machines, on storage that all of them see.
        layer: of the encoder.
        device: of the encoder; with 'cuda' each Ray worker takes one GPU.
        cache_dir: folder in which every item is kept, as in `encode_cached`.
        ray_workers: 0 encodes here; more start that many Ray workers.
        ray_address: of a running Ray cluster, such as 'auto'; None starts Ray on this machine.
        shard_items: items in a shard: what a lost worker costs.

    Raises:
        ValueError: no item, ids that repeat, or a number below its least.
        IsoglossError: nothing could be encoded, `folder` holds another job, or shares differ in
            dimension.
        MissingExtra: Ray is asked for and not installed.
    """
    if not items:
        raise ValueError("there is no item to encode")
    if shard_items < 1 or ray_workers < 0:
        raise ValueError(
            f"shard_items must be at least 1 and ray_workers at least 0, got {shard_items} and "
            f"{ray_workers}"
        )
    ids = {item.id for item in items}
    if len(ids) < len(items):
        raise ValueError(f"{len(items) - len(ids)} ids repeat; isogloss corpus check names them")
    if folder.is_file():
        raise IsoglossError(f"{folder} is a file; name a folder")
    cache = None if cache_dir is None else cache_dir.resolve()
    job = ShardJob(encoder, (folder / _PARTS).resolve(), layer, device, cache)
    loaded = job.load()
    key = _job_key(loaded, items, shard_items)
    done = _finished(folder, key)
    if done is not None:
        return done
    _claim(folder, job.parts, key)
    shards = [list(items[i : i + shard_items]) for i in range(0, len(items), shard_items)]
    missing = {i: shard for i, shard in enumerate(shards) if not _part(job.parts, i).is_file()}
    work: Iterator[int]
    if ray_workers and missing:
        from isogloss.encoders.ray_workers import encode_with_ray

        del loaded
        work = encode_with_ray(job, missing, workers=ray_workers, address=ray_address)
    else:
        work = _here(job, loaded, missing)
    for _ in with_progress(work, "encoding shards", total=len(missing)):
        pass
    return _joined(folder, job.parts, len(shards), key)


def read_folder(folder: Path) -> Sequences:
    """The `Sequences` in a folder of `encode_to_folder`, its values mapped and not read.

    Raises:
        IsoglossError: the folder is not finished, or its files do not belong together.
    """
    try:
        described = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        values = np.load(folder / "values.npy", mmap_mode="r")
        offsets = np.load(folder / "offsets.npy")
        words = np.load(folder / "words.npy", mmap_mode="r") if described.get("words") else None
        return Sequences(
            tuple(described["ids"]),
            values,
            offsets,
            described["step_seconds"],
            described["made_by"],
            words,
        )
    except FileNotFoundError as error:
        raise IsoglossError(
            f"{error.filename} is missing; repeat the command that encodes, it goes on"
        ) from error
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise IsoglossError(f"{folder}: {error}; remove the folder and encode again") from error


def _here(job: ShardJob, encoder: Encoder, shards: dict[int, list[Item]]) -> Iterator[int]:
    for shard, items in shards.items():
        job.encode(encoder, shard, items)
        yield shard


def _job_key(encoder: Encoder, items: Sequence[Item], shard_items: int) -> str:
    digest = hashlib.sha256(json.dumps([encoder.made_by, shard_items]).encode())
    reads = bool(getattr(encoder, "takes_text", False))
    for item in items:
        heard: list[object] = [
            item.id,
            item.variety,
            item.audio,
            item.start_seconds,
            item.end_seconds,
            item.text,
        ]
        if reads:
            heard += [item.transcript, list(item.words)]
        digest.update(json.dumps(heard).encode())
    return digest.hexdigest()


def _claim(folder: Path, parts: Path, key: str) -> None:
    """Note which job the parts are of, or refuse a folder with those of another."""
    note = parts / "job.json"
    if (folder / _DESCRIPTION).exists():
        raise IsoglossError(
            f"{folder} holds steps of other items or another encoder; choose another folder"
        )
    if note.is_file():
        if _json(note).get("key") != key:
            raise IsoglossError(
                f"{folder} holds a part of another job (other items, encoder or shard size); "
                f"choose another folder or remove {parts}"
            )
        return
    write_json(note, {"key": key})


def _finished(folder: Path, key: str) -> EncodedFolder | None:
    path = folder / _DESCRIPTION
    if not path.is_file():
        return None
    described = _json(path)
    if described.get("key") != key:
        return None
    # Whoever relies on the folder is told here if a file of it is gone or cut.
    found = read_folder(folder)
    return EncodedFolder(
        folder,
        len(found),
        len(found.values),
        found.values.shape[1],
        found.step_seconds,
        found.made_by,
        tuple((name, reason) for name, reason in described["skipped"]),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IsoglossError(
            f"{path}: not JSON ({error}); remove the folder and encode again"
        ) from error
    return found if isinstance(found, dict) else {}


def _part(parts: Path, shard: int) -> Path:
    return parts / f"{shard:08d}.npz"


def _read_part(path: Path) -> tuple[FloatArray, Any, dict[str, Any], Any]:
    try:
        # Opened here, since numpy leaves a file open that turns out to be no archive.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            words = file["words"] if "words" in file else None
            return file["values"], file["lengths"], json.loads(str(file["described"])), words
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IsoglossError(
            f"{path} cannot be read: {error}; remove it and repeat the command"
        ) from error


def _joined(folder: Path, parts: Path, count: int, key: str) -> EncodedFolder:
    """Put the parts behind each other, then drop them."""
    ids: list[str] = []
    lengths: list[Any] = []
    skipped: list[tuple[str, str]] = []
    shape: dict[str, Any] = {}
    for shard in range(count):
        values, steps, described, words = _read_part(_part(parts, shard))
        skipped += [(name, reason) for name, reason in described["skipped"]]
        if not described["ids"]:
            continue
        found = {
            "dimensions": int(values.shape[1]),
            "step_seconds": described["step_seconds"],
            "made_by": described["made_by"],
            "words": words is not None,
        }
        if shape and found != shape:
            raise IsoglossError(
                f"{_part(parts, shard)} has {found}, the parts before it {shape}; all workers must "
                "see the same model and the same version"
            )
        shape = found
        ids += described["ids"]
        lengths.append(steps)
    if not ids:
        first = f"; first: {skipped[0][1]}" if skipped else ""
        shutil.rmtree(parts)
        raise IsoglossError(f"none of {len(skipped)} items could be encoded{first}")
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    _write_arrays(folder, parts, count, int(offsets[-1]), shape)
    with atomic_writer(folder / "offsets.npy") as handle:
        np.save(handle, offsets)
    described = {
        "ids": ids,
        "step_seconds": shape["step_seconds"],
        "made_by": shape["made_by"],
        "words": shape["words"],
        "skipped": skipped,
        "key": key,
    }
    # Written last: with it the folder is finished.
    write_json(folder / _DESCRIPTION, described)
    shutil.rmtree(parts)
    return EncodedFolder(
        folder,
        len(ids),
        int(offsets[-1]),
        shape["dimensions"],
        shape["step_seconds"],
        shape["made_by"],
        tuple(skipped),
    )


def _write_arrays(folder: Path, parts: Path, count: int, steps: int, shape: dict[str, Any]) -> None:
    """values.npy, and words.npy where words are known, each whole or absent."""
    forms: dict[str, tuple[Any, tuple[int, ...]]] = {
        "values": (np.float32, (steps, shape["dimensions"]))
    }
    if shape["words"]:
        forms["words"] = (np.int64, (steps,))
    unfinished = {name: folder / f".{name}.npy.part" for name in forms}
    whole = {
        name: np.lib.format.open_memmap(unfinished[name], mode="w+", dtype=dtype, shape=size)
        for name, (dtype, size) in forms.items()
    }
    place = 0
    for shard in with_progress(range(count), "joining shards", total=count):
        values, _, _, words = _read_part(_part(parts, shard))
        if values.size:
            whole["values"][place : place + len(values)] = values
            if words is not None:
                whole["words"][place : place + len(values)] = words
            place += len(values)
    for name in forms:
        whole.pop(name).flush()
        unfinished[name].replace(folder / f"{name}.npy")
