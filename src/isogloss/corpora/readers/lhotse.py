"""A lhotse manifest of cuts: JSONL, plain or gzip-compressed, one cut a line.

    cuts.jsonl.gz        {"id": ..., "start": ..., "recording": {...}, "supervisions": [...], ...}

`root` is the file, or a folder that holds exactly one `*cuts*.jsonl[.gz]`. Each supervision becomes
an item, its language may be any label of the varieties table; cuts written by
`isogloss.corpora.lhotse` come back as they were. Audio paths that are not absolute are taken from
`audio_root`, else from the manifest's folder.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.corpora.lhotse import from_cuts
from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import text_lines
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isogloss.types import Item

__all__ = ["read"]

_EXPECTED = "a file of lhotse cuts, *.jsonl or *.jsonl.gz, one JSON object a line"


def read(
    root: Path,
    *,
    variety: str | None = None,
    varieties: Mapping[str, str] | None = None,
    split: str | None = None,
    audio_root: Path | None = None,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The supervisions of a cuts manifest as items.

    Args:
        root: the manifest, or a folder with exactly one.
        variety: the variety of all cuts that were not written by isogloss.
        varieties: LANGUAGE=VARIETY for manifests that name languages in their own way.
        split: train, dev or test, for all items that have none.
        audio_root: where audio paths that are not absolute begin.
        name: what to call the corpus; the file's name by default.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no such file, or no line of it is a cut.
        MissingExtra: lhotse is not installed.
    """
    path = _manifest(Path(root).expanduser().resolve())
    gathering = Gathering(
        path.parent,
        name=name or path.name.removesuffix(".gz").removesuffix(".jsonl"),
        licence=licence,
        source=source,
        table=table_with(varieties_table),
    )
    deserialize = _deserializer()
    base = path.parent if audio_root is None else Path(audio_root).expanduser().resolve()
    cuts = 0
    for number, line in text_lines(path, gathering):
        where = f"{path.name}:{number}"
        try:
            record = json.loads(line)
            _absolute(record, base)
            cut = deserialize(record)
            items = from_cuts([cut], varieties=_language_codes(cut, variety, varieties))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            gathering.skip(
                where, f"not a usable cut: {_told(error)}", "write the line again with lhotse"
            )
            continue
        cuts += 1
        for item in items:
            _add(gathering, item, where, split)
    if not cuts:
        raise LayoutError(path, "no line is a usable cut", _EXPECTED)
    return gathering.result()


def _manifest(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise LayoutError(path, "does not exist", _EXPECTED)
    found = sorted(p for p in path.glob("*cuts*.jsonl*") if p.suffix in (".jsonl", ".gz"))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(p.name for p in found[:5])
    problem = f"several manifests ({listed}), name one" if found else "no *cuts*.jsonl[.gz] in it"
    raise LayoutError(path, problem, _EXPECTED)


def _deserializer() -> Any:
    try:
        from lhotse.serialization import deserialize_item
    except ImportError as error:
        raise MissingExtra("speech", "lhotse") from error
    return deserialize_item


def _absolute(record: Any, base: Path) -> None:
    """Join the relative audio paths of a cut's JSON to `base`, in place."""
    if not isinstance(record, dict) or "supervisions" not in record:
        raise ValueError("no cut (it has no supervisions)")
    for source in (record.get("recording") or {}).get("sources", ()):
        if source.get("type") == "file" and isinstance(source.get("source"), str):
            source["source"] = str(base / source["source"])


def _language_codes(
    cut: Any, variety: str | None, varieties: Mapping[str, str] | None
) -> Mapping[str, str] | str | None:
    if not varieties:
        return variety
    languages = {s.language for s in cut.supervisions if s.language}
    known = {language: varieties.get(language, variety or language) for language in languages}
    return known or variety


def _add(gathering: Gathering, item: Item, where: str, split: str | None) -> None:
    if item.audio is not None:
        audio = gathering.audio(where, Path(item.audio))
        if audio is None:
            return
    elif not item.text:
        gathering.skip(where, "neither audio nor text", "drop the cut, or give it a recording")
        return
    code = gathering.variety(where, item.variety)
    if code is None:
        return
    gathering.add(dataclasses.replace(item, variety=code, split=item.split or split), where=where)


def _told(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
