"""A synthetic language with known truth: a text's clone, letter for letter or token for token.

A clone means exactly what its original means and shares nothing visible with it, so that what a
model aligns can be checked against the truth, word by word.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss.errors import UnknownName
from isogloss.variation.varied import Varied, random_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

__all__ = ["Alphabet", "Clone", "clone_ids", "read_schedule"]

# Letters that stay one piece in every Unicode normal form, have no case, and that few tokenizers
# were trained on: Yi syllables, Tangut. Hangul syllables come last, since normal form D parts them.
_POOLS = ((0xA000, 0xA48C), (0x17000, 0x187F7), (0xAC00, 0xD7A3))
_SCRIPTS = ("new", "same")


@dataclass(frozen=True, slots=True)
class Alphabet:
    """A one-to-one change of letters. `letters` maps each letter (or mark) to that of the clone."""

    letters: Mapping[str, str]

    @classmethod
    def of(
        cls, texts: Iterable[str], *, script: Literal["new", "same"] = "new", seed: int = 0
    ) -> Alphabet:
        """An alphabet for all letters and marks of `texts`; digits, signs and spaces stay.

        Args:
            texts: what will be cloned; other texts may have letters that are not in it.
            script: "new" takes letters of scripts that the texts do not use (Yi, then Tangut,
                then Hangul), so that original and clone share no letter. "same" permutes the
                letters of the texts among themselves, capitals with their small letters: they
                share all letters and no words.
            seed: which letter becomes which.

        Raises:
            UnknownName: no such `script`.
            ValueError: more different letters than there are to take (some 18,000).
        """
        if script not in _SCRIPTS:
            raise UnknownName("script of a clone", script, _SCRIPTS)
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        letters = sorted(c for c in seen if unicodedata.category(c)[0] in "LM")
        if script == "same":
            return cls(_permuted(letters, seed))
        pool = [chr(n) for first, last in _POOLS for n in range(first, last + 1)]
        free = [c for c in pool if c not in seen]
        if len(letters) > len(free):
            raise ValueError(
                f"{len(letters)} different letters, and a clone has {len(free)} to take; "
                'use script "same", or clone fewer varieties at once'
            )
        # As many as are needed from the front, so that a small alphabet stays in one script.
        taken = free[: len(letters)]
        random_of(seed, "alphabet").shuffle(taken)
        return cls(dict(zip(letters, taken, strict=True)))

    def clone(self, text: str) -> str:
        """The clone of `text`: as many characters, each at the same place.

        Raises:
            ValueError: a letter of the clone's stands in `text` that is not in the alphabet, so
                that there would be no way back.
        """
        used = set(self.letters.values())
        for character in text:
            if character in used and character not in self.letters:
                raise ValueError(
                    f"'{character}' is a letter of the clone; make the alphabet of these texts too"
                )
        return "".join(self.letters.get(c, c) for c in text)

    def original(self, text: str) -> str:
        """The text whose clone is `text`."""
        back = {new: old for old, new in self.letters.items()}
        return "".join(back.get(c, c) for c in text)


def _permuted(letters: Sequence[str], seed: int) -> dict[str, str]:
    """Letters permuted: small letters with a capital of their own among themselves, then others."""
    cased = [c for c in letters if _has_pair(c)]
    small = sorted({c.lower() for c in cased})
    # Both cases come along, so that a later text in capitals is cloned too.
    rest = [c for c in letters if not _has_pair(c)]
    found: dict[str, str] = {}
    # Marks stay among marks: a text must not begin with one.
    marks = [c for c in rest if unicodedata.category(c)[0] == "M"]
    plain = [c for c in rest if unicodedata.category(c)[0] == "L"]
    for name, group in (("small", small), ("plain", plain), ("marks", marks)):
        for old, new in zip(group, _rotated(group, seed, name), strict=True):
            found[old] = new
            if name == "small":
                found[old.upper()] = new.upper()
    return found


def _rotated(group: Sequence[str], seed: int, name: str) -> list[str]:
    """A permutation without fixed letter where there are two or more: one cycle through all."""
    order = list(group)
    random_of(seed, name).shuffle(order)
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [following[c] for c in group]


def _has_pair(character: str) -> bool:
    low, up = character.lower(), character.upper()
    return (
        low != up
        and len(low) == len(up) == 1
        and low.upper() == up
        and up.lower() == low
        and unicodedata.category(character)[0] == "L"
    )


@dataclass(frozen=True)
class Clone:
    """The clone of a share of the texts; the others stay, in their own variety.

    Args:
        p: share of the texts that are cloned, drawn for each by its key. Several numbers, as in
            "0.1_0.9_0.5": the texts in their order are that many stretches of equal length, each
            with its share (so that a training run in that order has a schedule).
        script: see `Alphabet.of`.
        seed: of the alphabet and of the draw.
        alphabet: made of the texts themselves where it is None; texts that are cloned in several
            calls need one that was made of all.
    """

    p: str | float = 1.0
    script: Literal["new", "same"] = "new"
    seed: int = 0
    alphabet: Alphabet | None = None
    name: Literal["clone"] = field(default="clone", init=False)

    def __post_init__(self) -> None:
        if self.script not in _SCRIPTS:
            raise UnknownName("script of a clone", self.script, _SCRIPTS)
        read_schedule(str(self.p))

    @cached_property
    def schedule(self) -> tuple[float, ...]:
        """The shares of the stretches."""
        return read_schedule(str(self.p))

    @property
    def described(self) -> str:
        """Name, shares, script and seed."""
        return f"clone:p={self.p},script={self.script},seed={self.seed}"

    def variety_of(self, code: str) -> str:
        """`code` with "-clone" behind it."""
        return f"{code}-clone"

    def vary(
        self, texts: Sequence[str], *, keys: Sequence[str], varieties: Sequence[str]
    ) -> list[Varied]:
        """Clones of the texts that are drawn; the others unchanged, with `changed` False."""
        alphabet = self.alphabet or Alphabet.of(texts, script=self.script, seed=self.seed)
        found = []
        for place, (text, key) in enumerate(zip(texts, keys, strict=True)):
            share = self.schedule[place * len(self.schedule) // len(texts)]
            if random_of(self.seed, key, "clone").random() < share:
                found.append(Varied(alphabet.clone(text)))
            else:
                found.append(Varied(text, changed=False))
        return found


def read_schedule(written: str) -> tuple[float, ...]:
    """Shares of "0.1_0.9_0.5_0.5".

    Raises:
        ValueError: none, or one that is no number from 0 to 1.
    """
    try:
        shares = tuple(float(part) for part in written.split("_"))
    except ValueError:
        shares = ()
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"'{written}' is no share from 0 to 1, nor several parted by '_'")
    return shares


def clone_ids(
    ids: npt.NDArray[np.int64], *, vocabulary: int, special: Iterable[int] = ()
) -> npt.NDArray[np.int64]:
    """Token ids of the clone: t becomes t + `vocabulary`, special tokens stay; a new array.

    The model needs 2 * `vocabulary` embeddings, and one tokenizer serves both languages.

    Args:
        ids: any shape.
        vocabulary: V, the number of ids of the original.
        special: ids that both languages share.

    Raises:
        ValueError: an id is outside 0 to V - 1.

    Source: the cloned languages of Schäfer et al. 2024 (arXiv 2404.07982).
    """
    if ids.size and not (0 <= ids.min() and ids.max() < vocabulary):
        raise ValueError(f"ids run from {ids.min()} to {ids.max()}, and V is {vocabulary}")
    kept = np.isin(ids, list(special))
    return np.where(kept, ids, ids + vocabulary)
