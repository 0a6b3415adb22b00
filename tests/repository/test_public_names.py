"""The shop window: docstrings, public names, and nothing that a library must not do."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "isogloss"
MODULES = sorted(SOURCE.rglob("*.py"))
HOSTS_OF_WORKPLACES = re.compile(
    # Where packages come from is for each user's own settings to say.
    r"(?:index-url|find-links|trusted-host)\W+(?:https?|file):"
    r"|\.internal\b|\.corp\b|\b(?:10|192\.168)\.\d+\.\d+\.\d+",
    re.IGNORECASE,
)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".tsv", ".html", ".css", ".js"}


def module_name(path: Path) -> str:
    """Dotted name of a module's file."""
    parts = ("isogloss", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    """Syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def all_of(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None when a module has none."""
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        targets = node.targets if isinstance(node, ast.Assign) else [target]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return list(ast.literal_eval(node.value))
    return None


by_module = pytest.mark.parametrize("path", MODULES, ids=module_name)


@by_module
def test_all_lists_names_that_exist_in_order(path: Path) -> None:
    listed = all_of(tree_of(path))
    assert listed is not None, "every module says in __all__ what is public"
    assert len(set(listed)) == len(listed)
    module = importlib.import_module(module_name(path))
    assert [name for name in listed if not hasattr(module, name)] == []


@by_module
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = tree_of(path)
    without = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                without.append(node.name)
            without += [
                f"{node.name}.{member.name}"
                for member in (node.body if isinstance(node, ast.ClassDef) else [])
                if isinstance(member, ast.FunctionDef)
                and not member.name.startswith("_")
                and not ast.get_docstring(member)
                and not inherits_its_docstring(member)
            ]
    assert without == []


def inherits_its_docstring(function: ast.FunctionDef) -> bool:
    """`forward` is described by its class, an override or overload elsewhere."""
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    return function.name == "forward" or bool(
        decorators & {"override", "typing.override", "overload", "typing.overload"}
    )


@by_module
def test_a_library_does_not_print(path: Path) -> None:
    calls = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert calls == []


@by_module
def test_no_handler_swallows_everything(path: Path) -> None:
    swallowing = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        and not hands_on(node)
    ]
    assert swallowing == []


def hands_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler returns the error itself, to be told to whoever asked."""
    return any(
        isinstance(inner, ast.Return)
        and any(isinstance(used, ast.Name) and used.id == handler.name for used in ast.walk(inner))
        for inner in ast.walk(handler)
    )


def repository_files() -> list[Path]:
    """Text files that people read or run, without what tools leave behind."""
    folders = ("src", "tests", "docs", "scripts", "benchmarks", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    found += [path for path in ROOT.iterdir() if path.is_file()]
    return sorted(
        path
        for path in found
        if path.is_file()
        and (path.suffix in TEXT_SUFFIXES or path.name in ("Makefile", "run"))
        and path != Path(__file__).resolve()
        and not {"__pycache__", "synth-data"} & set(path.parts)
    )


def test_no_file_names_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in repository_files()
        if (match := HOSTS_OF_WORKPLACES.search(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()
