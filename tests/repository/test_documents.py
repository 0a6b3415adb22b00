"""What the documents say is true: paths exist, names can be imported, commands are understood."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import types
from typing import TYPE_CHECKING

import pytest

from isogloss.cli.main import NOUNS
from makers import melody_corpus
from repository.commands import parser_of, verbs_of
from repository.documents import PAGES, ROOT, blocks_of, prose_of

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = ROOT / "src" / "isogloss"
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
PATH = re.compile(r"[\w.*-]+(?:/[\w.*{},-]+)*/?")
DOTTED = re.compile(r"isogloss(?:\.\w+)+")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def names_a_place(word: str) -> bool:
    """Whether a word in backticks is meant as a path of this repository."""
    if not PATH.fullmatch(word) or "/" not in word:
        return word.endswith(".py") and PATH.fullmatch(word) is not None
    first = word.split("/")[0]
    return word.endswith(".py") or (ROOT / first).is_dir() or (SOURCE / first).is_dir()


def exists(word: str) -> bool:
    """Whether a path (perhaps with a star) is there, from the root or from the package."""
    return any(
        next(folder.glob(word.rstrip("/")), None) is not None
        for folder in (ROOT, SOURCE, SOURCE / "corpora")
    )


@by_page
def test_every_path_exists(page: Path) -> None:
    words = {word for word in CODE.findall(prose_of(page)) if names_a_place(word)}
    assert [word for word in sorted(words) if not exists(word)] == []


@by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(prose_of(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@by_page
def test_every_name_can_be_imported(page: Path) -> None:
    missing = []
    for dotted in sorted(set(DOTTED.findall(page.read_text(encoding="utf-8")))):
        if not importable(dotted):
            missing.append(dotted)
    assert missing == []


def importable(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one, or an entry-point group."""
    if dotted in ("isogloss.readers", "isogloss.encoders", "isogloss.transforms"):
        return True
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@by_page
def test_every_command_is_understood(page: Path) -> None:
    for block in blocks_of(page):
        for command, _ in block.commands if block.language == "console" else []:
            for part in re.split(r" *(?:;|&&|\||>) *", command):
                words = shlex.split(part)
                if words[:1] == ["isogloss"]:
                    parse(words[1:])


def parse(words: list[str]) -> None:
    """Give the words to the command's own parser; what it does not understand exits with 2."""
    if words[0].startswith("-"):
        return
    assert words[0] in NOUNS, words
    parser = parser_of(words[0])
    if len(words) > 1 and words[1] in verbs_of(parser):
        parser = verbs_of(parser)[words[1]]
        words = words[1:]
    if "--help" not in words:
        parser.parse_args(words[1:])


@by_page
def test_python_in_a_document_compiles(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.body, f"{page}:{block.line}", "exec")


@by_page
def test_no_result_is_still_missing(page: Path) -> None:
    assert "RESULT[" not in page.read_text(encoding="utf-8"), "put in the number of a real run"


def strings_of_the_source() -> str:
    """Every string of the package and the build, pieces of f-strings one by one."""
    found = [(ROOT / "Makefile").read_text(encoding="utf-8")]
    for module in SOURCE.rglob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return "\n".join(found)


def longest_known(message: str, source: str) -> str:
    """The longest run of whole words of a message that stands in the source."""
    words = message.split(" ")
    runs = [
        " ".join(words[start:end])
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
    ]
    return max((run for run in runs if run in source), key=len, default="")


def test_messages_in_the_index_of_errors_exist() -> None:
    """Names and numbers in a message are examples; a run of its words must be the program's."""
    source = strings_of_the_source()
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    messages = [message for row in rows for message in CODE.findall(row)]
    assert len(messages) > 30
    assert [m for m in messages if len(longest_known(m, source)) < 7] == []


def test_the_example_of_an_encoder_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    melody_corpus(tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)
    code = [b.body for b in blocks_of(ROOT / "docs" / "encoders.md") if b.language == "python"]
    module = types.ModuleType("documented_encoder")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("\n".join(code), module.__dict__)
    assert module.load("").made_by == "spectrum:;version=1"


def test_changes_of_numbers_have_a_section_of_their_own() -> None:
    assert "## Numbers that changed" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_architecture_and_contributing_fit_a_page() -> None:
    for name, most in {"ARCHITECTURE.md": 100, "CONTRIBUTING.md": 100}.items():
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: pip install -e .[dev]")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "site" / "cli" / "index.html").is_file()
