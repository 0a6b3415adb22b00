"""The table of languages and dialects: codes, tree, groups, and the labels of other people.

A TSV goes in, a checked `VarietyTable` comes out; corpora and tasks ask it what a code is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar, overload

from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Variety
from isogloss.varieties.labels import folded, label_parts, without_script
from isogloss.varieties.rows import VarietyRow, read_rows

__all__ = ["VarietyTable", "builtin_table", "load_table"]

T = TypeVar("T")

_BUILTIN = Path(__file__).with_name("data") / "varieties.tsv"


class VarietyTable(Mapping[str, Variety]):
    """Varieties by code, in file order, with the tree over them and the labels that name them.

    Made by `load_table` or `builtin_table`, joined by `merged`. What cannot be right is refused
    when a table is made: a code twice, a cycle, a label that could mean two varieties. A parent
    may be outside the table (a user's few rows under a built-in language) until it is merged.

    Raises:
        BadRecord: file, line and field of the row that is in the way.
    """

    def __init__(self, rows: Iterable[VarietyRow]) -> None:
        self._rows: dict[str, VarietyRow] = {}
        self._children: dict[str, list[str]] = {}
        for row in rows:
            code = row.variety.code
            if code in self._rows:
                first = self._rows[code]
                problem = f"'{code}' is already in {first.path}:{first.line}; keep one row"
                raise BadRecord(row.path, row.line, "code", problem)
            self._rows[code] = row
            if row.variety.parent is not None:
                self._children.setdefault(row.variety.parent, []).append(code)
        self._refuse_cycles()
        self._labels = self._indexed_labels()

    def __getitem__(self, code: str) -> Variety:
        """The variety of exactly `code`.

        Raises:
            UnknownName: no such code; near ones are offered. It is no `KeyError`: where absence
                is expected, use `get` or `in`.
        """
        return self._row(code).variety

    @overload
    def get(self, code: str, /) -> Variety | None: ...
    @overload
    def get(self, code: str, /, default: Variety | T) -> Variety | T: ...
    def get(self, code: str, /, default: Variety | T | None = None) -> Variety | T | None:
        """The variety of exactly `code`, or `default`."""
        row = self._rows.get(code)
        return default if row is None else row.variety

    def __contains__(self, code: object) -> bool:
        return code in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"VarietyTable({len(self)} varieties)"

    @property
    def codes(self) -> tuple[str, ...]:
        """All codes, in file order."""
        return tuple(self._rows)

    @property
    def groups(self) -> tuple[str, ...]:
        """All group names, in order of first appearance."""
        found = (row.variety.group for row in self._rows.values())
        return tuple(dict.fromkeys(group for group in found if group is not None))

    def aliases(self, code: str) -> tuple[str, ...]:
        """Labels of other people for `code`, as written in the table's last column."""
        return self._row(code).aliases

    def children(self, code: str) -> tuple[str, ...]:
        """Codes one step below `code`, in file order; () for a leaf."""
        self._row(code)
        return tuple(self._children.get(code, ()))

    def descendants(self, code: str) -> tuple[str, ...]:
        """Codes anywhere below `code`, depth first; () for a leaf."""
        found: list[str] = []
        for child in self.children(code):
            found += [child, *self.descendants(child)]
        return tuple(found)

    def ancestors(self, code: str) -> tuple[str, ...]:
        """Codes above `code`, nearest first; ends at a root or at a parent outside the table."""
        found = []
        parent = self[code].parent
        while parent is not None and parent in self._rows:
            found.append(parent)
            parent = self._rows[parent].variety.parent
        return tuple(found)

    def group_of(self, code: str) -> str:
        """Group of `code`: its own, else that of the nearest ancestor that has one.

        Where nobody above has a group, the topmost code stands for it, so that every variety
        falls into exactly one group.
        """
        line = (code, *self.ancestors(code))
        for member in line:
            group = self[member].group
            if group is not None:
                return group
        return line[-1]

    def resolve(self, label: str, *, corpus: str | None = None) -> Variety:
        """The variety that `label` names in other people's data: 'Ji-Lu', 'zh-HK', 'zho_Hans'.

        Tried in this order: a label of `corpus` alone ('SW' in 'ewave', 'min' in 'yubao'); an
        exact code; a name, alias, native name, ISO 639-3, BCP-47 or Glottolog code, whatever its
        case, spaces and punctuation; the same without a script at its end ('arb_Arab').

        Args:
            label: as found in the corpus.
            corpus: whose label it is, where the same label means something else to others; a
                label that this corpus does not define itself is taken in its common meaning.

        Raises:
            UnknownName: nobody is called so; near labels are offered.
        """
        key = folded(label)
        if corpus is not None:
            own = self._labels.get(f"{folded(corpus)}:{key}")
            if own is not None:
                return self[own]
        if label in self._rows:
            return self[label]
        code = self._labels.get(key)
        if code is None:
            bare = without_script(label)
            code = self._labels.get(folded(bare)) if bare is not None else None
        if code is None:
            raise UnknownName("variety", label, self._every_label())
        return self[code]

    def resolve_path(self, label: str, *, corpus: str | None = None) -> Variety:
        """The finest variety named in a label of several parts, as in '吴语-太湖片-苏沪嘉小片'.

        Parts nobody knows are passed over, so a path into finer detail than the table has ends
        at the finest variety that it does have.

        Raises:
            UnknownName: no part is known.
            ValueError: two parts name varieties neither of which is above the other.
        """
        try:
            return self.resolve(label, corpus=corpus)
        except UnknownName:
            found = []
            for part in label_parts(label):
                try:
                    found.append(self.resolve(part, corpus=corpus).code)
                except UnknownName:
                    continue
            if not found:
                raise
        finest = max(found, key=lambda code: len(self.ancestors(code)))
        line = (finest, *self.ancestors(finest))
        for code in found:
            if code not in line:
                raise ValueError(
                    f"'{label}' names {code} and {finest}, and neither is above the other"
                )
        return self[finest]

    def merged(self, other: VarietyTable) -> VarietyTable:
        """This table with the rows of `other` after it; a row of `other` replaces one of its code.

        Raises:
            BadRecord: together they leave a parent undefined, form a cycle, or give one label to
                two varieties; the file and line are those of the offending row.
        """
        kept = [row for code, row in self._rows.items() if code not in other._rows]
        table = VarietyTable([*kept, *other._rows.values()])
        table._refuse_unknown_parents(table)
        return table

    def _row(self, code: str) -> VarietyRow:
        row = self._rows.get(code)
        if row is None:
            raise UnknownName("variety", code, self._rows)
        return row

    def _refuse_unknown_parents(self, known: Iterable[str]) -> None:
        codes = {*self._rows, *known}
        for row in self._rows.values():
            parent = row.variety.parent
            if parent is not None and parent not in codes:
                problem = str(UnknownName("variety", parent, codes))
                raise BadRecord(row.path, row.line, "parent", problem)

    def _refuse_cycles(self) -> None:
        safe: set[str] = set()
        for start in self._rows:
            line: list[str] = []
            code: str | None = start
            while code is not None and code in self._rows and code not in safe:
                if code in line:
                    row = self._rows[code]
                    circle = " > ".join([*line[line.index(code) :], code])
                    problem = f"'{row.variety.parent}' is below '{code}' itself: {circle}"
                    raise BadRecord(row.path, row.line, "parent", problem)
                line.append(code)
                code = self._rows[code].variety.parent
            safe.update(line)

    def _indexed_labels(self) -> dict[str, str]:
        """Folded label to code. Codes, names and aliases must be unique; other fields need not.

        A language code may stand on a language and on rows below it; it then means the language.
        One that unrelated rows share means nobody.
        """
        labels: dict[str, str] = {}
        for code in self._rows:
            self._claim(labels, "code", code, code)
        for code, row in self._rows.items():
            self._claim(labels, "name", row.variety.name, code)
            for alias in row.aliases:
                self._claim(labels, "aliases", alias, code)
        shared: dict[str, list[str]] = {}
        for code, row in self._rows.items():
            v = row.variety
            for label in (v.native_name, v.iso639_3, v.bcp47, v.glottolog):
                key = folded(label) if label else ""
                if key and key not in labels:
                    shared.setdefault(key, []).append(code)
        for key, owners in shared.items():
            top = min(owners, key=lambda code: len(self.ancestors(code)))
            if all(owner == top or top in self.ancestors(owner) for owner in owners):
                labels[key] = top
        return labels

    def _claim(self, labels: dict[str, str], field: str, label: str, code: str) -> None:
        key = folded(label)
        owner = labels.setdefault(key, code) if key else None
        if owner == code:
            return
        row = self._rows[code]
        if owner is None:
            problem = f"'{label}' has neither letters nor digits to be known by"
        else:
            first = self._rows[owner]
            problem = (
                f"'{label}' already names '{owner}' ({first.path}:{first.line}); "
                f"drop it from one of them, or write 'corpus:{label}'"
            )
        raise BadRecord(row.path, row.line, field, problem)

    def _every_label(self) -> set[str]:
        names = {row.variety.name for row in self._rows.values()}
        return names.union(self._rows, *(row.aliases for row in self._rows.values()))


def load_table(path: Path, *, extends: VarietyTable | None = None) -> VarietyTable:
    """The varieties of a TSV file of your own; join them to the built-in ones with `merged`.

    The columns are `isogloss.varieties.COLUMNS`: `code` and `name` are required, the rest may be
    left out or empty; aliases are parted by '|'. Lines that start with '#' are comments.

    Args:
        path: the file, UTF-8.
        extends: where parents may also be found; None means the built-in table.

    Raises:
        BadRecord: with file, line and field: a code twice, an unknown parent or column, a cycle,
            a place off the globe, a script that ISO 15924 does not have, a malformed code, a
            label that could mean two varieties.
        OSError: the file cannot be read.
    """
    table = VarietyTable(read_rows(Path(path)))
    table._refuse_unknown_parents(builtin_table() if extends is None else extends)
    return table


@functools.cache
def builtin_table() -> VarietyTable:
    """The varieties that come with the package, read once.

    Sinitic groups and sub-groups follow the Language Atlas of China (editions of 1987 and 2012;
    where they differ in a name, the other one is an alias), with the cities that corpora are named
    after. Places are those of a typical town, good to some tens of kilometres; places and
    Glottolog codes of the Englishes are those of eWAVE (Kortmann, Lunkenheimer and Ehret 2020,
    CC BY 3.0). A field is empty where we are not sure. Sinitic scripts are 'Hani' (Han
    characters, simplified or traditional) except where usage is fixed.
    """
    table = VarietyTable(read_rows(_BUILTIN))
    table._refuse_unknown_parents(())
    return table
