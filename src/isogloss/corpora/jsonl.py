"""The manifest: a JSONL file, one item a line, read and written without holding it whole.

An optional first line names the corpus: {"isogloss_corpus": 1, "name": ..., "licence": ...,
"source": ...}. Fields that are None, and `words` and `extra` when empty, are left out. `audio` is
stored relative to the manifest's folder when it lies below it, so the folder can be moved. A path
that ends in `.gz` is compressed.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from isogloss._files import atomic_writer
from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from isogloss.varieties import VarietyTable

__all__ = [
    "SPLITS",
    "Header",
    "RefusedItem",
    "content_sha",
    "count_lines",
    "item_from_dict",
    "item_to_dict",
    "manifest_path",
    "read_corpus",
    "read_header",
    "read_records",
    "stream_items",
    "write_corpus",
    "write_items",
]

SPLITS = ("train", "dev", "test")
HEADER_KEY = "isogloss_corpus"
_HEADER_VERSION = 1
_FIELDS = tuple(field.name for field in dataclasses.fields(Item))
_SECONDS = ("start_seconds", "end_seconds")


class RefusedItem(BadRecord):
    """A line that reads as `item` and yet cannot belong to this corpus.

    `kind` is "unknown variety" or "duplicate id".
    """

    def __init__(self, path: Path, line: int, kind: str, item: Item, problem: str) -> None:
        super().__init__(path, line, "variety" if kind == "unknown variety" else "id", problem)
        self.kind = kind
        self.item = item


@dataclass(frozen=True, slots=True)
class Header:
    """What the optional first line of a manifest says about the corpus."""

    name: str
    licence: str | None = None
    source: str | None = None


def manifest_path(path: str | Path) -> Path:
    """`path`, or `path/manifest.jsonl` when it is a folder."""
    path = Path(path)
    return path / "manifest.jsonl" if path.is_dir() else path


def item_to_dict(item: Item, root: Path | None = None) -> dict[str, Any]:
    """The JSON object of `item`, None fields left out, `audio` relative to `root` when below it.

    Raises:
        ValueError: `audio` is relative, or a time is not finite.
    """
    record: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(item, name)
        if value is None or (name in ("words", "extra") and not value):
            continue
        if name == "audio":
            value = _stored_audio(item.id, value, root)
        elif name == "words":
            value = list(value)
        elif name == "extra":
            value = dict(value)
        elif name in _SECONDS and not math.isfinite(value):
            raise ValueError(f"item '{item.id}': {name} is {value}, not a number of seconds")
        record[name] = value
    return record


def _stored_audio(item_id: str, audio: str, root: Path | None) -> str:
    path = Path(audio)
    if not path.is_absolute():
        raise ValueError(f"item '{item_id}': audio must be an absolute path, got '{audio}'")
    if root is None:
        return audio
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    # Below it by way of a symbolic link, perhaps.
    real, folder = path.parent.resolve() / path.name, root.resolve()
    return real.relative_to(folder).as_posix() if real.is_relative_to(folder) else audio


def item_from_dict(
    record: Mapping[str, Any], *, root: Path | None = None, path: str | Path = "item", line: int = 0
) -> Item:
    """The item that `record` describes; a relative `audio` is joined to `root`.

    Raises:
        BadRecord: an unknown field (near matches are offered), a missing `id` or `variety`, a
            value of the wrong type, times that do not rise, or a split that does not exist.
            `path` and `line` only say where.
    """
    values: dict[str, Any] = {}
    for name, value in record.items():
        if name not in _FIELDS:
            raise BadRecord(path, line, name, str(UnknownName("field", name, _FIELDS)))
        try:
            values[name] = _field_value(name, value)
        except ValueError as error:
            raise BadRecord(path, line, name, str(error)) from error
    for name in ("id", "variety"):
        if not values.get(name):
            raise BadRecord(path, line, name, "missing; every item needs one")
    start, end = values.get("start_seconds"), values.get("end_seconds")
    if end is not None and end <= (start or 0.0):
        raise BadRecord(path, line, "end_seconds", f"{end} is not after start_seconds {start}")
    if root is not None and values.get("audio") is not None:
        values["audio"] = str(root / values["audio"])
    return Item(**values)


def _field_value(name: str, value: Any) -> Any:
    if value is None and name not in ("id", "variety", "words", "extra"):
        return None
    if name in _SECONDS:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"expected seconds, got {value!r}")
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{value} is not a time; give finite seconds from 0 on")
        return float(value)
    if name == "words":
        if not isinstance(value, list):
            raise ValueError(f"expected a list of strings, got {value!r}")
        return tuple(_text(word) for word in value)
    if name == "extra":
        if not isinstance(value, dict):
            raise ValueError(f"expected an object with string values, got {value!r}")
        return {_text(key): _text(text) for key, text in value.items()}
    text = _text(value)
    if name == "split" and text not in SPLITS:
        raise UnknownName("split", text, SPLITS)
    if name == "audio" and (not text or "\0" in text):
        raise ValueError(f"{text!r} is no path; leave the field out when there is no audio")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {value!r}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"half a surrogate pair at character {error.start}") from error
    return value


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    record: dict[str, Any] | BadRecord


def _lines(path: Path) -> Iterator[_Line]:
    """Every non-empty line as an object, or as the `BadRecord` that says why it is none."""
    with _opened(path) as handle:
        for number, raw in enumerate(handle, start=1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                yield _Line(number, BadRecord(path, number, "line", f"not UTF-8: {error}"))
                continue
            if text.strip():
                yield _Line(number, _parsed(path, number, text))


def _opened(path: Path) -> io.BufferedIOBase:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such manifest; isogloss corpus prepare writes one for a corpus on disk"
        )
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _parsed(path: Path, number: int, text: str) -> dict[str, Any] | BadRecord:
    def no_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON; leave the field out")

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            raise ValueError("the same key twice in one object")
        return record

    try:
        record = json.loads(text, parse_constant=no_constant, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        return BadRecord(path, number, "line", f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadRecord(path, number, "line", str(error))
    if not isinstance(record, dict):
        return BadRecord(path, number, "line", f"expected an object, got {text.strip()[:40]!r}")
    return record


def _header_of(path: Path, line: _Line) -> Header | None:
    """The header, when `line` is one; raises BadRecord for one that cannot be understood."""
    record = line.record
    if isinstance(record, BadRecord) or HEADER_KEY not in record:
        return None
    if record[HEADER_KEY] != _HEADER_VERSION:
        raise BadRecord(
            path, line.number, HEADER_KEY, f"version {record[HEADER_KEY]!r}; this reads 1"
        )
    values: dict[str, str | None] = {}
    known = ("name", "licence", "source")
    for key, value in record.items():
        if key == HEADER_KEY:
            continue
        if key not in known:
            raise BadRecord(path, line.number, key, str(UnknownName("field", key, known)))
        if value is not None and not isinstance(value, str):
            raise BadRecord(path, line.number, key, f"expected a string, got {value!r}")
        values[key] = value
    return Header(
        values.get("name") or _default_name(path), values.get("licence"), values.get("source")
    )


def _default_name(path: Path) -> str:
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return path.resolve().parent.name or stem if stem == "manifest" else stem


def count_lines(path: str | Path) -> int | None:
    """Line ends of a manifest, near to its items, for a progress bar; None for a compressed one.

    Raises:
        OSError: the file cannot be opened.
    """
    path = manifest_path(path)
    with _opened(path) as handle:
        if path.suffix == ".gz":
            return None
        return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))


def read_header(path: str | Path) -> Header:
    """Name, licence and source of a manifest; the name is the file's when there is no header.

    Raises:
        BadRecord: the header has another version or an unknown field.
    """
    path = manifest_path(path)
    for line in _lines(path):
        return _header_of(path, line) or Header(_default_name(path))
    return Header(_default_name(path))


def read_records(
    path: str | Path, *, table: VarietyTable | None = None
) -> Iterator[tuple[int, Item | BadRecord]]:
    """Line number and item of every line, or the reason why the line is none; never stops early.

    Duplicate ids and unknown varieties are such reasons. Only the ids are kept in memory.

    Args:
        path: the manifest.
        table: varieties that exist; None is the built-in table.

    Raises:
        OSError: the file cannot be opened.
        BadRecord: the header is of another version.
    """
    path = manifest_path(path)
    root = path.resolve().parent
    if table is None:
        from isogloss.varieties import builtin_table

        table = builtin_table()
    seen: dict[str, int] = {}
    first = True
    for line in _lines(path):
        if first:
            first = False
            if _header_of(path, line) is not None:
                continue
        if isinstance(line.record, BadRecord):
            yield line.number, line.record
            continue
        yield line.number, _checked(path, line.number, line.record, root, table, seen)


def _checked(
    path: Path,
    number: int,
    record: dict[str, Any],
    root: Path,
    table: VarietyTable,
    seen: dict[str, int],
) -> Item | BadRecord:
    try:
        item = item_from_dict(record, root=root, path=path, line=number)
    except BadRecord as error:
        return error
    if item.variety not in table:
        problem = str(UnknownName("variety", item.variety, table.codes))
        return RefusedItem(path, number, "unknown variety", item, problem)
    if item.id in seen:
        problem = f"'{item.id}' is already on line {seen[item.id]}"
        return RefusedItem(path, number, "duplicate id", item, problem)
    seen[item.id] = number
    return item


def stream_items(path: str | Path, *, table: VarietyTable | None = None) -> Iterator[Item]:
    """The items of a manifest one by one; memory grows with their ids only.

    Raises:
        BadRecord: at the first line that is not an item of a known variety with an id of its own.
    """
    for _, record in read_records(path, table=table):
        if isinstance(record, BadRecord):
            raise record
        yield record


def read_corpus(path: str | Path, *, table: VarietyTable | None = None) -> Corpus:
    """The corpus of a manifest (or of the folder that holds `manifest.jsonl`), whole.

    Args:
        path: the manifest or its folder.
        table: varieties that exist; None is the built-in table.

    Raises:
        BadRecord: at the first bad line; `isogloss corpus check` lists them all.
    """
    path = manifest_path(path)
    header = read_header(path)
    items = tuple(stream_items(path, table=table))
    root = path.resolve().parent
    return Corpus(
        header.name, items, header.licence, header.source, content_sha(items, root), str(root)
    )


def write_items(
    items: Iterable[Item],
    path: str | Path,
    *,
    name: str,
    licence: str | None = None,
    source: str | None = None,
) -> tuple[int, str]:
    """Write items as they come; how many there were and their `content_sha` come out.

    The file is whole or absent.

    Raises:
        ValueError: an id is there twice, or an item cannot be stored (see `item_to_dict`).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    root = path.resolve().parent
    header = {HEADER_KEY: _HEADER_VERSION, "name": name, "licence": licence, "source": source}
    digest = hashlib.sha256()
    seen: set[str] = set()
    with atomic_writer(path) as raw:
        handle = _compressed(path, raw)
        handle.write(_json_line({k: v for k, v in header.items() if v is not None}))
        for item in items:
            if item.id in seen:
                raise ValueError(f"id '{item.id}' is there twice; ids are unique in a corpus")
            seen.add(item.id)
            record = item_to_dict(item, root)
            digest.update(_canonical(record))
            handle.write(_json_line(record))
        if handle is not raw:
            handle.close()
    return len(seen), digest.hexdigest()


def _compressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix != ".gz":
        return raw
    # A fixed time and no file name: the same items give the same bytes.
    return io.BufferedWriter(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))


def write_corpus(corpus: Corpus, path: str | Path) -> Corpus:
    """Write a manifest; the corpus comes back with `sha` and `root` of the file.

    Raises:
        ValueError: an id is there twice, or an item cannot be stored (see `item_to_dict`).
    """
    _, sha = write_items(
        corpus.items, path, name=corpus.name, licence=corpus.licence, source=corpus.source
    )
    return dataclasses.replace(corpus, sha=sha, root=str(Path(path).resolve().parent))


def _json_line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _canonical(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        record, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return (text + "\n").encode("utf-8")


def content_sha(items: Iterable[Item], root: str | Path | None) -> str:
    """Hex sha256 of the items in their order, audio paths taken from `root`.

    Moving the folder or reordering keys changes nothing; changing, adding, dropping or reordering
    items does. The bytes of the recordings are not part of it.
    """
    folder = None if root is None else Path(root)
    digest = hashlib.sha256()
    for item in items:
        digest.update(_canonical(item_to_dict(item, folder)))
    return digest.hexdigest()
