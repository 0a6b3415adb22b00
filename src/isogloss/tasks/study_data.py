"""A large corpus in, the texts of a study out: some to learn from, others to judge on.

No meaning is on both sides, and no text: catalogues repeat themselves under several meanings.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from isogloss._files import sha256_of_file, write_json
from isogloss.corpora.jsonl import manifest_path, read_corpus, stream_items, write_corpus
from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import has_text, text_of
from isogloss.errors import IsoglossError
from isogloss.tasks.alignment_sets import aligned_sets
from isogloss.training.prepare import recorded
from isogloss.types import Corpus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.types import Item

__all__ = ["DataChoice", "StudyTexts", "fit_items", "study_texts"]

_LEARN, _JUDGE = "train", "test"
_JUDGED_SHARE = 5


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Which texts of a corpus a study takes.

    Attributes:
        corpus: manifest, or the folder that holds it.
        varieties: these alone; none takes `must` and those with most items.
        must: varieties that the study cannot do without.
        most: varieties at most, where none are named.
        per_variety: texts to learn from, of each variety, at most; those of meanings that many
            varieties have come first.
        judged: meanings to judge on, at most.
        seed: of the draws.
    """

    corpus: Path
    varieties: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    most: int = 8
    per_variety: int = 2000
    judged: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("most", 2), ("per_variety", 2), ("judged", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        missing = [code for code in self.must if self.varieties and code not in self.varieties]
        if missing:
            raise ValueError(f"{missing[0]} is needed, and not among the varieties asked for")

    def settings(self) -> dict[str, object]:
        """What changes the texts, with the checksum of the manifest."""
        path = manifest_path(self.corpus)
        return {
            "corpus_sha": sha256_of_file(path),
            "varieties": list(self.varieties),
            "must": list(self.must),
            "most_varieties": self.most,
            "per_variety": self.per_variety,
            "judged": self.judged,
            "data_seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class StudyTexts:
    """Texts of a study: `learn` and `judge`, the varieties in order, what was left out by reason.

    `learn` holds items with the split train; `judge` items of which each has a translation there.
    """

    name: str
    learn: Corpus
    judge: Corpus
    varieties: tuple[str, ...]
    left_out: Mapping[str, int]

    def told(self) -> dict[str, object]:
        """Counts for results.json."""
        return {
            "name": self.name,
            "varieties": list(self.varieties),
            "texts_to_learn_from": len(self.learn.items),
            "texts_judged": len(self.judge.items),
            "meanings_judged": len({item.meaning for item in self.judge.items}),
            "left_out": dict(self.left_out),
        }


def study_texts(choice: DataChoice, folder: Path, *, progress: bool = True) -> StudyTexts:
    """The texts of `choice`, kept in `folder` and read from there the next time.

    A corpus with the splits train and test is divided by these; of any other a fifth of the
    meanings is judged on.

    Raises:
        IsoglossError: a variety is not in the corpus, or nothing is left to learn from.
        ValueError: no two varieties share two meanings to judge on.
    """
    if not (folder / "texts.json").is_file():
        _choose(choice, folder, progress)
    told = recorded(folder / "texts.json") or {}
    whole = read_corpus(folder / "manifest.jsonl")
    learn = tuple(item for item in whole.items if item.split == _LEARN)
    judge = tuple(item for item in whole.items if item.split == _JUDGE)
    return StudyTexts(
        told["name"],
        replace(whole, items=learn, sha=f"{whole.sha}:{_LEARN}"),
        replace(whole, items=judge, sha=f"{whole.sha}:{_JUDGE}"),
        tuple(told["varieties"]),
        told["left_out"],
    )


def fit_items(texts: StudyTexts, meanings: int, seed: int) -> list[Item]:
    """Items of `meanings` meanings to fit a transform on, drawn by `seed`.

    Meanings that most varieties have come first, as where items to judge on are chosen.
    """
    sets = aligned_sets(texts.learn, takes_text=True, most=meanings, seed=seed)
    places = sorted(int(i) for i in sets.table[sets.table >= 0])
    return [sets.items[i] for i in places]


def _choose(choice: DataChoice, folder: Path, progress: bool) -> None:
    path = manifest_path(choice.corpus)
    stream = stream_items(path)
    left_out: Counter[str] = Counter()
    by_variety: dict[str, list[Item]] = {}
    for item in with_progress(stream, "reading the corpus") if progress else stream:
        if choice.varieties and item.variety not in choice.varieties:
            continue
        if not has_text(item):
            left_out["no text"] += 1
        else:
            by_variety.setdefault(item.variety, []).append(item)
    varieties = _varieties(choice, by_variety)
    items = [item for code in varieties for item in by_variety[code]]
    learn, judge = _divided(items)
    sets = aligned_sets(
        Corpus("judged", tuple(judge)), takes_text=True, most=choice.judged, seed=choice.seed
    )
    judged = [sets.items[i] for i in sorted(sets.table[sets.table >= 0].tolist())]
    seen = {(item.variety, text_of(item)) for item in judged}
    fresh = [item for item in learn if (item.variety, text_of(item)) not in seen]
    left_out["text also judged on"] = len(learn) - len(fresh)
    kept = _capped(fresh, varieties, choice)
    left_out["beyond the texts a variety"] = len(fresh) - len(kept)
    if not kept:
        raise IsoglossError(f"{path}: no text is left to learn from ({dict(left_out)})")
    folder.mkdir(parents=True, exist_ok=True)
    write_corpus(
        Corpus(
            "study",
            tuple(replace(item, split=_LEARN) for item in kept)
            + tuple(replace(item, split=_JUDGE) for item in judged),
        ),
        folder / "manifest.jsonl",
    )
    told = {
        "name": path.parent.name if path.name == "manifest.jsonl" else path.stem,
        "varieties": list(varieties),
        "left_out": {reason: count for reason, count in left_out.items() if count},
    }
    write_json(folder / "texts.json", told)


def _varieties(choice: DataChoice, found: Mapping[str, Sequence[Item]]) -> tuple[str, ...]:
    absent = [code for code in (*choice.varieties, *choice.must) if code not in found]
    if absent:
        there = ", ".join(sorted(found)) or "none"
        raise IsoglossError(f"{choice.corpus} has no text of '{absent[0]}'; it has {there}")
    if choice.varieties:
        return tuple(dict.fromkeys(choice.varieties))
    rest = sorted((c for c in found if c not in choice.must), key=lambda c: (-len(found[c]), c))
    more = max(choice.most - len(choice.must), 0)
    return (*choice.must, *rest[:more])


def _divided(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    splits = {item.split for item in items}
    if {_LEARN, _JUDGE} <= splits:
        return (
            [item for item in items if item.split == _LEARN],
            [item for item in items if item.split == _JUDGE],
        )

    def is_judged(item: Item) -> bool:
        name = item.meaning
        return name is not None and zlib.crc32(name.encode("utf-8", "replace")) % _JUDGED_SHARE == 0

    return (
        [item for item in items if not is_judged(item)],
        [item for item in items if is_judged(item)],
    )


def _capped(items: Sequence[Item], varieties: Sequence[str], choice: DataChoice) -> list[Item]:
    """At most `per_variety` items of each, meanings of many varieties first."""
    spread: dict[str, set[str]] = {}
    for item in items:
        if item.meaning is not None:
            spread.setdefault(item.meaning, set()).add(item.variety)

    def order(item: Item) -> tuple[int, int, str]:
        name = item.meaning or item.id
        draw = zlib.crc32(f"{choice.seed}:{name}".encode("utf-8", "replace"))
        return -len(spread.get(name, ())), draw, item.id

    kept: list[Item] = []
    for code in varieties:
        own = sorted((item for item in items if item.variety == code), key=order)
        kept += own[: choice.per_variety]
    return kept
