"""The table: planted trees, bad files, and the shipped varieties one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Variety
from isogloss.varieties import VarietyRow, VarietyTable, builtin_table, load_table

if TYPE_CHECKING:
    from pathlib import Path

SINITIC = ("mandarin", "jin", "wu", "hui", "gan", "xiang", "min", "hakka", "yue", "pinghua")


def written(folder: Path, *lines: str, name: str = "mine.tsv") -> Path:
    path = folder / name
    path.write_text("\n".join(line.replace(" / ", "\t") for line in lines) + "\n", encoding="utf-8")
    return path


def tree(*rows: tuple[str, str | None, str | None]) -> VarietyTable:
    """A table of (code, parent, group)."""
    return VarietyTable(
        VarietyRow(Variety(code, f"Name of {code}", parent=parent, group=group), line=line)
        for line, (code, parent, group) in enumerate(rows, start=2)
    )


# --- a planted tree


def test_family_relations() -> None:
    table = tree(("a", None, None), ("b", "a", "g"), ("c", "b", None), ("d", "c", "h"))
    assert table.codes == ("a", "b", "c", "d")
    assert table.children("a") == ("b",)
    assert table.children("d") == ()
    assert table.descendants("a") == ("b", "c", "d")
    assert table.ancestors("d") == ("c", "b", "a")
    assert table.groups == ("g", "h")


def test_group_is_the_nearest_above() -> None:
    table = tree(("a", None, None), ("b", "a", "g"), ("c", "b", None), ("d", "c", "h"))
    assert [table.group_of(code) for code in "bcd"] == ["g", "g", "h"]


def test_without_any_group_the_root_stands_for_it() -> None:
    table = tree(("a", None, None), ("b", "a", None), ("lone", None, None))
    assert [table.group_of(code) for code in table] == ["a", "a", "lone"]


def test_it_is_a_mapping() -> None:
    table = tree(("a", None, None), ("b", "a", None))
    assert list(table) == ["a", "b"]
    assert len(table) == 2
    assert "a" in table
    assert "z" not in table
    assert 3 not in table
    assert table.get("z") is None
    assert table.get("b") == table["b"]
    assert dict(table.items())["b"].parent == "a"


def test_an_empty_table_knows_nobody() -> None:
    table = VarietyTable([])
    assert len(table) == 0
    with pytest.raises(UnknownName):
        table["cmn"]


def test_unknown_codes_offer_near_ones() -> None:
    with pytest.raises(UnknownName, match="wuu-shanghai") as caught:
        builtin_table()["wuu-shangai"]
    assert "wuu-shanghai" in caught.value.near
    for question in (builtin_table().group_of, builtin_table().children, builtin_table().aliases):
        with pytest.raises(UnknownName):
            question("nowhere-at-all")


# --- files


def test_all_columns_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# a comment",
        "code / name / native_name / parent / group / script / latitude / longitude / iso639_3"
        " / bcp47 / glottolog / aliases",
        "",
        "xaa / Aa / 甲 /  / g / Hant / -1.5 / 100 / xaa / zh-TW / abcd1234 / One| Two ",
    )
    table = load_table(path)
    assert table["xaa"] == Variety(
        "xaa", "Aa", "甲", None, "g", "Hant", -1.5, 100.0, "xaa", "zh-TW", "abcd1234"
    )
    assert table.aliases("xaa") == ("One", "Two")
    assert table.resolve("TWO").code == "xaa"


def test_a_small_file_of_ones_own_hangs_under_the_builtin_tree(tmp_path: Path) -> None:
    path = written(tmp_path, "name / code / parent", "Wuxi Wu / wuu-wuxi / wuu-piling")
    merged = builtin_table().merged(load_table(path))
    assert merged.group_of("wuu-wuxi") == "wu"
    assert merged.ancestors("wuu-wuxi")[:2] == ("wuu-piling", "wuu-taihu")
    assert "wuu-wuxi" in merged.children("wuu-piling")
    assert len(merged) == len(builtin_table()) + 1
    assert "wuu-wuxi" not in builtin_table()


def test_a_row_of_ones_own_replaces_the_builtin_one(tmp_path: Path) -> None:
    path = written(tmp_path, "code / name / parent / group", "nan / Hoklo / zhx-min / hoklo")
    merged = builtin_table().merged(load_table(path))
    assert merged["nan"].name == "Hoklo"
    assert merged.group_of("nan") == "hoklo"
    assert len(merged) == len(builtin_table())
    assert merged.ancestors("nan-xiamen")[1] == "nan"


def test_windows_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.tsv"
    path.write_bytes("\ufeffcode\tname\r\nxaa\tAa\r\n".encode())
    assert load_table(path)["xaa"].name == "Aa"


@pytest.mark.parametrize(
    ("lines", "line", "field", "problem"),
    [
        (["code / name", "xaa / A", "xaa / B"], 3, "code", "already in .*mine.tsv:2"),
        (["code / name / parent", "xaa / A / wuuu"], 2, "parent", "did you mean wuu"),
        (["code / name / parent", "xaa / A / xbb", "xbb / B / xaa"], 2, "parent", "below"),
        (["code / name / parent", "xaa / A / xaa"], 2, "parent", "xaa > xaa"),
        (["code / name / latitude / longitude", "xaa / A / 90.1 / 0"], 2, "latitude", "90.1"),
        (["code / name / latitude / longitude", "xaa / A / 0 / -181"], 2, "longitude", "-181"),
        (["code / name / latitude / longitude", "xaa / A / nan / 0"], 2, "latitude", "nan"),
        (["code / name / latitude / longitude", "xaa / A / north / 0"], 2, "latitude", "north"),
        (["code / name / latitude / longitude", "xaa / A / 1"], 2, "longitude", "give both"),
        (["code / name / script", "xaa / A / Hanz"], 2, "script", "did you mean Han"),
        (["code / name / script", "xaa / A / hans"], 2, "script", "hans"),
        (["code / name / iso639_3", "xaa / A / zh"], 2, "iso639_3", "three"),
        (["code / name / glottolog", "xaa / A / 1234"], 2, "glottolog", "mand1415"),
        (["code / name / bcp47", "xaa / A / zh_TW"], 2, "bcp47", "zh-Hant-TW"),
        (["code / name", "Xaa / A"], 2, "code", "small letters"),
        (["code / name", "xaa / "], 2, "name", "empty"),
        (["code / name", "xaa"], 2, "name", "empty"),
        (["code / name", "xaa / A / more"], 2, "name", "3 cells under 2"),
        (["code", "xaa"], 1, "header", "no column 'name'"),
        (["code / name / natve_name", "xaa / A / B"], 1, "header", "native_name"),
        (["code / name / name", "xaa / A / B"], 1, "header", "twice"),
        ([""], 1, "header", "empty"),
        (["code / name / aliases", "xaa / A / One", "xbb / B / one"], 3, "aliases", "'xaa'"),
        (["code / name / aliases", "xaa / A / xbb", "xbb / B"], 2, "aliases", "'xbb'"),
        (["code / name", "xaa / A", "xbb / a"], 3, "name", "'xaa'"),
        (["code / name / aliases", "xaa / A / ---"], 2, "aliases", "neither letters"),
    ],
)
def test_a_bad_file_is_refused_by_file_line_and_field(
    tmp_path: Path, lines: list[str], line: int, field: str, problem: str
) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(BadRecord, match=problem) as caught:
        load_table(path)
    assert (caught.value.path, caught.value.line, caught.value.field) == (str(path), line, field)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big5.tsv"
    path.write_bytes("code\tname\nxaa\t臺灣\n".encode("big5"))
    with pytest.raises(BadRecord, match="UTF-8"):
        load_table(path)


def test_merging_refuses_what_only_shows_together(tmp_path: Path) -> None:
    taken = written(tmp_path, "code / name / aliases", "xaa / A / Sichuanese", name="taken.tsv")
    with pytest.raises(BadRecord, match="cmn-sichuan") as caught:
        builtin_table().merged(load_table(taken))
    assert (caught.value.path, caught.value.line) == (str(taken), 2)
    circle = written(tmp_path, "code / name / parent", "wuu / Wu / wuu-shanghai", name="circle.tsv")
    with pytest.raises(BadRecord, match="below"):
        builtin_table().merged(load_table(circle))
    orphan = load_table(
        written(tmp_path, "code / name / parent", "xaa / A / out"), extends=tree(("out", None, "g"))
    )
    with pytest.raises(BadRecord, match="out") as caught:
        builtin_table().merged(orphan)
    assert caught.value.field == "parent"


# --- labels


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("cmn", "cmn"),
        ("zh", "cmn"),
        ("zho", "cmn"),
        ("zh-CN", "cmn-standard"),
        ("zho_Hans", "cmn-standard"),
        ("cmn_hans_cn", "cmn-standard"),
        ("zh-TW", "cmn-taiwan"),
        ("zho_Hant", "cmn-taiwan"),
        ("zh-HK", "yue-hongkong"),
        ("yue_hant_hk", "yue-hongkong"),
        ("yue", "yue"),
        ("nan-tw", "nan-taiwan"),
        ("Hokkien", "nan"),
        ("Hakka", "hak"),
        ("Ji-Lu", "cmn-jilu"),
        ("jilu", "cmn-jilu"),
        ("  LAN-YIN ", "cmn-lanyin"),
        ("zh_dialect", "cmn"),
        ("zh_standard", "cmn-standard"),
        ("吴语", "wuu"),
        ("Xi_an", "cmn-xian"),
        ("Xi’an", "cmn-xian"),
        ("arb_Arab", "arb"),
        ("hin_Deva", "hin"),
        ("de-ba", "bar-central"),
        ("gn", "grn"),
        ("toba_batak", "bbc"),
        ("mand1415", "cmn"),
        ("Bokmal", "nob"),
        ("fa", "fas"),
        ("min", "min"),
    ],
)
def test_labels_of_other_people(label: str, code: str) -> None:
    assert builtin_table().resolve(label).code == code


@pytest.mark.parametrize(
    ("corpus", "label", "code"),
    [
        ("yubao", "min", "zhx-min"),
        ("yubao", "gan", "gan"),
        ("kespeech", "Mandarin", "cmn-standard"),
        ("kespeech", "Jiao-Liao", "cmn-jiaoliao"),
        ("ewave", "SW", "eng-southwest"),
        ("lsdc", "DNS", "nds-northsaxon-german"),
        ("wikihan", "Hokkien", "nan-quanzhang"),
        ("MaiBaam", "north", "bar-north"),
    ],
)
def test_a_corpus_may_have_labels_of_its_own(corpus: str, label: str, code: str) -> None:
    assert builtin_table().resolve(label, corpus=corpus).code == code


@pytest.mark.parametrize("label", ["SW-not-there", "", "---", "xx_Latn", "arb_Xyzw"])
def test_labels_of_nobody_are_refused(label: str) -> None:
    with pytest.raises(UnknownName):
        builtin_table().resolve(label)


def test_paths_name_their_finest_part() -> None:
    table = builtin_table()
    assert table.resolve_path("吴语-太湖片-苏沪嘉小片").code == "wuu-suhujia"
    assert table.resolve_path("官话 中原官话 郑开片").code == "cmn-zhengkai"
    assert table.resolve_path("闽语_闽南片_无名小片").code == "nan"
    assert table.resolve_path("Ji-Lu").code == "cmn-jilu"
    with pytest.raises(ValueError, match="neither is above"):
        table.resolve_path("粤语-太湖片")
    with pytest.raises(UnknownName):
        table.resolve_path("甲乙-丙丁")


def test_a_shared_language_code_means_the_variety_above(tmp_path: Path) -> None:
    path = written(
        tmp_path, "code / name / parent / iso639_3", "xab / B / xaa / qaa", "xaa / A /  / qaa"
    )
    assert load_table(path).resolve("qaa").code == "xaa"
    path = written(
        tmp_path, "code / name / parent / iso639_3", "xab / B /  / qaa", "xaa / A /  / qaa"
    )
    with pytest.raises(UnknownName):
        load_table(path).resolve("qaa")


@given(st.sampled_from(builtin_table().codes))
def test_every_label_leads_back_in_any_case(code: str) -> None:
    table = builtin_table()
    for label in (code, table[code].name, *table.aliases(code)):
        assert table.resolve(label).code == code
        assert table.resolve(label.replace("-", " ").replace("_", "-")).code == code
    assert table.resolve(table[code].name.upper()).code == code


# --- what is shipped


def test_sinitic_groups_are_there_and_deep() -> None:
    table = builtin_table()
    sinitic = table.descendants("zhx")
    for group in SINITIC:
        assert sum(table.group_of(code) == group for code in sinitic) >= 3, group
    for code, group in {"cmn": "mandarin", "yue": "yue", "hak": "hakka", "nan": "min"}.items():
        assert table.group_of(code) == group


def test_every_row_is_sound() -> None:
    table = builtin_table()
    for code, variety in table.items():
        assert re.fullmatch(r"[a-z]{3}(-[a-z0-9]+)*", code)
        if variety.iso639_3:
            assert variety.iso639_3 == code, "an ISO code stands on the row of that code alone"
        assert variety.name.strip() == variety.name
    for field in ("iso639_3", "glottolog", "bcp47"):
        values = [value for v in table.values() if (value := getattr(v, field))]
        assert len(values) == len(set(values)), field


def test_every_leaf_has_group_and_script() -> None:
    table = builtin_table()
    for code, variety in table.items():
        if not table.children(code):
            assert variety.group is not None, code
            assert variety.script is not None, code


def test_sub_varieties_share_the_group_above() -> None:
    table = builtin_table()
    for group in SINITIC:
        members = {code for code in table if table[code].group == group}
        heads = [code for code in members if table[code].parent not in members]
        assert all(table[head].parent == "zhx" for head in heads), heads


def test_readers_do_not_change_the_shared_table() -> None:
    assert builtin_table() is builtin_table()
