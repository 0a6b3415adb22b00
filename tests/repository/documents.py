"""What the tests of the documents share: their fenced blocks, with the comment above each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n+)?^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, the comment right above it, and its first line."""

    language: str
    body: str
    note: str
    line: int

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each line that starts with '$ ' (continued by a backslash), and the output below it."""
        found: list[tuple[str, list[str]]] = []
        continued = False
        for line in self.body.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif continued:
                found[-1] = (f"{found[-1][0][:-1]}{line.strip()}", [])
            elif found:
                found[-1][1].append(line)
            continued = line.endswith("\\") and not (found and found[-1][1])
        return found


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"],
            match["body"],
            match["note"] or "",
            text.count("\n", 0, match.start("language")) + 1,
        )
        for match in _FENCE.finditer(text)
    ]


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
