"""Which text of an item teaches which output; used by `examples` and `prepare`.

A corpus has two kinds of text: what was said in the variety's own characters (`Item.transcript`)
and the same in the standard wording (`Item.translation`). Every loss says which it takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.speech.tokens import normalise_text
from isogloss.training.lexicon import WordTies, read_word_ties

if TYPE_CHECKING:
    from isogloss.training.config import TrainConfig
    from isogloss.types import Item

__all__ = ["TAGS", "ItemTexts", "TextPlan", "has_standard_text"]

TAGS = ("<standard>", "<dialect>")
"""First unit of a target of `transcripts="tagged"`."""


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """Texts of one item. `heads[h]` is for CTC output h, None where the item has none for it.

    With `transcripts="tagged"` there is one output, and `heads` are the two texts to draw from.
    `inter`, `teacher` and `contrast` are for the losses of those names, None where there is none.
    """

    heads: tuple[str | None, ...]
    inter: str | None = None
    teacher: str | None = None
    contrast: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every text that is written in output units."""
        texts = (*self.heads, self.inter, self.contrast)
        return tuple(text for text in texts if text is not None)


@dataclass(frozen=True, slots=True)
class TextPlan:
    """The choice of texts of a run.

    Args:
        transcripts: as `TrainConfig.transcripts`.
        standard_share: share of the items whose standard text is looked at.
        ties: lexicon that makes a stand-in for the standard text from the transcript, or None.
        inter: text of inter-layer CTC: "same" (the output's own), "standard", "dialect", or ""
            where there is no such loss.
        teacher: text of the utterance vector's teacher, likewise.
        contrast: text of the contrastive loss, likewise.
    """

    transcripts: str = "standard"
    standard_share: float = 1.0
    ties: WordTies | None = None
    inter: str = ""
    teacher: str = ""
    contrast: str = ""

    @classmethod
    def of(cls, config: TrainConfig) -> TextPlan:
        """The plan of a run; reads its lexicon.

        Raises:
            IsoglossError: the lexicon cannot be read (`BadRecord` names the line).
        """
        return cls(
            config.transcripts,
            config.standard_share,
            None if config.lexicon is None else read_word_ties(Path(config.lexicon)),
            config.inter_ctc_text if config.inter_ctc else "",
            config.teacher_text if config.pooled_teacher else "",
            config.contrastive_text if config.contrastive else "",
        )

    def of_item(self, item: Item, *, all_standard: bool = False) -> ItemTexts | None:
        """Texts of `item`, or None when no CTC output has one.

        Args:
            item: with `transcript`, `translation` or both.
            all_standard: heed the standard text whatever `standard_share` says, for measuring.
        """
        shown = all_standard or has_standard_text(item.id, self.standard_share)
        dialect = item.transcript or ""
        tied = dialect if self.ties is None else self.ties.replaced(dialect, item.variety)
        standard = (item.translation or "") if shown else ""
        if self.ties is not None:
            standard = standard or tied
        heads: tuple[str | None, ...]
        if self.transcripts == "standard":
            heads = (_kept(standard or tied),)
        elif self.transcripts == "dialect":
            heads = (_kept(tied),)
        else:
            heads = (_kept(standard), _kept(dialect))
        if not any(text is not None for text in heads):
            return None
        same = next(text for text in heads if text is not None)
        choice = {"standard": _kept(standard), "dialect": _kept(dialect), "same": same, "": None}
        # "same" of inter-layer CTC follows the first output, which may be drawn anew each epoch.
        inter = None if self.inter == "same" else choice[self.inter]
        return ItemTexts(heads, inter, choice[self.teacher], choice[self.contrast])


def has_standard_text(name: str, share: float) -> bool:
    """Whether the item called `name` is in the `share` of items whose standard text is used.

    Decided by a hash of the name alone: the same items in every run, machine and order, and those
    of a smaller share are among those of a larger one.
    """
    digest = hashlib.sha256(f"standard/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64


def _kept(text: str) -> str | None:
    return text if normalise_text(text) else None
