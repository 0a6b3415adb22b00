"""Sentences come out distinct, balanced, plausible, the same for a seed, in each variety's way."""

from collections import Counter
from functools import cache

import pytest

from isogloss.corpora.synth.grammar import Sentence, generate, load_grammar
from isogloss.corpora.synth.lexicon import DATA, LEXICON_VARIETIES, Word, load_lexicon
from isogloss.errors import BadRecord, UnknownName


@cache
def three_thousand():
    return generate(3000, seed=5)


def worded(template, variety, **slots):
    grammar = load_grammar()
    found = next(t for t in grammar.templates if t.name == template)
    return grammar.sentence(found, slots, [variety]).characters(variety)


@pytest.mark.parametrize(
    ("variety", "template", "slots", "expected"),
    [
        ("cmn", "compare", {"a": "he", "b": "I", "q": "tall"}, "他比我高"),
        ("yue", "compare", {"a": "he", "b": "I", "q": "tall"}, "佢高過我"),
        ("hak", "compare", {"a": "he", "b": "I", "q": "tall"}, "佢比𠊎過高"),
        ("nan", "compare", {"a": "he", "b": "I", "q": "tall"}, "伊比我較懸"),
        ("yue", "go_first", {"s": "I", "p": "school"}, "我去學校先"),
        ("hak", "go_first", {"s": "I", "p": "school"}, "𠊎先去學校"),
        ("yue", "gave", {"s": "he", "r": "I", "u": "unit_volume", "o": "book"}, "佢俾一本書我"),
        ("nan", "gave", {"s": "he", "r": "I", "u": "unit_volume", "o": "book"}, "伊予我一本冊"),
        ("yue", "in_progress", {"s": "he", "v": "eat", "o": "rice"}, "佢食緊飯"),
        ("hak", "in_progress", {"s": "he", "v": "eat", "o": "rice"}, "佢食緊飯"),
        ("nan", "in_progress", {"s": "he", "v": "eat", "o": "rice"}, "伊咧食飯"),
        ("yue", "bitten", {"s": "I", "b": "dog"}, "我俾狗咬咗"),
        ("hak", "bitten", {"s": "I", "b": "dog"}, "𠊎分狗咬欸"),
        ("nan", "not_at", {"s": "he", "p": "home"}, "伊無佇厝"),
        ("nan", "helping", {"a": "I", "b": "he", "v": "wash", "o": "clothes"}, "我共伊洗衫"),
        ("hak", "go_home", {"t": "evening", "s": "I"}, "暗晡𠊎歸屋下"),
    ],
)
def test_word_order_by_hand(variety, template, slots, expected):
    assert worded(template, variety, **slots) == expected


def test_a_sentence_in_every_reading():
    grammar = load_grammar()
    template = next(t for t in grammar.templates if t.name == "wish")
    filled = {"s": "we", "v": "eat", "o": "rice"}
    sentence = grammar.sentence(template, filled, ["yue", "hak"])
    assert set(sentence.forms) == {"cmn", "yue", "hak"}
    assert sentence.meaning == "wish:o=rice,s=we,v=eat"
    assert sentence.standard == "我们想吃饭"
    assert sentence.romanisation("yue") == "ngo5 dei6 soeng2 sik6 faan6"
    assert sentence.romanisation("hak") == "ngài-têu sióng sṳ̍t fan"
    with pytest.raises(UnknownName, match="nan"):
        sentence.characters("nan")


def test_cognate_share_counts_characters_of_cognate_words():
    words = (
        Word("a", "電話", "din6 waa2", "full"),
        Word("b", "鴨", "aap3", "partial"),
        Word("c", "嘢", "je5", "none"),
    )
    sentence = Sentence("m", "t", {"yue": words, "hak": ()})
    assert sentence.cognate_share("yue") == pytest.approx(2.5 / 4)
    assert sentence.cognate_share("hak") == 0.0
    assert all(s.cognate_share("cmn") == 1.0 for s in three_thousand()[:50])


def test_the_same_seed_gives_the_same_sentences_whatever_the_varieties():
    first = generate(400, seed=9)
    again = generate(400, seed=9, varieties=("cmn", "hak"))
    other = generate(400, seed=10)
    assert [s.meaning for s in first] == [s.meaning for s in again]
    assert [s.meaning for s in first] != [s.meaning for s in other]
    assert set(again[0].forms) == {"cmn", "hak"}


def test_meanings_and_wordings_are_distinct_up_to_twenty_thousand():
    sentences = generate(20_000, seed=1, varieties=("cmn",))
    assert len({s.meaning for s in sentences}) == 20_000
    assert len({s.standard for s in sentences}) == 20_000


def test_sentences_are_short():
    lengths = [len(s.standard) for s in three_thousand()]
    assert min(lengths) >= 3
    assert max(lengths) <= 14
    assert 5.5 <= sum(lengths) / len(lengths) <= 8.5


