"""The command line: `isogloss <noun> <verb>`. Each command parses, calls one function, prints."""

from __future__ import annotations

from isogloss.cli.main import main

__all__ = ["main"]
