"""A corpus in, what a text run draws its batches from: texts, views, groups of one meaning, links.

What cannot be used is left out and counted: `TextMaterial.skipped`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.jsonl import content_sha, manifest_path, read_records
from isogloss.encoders.item_text import has_text, text_of
from isogloss.errors import BadRecord, IsoglossError, UnknownName
from isogloss.training.text_batch import TextRows
from isogloss.types import Corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from isogloss.training.text_config import TextTrainConfig
    from isogloss.types import Item
    from isogloss.varieties import VarietyTable

    Views = Sequence[str] | Callable[[Sequence[str]], Sequence[str]]
    """A second text for each item of a corpus, or what makes them of the texts that are used."""

__all__ = ["TextMaterial", "prepare_texts", "read_links"]

# Characters that a tokenizer is trained on, shared evenly by the varieties.
_SAMPLE_CHARACTERS = 8_000_000

_Link = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class TextMaterial:
    """Texts to train on, by number.

    Attributes:
        ids: of the items.
        texts: of the items.
        varieties: of the items.
        meanings: of the items, None where they have none.
        views: a second text of each item, None without views.
        groups: numbers of the items of each meaning that is there in two varieties or more.
        links: word links by (id, id).
        skipped: how many items were left out, by reason.
        sha: of corpus and views.
        seed: decides what `sample` draws.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    varieties: tuple[str, ...]
    meanings: tuple[str | None, ...]
    views: tuple[str, ...] | None
    groups: tuple[tuple[int, ...], ...]
    links: Mapping[tuple[str, str], _Link] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    sha: str = ""
    seed: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self) -> Iterator[str]:
        """Texts for a tokenizer: of each variety as many characters, views included."""
        places: dict[str, list[int]] = {}
        for number, variety in enumerate(self.varieties):
            places.setdefault(variety, []).append(number)
        share = _SAMPLE_CHARACTERS // (len(places) * (1 if self.views is None else 2))
        for variety in sorted(places):
            draw = np.random.default_rng([self.seed, *variety.encode()])
            taken = 0
            for number in draw.permutation(places[variety]).tolist():
                yield self.texts[number][:share]
                if self.views is not None:
                    yield self.views[number][:share]
                taken += len(self.texts[number])
                if taken >= share:
                    break

    def rows(self, pairs: Sequence[tuple[int, int]], *, kind: str) -> TextRows:
        """The rows of a batch from pairs of numbers, equal numbers where a row is one text.

        Args:
            pairs: of items.
            kind: "meaning" (both items), "views" (the first item and its view), "none" (the first
                item alone).

        Rows have their meaning as name only with "meaning": with views, and for single texts, which
        items of a corpus are translations of each other is not used.
        """
        firsts, seconds = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ids = tuple(self.ids[i] for i in firsts)
        texts: list[tuple[str, ...]] = [tuple(self.texts[i] for i in firsts)]
        varieties: list[tuple[str, ...]] = [tuple(self.varieties[i] for i in firsts)]
        names: tuple[str | None, ...] = (None,) * len(firsts)
        links: tuple[_Link, ...] | None = None
        if kind == "meaning":
            texts.append(tuple(self.texts[i] for i in seconds))
            varieties.append(tuple(self.varieties[i] for i in seconds))
            names = tuple(self.meanings[i] for i in firsts)
            if self.links:
                links = tuple(self.links.get((self.ids[i], self.ids[j]), ()) for i, j in pairs)
        elif kind == "views":
            if self.views is None:
                raise ValueError("the material has no views")
            texts.append(tuple(self.views[i] for i in firsts))
            varieties.append(varieties[0])
        return TextRows(ids, tuple(texts), names, tuple(varieties), links)


def prepare_texts(
    config: TextTrainConfig,
    corpus: Corpus | Path,
    *,
    views: Views | None = None,
    table: VarietyTable | None = None,
) -> TextMaterial:
    """The items of a corpus that can be trained on.

    Of a corpus with splits those of the split train. Left out and counted: bad lines of a manifest,
    items without text or with white space alone, empty views, doubles (the same text of the same
    meaning and variety). For pairs of a meaning also items whose meaning has one variety only, and
    varieties of which one item is left.

    Args:
        config: its `varieties`, `items_per_variety`, `links`, `seed`, and `pairs`, which must not
            be "auto" any more.
        corpus: a manifest, its folder, or a corpus.
        views: a second text of each item of the corpus, in its order (bad lines not counted); or a
            function that is given the texts that will be used and gives as many.
        table: varieties that exist; None is the built-in table.

    Raises:
        OSError: the manifest cannot be opened.
        UnknownName: one of `config.varieties` is not in the corpus.
        ValueError: there are not as many views as items.
        IsoglossError: nothing is left, or no meaning has two varieties where pairs are needed.
        BadRecord: a line of the links cannot be read.
    """
    skipped: Counter[str] = Counter()
    items, sha = _items(corpus, skipped, table)
    kept = _usable(config, items, skipped)
    seen: dict[int, str] | None = None
    if views is not None:
        seen = _views(views, items, kept)
        blank = {number for number in kept if not seen[number].strip()}
        if blank:
            skipped["empty view"] += len(blank)
        kept = [number for number in kept if number not in blank]
        digest = hashlib.sha256(sha.encode())
        for number in kept:
            digest.update(seen[number].encode("utf-8", "surrogatepass") + b"\0")
        sha = digest.hexdigest()
    groups: tuple[tuple[int, ...], ...] = ()
    if config.pairs == "meaning":
        kept, groups = _grouped(items, kept, skipped)
    if not kept:
        raise IsoglossError(f"no item can be trained on: {_said(skipped)}")
    chosen = [items[i] for i in kept]
    return TextMaterial(
        tuple(item.id for item in chosen),
        tuple(text_of(item) for item in chosen),
        tuple(item.variety for item in chosen),
        tuple(item.meaning for item in chosen),
        None if seen is None else tuple(seen[i] for i in kept),
        groups,
        {} if config.links is None else read_links(Path(config.links)),
        dict(sorted(skipped.items())),
        sha,
        config.seed,
    )


