"""Files that can be read in one sitting, and folders that say what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 500
FOLDERS = ("src", "tests", "benchmarks", "scripts")

LONGER: dict[str, str] = {}
"""Files that may be longer, each with a reason. The list may only shrink."""

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "core", "base"}

FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def lines_of(path: Path) -> int:
    """Lines of a text file."""
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_longer_than_one_can_read(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() not in LONGER:
        assert lines_of(path) <= MOST_LINES


def test_the_list_of_longer_files_only_shrinks() -> None:
    for name, reason in LONGER.items():
        assert reason, f"{name} needs a reason to be longer"
        assert (ROOT / name).is_file(), f"{name} is gone: take it off LONGER"
        assert lines_of(ROOT / name) > MOST_LINES, f"{name} is short enough: take it off LONGER"


@pytest.mark.parametrize("folder", ["src", "tests", "docs", "benchmarks"])
def test_names_say_what_is_inside(folder: str) -> None:
    nameless = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.stem.lower().removeprefix("test_").strip("_") in SAYS_NOTHING
    ]
    assert nameless == []


def test_tests_have_no_init_files() -> None:
    # With importmode=importlib they would give two files of one name the same module.
    assert list((ROOT / "tests").rglob("__init__.py")) == []
