from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.corpora.readers.yubao_transcripts import clean_transcript


@pytest.mark.parametrize(
    ("dirty", "clean", "rules"),
    [
        ("佢去咗。", "佢去咗。", ()),
        ("去咗/去左", "去咗", ("variant",)),
        ("佢去咗。/佢去左。", "佢去咗。", ("variant",)),
        ("佢去咗／佢行咗／佢走咗。", "佢去咗", ("variant",)),
        ("/去咗", "去咗", ("variant",)),
        # The slash belongs to one clause only.
        ("佢去咗/佢去左，我都想同佢一齊去。", "佢去咗，我都想同佢一齊去。", ("variant",)),
        # Where the variant starts cannot be known: the longest stays.
        ("我/阮明仔載閣去", "阮明仔載閣去", ("variant",)),
        ("佢（男）去[笑]咗", "佢去咗", ("note",)),
        ("佢(【a】b)去)咗", "佢去咗", ("note",)),
        ("佢□去□2咗", "佢去咗", ("placeholder",)),
        ("佢~去x咗xx", "佢去咗", ("placeholder",)),
        ("a.你去哪？b.我去街。", "你去哪？ 我去街。", ("dialogue",)),
        ("a.你去哪？/b.我去街。", "你去哪？ 我去街。", ("dialogue",)),
        ("A：食飯未/A：食咗未 B：食咗", "食飯未 食咗", ("dialogue",)),
        ("a.食未 b.未。a.快食", "食未 未。 快食", ("dialogue",)),
        ("甲：食未？乙：食了。", "食未？ 食了。", ("dialogue",)),
        # Said, so kept: digits, Latin letters, the Han zero; a lone mark is no dialogue.
        ("我唱卡拉OK", "我唱卡拉OK", ()),
        ("二〇二六年3月", "二〇二六年3月", ()),
        ("买3.5斤", "买3.5斤", ()),
        ("a.你去哪", "a.你去哪", ()),
        ("佢 去　咗", "佢去咗", ("blank",)),
        ("用 iPhone 打 WeChat Pay 啦", "用iPhone打WeChat Pay啦", ("blank",)),
        ("", "", ()),
        ("□", "", ("placeholder",)),
        ("（无）", "", ("note",)),
        ("/", "", ("variant",)),
        ("。", "", ()),
    ],
)
def test_by_hand(dirty, clean, rules) -> None:
    result = clean_transcript(dirty)
    assert (result.text, result.rules) == (clean, rules)


def test_placeholders_can_be_kept_one_for_each_syllable() -> None:
    assert clean_transcript("佢□2去xx咗~", keep_placeholders=True).text == "佢□□去□□咗□"


def test_traditional_and_simplified_stay_as_they_are() -> None:
    assert clean_transcript("說说這这").text == "說说這这"


@given(st.text(alphabet="佢去咗aAb.：:/／。，？（）()[]【】□~x3〇O K\n", max_size=30))
def test_a_clean_transcript_is_free_of_marks_and_stays_clean(text) -> None:
    clean = clean_transcript(text).text
    assert not set(clean) & set("/／（）()[]【】□~\n")
    assert clean == clean.strip()
    kept = [c for c in clean if c in "佢去咗3〇OK"]
    source = iter(text)
    assert all(c in source for c in kept)  # nothing new, order kept
