"""What the commands of `isogloss search` print, for their tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from isogloss.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def output(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = main(["search", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def records_of(manifest: Path) -> list[dict[str, Any]]:
    lines = manifest.read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if "id" in record]


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [hit["item"]["id"] for hit in answer["hits"]]
