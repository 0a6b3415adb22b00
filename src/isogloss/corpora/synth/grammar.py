"""Sentences in four varieties from templates: lexicon and `data/*.tsv` in, `Sentence`s out.

Three tables make the grammar. `classes.tsv` names sets of concepts. `frames.tsv` lists what goes
with what (eat with food, a classifier with its nouns). `templates.tsv` gives each template its
slots and its word order per variety. A slot is filled from a class (`s=someone`) or, two slots at
a time, from a relation (`v/o=action`), so that nobody drinks trousers. In the word orders `{s}`
stands for the slot and a bare word for a concept; an empty order is the Mandarin one.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from isogloss.corpora.synth.lexicon import (
    DATA,
    LEXICON_VARIETIES,
    LexiconEntry,
    Word,
    load_lexicon,
    read_rows,
)
from isogloss.errors import BadRecord, UnknownName

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Grammar", "Sentence", "Template", "generate", "load_grammar"]

_SLOT = re.compile(r"\{(\w+)\}")
_FILLING = re.compile(r"([\w/]+)=(\w+)(?:\(([\w,]+)\))?")
_ATTEMPTS = 40


@dataclass(frozen=True, eq=False)
class Sentence:
    """One meaning, worded in each variety; `meaning` is a key that never changes for it."""

    meaning: str
    template: str
    forms: Mapping[str, tuple[Word, ...]]

    def words(self, variety: str) -> tuple[Word, ...]:
        """The words of `variety`, in order.

        Raises:
            UnknownName: the sentence has no such variety.
        """
        if variety not in self.forms:
            raise UnknownName("variety of the sentence", variety, self.forms)
        return self.forms[variety]

    def characters(self, variety: str) -> str:
        """The wording of `variety` in its own characters, without spaces or punctuation."""
        return "".join(word.characters for word in self.words(variety))

    def romanisation(self, variety: str) -> str:
        """The wording of `variety` romanised, words separated by spaces."""
        return " ".join(word.romanisation for word in self.words(variety))

    @property
    def standard(self) -> str:
        """The Mandarin wording in simplified characters."""
        return self.characters("cmn")

    def cognate_share(self, variety: str) -> float:
        """Share of `variety`'s wording that is cognate with Mandarin, by characters, in [0, 1].

        A word flagged "full" in the lexicon counts with all its characters, "partial" with half of
        them, "none" with nothing; word order does not count. 1 for cmn, 0 for no words.
        """
        weight = {"full": 1.0, "partial": 0.5, "none": 0.0}
        words = self.words(variety)
        total = sum(len(word.characters) for word in words)
        shared = sum(weight[word.cognate] * len(word.characters) for word in words)
        return shared / total if total else 0.0


@dataclass(frozen=True, eq=False)
class Template:
    """A kind of sentence: how its slots are filled, and its word order in each variety.

    `fillings` pairs the names of one or two slots with all tuples of concepts that may fill them.
    """

    name: str
    fillings: tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...]
    orders: Mapping[str, tuple[str, ...]]

    @cached_property
    def _rows_with(self) -> dict[tuple[int, str, str], tuple[tuple[str, ...], ...]]:
        """Rows of a filling by (number of the filling, slot, concept in that slot)."""
        found: dict[tuple[int, str, str], list[tuple[str, ...]]] = {}
        for number, (slots, rows) in enumerate(self.fillings):
            for row in rows:
                for slot, concept in zip(slots, row, strict=True):
                    found.setdefault((number, slot, concept), []).append(row)
        return {key: tuple(rows) for key, rows in found.items()}

    def fill(
        self, rng: random.Random, used: Mapping[str, int], wanted: str | None = None
    ) -> dict[str, str] | None:
        """Concept by slot, all different, rarely `used` ones preferred; None where it failed.

        With `wanted`, that concept fills a slot.
        """
        filled: dict[str, str] = {}
        if wanted is not None:
            places = [
                slot
                for number, (slots, _) in enumerate(self.fillings)
                for slot in slots
                if (number, slot, wanted) in self._rows_with
            ]
            if not places:
                return None
            filled[rng.choice(places)] = wanted
        for number, (slots, rows) in enumerate(self.fillings):
            for slot in slots:
                if slot in filled:
                    # Few rows remain, so the check of the other slot below is cheap.
                    rows = self._rows_with.get((number, slot, filled[slot]), ())
                    break
            rows = self._agreeing(slots, rows, filled)
            if not rows:
                return None
            drawn = [rows[rng.randrange(len(rows))] for _ in range(4)]
            row = min(drawn, key=lambda row: sum(used.get(concept, 0) for concept in row))
            filled.update(zip(slots, row, strict=True))
        return filled if len(set(filled.values())) == len(filled) else None

    @staticmethod
    def _agreeing(
        slots: tuple[str, ...], rows: tuple[tuple[str, ...], ...], filled: Mapping[str, str]
    ) -> tuple[tuple[str, ...], ...]:
        """The rows that put into every slot already filled what is there."""
        fixed = [(place, filled[slot]) for place, slot in enumerate(slots) if slot in filled]
        if len(fixed) < 2:
            return rows
        return tuple(row for row in rows if all(row[place] == c for place, c in fixed))


@dataclass(frozen=True, eq=False)
class Grammar:
    """Templates over a lexicon."""

    lexicon: Mapping[str, LexiconEntry]
    templates: tuple[Template, ...]

    def sentence(
        self, template: Template, filled: Mapping[str, str], varieties: Iterable[str]
    ) -> Sentence:
        """The sentence of `template` with its slots `filled`, in `varieties` and in Mandarin."""
        forms = {}
        for variety in dict.fromkeys(("cmn", *varieties)):
            if variety not in template.orders:
                raise UnknownName("variety of the grammar", variety, template.orders)
            forms[variety] = tuple(
                self.lexicon[_concept(token, filled)].word(variety)
                for token in template.orders[variety]
            )
        key = ",".join(f"{slot}={filled[slot]}" for slot in sorted(filled))
        return Sentence(f"{template.name}:{key}", template.name, forms)


def _concept(token: str, filled: Mapping[str, str]) -> str:
    return filled[token[1:-1]] if token.startswith("{") else token


def generate(
    count: int,
    *,
    seed: int = 0,
    varieties: Sequence[str] = LEXICON_VARIETIES,
    exclude: Container[str] = (),
    grammar: Grammar | None = None,
) -> list[Sentence]:
    """`count` sentences, all different in meaning and in Mandarin wording; the same for one seed.

    Every second sentence starts from the template used least so far, the others from the concept
    used least so far, so that both are balanced; the words of the rest are drawn at random.

    Args:
        count: how many; 0 gives an empty list.
        seed: seed of the draw.
        varieties: which wordings each sentence gets; Mandarin is always among them. The choice
            does not change which meanings come out.
        exclude: meanings, or Mandarin wordings, that must not come out.
        grammar: templates and lexicon; None takes the built-in ones.

    Raises:
        ValueError: `count` is negative, or larger than what the grammar can make.
        UnknownName: a variety that the lexicon does not have.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    grammar = grammar or load_grammar()
    for variety in varieties:
        if variety not in LEXICON_VARIETIES:
            raise UnknownName("variety of the grammar", variety, LEXICON_VARIETIES)
    rng = random.Random(seed)
    draw = _Draw(grammar, rng, tuple(varieties), exclude)
    sentences = [draw.next() for _ in range(count)]
    # The draw visits templates in turn; shuffled, every slice is a fair sample of the whole.
    rng.shuffle(sentences)
    return sentences


