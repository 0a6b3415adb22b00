from collections import Counter

import pytest

from isogloss.corpora.synth.lexicon import load_lexicon
from isogloss.corpora.synth.word_lists import word_lists

VARIETIES = ("yue", "hak")


def concepts_of(sentence):
    return sentence.meaning.removeprefix("word_list:").split(",")


def test_lists_are_different_and_use_every_concept_about_equally():
    lists = word_lists(1500, seed=1, varieties=VARIETIES)
    assert len({s.meaning for s in lists}) == 1500
    count = Counter(concept for s in lists for concept in concepts_of(s))
    assert set(count) == set(load_lexicon())
    assert max(count.values()) <= 1.5 * min(count.values())
    assert {len(concepts_of(s)) for s in lists} == {2, 3, 4, 5}


def test_every_variety_says_the_same_words_in_the_same_order():
    lexicon = load_lexicon()
    for s in word_lists(20, seed=3, varieties=VARIETIES):
        concepts = concepts_of(s)
        assert len(set(concepts)) == len(concepts)
        assert set(s.forms) == {"cmn", "yue", "hak"}
        for variety, words in s.forms.items():
            assert words == tuple(lexicon[c].word(variety) for c in concepts)
        assert s.standard == "".join(lexicon[c].word("cmn").characters for c in concepts)


def test_the_seed_decides_and_a_longer_result_continues_a_shorter_one():
    short = [s.meaning for s in word_lists(5, seed=1, varieties=VARIETIES)]
    assert short == [s.meaning for s in word_lists(9, seed=1, varieties=("nan",))][:5]
    assert short != [s.meaning for s in word_lists(5, seed=2, varieties=VARIETIES)]


def test_none_is_an_empty_list():
    assert word_lists(0, seed=1, varieties=VARIETIES) == []


@pytest.mark.parametrize("variety", ["yue", "hak", "nan"])
def test_cognates_are_counted_in_lists_too(variety):
    shares = [s.cognate_share(variety) for s in word_lists(200, seed=1, varieties=(variety,))]
    assert 0.3 < sum(shares) / len(shares) < 0.8
