"""Code-switching: words and phrases of a text put into other varieties, from a lexicon or a table.

Every replaced span is kept as an `Edit`, with the variety of the new words.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from isogloss.encoders.words import words_of
from isogloss.errors import BadRecord
from isogloss.variation.varied import Varied, edited, random_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from isogloss.types import Lexicon

__all__ = ["CodeSwitch", "SwitchTable", "read_entities"]

_TAG = ("<e>", "</e>")


@dataclass(frozen=True, slots=True)
class SwitchTable:
    """Words of one variety and what they are in others, for fast lookup in running text.

    `entries` maps a folded word or phrase to (variety, words, weight); `longest` maps the first
    character of a folded entry to the lengths that begin so, longest first.
    """

    entries: Mapping[str, tuple[tuple[str, str, float], ...]]
    longest: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, str, float]]) -> SwitchTable:
        """A table of (word, variety, words there, weight) rows; a word for itself is left out."""
        entries: dict[str, list[tuple[str, str, float]]] = {}
        for word, variety, other, weight in rows:
            if word.strip() and other.strip() and word != other:
                found = entries.setdefault(_folded(word.strip()), [])
                if (variety, other) not in {(v, o) for v, o, _ in found}:
                    found.append((variety, other.strip(), weight))
        lengths: dict[str, set[int]] = {}
        for entry in entries:
            lengths.setdefault(entry[0], set()).add(len(entry))
        return cls(
            {entry: tuple(rows) for entry, rows in entries.items()},
            {first: tuple(sorted(found, reverse=True)) for first, found in lengths.items()},
        )

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, entry) of what the table has, from left to right, the longest first.

        A span begins and ends where a word does; Han, kana, Thai and their like have a border
        behind every character.
        """
        folded = _folded(text)
        found = []
        place = 0
        while place < len(text):
            end = self._end(text, folded, place)
            if end is None:
                place += 1
            else:
                found.append((place, end, folded[place:end]))
                place = end
        return found

    def _end(self, text: str, folded: str, place: int) -> int | None:
        lengths = self.longest.get(folded[place], ())
        if not lengths or not _is_border(text, place):
            return None
        for length in lengths:
            end = place + length
            # Behind the text, a slice is shorter than its bounds say.
            known = end <= len(text) and folded[place:end] in self.entries
            if known and _is_border(text, end):
                return end
        return None


