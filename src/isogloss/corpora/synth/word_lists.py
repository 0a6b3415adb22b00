"""Lists of unrelated words, as a dialect survey elicits them beside its sentences; used by `make`.

A recogniser that hears nothing but a grammar's sentences learns the grammar, and guesses in
sentences of another build. In a list no word follows from its neighbours.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from isogloss.corpora.synth.grammar import Sentence
from isogloss.corpora.synth.lexicon import load_lexicon

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["word_lists"]

_SHORTEST, _LONGEST = 2, 5
_ATTEMPTS = 100


def word_lists(count: int, *, seed: int, varieties: Sequence[str]) -> list[Sentence]:
    """`count` different lists of 2 to 5 different words, every concept about equally often.

    Mandarin is always among the forms: it is the standard wording. The same seed gives the same
    lists; the first ones of a longer result are those of a shorter one.

    Raises:
        ValueError: there are not as many lists as asked for.
    """
    lexicon = load_lexicon()
    rng = random.Random(f"word lists {seed}")
    found: dict[str, Sentence] = {}
    deck: list[str] = []
    misses = 0
    while len(found) < count:
        size = rng.randint(_SHORTEST, _LONGEST)
        if len(deck) < size:
            deck = sorted(lexicon)
            rng.shuffle(deck)
        concepts = [deck.pop() for _ in range(size)]
        meaning = f"word_list:{','.join(concepts)}"
        if meaning in found:
            misses += 1
            if misses > _ATTEMPTS:
                raise ValueError(f"no more than {len(found)} different word lists, not {count}")
            continue
        misses = 0
        forms = {
            variety: tuple(lexicon[concept].word(variety) for concept in concepts)
            for variety in dict.fromkeys(("cmn", *varieties))
        }
        found[meaning] = Sentence(meaning, "word_list", forms)
    return list(found.values())
