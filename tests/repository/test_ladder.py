"""The import ladder: an import may only point down, and never sideways to another package.

Imports inside functions and under TYPE_CHECKING count, and so do modules that are named in a
string, as registries do.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "isogloss"

LADDER = (
    ("__main__",),
    ("cli",),
    ("bench",),
    ("tasks",),
    ("words", "lexicons", "search", "adapt", "variation", "training"),
    ("encoders", "llm"),
    ("speech",),
    ("corpora",),
    ("varieties", "scores", "measures"),
    ("types",),
    ("_config",),
    ("errors", "_files"),
)
"""Packages and modules of `isogloss`, uppermost rung first."""

KNOWLEDGE_AND_ARITHMETIC = ("varieties", "scores", "measures", "types", "errors", "_files")
"""Parts that know arrays only: numpy and the standard library."""

ACCELERATORS = {
    # One product of all steps with all runs at the machine's peak only in code compiled for its
    # registers or on a GPU. These files hold that code and nothing else, `scores/seqsim.py` imports
    # them when they are used and installed, and gives the same scores without.
    "scores/seqsim_instructions.py": {"llvmlite", "numba"},
    "scores/seqsim_preparation.py": {"numba"},
    "scores/seqsim_torch.py": {"torch"},
}
"""Files of packages that take numpy only, and what each may import besides."""

OF_ONE_RUNG = {"transformers": ("encoders", "llm", "training"), "accelerate": ("training",)}
"""Libraries that only these packages may import; training makes and trains models of text."""

RUNG = {name: rung for rung, names in enumerate(LADDER) for name in names}
MODULES = sorted(SOURCE.rglob("*.py"))
MODULE_NAME = re.compile(r"isogloss((?:\.\w+)+)(?::\w+)?")


def part_of(module: Path) -> str:
    """The package or module of the ladder that a file belongs to; '' for isogloss itself."""
    first = module.relative_to(SOURCE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(module: Path) -> list[tuple[int, str]]:
    """Line and dotted name of everything that a module imports, or names in a registry."""
    package = ["isogloss", *module.relative_to(SOURCE).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = MODULE_NAME.fullmatch(node.value)
            # The names of entry-point groups look like modules; they are no files.
            if named and (SOURCE / named[1].split(".")[1]).exists():
                found.append((node.lineno, f"isogloss{named[1]}"))
    return found


def breaches(module: Path) -> list[str]:
    """What a module imports and must not."""
    own = part_of(module)
    allowed = {"numpy", *sys.stdlib_module_names}
    allowed |= ACCELERATORS.get(module.relative_to(SOURCE).as_posix(), set())
    found = []
    for line, name in imported(module):
        top, *rest = name.split(".")
        if top != "isogloss":
            if top in OF_ONE_RUNG and own not in OF_ONE_RUNG[top]:
                found.append(f"{line}: {name} belongs to {' and '.join(OF_ONE_RUNG[top])}")
            if own in KNOWLEDGE_AND_ARITHMETIC and top not in allowed:
                found.append(f"{line}: {name}, but {own} takes numpy only")
            continue
        # `from isogloss import __version__` names no part.
        other = rest[0] if rest else ""
        if other in RUNG and other != own and RUNG[other] <= RUNG.get(own, len(LADDER)):
            found.append(f"{line}: {own or 'isogloss'} must not import isogloss.{other}")
    return found


def test_every_package_has_a_rung() -> None:
    parts = {part_of(module) for module in MODULES} - {""}
    assert parts <= set(RUNG), f"give {sorted(parts - set(RUNG))} a rung in LADDER"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_down(module: Path) -> None:
    assert breaches(module) == []


def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, source: str) -> list[str]:
    """Breaches of a module of `part` that holds `source`."""
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    for name in RUNG:
        (tmp_path / name).mkdir()
    module = tmp_path / part / "module.py"
    module.write_text(source, encoding="utf-8")
    return breaches(module)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("scores", "import torch"),
        ("scores", "from isogloss.measures import x"),
        ("scores", "def f():\n    from isogloss.corpora.audio import x"),
        ("corpora", "if TYPE_CHECKING:\n    import isogloss.tasks.y"),
        ("corpora", "from ..tasks import x"),
        ("corpora", "from isogloss import bench"),
        ("encoders", "NAMES = {'own': 'isogloss.tasks.own:load'}"),
        ("encoders", "import_module('isogloss.training.loop')"),
        ("words", "from isogloss.training import loop"),
        ("tasks", "import transformers"),
    ],
)
def test_a_planted_breach_is_found(
    part: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(planted(tmp_path, monkeypatch, part, source)) == 1


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("scores", "import numpy.typing as npt\nfrom isogloss.types import Vectors"),
        ("scores", "from .cosine import cosine\nfrom isogloss.scores.csls import csls"),
        ("corpora", "import torch\nfrom isogloss import __version__"),
        ("encoders", "GROUP = 'isogloss.encoders'\nREADERS = 'isogloss.readers'"),
        ("cli", "'isogloss.bench:run'"),
    ],
)
def test_what_is_allowed_is_no_breach(
    part: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert planted(tmp_path, monkeypatch, part, source) == []
