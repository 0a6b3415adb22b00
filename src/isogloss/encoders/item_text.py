"""What a text encoder reads of an item: its text, or what was said in its recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.errors import TextError

if TYPE_CHECKING:
    from isogloss.types import Item

__all__ = ["has_text", "text_of"]


def has_text(item: Item) -> bool:
    """Whether `text_of` finds something: a text, or else a transcript, that is not blank."""
    return any(text is not None and text.strip() for text in (item.text, item.transcript))


def text_of(item: Item) -> str:
    """The item's `text`, else its `transcript`; as it stands, spaces and all.

    Raises:
        TextError: there is neither, or nothing but white space (the item is named).
    """
    for text in (item.text, item.transcript):
        if text is not None and text.strip():
            return text
    if item.text is None and item.transcript is None:
        raise TextError(item.id, "it has no text and no transcript; a text encoder needs one")
    raise TextError(item.id, "its text is empty; leave the item out of the corpus")