def read_links(path: Path) -> dict[tuple[str, str], _Link]:
    """Word links of pairs of items: lines "ID<tab>ID<tab>0-0 1-2", also turned around.

    Raises:
        IsoglossError: there is no such file, or it is not UTF-8.
        BadRecord: a line is not as described.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise IsoglossError(f"links {path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise IsoglossError(f"links {path}: not UTF-8: {error}") from error
    found: dict[tuple[str, str], _Link] = {}
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t")
        if len(columns) != 3:
            raise BadRecord(path, number, "links", f"expected 3 columns, found {len(columns)}")
        pairs = []
        for part in columns[2].split():
            left, dash, right = part.partition("-")
            if not (dash and left.isdecimal() and right.isdecimal()):
                raise BadRecord(path, number, "links", f"'{part}' is not NUMBER-NUMBER")
            pairs.append((int(left), int(right)))
        found[columns[0], columns[1]] = tuple(pairs)
        found[columns[1], columns[0]] = tuple((right, left) for left, right in pairs)
    return found


def _items(
    corpus: Corpus | Path, skipped: Counter[str], table: VarietyTable | None
) -> tuple[Sequence[Item], str]:
    if isinstance(corpus, Corpus):
        return corpus.items, corpus.sha or content_sha(corpus.items, corpus.root)
    path = manifest_path(corpus)
    items: list[Item] = []
    for _, record in read_records(path, table=table):
        if isinstance(record, BadRecord):
            skipped[f"bad {record.field} in the manifest"] += 1
        else:
            items.append(record)
    return items, content_sha(items, path.resolve().parent)


def _usable(
    config: TextTrainConfig,
    items: Sequence[Item],
    skipped: Counter[str],
) -> list[int]:
    """Numbers of the items of the wanted varieties and split that have a text, in their order."""
    has_splits = any(item.split is not None for item in items)
    there = {item.variety for item in items}
    for variety in config.varieties:
        if variety not in there:
            raise UnknownName("variety of the corpus", variety, there)
    wanted = set(config.varieties) or there
    places: dict[str, list[int]] = {}
    seen: set[tuple[str, str | None, str]] = set()
    for number, item in enumerate(items):
        if item.variety not in wanted or (has_splits and item.split != "train"):
            continue
        if not has_text(item):
            skipped["no text"] += 1
        elif (key := (item.variety, item.meaning, text_of(item))) in seen:
            skipped["double"] += 1
        else:
            seen.add(key)
            places.setdefault(item.variety, []).append(number)
    most = config.items_per_variety
    kept: list[int] = []
    for variety, numbers in places.items():
        if most is not None and len(numbers) > most:
            draw = np.random.default_rng([config.seed, *variety.encode()])
            numbers = draw.permutation(numbers)[:most].tolist()
        kept += numbers
    return sorted(kept)


def _views(views: Views, items: Sequence[Item], kept: Sequence[int]) -> dict[int, str]:
    """The view of each kept item by its number."""
    if callable(views):
        made = views([text_of(items[number]) for number in kept])
        if len(made) != len(kept):
            raise ValueError(f"{len(made)} views were made of {len(kept)} texts; each needs one")
        return dict(zip(kept, made, strict=True))
    if len(views) != len(items):
        raise ValueError(f"there are {len(views)} views for {len(items)} items; each needs one")
    return {number: views[number] for number in kept}


def _grouped(
    items: Sequence[Item], kept: Sequence[int], skipped: Counter[str]
) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
    """The items of meanings in two varieties or more, and the groups by place among these."""
    by_meaning: dict[str, list[int]] = {}
    for number in kept:
        meaning = items[number].meaning
        if meaning is None:
            skipped["no meaning"] += 1
        else:
            by_meaning.setdefault(meaning, []).append(number)
    parallel = _of_several(items, by_meaning.values())
    counts = Counter(items[i].variety for group in parallel for i in group)
    lonely = {variety for variety, count in counts.items() if count == 1}
    if lonely:
        # Its one item would be drawn as often as all of another variety's.
        skipped["variety with one item"] += len(lonely)
        parallel = _of_several(
            items, [[i for i in group if items[i].variety not in lonely] for group in parallel]
        )
    members = sorted(number for group in parallel for number in group)
    had = sum(len(group) for group in by_meaning.values())
    alone = had - len(members) - len(lonely)
    if alone:
        skipped["meaning in one variety"] += alone
    if not members:
        raise IsoglossError(
            "no meaning is there in two varieties, so there are no pairs to learn from: "
            f"{_said(skipped)}; give the corpus meanings, or views"
        )
    places = {number: place for place, number in enumerate(members)}
    return members, tuple(tuple(places[i] for i in group) for group in parallel)


def _of_several(items: Sequence[Item], groups: object) -> list[list[int]]:
    listed: list[list[int]] = list(groups)  # type: ignore[call-overload]
    return [group for group in listed if len({items[i].variety for i in group}) > 1]


def _said(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "it is empty"