class _Draw:
    """What has been drawn so far, and the next sentence."""

    def __init__(
        self,
        grammar: Grammar,
        rng: random.Random,
        varieties: tuple[str, ...],
        exclude: Container[str],
    ) -> None:
        self.grammar = grammar
        self.rng = rng
        self.varieties = varieties
        self.exclude = exclude
        self.templates = list(grammar.templates)
        self.used_concepts: Counter[str] = Counter()
        self.used_templates: Counter[str] = Counter()
        self.made = 0
        self.seen: set[str] = set()
        self.homes: dict[str, list[Template]] = {}
        for template in self.templates:
            for _, rows in template.fillings:
                for concept in sorted({concept for row in rows for concept in row}):
                    self.homes.setdefault(concept, []).append(template)
        self.homes = {concept: list(dict.fromkeys(homes)) for concept, homes in self.homes.items()}

    def next(self) -> Sentence:
        """A sentence not given before.

        Raises:
            ValueError: every template is exhausted.
        """
        while self.templates:
            wanted = None
            candidates = self.templates
            if self.made % 2 and self.homes:
                wanted = min(self.homes, key=self._concept_rank)
                candidates = self.homes[wanted]
            template = min(candidates, key=self._template_rank)
            sentence = self._try(template, wanted)
            if sentence is not None:
                return sentence
            self._note_failure(template, wanted)
        raise ValueError(
            f"the grammar gave only {self.made} sentences; ask for fewer or exclude fewer"
        )

    def _concept_rank(self, concept: str) -> tuple[int, str]:
        return self.used_concepts[concept], concept

    def _template_rank(self, template: Template) -> tuple[int, str]:
        return self.used_templates[template.name], template.name

    def _try(self, template: Template, wanted: str | None) -> Sentence | None:
        for _ in range(_ATTEMPTS):
            filled = template.fill(self.rng, self.used_concepts, wanted)
            if filled is None:
                continue
            sentence = self.grammar.sentence(template, filled, self.varieties)
            keys = {sentence.meaning, sentence.standard}
            if keys & self.seen or any(key in self.exclude for key in keys):
                continue
            self.seen |= keys
            self.made += 1
            self.used_templates[template.name] += 1
            self.used_concepts.update(filled.values())
            return sentence
        return None

    def _note_failure(self, template: Template, wanted: str | None) -> None:
        """Take out what gives nothing new: a concept in one template, in the end the template."""
        if wanted is not None:
            self.homes[wanted].remove(template)
            if not self.homes[wanted]:
                del self.homes[wanted]
            return
        self.templates.remove(template)


