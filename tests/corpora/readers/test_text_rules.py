from __future__ import annotations

import pytest

from isogloss.corpora.readers.text_rules import without_han_spaces


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("而 对 楼市 成交", "而对楼市成交"),
        ("用 wechat  pay 付 〇", "用wechat pay付〇"),
        ("他 说 ， 好 。", "他说，好。"),
        ("こ れ は カ ナ", "これはカナ"),
        ("𠮶 个　啊", "𠮶个啊"),
        ("오늘 날씨", "오늘 날씨"),
        ("  two \t words ", "two words"),
        ("", ""),
    ],
)
def test_by_hand(text, joined) -> None:
    assert without_han_spaces(text) == joined
