"""Other scripts: romanised by uroman with a cache, Serbian and Chinese as variations."""

from __future__ import annotations

import sqlite3

import pytest

from isogloss.errors import UnknownName
from isogloss.variation import Chinese, Romanise, Serbian, romanise
from isogloss.variation import transliterate as module

uroman = pytest.importorskip("uroman")


def test_texts_in_several_scripts():
    """Golden: uroman 1.3.1.1 by itself, `Uroman().romanize_string`."""
    texts = ["Датотека није пронађена", "你好 世界", "", " plain ", "Датотека није пронађена"]
    assert romanise(texts) == [
        "Datoteka nije pronadjena",
        "nihao shijie",
        "",
        "plain",
        "Datoteka nije pronadjena",
    ]


def test_the_cache_is_read_and_survives(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "latin.sqlite"
    first = romanise(["Љубав", "мир"], cache=path)
    module._romanised.cache_clear()
    asked = []

    def refuse(text, language):
        asked.append(text)
        return "new"

    monkeypatch.setattr(module, "_romanised", refuse)
    assert romanise(["мир", "Љубав", "рат"], cache=path) == [first[1], first[0], "new"]
    assert asked == ["рат"]
    # Another language or another version of uroman is asked again.
    romanise(["мир"], cache=path, language="srp")
    monkeypatch.setattr(module, "uroman_version", lambda: "0")
    romanise(["мир"], cache=path)
    assert asked == ["рат", "мир", "мир"]


def test_what_was_done_before_an_interruption_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "latin.sqlite"
    monkeypatch.setattr(module, "_COMMIT_EVERY", 1)

    def breaks(text, language):
        if text == "три":
            raise KeyboardInterrupt
        return text.upper()

    monkeypatch.setattr(module, "_romanised", breaks)
    with pytest.raises(KeyboardInterrupt):
        romanise(["један", "два", "три"], cache=path)
    with sqlite3.connect(path) as file:
        found = dict(file.execute("SELECT text, latin FROM romanised"))
    file.close()
    assert found == {"један": "ЈЕДАН", "два": "ДВА"}


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    path = tmp_path / "latin.sqlite"
    path.write_bytes(b"this is no database, and long enough to be told so" * 50)
    with pytest.raises(ValueError, match="cannot be used as a cache"):
        romanise(["мир"], cache=path)


def test_long_texts_are_cut_at_white_space(monkeypatch):
    text = "Датотека није пронађена. " * 10
    whole = romanise([text])
    module._romanised.cache_clear()
    monkeypatch.setattr(module, "_PIECE", 60)
    assert romanise([text]) == whole
    pieces = list(module._pieces("ab cd " * 5, 7))
    assert "".join(pieces) == "ab cd " * 5 and max(map(len, pieces)) <= 7
    # Without white space, wherever it must be.
    assert list(module._pieces("x" * 7, 3)) == ["xxx", "xxx", "x"]


@pytest.mark.parametrize(
    ("variation", "code", "wanted"),
    [
        (Romanise(), "srp", "srp-latn"),
        (Romanise(), "srp-latn", "srp-latn"),
        (Serbian(), "srp", "srp-latn"),
        (Serbian("cyrillic"), "srp-latn", "srp"),
        (Serbian("cyrillic"), "hrv", "hrv-cyrl"),
        (Serbian(), "hrv-cyrl", "hrv-latn"),
        (Chinese("hant"), "cmn", "cmn-hant"),
        (Chinese("hans"), "cmn-hant", "cmn-hans"),
    ],
)
def test_varieties_of_the_new_texts(variation, code, wanted):
    assert variation.variety_of(code) == wanted


def texts_of(variation, texts):
    found = variation.vary(texts, keys=texts, varieties=["x"] * len(texts))
    return [varied.text for varied in found]


def test_variations_change_texts():
    assert texts_of(Serbian(), ["Њега"]) == ["Njega"]
    assert texts_of(Serbian("cyrillic"), ["Njega"]) == ["Њега"]
    assert texts_of(Romanise(language="rus"), ["Мир"]) == ["Mir"]
    pytest.importorskip("opencc")
    assert texts_of(Chinese("hant"), ["汉语"]) == ["漢語"]
    assert texts_of(Chinese("hans"), ["漢語"]) == ["汉语"]


def test_descriptions_name_what_changes_the_output():
    assert Romanise("srp").described == f"romanise:language=srp,uroman={module.uroman_version()}"
    assert Serbian("cyrillic").described == "serbian:to=cyrillic"


def test_unknown_scripts_are_named():
    with pytest.raises(UnknownName, match="latin"):
        Serbian("latn")
    with pytest.raises(UnknownName, match="hans"):
        Chinese("simplified")
