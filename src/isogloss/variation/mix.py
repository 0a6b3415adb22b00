"""Texts of several varieties: translations mixed sentence by sentence, or packed one by one.

These need all translations of a meaning, so they take and give items, not single texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isogloss.encoders.item_text import has_text, text_of
from isogloss.encoders.words import words_of
from isogloss.errors import UnknownName
from isogloss.types import Item
from isogloss.variation.varied import Edit, random_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Mixed", "mix_varieties", "pack_pairs", "sentences_of", "written_edits"]

_UNITS = ("sentence", "chunk")
_ENDS = re.compile(r"(?<=[.!?؟।።։])[\"'”’»)\]]*\s+|(?<=[。！？])[」』”’）]*\s*|\n+")


@dataclass(frozen=True, slots=True)
class Mixed:
    """Items that came out, and how many meanings were left out and why."""

    items: tuple[Item, ...]
    skipped: dict[str, int]


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Character spans of the sentences of `text`: cut behind . ! ? and their like, and at lines.

    A mark in the middle of a sentence (an abbreviation before a space) cuts too. Blank pieces are
    left out.
    """
    spans = []
    place = 0
    for found in _ENDS.finditer(text):
        closing = len(found.group()) - len(found.group().lstrip("\"'”’»)]」』）"))
        spans.append((place, found.start() + closing))
        place = found.end()
    spans.append((place, len(text)))
    return [(first, last) for first, last in spans if text[first:last].strip()]


