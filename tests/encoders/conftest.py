"""Tiny public-style checkpoints, each made once a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an architecture of `hf_checkpoints`; not to be written to."""
    pytest.importorskip("transformers")
    from hf_checkpoints import make_checkpoint

    root = tmp_path_factory.mktemp("hf")

    def folder(architecture: str) -> Path:
        path = root / architecture
        return path if path.is_dir() else make_checkpoint(architecture, path)

    return folder


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an architecture of `text_checkpoints`; not to be written to."""
    pytest.importorskip("transformers")
    from text_checkpoints import make

    root = tmp_path_factory.mktemp("text")

    def folder(architecture: str) -> Path:
        path = root / architecture
        return path if path.is_dir() else make(architecture, path)

    return folder
