"""A user's table of entities in, where a text names them out; used by `entity`."""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.encoders.character_ngrams import folded
from isogloss.encoders.words import UNSPACED_RANGES
from isogloss.errors import BadRecord, IsoglossError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["EntityTable", "Mention", "read_entity_table"]


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a text, `first` to one behind `last`, and the entity named there."""

    first: int
    last: int
    entity: str


@dataclass(frozen=True, slots=True, eq=False)
class EntityTable:
    """Names as they stand in texts, and the entity that each means.

    `sizes` are the lengths that names have, the longest first. `fold` says that case does not
    count; names are then folded.
    """

    entities: Mapping[str, str]
    sizes: tuple[int, ...]
    fold: bool
    sha: str

    def mentions(self, text: str) -> list[Mention]:
        """The names in `text` (composed, NFC), from left to right, none within another.

        At each place the longest name is taken. It must not begin or end within a word; in scripts
        without spaces it may stand anywhere.
        """
        plain = folded(text) if self.fold else text
        found: list[Mention] = []
        place = 0
        while place < len(plain):
            last = self._end(plain, place) if _may_cut(plain, place) else None
            if last is None:
                place += 1
            else:
                found.append(Mention(place, last, self.entities[plain[place:last]]))
                place = last
        return found

    def _end(self, text: str, first: int) -> int | None:
        for size in self.sizes:
            last = first + size
            if text[first:last] in self.entities and last <= len(text) and _may_cut(text, last):
                return last
        return None


def read_entity_table(path: Path, *, fold: bool = False) -> EntityTable:
    """The table in a UTF-8 file with lines 'NAME<tab>ENTITY'; further columns are not read.

    Blank lines and those that begin with '#' are left out. A name that comes again with another
    entity keeps the first; a warning counts these.

    Raises:
        IsoglossError: the file is absent, not UTF-8 or has no line.
        BadRecord: a line has no tab, or an empty name or entity.
    """
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise IsoglossError(f"{path}: the table cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise IsoglossError(
            f"{path}: byte {error.start} is not UTF-8; convert the table, for example with iconv"
        ) from error
    entities: dict[str, str] = {}
    other = 0
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        name, tab, rest = line.partition("\t")
        entity = rest.partition("\t")[0].strip()
        name = unicodedata.normalize("NFC", name).strip()
        if not tab or not name or not entity:
            field = "name" if not name else "entity"
            raise BadRecord(path, number, field, "expected NAME<tab>ENTITY, neither empty")
        other += entities.setdefault(folded(name) if fold else name, entity) != entity
    if not entities:
        raise IsoglossError(f"{path}: there is no entity in the table")
    if other:
        warnings.warn(
            f"{path}: {other} names come again with another entity (the first is kept)",
            stacklevel=2,
        )
    sizes = tuple(sorted({len(name) for name in entities}, reverse=True))
    return EntityTable(entities, sizes, fold, hashlib.sha256(raw).hexdigest())


def _may_cut(text: str, place: int) -> bool:
    """Whether a name may begin or end before the character at `place`."""
    if place in (0, len(text)):
        return True
    before, behind = text[place - 1], text[place]
    if unicodedata.category(behind).startswith("M"):
        return False
    if not (before.isalnum() and behind.isalnum()):
        return True
    return _is_unspaced(before) or _is_unspaced(behind)


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in UNSPACED_RANGES)
