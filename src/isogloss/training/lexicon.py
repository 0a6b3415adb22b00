"""Words of a variety to words of the standard, replaced in transcripts; used by `texts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.errors import BadRecord, IsoglossError
from isogloss.speech.tokens import normalise_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["WordTies", "read_word_ties"]

_COLUMNS = (["dialect", "standard"], ["dialect", "standard", "variety"])


@dataclass(frozen=True, slots=True)
class WordTies:
    """Which standard word stands for which word of a variety.

    `words[variety][word]` is the standard word; the variety "" is for all. A word that a variety
    lists itself goes before the one for all.
    """

    words: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, str]]) -> WordTies:
        """Ties of (dialect word, standard word, variety or "") rows.

        Raises:
            ValueError: a dialect word is empty, or has two standard words in one variety.
        """
        words: dict[str, dict[str, str]] = {}
        for dialect, standard, variety in rows:
            word, wanted = normalise_text(dialect), normalise_text(standard)
            if not word:
                raise ValueError("the dialect word is empty")
            before = words.setdefault(variety, {}).setdefault(word, wanted)
            if before != wanted:
                raise ValueError(
                    f"'{word}' stands for '{before}' and for '{wanted}'"
                    + (f" in {variety}" if variety else "")
                    + "; keep one"
                )
        return cls(words)

    def replaced(self, text: str, variety: str) -> str:
        """`text` (normalised) with every word that is listed for `variety` replaced.

        Read from left to right, the longest listed word that begins at a place is taken; what is
        not listed stays. A word may become nothing, such as a particle that the standard lacks.
        """
        text = normalise_text(text)
        listed = {**self.words.get("", {}), **self.words.get(variety, {})}
        if not listed:
            return text
        longest = max(map(len, listed))
        pieces: list[str] = []
        place = 0
        while place < len(text):
            for length in range(min(longest, len(text) - place), 0, -1):
                word = text[place : place + length]
                if word in listed:
                    pieces.append(listed[word])
                    place += length
                    break
            else:
                pieces.append(text[place])
                place += 1
        return normalise_text("".join(pieces))


def read_word_ties(path: Path) -> WordTies:
    """The ties in a TSV file with the header `dialect`, `standard` and, if wanted, `variety`.

    An empty `variety` is for all varieties, an empty `standard` drops the word. Empty lines and
    lines that begin with # are passed over.

    Raises:
        IsoglossError: there is no such file.
        BadRecord: wrong header, wrong number of cells, an empty dialect word, or a word with two
            standard words.
    """
    if not path.is_file():
        raise IsoglossError(f"lexicon {path}: there is no such file")
    rows: list[tuple[str, str, str]] = []
    header: list[str] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if header is None:
            if cells not in _COLUMNS:
                problem = f"expected the columns dialect, standard[, variety], found {cells}"
                raise BadRecord(path, number, "header", problem)
            header = cells
            continue
        if len(cells) != len(header):
            raise BadRecord(path, number, "row", f"{len(cells)} cells instead of {len(header)}")
        rows.append((cells[0], cells[1], cells[2] if len(cells) == 3 else ""))
        try:
            WordTies.of(rows[-1:])
        except ValueError as error:
            raise BadRecord(path, number, "dialect", str(error)) from error
    try:
        return WordTies.of(rows)
    except ValueError as error:
        raise BadRecord(path, 1, "dialect", str(error)) from error
