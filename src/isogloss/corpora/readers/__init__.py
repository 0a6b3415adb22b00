"""Readers, one file for each corpus layout: a folder on disk in, a corpus and what was left out.

Ask `isogloss.corpora.catalogue` for a reader by name; only the file of that reader is imported.
"""

from __future__ import annotations

from isogloss.corpora.readers.result import (
    Coverage,
    LayoutError,
    OptionError,
    Reader,
    ReadResult,
    Skipped,
)

__all__ = ["Coverage", "LayoutError", "OptionError", "ReadResult", "Reader", "Skipped"]