def _chunks_of(text: str, count: int) -> list[tuple[int, int]]:
    """Spans of `count` pieces with equally many words each, as near as can be."""
    words = words_of(text)
    spans = []
    for number in range(count):
        own = words[len(words) * number // count : len(words) * (number + 1) // count]
        if own:
            spans.append((own[0][0], own[-1][1]))
    return spans


def _translations(
    items: Sequence[Item], varieties: Sequence[str]
) -> tuple[dict[str, dict[str, Item]], int]:
    """Meaning to variety to its first item; and how many items have no text or no meaning."""
    found: dict[str, dict[str, Item]] = {}
    useless = 0
    for item in items:
        if varieties and item.variety not in varieties:
            continue
        if item.meaning is None or not has_text(item):
            useless += 1
            continue
        found.setdefault(item.meaning, {}).setdefault(item.variety, item)
    return found, useless


def mix_varieties(
    items: Sequence[Item],
    *,
    unit: Literal["sentence", "chunk"] = "sentence",
    chunks: int = 3,
    varieties: Sequence[str] = (),
    seed: int = 0,
) -> Mixed:
    """One text for each meaning, each of its pieces in a variety drawn for it.

    Its variety is that of the meaning's first item with "-mixed" behind, `extra["edits"]` says
    which piece is in which variety (see `Edit`; the source span is that of the translation).

    Args:
        items: items that share a `meaning` are translations.
        unit: "sentence": translations with as many sentences as the first one take part, and
            sentence i stands for sentence i. "chunk": each text in `chunks` pieces of equally many
            words, a rough stand-in for sentence borders: word order differs between varieties, so
            that something may be said twice or not at all.
        chunks: pieces of a "chunk".
        varieties: which take part; none named means all.
        seed: of the draws; each meaning's depend on it alone.

    Returns:
        Items in the order of their meanings. A meaning is left out and counted where fewer than
        two translations have two or more pieces each.

    Raises:
        UnknownName: no such unit.
        ValueError: fewer than 2 chunks.
    """
    if unit not in _UNITS:
        raise UnknownName("unit of mixing", unit, _UNITS)
    if chunks < 2:
        raise ValueError(f"chunks must be 2 or more, got {chunks}")
    meanings, useless = _translations(items, varieties)
    skipped = {"no text or no meaning": useless} if useless else {}
    made = []
    for meaning, by_variety in meanings.items():
        pieces = {
            code: [text_of(item)[a:b] for a, b in spans]
            for code, item in by_variety.items()
            for spans in [_spans(text_of(item), unit, chunks)]
        }
        count = len(next(iter(pieces.values())))
        fitting = {code: own for code, own in pieces.items() if len(own) == count}
        if len(by_variety) < 2:
            _count(skipped, "one variety only")
        elif count < 2:
            _count(skipped, f"fewer than two {unit}s")
        elif len(fitting) < 2:
            _count(skipped, f"translations differ in their number of {unit}s")
        else:
            made.append(_mixed(meaning, by_variety, fitting, seed))
    return Mixed(tuple(made), skipped)


def _spans(text: str, unit: str, chunks: int) -> list[tuple[int, int]]:
    return sentences_of(text) if unit == "sentence" else _chunks_of(text, chunks)


def _count(skipped: dict[str, int], why: str) -> None:
    skipped[why] = skipped.get(why, 0) + 1


def _mixed(
    meaning: str, by_variety: dict[str, Item], pieces: dict[str, list[str]], seed: int
) -> Item:
    draw = random_of(seed, meaning, "mix")
    codes = sorted(pieces)
    count = len(pieces[codes[0]])
    drawn = [codes[int(draw.random() * len(codes))] for _ in range(count)]
    if len(set(drawn)) == 1:
        # A text in one variety is no mixture: one piece is moved to another.
        others = [code for code in codes if code != drawn[0]]
        drawn[int(draw.random() * count)] = others[int(draw.random() * len(others))]
    chosen = [(code, pieces[code][number]) for number, code in enumerate(drawn)]
    first = next(iter(by_variety.values()))
    return _joined(f"{meaning}:mix", f"{first.variety}-mixed", meaning, chosen, " ", by_variety)


def _joined(
    name: str,
    variety: str,
    meaning: str,
    pieces: Sequence[tuple[str, str]],
    separator: str,
    by_variety: dict[str, Item],
    extra: dict[str, str] | None = None,
) -> Item:
    """An item of pieces (variety, text), each kept as an edit without a source."""
    text = ""
    edits = []
    for code, piece in pieces:
        text += separator if text else ""
        edits.append(Edit(0, len(piece), len(text), len(text) + len(piece), code))
        text += piece
    splits = {item.split for item in by_variety.values()}
    return Item(
        id=name,
        variety=variety,
        meaning=meaning,
        text=text,
        split=splits.pop() if len(splits) == 1 else None,
        extra={"edits": written_edits(edits), **(extra or {})},
    )


def written_edits(edits: Sequence[Edit]) -> str:
    """Edits as "start:end>new_start:new_end=by", parted by ";", as `extra["edits"]` has them."""
    return ";".join(f"{e.start}:{e.end}>{e.new_start}:{e.new_end}={e.by}" for e in edits)


def pack_pairs(
    items: Sequence[Item],
    *,
    varieties: Sequence[str] = (),
    size: int = 1,
    separator: str = "\n",
    seed: int = 0,
) -> Mixed:
    """Translations behind each other in one text, for language modelling on parallel text.

    The order of the varieties is drawn for each text, and the same for all meanings in it:
    a1 b1 a2 b2 ...

    Args:
        items: items that share a `meaning` are translations.
        varieties: which take part; none named means all that a meaning has.
        size: how many meanings, one after the other in the order of `items`, go into one text.
        separator: between two pieces.
        seed: of the draws.

    Returns:
        Items; their meaning is that of the first packed one, the others are in
        `extra["meanings"]`. A meaning with fewer than two of the varieties is left out and
        counted.

    Raises:
        ValueError: `size` below 1.
    """
    if size < 1:
        raise ValueError(f"size must be 1 or more, got {size}")
    meanings, useless = _translations(items, varieties)
    skipped = {"no text or no meaning": useless} if useless else {}
    whole = []
    for meaning, by_variety in meanings.items():
        if len(by_variety) < 2:
            _count(skipped, "one variety only")
        else:
            whole.append((meaning, by_variety))
    made = []
    for start in range(0, len(whole), size):
        group = whole[start : start + size]
        name = group[0][0]
        codes = sorted({code for _, by_variety in group for code in by_variety})
        random_of(seed, name, "pack").shuffle(codes)
        pieces = [
            (code, text_of(by_variety[code]))
            for _, by_variety in group
            for code in codes
            if code in by_variety
        ]
        everything = {
            f"{meaning} {code}": item for meaning, own in group for code, item in own.items()
        }
        made.append(
            _joined(
                f"{name}:pack",
                f"{next(iter(group[0][1]))}-packed",
                name,
                pieces,
                separator,
                everything,
                {"meanings": " ".join(meaning for meaning, _ in group)} if size > 1 else None,
            )
        )
    return Mixed(tuple(made), skipped)