@cache
def load_grammar(folder: Path = DATA) -> Grammar:
    """The grammar of the tables in `folder` (`lexicon`, `classes`, `frames`, `templates`.tsv).

    Raises:
        BadRecord: a name in a table is no concept, category, class or relation.
    """
    lexicon = load_lexicon(folder / "lexicon.tsv")
    sets = _read_sets(folder / "classes.tsv", lexicon)
    relations: dict[str, list[tuple[str, ...]]] = {
        name: [(c,) for c in sets[name]] for name in sets
    }
    path = folder / "frames.tsv"
    for line, row in read_rows(path, ["relation", "head", "members"]):
        if row["head"] not in lexicon:
            raise BadRecord(path, line, "head", f"{row['head']!r} is no concept of the lexicon")
        members = _members(path, line, row["members"], lexicon, sets)
        relations.setdefault(row["relation"], []).extend((row["head"], m) for m in members)
    path = folder / "templates.tsv"
    columns = ["template", "slots", *LEXICON_VARIETIES]
    templates = []
    for line, row in read_rows(path, columns, may_be_empty=frozenset(LEXICON_VARIETIES[1:])):
        fillings = []
        for part in row["slots"].split(";"):
            fillings.append(_filling(path, line, part.strip(), relations))
        known = {name for names, _ in fillings for name in names}
        orders = {}
        for variety in LEXICON_VARIETIES:
            tokens = tuple((row[variety] or row["cmn"]).split())
            for token in tokens:
                slot = _SLOT.fullmatch(token)
                if not (slot[1] in known if slot else token in lexicon):
                    raise BadRecord(path, line, variety, f"{token!r} is no slot and no concept")
            orders[variety] = tokens
        templates.append(Template(row["template"], tuple(fillings), orders))
    return Grammar(lexicon, tuple(templates))


def _filling(
    path: Path, line: int, text: str, relations: Mapping[str, list[tuple[str, ...]]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Slots and what may fill them, from `slot=class`, `a/b=relation` or `a/b=relation(heads)`."""
    match = _FILLING.fullmatch(text)
    rows = relations.get(match[2]) if match else None
    names = tuple(match[1].split("/")) if match else ()
    if match and rows and match[3]:
        heads = match[3].split(",")
        missing = set(heads) - {row[0] for row in rows}
        if missing:
            raise BadRecord(path, line, "slots", f"{text!r}: no head {', '.join(sorted(missing))}")
        rows = [row for row in rows if row[0] in heads]
    if not rows or len(rows[0]) != len(names):
        raise BadRecord(path, line, "slots", f"{text!r}: no such class or relation")
    return names, tuple(dict.fromkeys(rows))


def _read_sets(path: Path, lexicon: Mapping[str, LexiconEntry]) -> dict[str, list[str]]:
    """Concepts by name of class or category; a class may name those above it."""
    sets: dict[str, list[str]] = {}
    for entry in lexicon.values():
        sets.setdefault(entry.category, []).append(entry.concept)
    for line, row in read_rows(path, ["class", "members"]):
        sets[row["class"]] = _members(path, line, row["members"], lexicon, sets)
    return sets


def _members(
    path: Path,
    line: int,
    text: str,
    lexicon: Mapping[str, LexiconEntry],
    sets: Mapping[str, list[str]],
) -> list[str]:
    """Concepts of a cell: bare words are concepts, `@name` is a class or category."""
    found: list[str] = []
    for name in text.split():
        if name.startswith("@") and name[1:] in sets:
            found += sets[name[1:]]
        elif name in lexicon:
            found.append(name)
        else:
            raise BadRecord(path, line, "members", f"{name!r} is no concept, class or category")
    return list(dict.fromkeys(found))
