"""Characters and scripts; OpenCC conversion."""

from __future__ import annotations

import pytest

from isogloss.corpora.script import characters_outside, known_scripts, normalise_script
from isogloss.errors import UnknownName


@pytest.mark.parametrize(
    ("text", "hans", "hant"),
    [
        ("", "", ""),
        ("聽日後尾", "听日后尾", "聽日後尾"),
        ("佢哋喺度食飯嘅", "佢哋喺度食饭嘅", "佢哋喺度食飯嘅"),
        ("听话", "听话", "聽話"),
        ("abc 123，。", "abc 123，。", "abc 123，。"),
    ],
)
def test_conversion_changes_what_has_two_forms_and_nothing_else(text, hans, hant):
    pytest.importorskip("opencc")
    assert normalise_script(text, "Hans") == hans
    assert normalise_script(hant, "Hant") == hant
    assert normalise_script(normalise_script(text, "Hans"), "Hans") == hans


def test_other_scripts_cannot_be_converted_to():
    with pytest.raises(UnknownName, match="Hans"):
        normalise_script("x", "Han")


@pytest.mark.parametrize(
    ("text", "script", "outside"),
    [
        ("今天天气很好。123 ！", "Hani", ""),
        ("OK 啦", "Hani", "OK"),
        ("今日係好日子", "Hant", ""),
        ("后里面只", "Hant", ""),  # correct in both forms
        ("车站说话", "Hant", "车说话"),
        ("聽日", "Hans", "聽"),
        ("佢喺嘅冇乜", "Hans", ""),  # dialect characters have one form
        ("𠺢𡃁", "Hant", ""),
        ("々〇", "Hani", ""),
        ("pha̍k-fa-sṳ ⁿ ʼ", "Latn", ""),
        ("pha 白", "Latn", "白"),
        ("Привет", "Latn", "Привет"),
        ("привет, мир", "Cyrl", ""),
        ("ひらカタ漢字ー", "Jpan", ""),
        ("ABC", "Latn", ""),
        ("a\ufffdb\x00c\ue000", "Latn", "\ufffd\x00\ue000"),
        ("aab一一", "Hani", "ab"),
    ],
)
def test_characters_outside_a_script_in_order_and_once(text, script, outside):
    if script in ("Hans", "Hant"):
        pytest.importorskip("opencc")
    assert "".join(characters_outside(text, script)) == outside


def test_a_script_nobody_knows_is_refused():
    with pytest.raises(UnknownName, match="Latn"):
        characters_outside("x", "Latin")
    assert {"Hans", "Hant", "Latn", "Jpan"} <= set(known_scripts())
