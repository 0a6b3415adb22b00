"""Catalogues of gettext, written by the manual of gettext and not by our reader."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_mo(
    path: Path, messages: dict[str, str], *, charset: str = "UTF-8", order: str = "<"
) -> Path:
    """A catalogue by the manual of gettext: header, two tables, the strings."""
    header = f"Content-Type: text/plain; charset={charset}\n"
    pairs = sorted({"": header, **messages}.items())
    keys = [key.encode(charset) for key, _ in pairs]
    texts = [text.encode(charset) for _, text in pairs]
    start = 28
    strings = start + 16 * len(pairs)
    tables, data = [], b""
    for column in (keys, texts):
        for word in column:
            tables.append(struct.pack(f"{order}2I", len(word), strings + len(data)))
            data += word + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), start, start + 8 * len(pairs), 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"".join(tables) + data)
    return path
