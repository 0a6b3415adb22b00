"""What is loaded when: a help text costs little, and torch is imported only where it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "lhotse", "rich", "matplotlib", "pyarrow", "av", "soundfile")
MOST_CPU_SECONDS = 0.3

WITHOUT_TORCH = (
    "isogloss",
    "isogloss.types",
    "isogloss.varieties",
    "isogloss.scores",
    "isogloss.measures",
    "isogloss.corpora",
    "isogloss.corpora.catalogue",
    "isogloss.corpora.synth",
    "isogloss.corpora.synth.make",
    "isogloss.encoders",
    "isogloss.tasks",
    "isogloss.bench",
    "isogloss.cli",
)


def loaded_by(code: str) -> set[str]:
    """Names of all modules that are loaded after `code` ran in a new interpreter."""
    script = f"{code}\nimport sys\nsys.stderr.write(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stderr.split())


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one run of the command line."""
    before = os.times()
    subprocess.run(
        [Path(sys.executable).with_name("isogloss"), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


def test_help_takes_little_cpu_time() -> None:
    assert min(cpu_seconds(["--help"]) for _ in range(3)) < MOST_CPU_SECONDS


@pytest.mark.parametrize("noun", ["demo", "corpus", "varieties", "speech", "search", "bench"])
def test_help_loads_nothing_heavy(noun: str) -> None:
    code = (
        "from isogloss.cli import main\n"
        f"for words in ([], [{noun!r}]):\n"
        "    try:\n        main([*words, '--help'])\n    except SystemExit:\n        pass"
    )
    assert loaded_by(code) & set(HEAVY) == set()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_torch_is_not_loaded_before_it_is_used(module: str) -> None:
    assert loaded_by(f"import {module}") & {"torch", "lhotse", "transformers", "numba"} == set()


def test_importing_isogloss_loads_nothing_of_others() -> None:
    assert loaded_by("import isogloss") & set(HEAVY) == set()
