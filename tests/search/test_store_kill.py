"""`kill -9` at random moments of appends, deletes and compactions: no commit lost, none torn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kill_index.py"


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "20", "--json", "--folder", tmp_path / "index"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads(result.stdout)
    assert summary["kills"] == 20
    assert summary["problems"] == []
    assert summary["commits_reported"] > 0
    # Kills between two changes prove nothing: many must leave files of a change behind.
    within = summary["found_after_kill"]
    assert sum(within.values()) == 20
    assert sum(count for where, count in within.items() if where != "no file begun") >= 5, within
