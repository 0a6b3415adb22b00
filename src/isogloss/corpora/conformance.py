"""A kit that any reader must pass; run it on a small corpus that a test writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.corpora.jsonl import read_corpus, write_corpus
from isogloss.corpora.readers.result import ReadResult
from isogloss.errors import IsoglossError
from isogloss.varieties import VarietyTable, builtin_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from isogloss.types import Item

__all__ = ["NotAReader", "check_reader"]

_TEXT_FIELDS = (
    "meaning",
    "text",
    "transcript",
    "translation",
    "phones",
    "speaker",
    "site",
    "split",
)
_SPLITS = ("train", "dev", "test", None)


class NotAReader(IsoglossError, ValueError):
    """A reader broke one or more rules; `problems` lists every one."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def check_reader(
    read: Callable[..., ReadResult],
    root: str | Path,
    *,
    expected_items: int | None = None,
    expected_skipped: int | None = None,
    table: VarietyTable | None = None,
    **options: Any,
) -> ReadResult:
    """What `read` gives for `root`, once it is known to keep every rule.

    The rules: the same folder read twice gives the same result; ids are unique and not empty;
    varieties are in the table; audio paths are absolute and exist; an item has audio or text;
    other fields are text or None, never empty; a split is train, dev or test; times rise; `root`
    of the corpus is an absolute folder; writing the corpus as a manifest and reading it gives
    equal items; what is skipped has a name, a reason and a remedy.

    Args:
        read: the reader, or its `load_reader`.
        root: the corpus.
        expected_items: how many items must come out.
        expected_skipped: how many skips must be reported.
        table: varieties that exist; None is the built-in table.
        **options: passed to the reader.

    Raises:
        NotAReader: with all rules broken.
    """
    result = read(Path(root), **options)
    if not isinstance(result, ReadResult):
        raise NotAReader([f"the reader gave a {type(result).__name__}, not a ReadResult"])
    problems = _count_problems(result, expected_items, expected_skipped)
    known = builtin_table() if table is None else table
    seen: set[str] = set()
    for item in result.corpus.items:
        problems += [f"item '{item.id}': {problem}" for problem in _item_problems(item, known)]
        if item.id in seen:
            problems.append(f"id '{item.id}' is there twice")
        seen.add(item.id)
    for skip in result.skipped:
        if not (skip.item and skip.reason and skip.remedy):
            problems.append(f"{skip} lacks a name, a reason or a remedy")
    problems += _corpus_problems(result)
    if not problems:
        problems += _round_trip_problems(result, known)
    if read(Path(root), **options) != result:
        problems.append("a second reading gave another result")
    if problems:
        raise NotAReader(problems)
    return result


def _count_problems(result: ReadResult, items: int | None, skipped: int | None) -> list[str]:
    problems = []
    if items is not None and len(result.corpus) != items:
        found = ", ".join(item.id for item in result.corpus.items[:20])
        problems.append(f"{len(result.corpus)} items instead of {items} ({found})")
    if skipped is not None and len(result.skipped) != skipped:
        found = "; ".join(f"{skip.item}: {skip.reason}" for skip in result.skipped[:20])
        problems.append(f"{len(result.skipped)} skipped instead of {skipped} ({found})")
    return problems


def _item_problems(item: Item, table: VarietyTable) -> list[str]:
    problems = []
    if not item.id:
        problems.append("the id is empty")
    if item.variety not in table:
        problems.append(f"variety '{item.variety}' is not in the table")
    if item.audio is None:
        if not item.text:
            problems.append("neither audio nor text")
    elif not Path(item.audio).is_absolute():
        problems.append(f"audio '{item.audio}' is not absolute")
    elif not Path(item.audio).is_file():
        problems.append(f"audio '{item.audio}' does not exist")
    for field in _TEXT_FIELDS:
        value = getattr(item, field)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            problems.append(f"{field} is {value!r}, not text or None")
    if item.split not in _SPLITS:
        problems.append(f"split is '{item.split}'")
    if item.end_seconds is not None and item.end_seconds <= (item.start_seconds or 0.0):
        problems.append(f"ends at {item.end_seconds} s, starts at {item.start_seconds or 0.0} s")
    extra: Mapping[Any, Any] = item.extra  # a reader of others may not keep to the annotation
    for key, value in extra.items():
        if not isinstance(key, str) or not isinstance(value, str):
            problems.append(f"extra {key!r} is {value!r}, not text")
    return problems


def _corpus_problems(result: ReadResult) -> list[str]:
    problems = []
    if not result.corpus.name:
        problems.append("the corpus has no name")
    root = result.corpus.root
    if root is None or not Path(root).is_absolute() or not Path(root).is_dir():
        problems.append(f"root '{root}' of the corpus is no absolute folder")
    coverage = result.coverage
    if coverage is not None and not 0 <= coverage.present <= coverage.expected:
        problems.append(f"coverage is {coverage.present} of {coverage.expected}")
    return problems


def _round_trip_problems(result: ReadResult, table: VarietyTable) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.jsonl"
        write_corpus(result.corpus, path)
        again = read_corpus(path, table=table)
    return [
        f"item '{before.id}' changes in a manifest"
        for before, after in zip(result.corpus.items, again.items, strict=True)
        if before != after
    ]
