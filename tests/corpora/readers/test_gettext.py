from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gettext_makers import write_mo
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.gettext import read, read_mo, split_of
from isogloss.errors import UnknownName

OPEN = "The file could not be opened"
COUNT = "There are 3 files in %s"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    german = {OPEN: "Die Datei konnte nicht geöffnet werden", COUNT: "Es gibt 3 Dateien in %s"}
    write_mo(
        tmp_path / "locale/de/LC_MESSAGES/a.mo",
        {**german, "_Open": "Ö_ffnen", "_Close": "schließen(_C)"},
    )
    write_mo(tmp_path / "locale/de/LC_MESSAGES/b.mo", {OPEN: "etwas ganz anderes von b"})
    serbian = {OPEN: "Датотека се не може отворити"}
    write_mo(tmp_path / "locale/sr/LC_MESSAGES/a.mo", serbian, order=">")
    write_mo(tmp_path / "locale/sr@latin/LC_MESSAGES/a.mo", {OPEN: "Datoteka se ne može otvoriti"})
    write_mo(tmp_path / "vim/cs.cp1250/LC_MESSAGES/v.mo", {OPEN: "Soubor nelze otevřít"},
             charset="cp1250")  # fmt: skip
    write_mo(tmp_path / "locale/en_GB/LC_MESSAGES/a.mo", {OPEN: OPEN})
    write_mo(tmp_path / "locale/tlh/LC_MESSAGES/a.mo", {OPEN: "nuqneH nuqneH nuqneH nuqneH"})
    return tmp_path


def test_translations_share_the_meaning_of_their_message(root: Path) -> None:
    result = check_reader(read, root)
    by_meaning: dict[str, dict[str, str]] = {}
    for item in result.corpus.items:
        by_meaning.setdefault(str(item.meaning), {})[item.variety] = str(item.text)
    assert sorted(by_meaning.values(), key=len) == [
        {"eng": COUNT, "deu": "Es gibt 3 Dateien in %s"},
        {
            "eng": OPEN,
            "deu": "Die Datei konnte nicht geöffnet werden",
            "srp": "Датотека се не може отворити",
            "srp-latn": "Datoteka se ne može otvoriti",
            "ces": "Soubor nelze otevřít",
        },
    ]


def test_what_is_left_out_is_counted(root: Path) -> None:
    reasons = {skip.reason: skip.item for skip in read(root).skipped}
    assert reasons["too few words"] == "2 messages"
    assert reasons["the translation repeats the English or is empty"] == "1 messages"
    assert reasons["locale that is no variety of the table"] == "tlh"


def test_options_choose_varieties_domains_and_lengths(root: Path) -> None:
    items = read(root, varieties=("deu",)).corpus.items
    assert {item.variety for item in items} == {"eng", "deu"}
    b = read(root, domains=("b",)).corpus.items
    assert [item.text for item in b if item.variety == "deu"] == ["etwas ganz anderes von b"]
    short = read(root, least_words=1).corpus.items
    assert {item.text for item in short if item.variety == "deu"} >= {"Öffnen", "schließen"}
    assert "eng" not in {i.variety for i in read(root, most_characters=10).corpus.items}
    assert {i.variety for i in read(root, labels={"tlh": "epo"}).corpus.items} >= {"epo"}
    with pytest.raises(UnknownName, match="srp"):
        read(root, varieties=("srb",))


def test_a_second_folder_is_searched_too(root: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    write_mo(more / "locale/fr/LC_MESSAGES/c.mo", {OPEN: "Impossible d'ouvrir le fichier"})
    found = read(root / "locale", also=(str(more),)).corpus.items
    assert "fra" in {item.variety for item in found}


def test_broken_catalogues_are_skipped_and_the_rest_is_read(root: Path) -> None:
    folder = root / "locale/fr/LC_MESSAGES"
    whole = write_mo(folder / "whole.mo", {OPEN: "Impossible d'ouvrir le fichier"}).read_bytes()
    (folder / "cut.mo").write_bytes(whole[:-30])
    (folder / "empty.mo").write_bytes(b"")
    (folder / "other.mo").write_bytes(b"no catalogue at all, only text")
    (folder / "charset.mo").write_bytes(whole.replace(b"UTF-8", b"ASCII").replace(b"d'", b"\xff'"))
    result = read(root)
    said = {Path(skip.item).name: skip.reason for skip in result.skipped}
    assert "breaks off" in said["cut.mo"]
    assert "0 bytes" in said["empty.mo"]
    assert "does not begin" in said["other.mo"]
    assert "charset it names, ASCII" in said["charset.mo"]
    assert "fra" in {item.variety for item in result.corpus.items}


def test_contexts_and_plurals_are_left_out(tmp_path: Path) -> None:
    path = write_mo(tmp_path / "x.mo", {"menu\4Open": "Öffnen", "a\0b": "c\0d", "one": "eins"})
    assert read_mo(path) == [("one", "eins")]


def test_a_folder_without_catalogues_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no \.mo file.*LC_MESSAGES"):
        read(tmp_path)


@given(st.text(st.characters(categories=("L",)), min_size=1), st.integers(0, 999))
def test_messages_that_differ_in_numbers_are_in_one_split(text: str, number: int) -> None:
    assert split_of(f"{text} {number} {text}!") == split_of(f"{text}: {text}")


def test_a_tenth_is_for_testing() -> None:
    splits = [split_of("".join(chr(97 + int(d)) for d in str(n))) for n in range(4000)]
    assert 300 < splits.count("test") < 500
    assert 140 < splits.count("dev") < 260
