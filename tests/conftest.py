"""What every test gets: one thread a process, repeatable examples, the shared data if present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before numpy and torch are imported: tests are many small computations, and sums over a number
# of threads that depends on the machine are not the same everywhere.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Examples are drawn from the test alone, so a green run stays green; a slow machine is no failure.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def isogloss_data() -> Path:
    """The folder of small public data sets; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("ISOGLOSS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set ISOGLOSS_DATA to the folder of the data sets")
    return folder


@pytest.fixture
def melodies(tmp_path: Path) -> Path:
    """The manifest of the 12-item corpus of `makers.melody_corpus`, without splits."""
    from makers import melody_corpus

    return melody_corpus(tmp_path / "melodies")