def test_every_concept_can_occur_in_every_variety():
    grammar = load_grammar()
    for variety in LEXICON_VARIETIES:
        reached = set()
        for template in grammar.templates:
            order = template.orders[variety]
            reached |= {token for token in order if not token.startswith("{")}
            for slots, rows in template.fillings:
                for place, slot in enumerate(slots):
                    if f"{{{slot}}}" in order:
                        reached |= {row[place] for row in rows}
        assert set(grammar.lexicon) <= reached, variety


@pytest.mark.parametrize("variety", LEXICON_VARIETIES)
def test_every_character_of_the_lexicon_occurs_in_three_thousand_sentences(variety):
    heard = set("".join(s.characters(variety) for s in three_thousand()))
    known = set("".join(e.words[variety].characters for e in load_lexicon().values()))
    assert heard == known


def test_concepts_and_templates_are_balanced():
    concepts = Counter(word.concept for s in three_thousand() for word in s.forms["cmn"])
    assert min(concepts[concept] for concept in load_lexicon()) >= 8
    templates = Counter(s.template for s in three_thousand())
    assert len(templates) >= 40
    assert set(templates) == {template.name for template in load_grammar().templates}
    assert max(templates.values()) <= 0.03 * 3000


def test_nobody_eats_shoes_or_drinks_trousers():
    lexicon = load_lexicon()
    edible = {c for c, e in lexicon.items() if e.category in {"food", "fruit", "meal", "animal"}}
    drinkable = {c for c, e in lexicon.items() if e.category == "drink"} | {"soup"}
    wearable = {c for c, e in lexicon.items() if e.category == "clothes"}
    allowed = {"eat": edible, "drink": drinkable, "wear": wearable, "put_on": wearable}
    seen = Counter()
    for sentence in three_thousand():
        filled = dict(part.split("=") for part in sentence.meaning.split(":")[1].split(",") if part)
        verb, thing = filled.get("v"), filled.get("o")
        if verb in allowed and thing is not None:
            seen[verb] += 1
            assert thing in allowed[verb], sentence.standard
    assert set(seen) == set(allowed)


def test_no_concept_fills_two_slots():
    for sentence in three_thousand():
        values = [part.split("=")[1] for part in sentence.meaning.split(":")[1].split(",") if part]
        assert len(values) == len(set(values)), sentence.standard


def test_excluded_meanings_and_wordings_do_not_come_out():
    first = generate(300, seed=2)
    banned = {s.meaning for s in first[:150]} | {s.standard for s in first[150:]}
    later = generate(300, seed=2, exclude=banned)
    assert not banned & ({s.meaning for s in later} | {s.standard for s in later})


def test_none_is_an_empty_list_and_bad_requests_are_refused():
    assert generate(0) == []
    with pytest.raises(ValueError, match="-1"):
        generate(-1)
    with pytest.raises(UnknownName, match="yue"):
        generate(1, varieties=("yuee",))


def folder_with(tmp_path, **changes):
    for name in ("lexicon", "classes", "frames", "templates"):
        text = (DATA / f"{name}.tsv").read_text(encoding="utf-8")
        (tmp_path / f"{name}.tsv").write_text(changes.get(name, text), encoding="utf-8")
    return tmp_path


TEMPLATE_HEAD = "template\tslots\tcmn\tyue\thak\tnan\n"


def test_a_small_grammar_is_used_up_to_its_last_sentence(tmp_path):
    templates = TEMPLATE_HEAD + "small\ts=pronoun; v/o=action(drink)\t{s} {v} {o}\t\t\t\n"
    grammar = load_grammar(folder_with(tmp_path, templates=templates))
    sentences = generate(42, grammar=grammar)
    assert len({s.standard for s in sentences}) == 42
    with pytest.raises(ValueError, match="gave only 42 sentences"):
        generate(43, grammar=grammar)


@pytest.mark.parametrize(
    ("table", "row", "field"),
    [
        ("templates", "x\ts=nobody\t{s} go\t\t\t\n", "slots"),
        ("templates", "x\ts=action\t{s} go\t\t\t\n", "slots"),
        ("templates", "x\tv/o=action(fly)\t{v} {o}\t\t\t\n", "slots"),
        ("templates", "x\tsomeone\t{s} go\t\t\t\n", "slots"),
        ("templates", "x\ts=someone\t{s} fly\t\t\t\n", "cmn"),
        ("templates", "x\ts=someone\t{s} go\tgo {t}\t\t\n", "yue"),
        ("templates", "x\ts=someone\t\t\t\t\n", "cmn"),
        ("classes", "x\t@nobody\n", "members"),
        ("frames", "action\tfly\trice\n", "head"),
        ("frames", "action\teat\tunicorn\n", "members"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(tmp_path, table, row, field):
    text = (DATA / f"{table}.tsv").read_text(encoding="utf-8")
    line = len(text.splitlines()) + 1
    with pytest.raises(BadRecord) as caught:
        load_grammar(folder_with(tmp_path, **{table: text + row}))
    assert (caught.value.line, caught.value.field) == (line, field)
