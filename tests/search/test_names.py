"""`from isogloss.search import ...`: every name is there, and none costs before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import isogloss.search


def test_importing_the_package_reads_nothing_heavy() -> None:
    program = (
        "import sys, isogloss.search; dir(isogloss.search)\n"
        "heavy = {'numpy', 'numba', 'faiss', 'torch', 'fastapi', 'psycopg'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.stderr == "" and done.returncode == 0


def test_every_name_is_its_home_s() -> None:
    from isogloss.search import Filter, open_index
    from isogloss.search.open import open_index as at_home

    assert open_index is at_home
    assert Filter(varieties=("yue",))
    assert set(isogloss.search.__all__) <= set(dir(isogloss.search))
    for name in isogloss.search.__all__:
        assert getattr(isogloss.search, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'open_indx'"):
        isogloss.search.open_indx  # noqa: B018
