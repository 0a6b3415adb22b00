"""Files that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isogloss._files import atomic_writer, sha256_of_file, write_json, write_text

if TYPE_CHECKING:
    from pathlib import Path


def test_text_arrives_as_utf8_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "佢去咗\n")
    assert path.read_bytes() == "佢去咗\n".encode()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), atomic_writer(path) as handle:
        handle.write(b"new")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_writer(tmp_path / "new.txt") as handle:
        handle.write(b"half")
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    script = (
        "import os, pathlib, signal\n"
        "from isogloss._files import atomic_writer\n"
        f"with atomic_writer(pathlib.Path({str(path)!r})) as handle:\n"
        "    handle.write(b'new' * 100000); handle.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", script])
    assert result.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "open.txt"
    write_text(path, "x")
    assert path.stat().st_mode & 0o777 == 0o644


def test_bytes_and_text_modes(tmp_path: Path) -> None:
    with atomic_writer(tmp_path / "bytes") as handle:
        handle.write(b"\x00\xff")
    with atomic_writer(tmp_path / "text", "w") as handle:
        handle.write("字")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert (tmp_path / "text").read_text(encoding="utf-8") == "字"


def test_json_is_readable_and_refuses_what_json_lacks(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"name": "粵語", "values": [1, 0.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "name": "粵語",
        "values": [1, 0.5, None],
    }
    assert "粵語" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert "粵語" in path.read_text(encoding="utf-8")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    (tmp_path / "data").write_bytes(content)
    assert sha256_of_file(tmp_path / "data") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert sha256_of_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")
