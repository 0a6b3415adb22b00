"""The README's commands run, in its order, and print what it says they print.

A comment above a block may say: `not run: WHY`, `needs ISOGLOSS_DATA`, or `output varies: WHY`.
In pasted output `...` stands for lines left out and, inside a line, for some text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from makers import recordings_with_faults
from repository.documents import ROOT, Block, blocks_of

NOTES = ("not run: ", "needs ISOGLOSS_DATA", "output varies: ")


def console_blocks() -> list[Block]:
    """Blocks with commands, in the order of the page."""
    return [block for block in blocks_of(ROOT / "README.md") if block.language == "console"]


def run(command: str, folder: Path) -> str:
    """What a command prints, results and talk together; it must end well."""
    data = os.environ.get("ISOGLOSS_DATA", str(ROOT.parent / "shared" / "data"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ISOGLOSS_DATA": data,
        "NO_COLOR": "1",
    }
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"$ {command}\n{result.stdout}"
    return result.stdout


def squeezed(line: str) -> str:
    """A line without what depends on the width of a column."""
    return re.sub(r"\s+", " ", line).strip()


def not_printed(shown: list[str], printed: str) -> list[str]:
    """Lines of the README that a command did not print, in their order."""
    lines = iter([squeezed(line) for line in printed.splitlines()])
    missing = []
    for line in shown:
        wanted = squeezed(line)
        if wanted in ("", "..."):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("...")))
        if not any(pattern.fullmatch(found) for found in lines):
            missing.append(line)
            lines = iter([])
    return missing


def test_marks_are_known() -> None:
    strange = [b.note for b in console_blocks() if b.note and not b.note.startswith(NOTES)]
    assert strange == []


def test_the_two_commands_come_first() -> None:
    commands = [command for block in console_blocks() for command, _ in block.commands]
    assert commands[:2] == ["make demo", "make test"]


def test_commands_run_and_print_what_the_readme_says(tmp_path: Path) -> None:
    recordings_with_faults(tmp_path / "recordings")
    data = Path(os.environ.get("ISOGLOSS_DATA", ROOT.parent / "shared" / "data"))
    ran = 0
    for block in console_blocks():
        if block.note.startswith("not run: "):
            continue
        if block.note.startswith("needs ISOGLOSS_DATA") and not data.is_dir():
            continue
        for command, shown in block.commands:
            printed = run(command, tmp_path)
            ran += 1
            if not block.note.startswith("output varies: "):
                missing = not_printed(shown, printed)
                assert missing == [], f"README.md:{block.line}: $ {command}\n{printed}"
    assert ran >= 8


def test_a_line_that_is_not_printed_is_found() -> None:
    printed = "a  b\nc   /tmp/x d\ne\n"
    assert not_printed(["a b", "c ... d", "", "..."], printed) == []
    assert not_printed(["e", "a b"], printed) == ["a b"]
    assert not_printed(["a b c"], printed) == ["a b c"]


@pytest.mark.parametrize("reason", ["not run:", "output varies:"])
def test_a_mark_gives_its_reason(reason: str) -> None:
    marked = [block.note for block in console_blocks() if block.note.startswith(reason)]
    assert all(len(note) > len(reason) + 5 for note in marked)
