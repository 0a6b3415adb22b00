"""Varieties in, matrices of how far apart they are by other evidence than a model's out.

Genealogical and geographic from the table of varieties; of sound and spelling from the corpus
itself; typological from URIEL+ (extra `typology`). Called by `alignment_matrix`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.errors import MissingExtra, UnknownName
from isogloss.varieties import builtin_table, genealogical_distance, geographic_distance_km

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.tasks.alignment_sets import AlignedSets
    from isogloss.types import Item

__all__ = ["DISTANCES", "TYPOLOGY", "matched_edit_distance", "variety_distances"]

Doubles = npt.NDArray[np.float64]

TYPOLOGY = ("syntactic", "phonological", "inventory", "morphological", "featural")
"""Kinds of distance of URIEL+."""
DISTANCES = ("genealogical", "geographic", "phones", "spelling", "typological")
"""Kinds of distance that `variety_distances` knows; 'typological' stands for all of URIEL+."""

# Meanings of a pair whose strings are compared; their mean hardly moves with more.
_MOST_MEANINGS = 100
_LONGEST = 300


def variety_distances(
    sets: AlignedSets, kinds: Sequence[str], *, notes: dict[str, str]
) -> dict[str, Doubles]:
    """Distances among the varieties of `sets`, (V, V) by kind; NaN where one is not known.

    Args:
        sets: what is measured.
        kinds: of `DISTANCES`.
        notes: gets the reason for each kind that cannot be had for any two varieties.

    Raises:
        UnknownName: no such kind.
        MissingExtra: 'typological' is asked for and urielplus is not installed.
    """
    found: dict[str, Doubles] = {}
    for kind in kinds:
        if kind not in DISTANCES:
            raise UnknownName("distance", kind, DISTANCES)
        if kind == "typological":
            found |= _typological(_codes(sets), notes)
        elif kind in ("phones", "spelling"):
            found[kind] = _strings(sets, kind)
        else:
            found[kind] = _of_table(_codes(sets), kind)
    for kind in list(found):
        off = found[kind][~np.eye(len(found[kind]), dtype=bool)]
        if np.isnan(off).all():
            notes[f"distance {kind}"] = _WHY.get(kind, "not known for any two of these varieties")
            del found[kind]
    return found


_WHY = {
    "genealogical": "the varieties are not in the table",
    "geographic": "the table has no place for these varieties",
    "phones": "no two varieties have items with phones",
    "spelling": "no two varieties have items with text",
}


def _codes(sets: AlignedSets) -> tuple[str, ...]:
    """Variety codes of the sets, also where sets are sites or speakers."""
    return tuple(sets.items[int(row[row >= 0][0])].variety for row in sets.table)


def _of_table(codes: Sequence[str], kind: str) -> Doubles:
    table = builtin_table()
    known = [i for i, code in enumerate(codes) if code in table]
    distances = np.full((len(codes), len(codes)), np.nan)
    if known:
        inside = [codes[i] for i in known]
        part = (
            genealogical_distance(inside)
            if kind == "genealogical"
            else geographic_distance_km(inside, missing="nan")
        )
        distances[np.ix_(known, known)] = part
    return distances


def _strings(sets: AlignedSets, kind: str) -> Doubles:
    """Mean normalised edit distance of what two varieties say for the same meaning."""
    v = len(sets.varieties)
    distances = np.full((v, v), np.nan)
    np.fill_diagonal(distances, 0)
    for a in range(v):
        for b in range(a + 1, v):
            left, right = [], []
            for m in sets.shared(a, b):
                one = _symbols(sets.items[sets.table[a, m]], kind)
                two = _symbols(sets.items[sets.table[b, m]], kind)
                if one and two:
                    left.append(one)
                    right.append(two)
                if len(left) == _MOST_MEANINGS:
                    break
            if left:
                distances[a, b] = distances[b, a] = matched_edit_distance(left, right).mean()
    return distances


def _symbols(item: Item, kind: str) -> list[str]:
    if kind == "phones":
        return (item.phones or "").split()[:_LONGEST]
    return list((item.text or item.transcript or "").casefold())[:_LONGEST]


def matched_edit_distance(a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]) -> Doubles:
    """Levenshtein distance of string i of `a` and of `b` over the longer length: (N,) in [0, 1].

    0 for two empty strings. All pairs advance together, a symbol of `a` at a time.

    Raises:
        ValueError: the two have different numbers of strings.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} strings")
    if not len(a):
        return np.zeros(0)
    code: dict[str, int] = {}
    first, length_a = _coded(a, code, -1)
    second, length_b = _coded(b, code, -2)
    columns = np.arange(second.shape[1] + 1)
    row = np.tile(columns, (len(a), 1))
    result = row[np.arange(len(a)), length_b].copy()
    for step in range(first.shape[1]):
        changed = row[:, :-1] + (second != first[:, step : step + 1])
        following = row + 1
        np.minimum(following[:, 1:], changed, out=following[:, 1:])
        # An insertion costs 1 a column: less the column, it is a running minimum.
        row = np.minimum.accumulate(following - columns, axis=1) + columns
        ended = np.flatnonzero(length_a == step + 1)
        result[ended] = row[ended, length_b[ended]]
    found: Doubles = result / np.maximum(np.maximum(length_a, length_b), 1)
    return found


def _coded(
    strings: Sequence[Sequence[str]], code: dict[str, int], padding: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    lengths = np.array([len(string) for string in strings], dtype=np.int64)
    table = np.full((len(strings), int(lengths.max())), padding, dtype=np.int64)
    for row, string in zip(table, strings, strict=True):
        row[: len(string)] = [code.setdefault(symbol, len(code)) for symbol in string]
    return table, lengths


def _typological(codes: Sequence[str], notes: dict[str, str]) -> dict[str, Doubles]:
    """Angular distances over the features that both languages of a pair have (URIEL+)."""
    uriel = _uriel()
    table = builtin_table()
    known_codes = set(uriel.langs[0])
    languages = [
        _language(code, known_codes, table.get(code).iso639_3 if code in table else None)  # type: ignore[union-attr]
        for code in codes
    ]
    unknown = [code for code, own in zip(codes, languages, strict=True) if own is None]
    if unknown:
        notes["typological languages"] = (
            f"URIEL+ does not know {', '.join(unknown)}; it knows languages, not dialects"
        )
    found = {}
    for kind in TYPOLOGY:
        distances = np.full((len(codes), len(codes)), np.nan)
        np.fill_diagonal(distances, 0)
        for i, one in enumerate(languages):
            for j in range(i + 1, len(languages)):
                two = languages[j]
                if one is None or two is None or one == two:
                    continue
                try:
                    value = float(uriel.new_distance(kind, [one, two]))
                except ValueError:
                    # The two share no feature of this kind.
                    continue
                distances[i, j] = distances[j, i] = value
        found[f"typological {kind}"] = distances
    return found


def _language(code: str, known: set[str], iso639_3: str | None) -> str | None:
    for label in (iso639_3, code, code.split("-")[0]):
        if label is not None and label in known:
            return label
    return None


def _uriel() -> Any:
    """URIEL+ without its log lines; importing it sets up logging for the whole program."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        from urielplus.urielplus import URIELPlus

        logging.disable(logging.INFO)
        return URIELPlus()
    except ImportError as error:
        raise MissingExtra("typology", "urielplus") from error
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(level)
        root.handlers[:] = handlers
