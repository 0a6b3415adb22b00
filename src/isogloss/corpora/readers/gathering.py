"""Items collected one by one, each checked on the way in; called by every reader."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.corpora.readers.result import Coverage, OptionError, ReadResult, Skipped
from isogloss.errors import UnknownName
from isogloss.types import Corpus, Item
from isogloss.varieties import VarietyTable, builtin_table, load_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Gathering", "chosen", "table_with"]

_SPLITS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "val": "dev",
    "validation": "dev",
    "development": "dev",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def table_with(varieties_table: str | Path | None) -> VarietyTable:
    """The built-in varieties, with those of the user's own TSV on top where one is given."""
    if varieties_table is None:
        return builtin_table()
    return builtin_table().merged(load_table(Path(varieties_table)))


def chosen(option: str, values: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """`values` without repeats, each one of `known`.

    Raises:
        OptionError: there is no value.
        UnknownName: a value is not known; near matches are offered.
    """
    asked = tuple(dict.fromkeys(values))
    if not asked:
        raise OptionError(option, (), f"give at least one of {', '.join(known)}")
    for value in asked:
        if value not in known:
            raise UnknownName(option, value, known)
    return asked


class Gathering:
    """Collects items and skips; nothing that enters it can make the corpus invalid.

    An item is refused when its id is taken, its variety unknown, its split no split, or one of its
    strings cannot be stored as UTF-8.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str,
        licence: str | None = None,
        source: str | None = None,
        table: VarietyTable | None = None,
    ) -> None:
        self.root = root
        self.table = builtin_table() if table is None else table
        self._corpus = Corpus(name, (), licence, source, None, str(root))
        self._items: dict[str, Item] = {}
        self._skipped: list[Skipped] = []
        self._labels: dict[tuple[str, str | None, str | None, bool], tuple[str | None, str]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def skip(self, item: str, reason: str, remedy: str) -> None:
        """Count something that becomes no item."""
        self._skipped.append(Skipped(_printable(item), _printable(reason), _printable(remedy)))

    def audio(self, where: str, *candidates: Path) -> str | None:
        """The first candidate that is a file with content, absolute; None is counted as a skip."""
        empty = None
        for path in candidates:
            size = _size_bytes(path)
            if size:
                return str(path)
            if size == 0 and empty is None:
                empty = path
        if empty is not None:
            self.skip(where, "audio file is empty", f"copy or extract {empty} again")
            return None
        looked = ", ".join(str(path) for path in candidates) or "nowhere"
        self.skip(where, "audio file is missing", f"put the recording here: {looked}")
        return None

    def variety(
        self,
        where: str,
        label: str,
        *,
        given: Mapping[str, str] | None = None,
        corpus: str | None = None,
        also: str | None = None,
        parts: bool = False,
    ) -> str | None:
        """The code of the variety that a corpus calls `label`; None is counted as a skip.

        Args:
            where: the line or folder that has the label.
            label: the corpus's own word.
            given: the user's LABEL=CODE, which wins over the varieties table.
            corpus: whose label it is, for labels that mean something else elsewhere.
            also: another way to write the label, tried when the first is unknown.
            parts: the label is a path such as '粤语-四邑片', of which the finest known part counts.

        Raises:
            UnknownName: a code in `given` is not in the varieties table.
        """
        if given and label in given:
            if given[label] not in self.table:
                raise UnknownName("variety", given[label], self.table.codes)
            return given[label]
        key = (label, corpus, also, parts)
        if key not in self._labels:
            self._labels[key] = self._resolved(*key)
        code, problem = self._labels[key]
        if code is None:
            self.skip(
                where,
                problem,
                f"say which variety it is (varieties {label or 'LABEL'}=CODE), or add it in a "
                "table of your own",
            )
        return code

    def _resolved(
        self, label: str, corpus: str | None, also: str | None, parts: bool
    ) -> tuple[str | None, str]:
        problem = "no variety is named"
        resolve = self.table.resolve_path if parts else self.table.resolve
        for word in (label, also):
            if not word:
                continue
            try:
                return resolve(word, corpus=corpus).code, ""
            except ValueError as error:
                # Unknown, or a path whose parts contradict each other; the first word's counts.
                problem = str(error) if word == label else problem
        return None, problem

    def add(self, item: Item, *, where: str | None = None) -> bool:
        """Take `item` in and say whether it was taken; `where` names the line it came from."""
        where = where or item.id
        if not item.id:
            self.skip(where, "id is empty", "give every item an id")
            return False
        if item.variety not in self.table:
            problem = UnknownName("variety", item.variety, self.table.codes)
            self.skip(
                where,
                str(problem),
                "map it to a code of the varieties table, or add it in a table of your own",
            )
            return False
        if item.id in self._items:
            self.skip(where, "id is there twice", f"give one of them another id than '{item.id}'")
            return False
        unstorable = _unstorable(item)
        if unstorable is not None:
            self.skip(where, f"{unstorable} is not text", "rename the file or re-save it as UTF-8")
            return False
        if item.split is not None:
            split = _SPLITS.get(item.split.lower())
            if split is None:
                self.skip(
                    where,
                    f"'{item.split}' is not a split",
                    "use train, dev or test, or map it to one of them",
                )
                return False
            if split != item.split:
                item = dataclasses.replace(item, split=split)
        self._items[item.id] = item
        return True

    def result(self, coverage: Coverage | None = None) -> ReadResult:
        """Everything gathered so far, in order."""
        corpus = dataclasses.replace(self._corpus, items=tuple(self._items.values()))
        return ReadResult(corpus, tuple(self._skipped), coverage)


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        # A name too long, or with a zero byte: a broken line, so the file does not exist.
        return None


def _unstorable(item: Item) -> str | None:
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if isinstance(value, str) and _printable(value) != value:
            return field.name
    for key, value in item.extra.items():
        if _printable(key + value) != key + value:
            return f"extra '{_printable(key)}'"
    return None


def _printable(text: str) -> str:
    """`text` with bytes that are no characters (surrogates of broken file names) replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
