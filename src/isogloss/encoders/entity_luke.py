"""Texts with the entities they name in, states of LUKE and mLUKE checkpoints out; for `entity`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss import __version__
from isogloss.encoders.composed_item import composed
from isogloss.encoders.hf_text_tokens import pieces_of, windows_of
from isogloss.encoders.item_text import text_of
from isogloss.encoders.layered_text import LayeredText, batches_of
from isogloss.encoders.words import item_spans, span_words
from isogloss.errors import TextError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from isogloss.encoders.entity_table import EntityTable
    from isogloss.encoders.hf_text_load import TextModel
    from isogloss.encoders.hf_text_tokens import Pieces
    from isogloss.types import FloatArray, Item

__all__ = ["EntityCounts", "LukeEncoder", "entity_numbers"]

_BATCH_TOKENS = 4096


@dataclass
class EntityCounts:
    """What an encoder met: names in texts, and those that became entity tokens."""

    names: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Window:
    """What the model reads at once: an item's token numbers and entities (number, places)."""

    item: int
    ids: tuple[int, ...]
    kept: npt.NDArray[np.int64]
    entities: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LukeEncoder(LayeredText):
    """States of a text's tokens and, behind them, of the entities that a table finds in it.

    An entity token stands at the places of its name's tokens; tokens and entities attend to each
    other. A text longer than the model's window is read in windows; an entity is in those that
    have its whole name, and its state is taken from the first; its number in `words` is -1.

    Attributes:
        model: of transformers, model type 'luke', with its tokenizer.
        table: names and entities.
        numbers: entity of the table to its number in the model; others have no token.
        layer: 0 is the input of the first block, i the output of block i, the last the model's.
        steps: 'all', 'text' (tokens alone, which have seen the entities) or 'entity' (entities
            alone; an item that names none keeps its tokens).
    """

    model: TextModel
    table: EntityTable
    numbers: dict[str, int]
    counts: EntityCounts
    layer: int
    steps: Literal["all", "text", "entity"] = "all"

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that can be asked for."""
        return tuple(range(len(self.model.blocks) + 2))

    @property
    def made_by(self) -> str:
        """What changes the values."""
        import transformers

        return (
            f"entity:{self.model.name};sha={self.model.revision[:16]}"
            f";transformers={transformers.__version__};table={self.table.sha[:12]}"
            f";case={'fold' if self.table.fold else 'keep'};steps={self.steps};layer={self.layer}"
            f";isogloss={__version__}"
        )

    def _encode(self, items: Sequence[Item], layers: Sequence[int]) -> list[Sequences]:
        items = [composed(item) for item in items]
        texts = [text_of(item) for item in items]
        found = pieces_of(self.model.tokenizer, texts)
        windows: list[_Window] = []
        words: list[npt.NDArray[np.int64]] = []
        for number, (item, text, pieces) in enumerate(zip(items, texts, found, strict=True)):
            if not any(pieces.is_step):
                raise TextError(
                    item.id, f"the tokenizer of {self.model.name} leaves nothing of its text"
                )
            windows += self._windows(number, text, pieces)
            spans = [s for s, real in zip(pieces.spans, pieces.is_step, strict=True) if real]
            words.append(span_words(text, spans, item_spans(item)))
        joined = self._joined(windows, layers, len(items))
        results = []
        for layer, (tokens, entities) in zip(layers, joined, strict=True):
            rows, numbers = self._chosen(tokens, entities, words)
            made_by = replace(self, layer=layer).made_by
            ids = [item.id for item in items]
            results.append(Sequences.from_list(ids, rows, made_by=made_by, words=numbers))
        return results

    def _chosen(
        self,
        tokens: Sequence[FloatArray],
        entities: Sequence[FloatArray],
        words: Sequence[npt.NDArray[np.int64]],
    ) -> tuple[list[FloatArray], list[npt.NDArray[np.int64]]]:
        rows: list[FloatArray] = []
        numbers: list[npt.NDArray[np.int64]] = []
        for own, named, of_words in zip(tokens, entities, words, strict=True):
            none = np.full(len(named), -1, dtype=np.int64)
            if self.steps == "text" or not len(named):
                rows.append(own)
                numbers.append(of_words)
            elif self.steps == "entity":
                rows.append(named)
                numbers.append(none)
            else:
                rows.append(np.concatenate([own, named]))
                numbers.append(np.concatenate([of_words, none]))
        return rows, numbers

    def _windows(self, number: int, text: str, pieces: Pieces) -> list[_Window]:
        mentions = self.table.mentions(text)
        known = [(self.numbers[m.entity], m) for m in mentions if m.entity in self.numbers]
        self.counts.names += len(mentions)
        is_step = np.array(pieces.is_step, dtype=bool)
        most = int(getattr(self.model.tokenizer, "max_mention_length", 30))
        pending = [
            (entity, [i for i, span in enumerate(pieces.spans) if _meet(span, (m.first, m.last))])
            for entity, m in known
        ]
        pending = [(entity, places) for entity, places in pending if places]
        windows = []
        for window in windows_of(pieces, self.model.window):
            size = len(window.ids) - window.first - len(pieces.behind)
            here = range(window.start, window.start + size)
            inside = [(e, p) for e, p in pending if p[0] in here and p[-1] in here]
            kept = np.arange(window.keep_from, window.keep_to)
            offset = window.first - window.start
            windows.append(
                _Window(
                    number,
                    window.ids,
                    (kept[is_step[kept]] + offset).astype(np.int64),
                    tuple((e, tuple(i + offset for i in p[:most])) for e, p in inside),
                )
            )
            pending = [entry for entry in pending if entry not in inside]
        self.counts.tokens += sum(len(window.entities) for window in windows)
        return windows

    def _joined(
        self, windows: Sequence[_Window], layers: Sequence[int], count: int
    ) -> list[tuple[list[FloatArray], list[FloatArray]]]:
        """For each layer, the states of the tokens and of the entities of each of `count` items."""
        blank: list[FloatArray] = [np.zeros((0, 0), dtype=np.float32)] * len(windows)
        tokens, entities = [list(blank) for _ in layers], [list(blank) for _ in layers]
        for batch in batches_of([len(w.ids) + len(w.entities) for w in windows], _BATCH_TOKENS):
            states = self._states([windows[i] for i in batch], layers)
            for place, (of_tokens, of_entities) in enumerate(states):
                for row, i in enumerate(batch):
                    tokens[place][i] = of_tokens[row, windows[i].kept]
                    entities[place][i] = of_entities[row, : len(windows[i].entities)]
        members: list[list[int]] = [[] for _ in range(count)]
        for i, window in enumerate(windows):
            members[window.item].append(i)
        return [
            (
                [np.concatenate([tokens[place][i] for i in own]) for own in members],
                [np.concatenate([entities[place][i] for i in own]) for own in members],
            )
            for place in range(len(layers))
        ]

    def _states(
        self, windows: Sequence[_Window], layers: Sequence[int]
    ) -> list[tuple[FloatArray, FloatArray]]:
        """(N, L, D) states of tokens and (N, E, D) of entities for each layer."""
        import torch

        inputs = self._inputs(windows)
        with torch.inference_mode():
            output = self.model.model(**inputs, output_hidden_states=True)
        final = len(self.model.blocks) + 1
        found = []
        for layer in layers:
            of_tokens = output.last_hidden_state if layer == final else output.hidden_states[layer]
            of_entities = None
            if "entity_ids" in inputs:
                of_entities = (
                    output.entity_last_hidden_state
                    if layer == final
                    else output.entity_hidden_states[layer]
                )
            values = of_tokens.float().cpu().numpy()
            none = np.zeros((len(windows), 0, values.shape[-1]), dtype=np.float32)
            named = none if of_entities is None else of_entities.float().cpu().numpy()
            found.append((values, named))
        return found

    def _inputs(self, windows: Sequence[_Window]) -> dict[str, Tensor]:
        import torch

        count, longest = len(windows), max(len(window.ids) for window in windows)
        ids = torch.full((count, longest), self.model.pad_id)
        real = torch.zeros((count, longest), dtype=torch.int64)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
            real[row, : len(window.ids)] = 1
        inputs = {"input_ids": ids, "attention_mask": real}
        most = max(len(window.entities) for window in windows)
        if most:
            width = max(len(places) for window in windows for _, places in window.entities)
            entity_ids = torch.zeros((count, most), dtype=torch.int64)
            entity_real = torch.zeros((count, most), dtype=torch.int64)
            places_of = torch.full((count, most, width), -1)
            for row, window in enumerate(windows):
                for column, (entity, places) in enumerate(window.entities):
                    entity_ids[row, column] = entity
                    entity_real[row, column] = 1
                    places_of[row, column, : len(places)] = torch.tensor(places)
            inputs |= {
                "entity_ids": entity_ids,
                "entity_attention_mask": entity_real,
                "entity_position_ids": places_of,
            }
        return {name: tensor.to(self.model.device) for name, tensor in inputs.items()}


def entity_numbers(model: TextModel, table: EntityTable) -> dict[str, int]:
    """The number in the checkpoint of each entity of the table that it has.

    An entity is looked for by its title; one that is a number in digits and no title is taken as
    the number itself.
    """
    vocabulary: dict[str, int] = getattr(model.tokenizer, "entity_vocab", {})
    rows = int(model.model.config.entity_vocab_size)
    found: dict[str, int] = {}
    for entity in set(table.entities.values()):
        number = vocabulary.get(entity)
        if number is None and entity.isascii() and entity.isdigit():
            number = int(entity)
        if number is not None and number < rows:
            found[entity] = number
    return found


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])
