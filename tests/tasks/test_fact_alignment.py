from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogloss.tasks import check_task
from isogloss.tasks.fact_alignment import FactAlignment, term_similarity
from isogloss.types import Corpus, Item, Sequences


class Topics:
    """Every word 'LETTERNUMBER' is a random direction by its number; a text is their sum."""

    takes_text = True
    made_by = "topics"

    def encode(self, items):
        rows = []
        for item in items:
            numbers = [int(word[1:]) for word in item.text.replace("|", " ").split()]
            vectors = [np.random.default_rng(n).standard_normal(64) for n in numbers]
            rows.append(np.sum(vectors, axis=0)[None].astype(np.float32))
        return Sequences.from_list([i.id for i in items], rows, made_by=self.made_by)


def told(entities: int = 12) -> Corpus:
    """Six facts an entity, three sentences of each language that tell two facts each."""
    rng = np.random.default_rng(0)
    items = []
    for entity in range(entities):
        numbers = rng.integers(0, 10**6, size=(6, 2))
        for n, (relation, thing) in enumerate(numbers):
            items.append(
                Item(f"e{entity}f{n}", "eng", text=f"x{relation} | x{thing}", split="test",
                     extra={"kind": "fact", "entity": str(entity)})
            )  # fmt: skip
        for variety, letter in (("hin", "h"), ("tam", "t")):
            for s in range(3):
                own = numbers[2 * s : 2 * s + 2].ravel()
                noise = rng.integers(0, 10**6, size=2)
                text = " ".join(f"{letter}{n}" for n in [*own, *noise])
                facts = f"e{entity}f{2 * s} e{entity}f{2 * s + 1}"
                items.append(
                    Item(f"{variety}{entity}s{s}", variety, text=text, split="test",
                         extra={"entity": str(entity), "facts": facts})
                )  # fmt: skip
    return Corpus("told", tuple(items), sha="0")


def values(task: FactAlignment, corpus: Corpus) -> dict[str, float]:
    return {m.name: m.value for m in task.run(corpus, Topics())}


def test_planted_facts_are_linked_and_words_alone_are_not_enough() -> None:
    found = {m.name: m for m in check_task(FactAlignment(bootstrap=50), told(), Topics())}
    assert found["fact F1"].value > 0.95
    assert found["fact F1 hin"].value > 0.9
    assert found["fact F1"].n == 12 * 2 * 3 * 2
    # The languages share no word with the facts: everything or nothing is linked.
    assert found["fact F1 by words"].value <= 0.5


def test_a_translation_lets_words_speak() -> None:
    corpus = told()
    items = tuple(
        i if i.variety == "eng"
        else replace(i, translation=" ".join(f"x{w[1:]}" for w in (i.text or "").split()))
        for i in corpus.items
    )  # fmt: skip
    with_it = values(FactAlignment(bootstrap=0), Corpus("t", items))
    assert with_it["fact F1 by words"] > 0.95


def test_most_caps_the_facts_of_a_sentence() -> None:
    found = values(FactAlignment(bootstrap=0, most=1, floors=False), told())
    assert found["fact recall"] == pytest.approx(0.5, abs=0.03)
    assert found["fact precision"] > 0.95


def test_bad_input_is_told() -> None:
    corpus = told(2)
    with pytest.raises(ValueError, match="no facts and sentences of two entities"):
        FactAlignment(split="dev").run(corpus, Topics())
    broken = tuple(
        replace(i, extra={**i.extra, "facts": "e0f99"}) if "facts" in i.extra else i
        for i in corpus.items
    )
    with pytest.raises(ValueError, match="'e0f99'"):
        FactAlignment().run(Corpus("b", broken), Topics())
    with pytest.raises(ValueError, match="at least 1"):
        FactAlignment(most=0)


def test_a_fact_of_another_entity_is_refused_and_what_is_left_out_is_counted() -> None:
    corpus = told(4)
    moved = tuple(
        replace(i, extra={**i.extra, "facts": "e1f0"}) if i.id == "hin0s0" else i
        for i in corpus.items
    )
    with pytest.raises(ValueError, match="'e1f0', which is no fact of entity '0'"):
        FactAlignment().run(Corpus("b", moved), Topics())
    more = (
        Item("alone", "hin", text="h1", split="test", extra={"entity": "9", "facts": ""}),
        Item("blank", "hin", text=" ", split="test", extra={"entity": "0", "facts": ""}),
        Item("other", "hin", text="h1", split="test"),
    )
    found = FactAlignment(bootstrap=0).run(Corpus("m", (*corpus.items, *more)), Topics())
    assert found[0].signature["left_out"] == {
        "its entity has no fact": 1, "empty text": 1, "no entity": 1,
    }  # fmt: skip
    plain = values(FactAlignment(bootstrap=0), corpus)
    blank = tuple(replace(i, translation=" ") for i in corpus.items)
    assert values(FactAlignment(bootstrap=0), Corpus("t", blank)) == plain


def test_term_similarity_by_hand() -> None:
    # Words: a b against a c: cosine 1/2; no pair is shared.
    assert term_similarity("a | b", "a c") == pytest.approx(0.4)
    assert term_similarity("a | b", "A b") == pytest.approx(1.0)
    assert term_similarity("", "a") == 0.0
