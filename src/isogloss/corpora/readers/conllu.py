"""Treebanks in CoNLL-U, parallel ones too: sentences with their words.

    root/
      yue_hk-ud-test.conllu[.gz]      # sent_id = 1
      zh_hk-ud-test.conllu[.gz]       # parallel_id = hk/1
                                      # text = 你喺度搵乜嘢呀？
                                      1   你   你   PRON  ...

Sentences of two treebanks with the same `parallel_id` share a meaning; treebanks without one can
be joined by `sent_id` or by the sentence's number. The words (multiword tokens whole, empty nodes
left out) are the item's `words`; tags are in `extra`, under `upos`, separated by blanks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (readers are read by their types)
from typing import TYPE_CHECKING, Literal

from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import LayoutError, OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, text_lines
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["read"]

_NAME = re.compile(r"(?P<label>[A-Za-z]+)_[A-Za-z]+-ud-(?P<split>train|dev|test)\.conllu(\.gz)?")
_EXPECTED = "treebanks such as yue_hk-ud-test.conllu, or files VARIETY=FILE"
# A word, a range of words under one token, an empty node.
_NUMBER = re.compile(r"\d+(-\d+|\.\d+)?", re.ASCII)
_BY = ("parallel_id", "sent_id", "number")

By = Literal["parallel_id", "sent_id", "number"]


def read(
    root: Path,
    *,
    files: Mapping[str, str] | None = None,
    parallel_by: str = "parallel_id",
    split: str | None = None,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The sentences of every treebank, with words and tags.

    Args:
        root: the folder.
        files: VARIETY=FILE, relative to root; by default every treebank with a usual name, its
            language the part before the first underscore.
        parallel_by: parallel_id, sent_id or number: what sentences that share a meaning share.
        split: the split of all items; by default the one in the file's name.
        name: what to call the corpus; its folder's name by default.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no treebank.
        OptionError: `parallel_by` is none of the three.
    """
    if parallel_by not in _BY:
        raise OptionError("parallel_by", parallel_by, f"expected {', '.join(_BY)}")
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name=name or folder.name,
        licence=licence,
        source=source,
        table=table_with(varieties_table),
    )
    for code, part, path in _treebanks(folder, files, gathering):
        for number, sentence in enumerate(_sentences(path, gathering), start=1):
            where = f"{path.name}:{sentence.line}"
            text = sentence.notes.get("text") or " ".join(sentence.words)
            if not text:
                gathering.skip(where, "no words", "complete the sentence")
                continue
            key = str(number) if parallel_by == "number" else sentence.notes.get(parallel_by)
            own = sentence.notes.get("sent_id") or str(number)
            gathering.add(
                Item(
                    id=f"{path.name.partition('.')[0]}:{own}",
                    variety=code,
                    meaning=key or None,
                    text=text,
                    split=split or part,
                    words=tuple(sentence.words),
                    extra={"upos": " ".join(sentence.tags)},
                ),
                where=where,
            )
    return gathering.result()


@dataclass(slots=True)
class _Sentence:
    line: int
    notes: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def _treebanks(
    folder: Path, files: Mapping[str, str] | None, gathering: Gathering
) -> list[tuple[str, str | None, Path]]:
    found: list[tuple[str, str | None, Path]] = []
    if files:
        for label, name in files.items():
            if not (folder / name).is_file():
                raise LayoutError(folder, f"no file '{name}'", _EXPECTED)
            found.append((gathering.table.resolve(label).code, None, folder / name))
        return found
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        code = gathering.variety(path.name, match["label"]) if match else None
        if match and code is not None:
            found.append((code, match["split"], path))
    if not found:
        raise LayoutError(folder, "no treebank of a known variety", _EXPECTED)
    return found


def _sentences(path: Path, gathering: Gathering) -> Iterator[_Sentence]:
    """Sentences in order; a new one begins with a comment behind words, or with word 1 again."""
    current: _Sentence | None = None
    inside_until = 0
    for number, line in text_lines(path, gathering):
        is_note = line.startswith("#")
        cells = [] if is_note else line.split("\t")
        if not is_note and len(cells) != 10:
            gathering.skip(
                f"{path.name}:{number}", f"{len(cells)} columns instead of 10", "repair the line"
            )
            continue
        if not is_note and _NUMBER.fullmatch(cells[0]) is None:
            gathering.skip(f"{path.name}:{number}", f"'{cells[0]}' is no number", "repair the line")
            continue
        starts = current is None or (
            bool(current.words)
            if is_note
            else cells[0].partition("-")[0] == "1" and bool(current.words) and int(inside_until) < 1
        )
        if starts:
            if current is not None:
                yield current
            current, inside_until = _Sentence(number), 0
        if current is None:
            continue
        if is_note:
            key, separator, value = line.removeprefix("#").partition("=")
            if separator:
                current.notes.setdefault(key.strip(), value.strip())
            continue
        first, _, last = cells[0].partition("-")
        if "." in first:
            continue  # an empty node
        if last:
            inside_until = int(last)
        elif int(first) <= inside_until:
            continue  # part of a multiword token
        else:
            inside_until = 0
        current.words.append(cells[1])
        current.tags.append(cells[3] if not last else "_")
    if current is not None:
        yield current
