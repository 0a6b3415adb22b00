"""Items in, varied items out, with what was left out and why; `isogloss text vary` calls it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from isogloss.encoders.item_text import has_text, text_of
from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Variety
from isogloss.variation.mix import mix_varieties, pack_pairs, written_edits
from isogloss.variation.registry import VARIATIONS, make_variation, options_of
from isogloss.varieties import VarietyRow, VarietyTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import Item
    from isogloss.variation.mix import Mixed
    from isogloss.variation.varied import Variation, Varied

__all__ = ["OF_SEVERAL", "VariedItems", "vary_items"]

OF_SEVERAL: dict[str, str] = {
    "mix": "each sentence in a drawn variety; unit=sentence|chunk, chunks=3, of=eng+deu, seed=N",
    "pack": "translations behind each other; size=1, of=eng+deu, seed=N",
}
"""Variations that need all translations of a meaning, with their options."""

_OPTIONS = {"mix": ("unit", "chunks", "of", "seed"), "pack": ("size", "of", "seed")}


@dataclass(frozen=True, slots=True)
class VariedItems:
    """What `vary_items` made.

    `items` are in the order of the input. `varied` counts those that are new, `unchanged` those
    that a draw (or a lexicon) left as they were, `skipped` says what was left out and why.
    `words` and `replaced` count words and replaced spans, where a variation has such. `derived`
    maps each new variety to the one it was made from; `described` is everything that changes the
    output.
    """

    items: tuple[Item, ...]
    varied: int
    unchanged: int
    skipped: Mapping[str, int]
    words: int
    replaced: int
    derived: Mapping[str, str]
    described: str = field(default="")


def vary_items(
    items: Sequence[Item],
    by: str,
    *,
    seed: int = 0,
    suffix: str | None = None,
    with_originals: bool = False,
    table: VarietyTable | None = None,
) -> VariedItems:
    """`items` with their texts varied: new ids, a new variety, the same meaning.

    A new item has the id `ID:NAME`, the text alone (no audio, transcript or phones), the meaning
    of its original, and in `extra` what it was made from (`varied_from`, `variation`) and, where
    spans were replaced, `edits`. An item without a meaning lends its id as one.

    Args:
        items: items with `text` or `transcript`; those without are left out and counted.
        by: a variation with its options; `VARIATIONS` and `OF_SEVERAL` name them.
        seed: of draws, which depend on the seed and on an item's id (or meaning) alone.
        suffix: put behind the variety, in place of the variation's own; "" keeps the variety.
        with_originals: whether the items that were given come out too, each before its own new
            one, and with the meaning that they share.
        table: varieties that exist. A new code that is somebody's name for one of them (eng-latn:
            eng_Latn is English) becomes CODE-NAME, as eng-romanise.

    Raises:
        UnknownName: no such variation, option or value.
        ValueError: a value that cannot be.
        BadRecord: a file that the options name cannot be read.
    """
    name, options = options_of(by)
    if name not in _OPTIONS:
        if name not in VARIATIONS:
            raise UnknownName("variation", name, [*VARIATIONS, *OF_SEVERAL])
        variation = make_variation(by, seed=seed)
        made = _one_by_one(items, variation, suffix, with_originals)
        return made if table is None else _without_clashes(made, table, name)
    for option in options:
        if option not in _OPTIONS[name]:
            raise UnknownName(f"option of {name}", option, _OPTIONS[name])
    made = _several(items, name, {"seed": str(seed), **options}, suffix, with_originals)
    return made if table is None else _without_clashes(made, table, name)


def _without_clashes(made: VariedItems, table: VarietyTable, name: str) -> VariedItems:
    """The same with new codes that `table` has room for."""
    renamed = {}
    for code, parent in made.derived.items():
        try:
            if code not in table:
                table.merged(VarietyTable([VarietyRow(Variety(code, code, parent=parent))]))
        except BadRecord:
            renamed[code] = f"{parent}-{name}"
    if not renamed:
        return made
    items = tuple(
        dataclasses.replace(item, variety=renamed[item.variety])
        if "variation" in item.extra and item.variety in renamed
        else item
        for item in made.items
    )
    derived = {renamed.get(code, code): parent for code, parent in made.derived.items()}
    return dataclasses.replace(made, items=items, derived=derived)


def _one_by_one(
    items: Sequence[Item], variation: Variation, suffix: str | None, with_originals: bool
) -> VariedItems:
    usable = [item for item in items if has_text(item)]
    skipped = {"no text": len(items) - len(usable)} if len(usable) < len(items) else {}
    found = variation.vary(
        [text_of(item) for item in usable],
        keys=[item.id for item in usable],
        varieties=[item.variety for item in usable],
    )
    described = variation.described
    made: list[Item] = []
    derived: dict[str, str] = {}
    varied = unchanged = words = replaced = 0
    for item, changed in zip(usable, found, strict=True):
        words += changed.units
        replaced += changed.touched
        if not changed.changed:
            unchanged += 1
            made.append(_with_meaning(item))
            continue
        if not changed.text.strip():
            skipped["nothing left of the text"] = skipped.get("nothing left of the text", 0) + 1
            if with_originals:
                made.append(_with_meaning(item))
            continue
        code = variation.variety_of(item.variety) if suffix is None else item.variety + suffix
        derived.setdefault(code, item.variety)
        if with_originals:
            made.append(_with_meaning(item))
        made.append(_new(item, changed, code, variation.name, described))
        varied += 1
    return VariedItems(tuple(made), varied, unchanged, skipped, words, replaced, derived, described)


def _with_meaning(item: Item) -> Item:
    return item if item.meaning is not None else dataclasses.replace(item, meaning=item.id)


def _new(item: Item, changed: Varied, code: str, name: str, described: str) -> Item:
    extra = {"varied_from": item.id, "variation": described}
    if changed.edits:
        extra["edits"] = written_edits(changed.edits)
    return dataclasses.replace(
        item,
        id=f"{item.id}:{name}",
        variety=code,
        meaning=item.id if item.meaning is None else item.meaning,
        text=changed.text,
        audio=None,
        start_seconds=None,
        end_seconds=None,
        transcript=None,
        phones=None,
        words=(),
        extra={**item.extra, **extra},
    )


def _several(
    items: Sequence[Item],
    name: str,
    options: Mapping[str, str],
    suffix: str | None,
    with_originals: bool,
) -> VariedItems:
    of = tuple(part for part in options.get("of", "").split("+") if part)
    seed = _whole(options, "seed", 0)
    mixed: Mixed
    if name == "mix":
        unit = options.get("unit", "sentence")
        chunks = _whole(options, "chunks", 3)
        mixed = mix_varieties(
            items,
            unit=cast("Literal['sentence', 'chunk']", unit),
            chunks=chunks,
            varieties=of,
            seed=seed,
        )
        described = f"mix:unit={unit},chunks={chunks},of={'+'.join(of) or 'all'},seed={seed}"
    else:
        size = _whole(options, "size", 1)
        mixed = pack_pairs(items, varieties=of, size=size, seed=seed)
        described = f"pack:size={size},of={'+'.join(of) or 'all'},seed={seed}"
    ending = f"-{name}ed"
    made = []
    derived: dict[str, str] = {}
    for item in mixed.items:
        source = item.variety.removesuffix(ending)
        code = item.variety if suffix is None else source + suffix
        derived.setdefault(code, source)
        extra = {**item.extra, "variation": described}
        made.append(dataclasses.replace(item, variety=code, extra=extra))
    kept = list(items) if with_originals else []
    return VariedItems((*kept, *made), len(made), 0, dict(mixed.skipped), 0, 0, derived, described)


def _whole(options: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(options.get(name, default))
    except ValueError as error:
        raise ValueError(f"{name} must be a whole number, got '{options[name]}'") from error
