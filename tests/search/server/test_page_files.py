"""The files of the search page: whole, self-contained, in two languages, without inline code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "src" / "isogloss" / "search" / "server" / "page"
SCRIPTS = sorted(PAGE.glob("*.js"))
KEY = re.compile(r'^  ([a-z0-9_]+): "((?:[^"\\]|\\.)*)",$', re.MULTILINE)


def words(language: str) -> dict[str, str]:
    text = (PAGE / f"words_{language}.js").read_text(encoding="utf-8")
    found = KEY.findall(text)
    assert len(found) == text.count('",\n'), "a line of the table has another shape"
    assert len({key for key, _ in found}) == len(found), "a key stands twice"
    return dict(found)


def test_both_languages_have_the_same_words() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        assert sentence and chinese[key]
        slots = set(re.findall(r"\{(\w+)\}", sentence))
        assert slots == set(re.findall(r"\{(\w+)\}", chinese[key])), key


def test_every_word_that_is_asked_for_exists_and_none_is_left_over() -> None:
    table = words("en")
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r'data-t(?:-label|-hint)?="(\w+)"', text))
    patterns = set()
    for script in SCRIPTS:
        code = script.read_text(encoding="utf-8")
        if script.name.startswith("words_"):
            continue
        # Any string that is a key counts as a use: some are chosen by a condition.
        used |= {name for name in re.findall(r'"([a-z0-9_]+)"', code) if name in table}
        for name in re.findall(r'\btn\("(\w+)"', code):
            used |= {f"{name}_one", f"{name}_other"}
        for name in re.findall(r'\bt\("(\w+)"', code):
            assert name in table, f"{script.name} asks for '{name}'"
        patterns |= set(re.findall(r"`(\w+_)\$\{\w+\}`", code))
    used |= {name for name in table if any(name.startswith(pattern) for pattern in patterns)}
    assert used <= table.keys()
    assert table.keys() - used == set()


def test_plain_labels_of_elements_in_the_chinese_table_are_chinese() -> None:
    chinese = words("zh")
    latin = {key for key, text in chinese.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    # A name, a version, a bare value, and the switch back, which speaks the other language.
    assert latin == {
        "other_language",
        "other_language_label",
        "version",
        "query_file",
        "query_text",
    }


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_no_file_refers_to_anything_outside_the_server(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|[\"'(]//\w|@import|\bimport\([^)]*http", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_and_never_make_markup_of_text(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    assert code.count("\n") < 300
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    )
    assert not re.search(forbidden, code)
    assert "console." not in code
    for name in re.findall(r'from "\./([\w.]+)"', code):
        assert (PAGE / name).is_file(), f"{path.name} imports {name}"


def test_the_page_has_no_code_or_style_of_its_own() -> None:
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", text)
    for name in re.findall(r'(?:src|href)="static/([\w.]+)"', text):
        assert (PAGE / name).is_file(), name


def test_the_table_holds_every_file_in_memory_with_its_headers() -> None:
    from isogloss.search.server.page_files import CONTENT_SECURITY_POLICY, page_files

    table = page_files()
    assert set(table) == {path.name for path in PAGE.iterdir() if path.is_file()}
    assert table is page_files()
    with pytest.raises(TypeError):
        table["index.html"] = table["index.html"]  # type: ignore[index]
    for name, file in table.items():
        assert file.body == (PAGE / name).read_bytes()
        assert file.headers["Content-Type"] == file.media_type
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch(r'"[0-9a-f]{32}"', file.headers["ETag"])
    assert len({file.headers["ETag"] for file in table.values()}) == len(table)
    assert table["index.html"].headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("name", ["../page_files.py", "/etc/passwd", "page/index.html", "", "."])
def test_a_name_that_is_not_in_the_table_leads_nowhere(name: str) -> None:
    from isogloss.search.server.page_files import page_files

    assert page_files().get(name) is None
