"""Variation: texts in, changed texts out (other script, clone, code-switched, mixed), with seed."""

from __future__ import annotations

from isogloss.variation.clone import Alphabet, Clone, clone_ids
from isogloss.variation.codeswitch import CodeSwitch, read_entities
from isogloss.variation.items import OF_SEVERAL, VariedItems, vary_items
from isogloss.variation.mix import mix_varieties, pack_pairs
from isogloss.variation.registry import VARIATIONS, make_variation, views
from isogloss.variation.serbian import serbian_cyrillic, serbian_latin
from isogloss.variation.transliterate import Chinese, Romanise, Serbian, romanise
from isogloss.variation.varied import Edit, Variation, Varied

__all__ = [
    "OF_SEVERAL",
    "VARIATIONS",
    "Alphabet",
    "Chinese",
    "Clone",
    "CodeSwitch",
    "Edit",
    "Romanise",
    "Serbian",
    "Variation",
    "Varied",
    "VariedItems",
    "clone_ids",
    "make_variation",
    "mix_varieties",
    "pack_pairs",
    "read_entities",
    "romanise",
    "serbian_cyrillic",
    "serbian_latin",
    "vary_items",
    "views",
]
