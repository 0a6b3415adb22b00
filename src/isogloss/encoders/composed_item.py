"""An item in, the same with text and words in Unicode's composed form out."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from isogloss.encoders.item_text import text_of

if TYPE_CHECKING:
    from isogloss.types import Item

__all__ = ["composed"]


def composed(item: Item) -> Item:
    """The item with `text` and `words` in form NFC, so that equal letters are equal characters.

    The number of its words stays. An item with a transcript alone gets it as text.

    Raises:
        TextError: the item has no text.
    """
    words = tuple(unicodedata.normalize("NFC", word) for word in item.words)
    return replace(item, text=unicodedata.normalize("NFC", text_of(item)), words=words)
