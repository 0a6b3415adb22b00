"""`isogloss varieties`: what is printed, and the exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from isogloss.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def test_list_prints_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["varieties", "list", "--group", "jin"]) == 0
    shown = capsys.readouterr().out
    assert "cjy-taiyuan" in shown
    assert "yue" not in shown


def test_list_as_json_holds_a_row_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mine.tsv"
    table.write_text("code\tname\tparent\nwuu-wuxi\tWuxi Wu\twuu-piling\n", encoding="utf-8")
    assert main(["varieties", "list", "--json", "--group", "wu", "--table", str(table)]) == 0
    records = {record["code"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["wuu-wuxi"]["ancestors"][0] == "wuu-piling"
    assert all(record["group"] == "wu" for record in records.values())


def test_show_takes_any_label(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["varieties", "show", "zh-HK", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "yue-hongkong"
    assert main(["varieties", "show", "min", "--corpus", "yubao"]) == 0
    assert "zhx-min" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "near"),
    [(["show", "wuu-shangai"], "wuu-shanghai"), (["list", "--group", "hakkka"], "hakka")],
)
def test_unknown_names_fail_with_near_ones(
    arguments: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["varieties", *arguments]) == 1
    captured = capsys.readouterr()
    assert near in captured.err
    assert captured.out == ""


def test_a_bad_table_is_named_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "mine.tsv"
    table.write_text("code\tname\tparent\nxaa\tA\tnowhere\n", encoding="utf-8")
    assert main(["varieties", "list", "--table", str(table)]) == 1
    assert f"{table}:2:parent" in capsys.readouterr().err
