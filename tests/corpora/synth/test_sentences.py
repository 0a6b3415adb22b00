"""The 50 fixed sentences are parallel, varied, within the vocabulary, and outside the grammar."""

import pytest

from isogloss.corpora.synth.grammar import generate, load_grammar
from isogloss.corpora.synth.lexicon import LEXICON_VARIETIES, check_word, load_lexicon
from isogloss.corpora.synth.sentences import read_sentences, survey_sentences
from isogloss.errors import BadRecord


def test_fifty_sentences_in_every_variety():
    sentences = survey_sentences()
    assert len(sentences) == 50
    assert len({s.meaning for s in sentences}) == 50
    for variety in LEXICON_VARIETIES:
        assert len({s.characters(variety) for s in sentences}) == 50
        for sentence in sentences:
            written, said = sentence.characters(variety), sentence.romanisation(variety)
            assert check_word(variety, written, said) is None, written
            assert 4 <= len(written) <= 18, written


def test_sentences_by_hand():
    found = {s.meaning: s for s in survey_sentences()}
    fish = found["survey:fish_was_cheaper"]
    assert fish.standard == "昨天的鱼比今天的便宜"
    assert fish.characters("yue") == "尋日嘅魚平過今日嘅"
    assert fish.romanisation("yue") == "cam4 jat6 ge3 jyu2 peng4 gwo3 gam1 jat6 ge3"
    late = found["survey:time_to_sleep"]
    assert late.characters("hak") == "這下當暗了快去睡目"
    assert late.romanisation("nan") == "chit-má chin àm ah kín khì khùn"


def test_their_standard_characters_are_all_in_the_lexicon():
    known = set("".join(e.words["cmn"].characters for e in load_lexicon().values()))
    assert set("".join(s.standard for s in survey_sentences())) <= known


def test_they_use_many_concepts():
    used = {word.concept for s in survey_sentences() for word in s.forms["cmn"]}
    assert len(used & set(load_lexicon())) >= 140


def can_generate(concepts, template):
    """Whether `template` can give exactly the words `concepts`, in Mandarin."""
    order = template.orders["cmn"]
    if len(order) != len(concepts):
        return False
    filled = {}
    for token, concept in zip(order, concepts, strict=True):
        if token.startswith("{"):
            if filled.setdefault(token[1:-1], concept) != concept:
                return False
        elif token != concept:
            return False
    return all(
        any(all(filled.get(s, c) == c for s, c in zip(slots, row, strict=True)) for row in rows)
        for slots, rows in template.fillings
    )


def test_the_grammar_cannot_make_any_of_them():
    templates = load_grammar().templates
    one = generate(1, seed=3)[0]
    concepts = [word.concept for word in one.forms["cmn"]]
    assert any(can_generate(concepts, template) for template in templates)
    for sentence in survey_sentences():
        concepts = [word.concept for word in sentence.forms["cmn"]]
        assert not any(can_generate(concepts, template) for template in templates)


def test_no_generated_sentence_equals_one_of_them_in_any_variety():
    made = generate(6000, seed=4)
    for variety in LEXICON_VARIETIES:
        fixed = {s.characters(variety) for s in survey_sentences()}
        assert not fixed & {s.characters(variety) for s in made}


def test_the_caller_cannot_spoil_the_list():
    survey_sentences().clear()
    assert len(survey_sentences()) == 50


HEAD = "sentence\tcmn\tyue\thak\tnan\n"


def test_an_empty_column_follows_mandarin_and_a_bracket_overrides(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text(HEAD + "a\tI go\tI go[行/haang4/none]\t\t\n", encoding="utf-8")
    (sentence,) = read_sentences(path)
    assert sentence.characters("hak") == "𠊎去"
    assert sentence.characters("yue") == "我行"
    assert sentence.cognate_share("yue") == 0.5


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ("a\tI fly\t\t\t\n", "cmn"),
        ("a\tI go\tI go[行/haang4]\t\t\n", "yue"),
        ("a\tI go\tI go[行/haang4/none\t\t\n", "yue"),
        ("a\tI go\tI go[行/haang4_haang4/none]\t\t\n", "yue"),
        ("a\tI go\tI go[行/haang9/none]\t\t\n", "yue"),
        ("a\tI go\tI go[行/haang4/some]\t\t\n", "yue"),
        ("a\t\t\t\t\n", "cmn"),
        ("a\tI go\t\t\t\na\tI come\t\t\t\n", "sentence"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path, rows, field):
    path = tmp_path / "s.tsv"
    path.write_text(HEAD + rows, encoding="utf-8")
    with pytest.raises(BadRecord) as caught:
        read_sentences(path)
    assert (caught.value.line, caught.value.field) == (1 + rows.count("\n"), field)