def _folded(text: str) -> str:
    """Small letters, and as many of them: a character with a longer small form stays."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _is_border(text: str, place: int) -> bool:
    """Whether a word may begin or end before character `place`."""
    if place <= 0 or place >= len(text):
        return True
    before, after = text[place - 1], text[place]
    if not _of_word(before) or not _of_word(after):
        return True
    if unicodedata.category(after)[0] == "M":
        return False
    return len(words_of(before + after)) == 2


def _of_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


@dataclass(frozen=True)
class CodeSwitch:
    """A share of the words that a lexicon knows, in another variety.

    Args:
        tables: table for each source variety; "" is for every variety without a table of its own.
        share: probability of each word or phrase of the table to be replaced (0.3: of ten words
            that the lexicon has, three on average; words that it lacks never change).
        targets: varieties that words may come from; none named means all.
        tags: whether <e> and </e> are put around what was replaced, as EntityCS does.
        seed: of the draws; each item's depend on its key alone.
        name: "switch" or "entities".
        source: how the lexicon is called in descriptions.
    """

    tables: Mapping[str, SwitchTable]
    share: float = 0.3
    targets: tuple[str, ...] = ()
    tags: bool = False
    seed: int = 0
    name: str = "switch"
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is a probability from 0 to 1, got {self.share}")
        known = {
            variety
            for table in self.tables.values()
            for rows in table.entries.values()
            for variety, _, _ in rows
        }
        missing = [target for target in self.targets if target not in known]
        if missing:
            listed = ", ".join(sorted(known)) or "none"
            raise ValueError(f"the lexicon has no words of {missing[0]}; it has {listed}")

    @classmethod
    def of_lexicons(
        cls,
        lexicons: Sequence[Lexicon],
        *,
        both_ways: bool = True,
        share: float = 0.3,
        targets: Sequence[str] = (),
        seed: int = 0,
        source: str = "",
    ) -> CodeSwitch:
        """Switching by word lists (see `isogloss.corpora.word_pairs.read_lexicons`).

        Args:
            lexicons: word pairs; a variety "" stands for any.
            both_ways: whether target words are also put into the source variety. Without named
                varieties the direction is not known, so a list is then read one way only.
            share: see the class.
            targets: see the class.
            seed: see the class.
            source: see the class.
        """
        rows: dict[str, list[tuple[str, str, str, float]]] = {}
        for lexicon in lexicons:
            a, b = lexicon.source_variety, lexicon.target_variety
            weights = lexicon.weights or (1.0,) * len(lexicon.pairs)
            for (word, other), weight in zip(lexicon.pairs, weights, strict=True):
                rows.setdefault(a, []).append((word, b, other, weight))
                if both_ways and b:
                    rows.setdefault(b, []).append((other, a, word, weight))
        tables = {variety: SwitchTable.of(found) for variety, found in rows.items()}
        return cls(tables, share, tuple(targets), False, seed, "switch", source)

    @property
    def described(self) -> str:
        """Name, lexicon, share, varieties, tags and seed."""
        targets = "+".join(self.targets) or "all"
        return (
            f"{self.name}:source={self.source or 'given'},share={self.share},to={targets},"
            f"tags={self.tags},seed={self.seed}"
        )

    def variety_of(self, code: str) -> str:
        """`code` with "-switched" behind it."""
        return f"{code}-switched"

    def vary(
        self, texts: Sequence[str], *, keys: Sequence[str], varieties: Sequence[str]
    ) -> list[Varied]:
        """Each text with some words replaced; `changed` is False where none was."""
        return [
            self._one(text, key, variety)
            for text, key, variety in zip(texts, keys, varieties, strict=True)
        ]

    def _one(self, text: str, key: str, variety: str) -> Varied:
        units = len(words_of(text))
        table = self.tables.get(variety, self.tables.get(""))
        if table is None:
            return Varied(text, changed=False, units=units)
        draw = random_of(self.seed, key, self.name)
        changes = []
        for start, end, entry in table.spans(text):
            # Drawn for every span, so that the share of one does not move the next one's draw.
            lot, choice = draw.random(), draw.random()
            rows = [
                row
                for row in table.entries[entry]
                if row[0] != variety and (not self.targets or row[0] in self.targets)
            ]
            if not rows or lot >= self.share:
                continue
            to, words = _chosen(rows, choice)
            words = _as_written(words, text[start:end])
            if self.tags:
                words = f"{_TAG[0]}{words}{_TAG[1]}"
            changes.append((start, end, words, to or "lexicon"))
        if not changes:
            return Varied(text, changed=False, units=units)
        return edited(text, changes, units=units)


def _chosen(rows: Sequence[tuple[str, str, float]], choice: float) -> tuple[str, str]:
    """One variety, all equally likely, then one of its translations by weight."""
    varieties = sorted({variety for variety, _, _ in rows})
    place = choice * len(varieties)
    variety = varieties[min(int(place), len(varieties) - 1)]
    own = [(words, weight) for found, words, weight in rows if found == variety]
    sums = list(accumulate(weight for _, weight in own))
    at = bisect_right(sums, (place - int(place)) * sums[-1])
    return variety, own[min(at, len(own) - 1)][0]


def _as_written(words: str, source: str) -> str:
    """`words` in capitals or with one at their beginning where `source` is."""
    letters = [c for c in source if c.isalpha()]
    if len(letters) > 1 and all(c.isupper() for c in letters):
        return words.upper()
    if letters and letters[0].isupper() and words[:1].islower():
        return words[:1].upper() + words[1:]
    return words


def read_entities(path: Path) -> dict[str, SwitchTable]:
    """Tables of a TSV of entities: one row an entity, one column a variety (its code on top).

    A cell holds the names of the entity there, parted by "|"; an empty cell none. A column `id` is
    passed over. Every name is replaced by the first ones of other varieties.

    Raises:
        BadRecord: not UTF-8, fewer than two varieties, a variety twice, too many cells.
        OSError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadRecord(path, 1, "encoding", f"not UTF-8: {error}; save the file so") from error
    header = [cell.strip() for cell in lines[0].split("\t")]
    codes = [cell for cell in header if cell and cell != "id"]
    if len(codes) < 2 or len(set(codes)) < len(codes):
        problem = f"expected two or more different varieties as columns, got {header}"
        raise BadRecord(path, 1, "header", problem)
    rows: dict[str, list[tuple[str, str, str, float]]] = {code: [] for code in codes}
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip() for cell in line.rstrip("\r").split("\t")]
        if len(cells) > len(header):
            problem = f"{len(cells)} cells under {len(header)} columns; part cells by one tab"
            raise BadRecord(path, number, header[-1], problem)
        names = {
            code: [name.strip() for name in cell.split("|") if name.strip()]
            for code, cell in zip(header, cells, strict=False)
            if code in rows
        }
        for code, own in names.items():
            for other, theirs in names.items():
                if other != code and theirs:
                    rows[code] += [(name, other, theirs[0], 1.0) for name in own]
    return {code: SwitchTable.of(found) for code, found in rows.items()}
