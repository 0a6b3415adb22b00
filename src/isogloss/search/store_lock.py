"""One writer at a time: an exclusive lock that ends with the process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LOCK_FILE", "IndexLocked", "exclusive"]

LOCK_FILE = "lock"
_POLL_SECONDS = 0.05


class IndexLocked(IsoglossError):
    """Another process is writing to the index; `pid` is its number, None when it is not known."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{folder}: {who} is writing there; wait until it has ended and repeat, or "
            "let the writer wait with a timeout"
        )
        self.folder = folder
        self.pid = pid


@contextmanager
def exclusive(folder: Path, *, timeout_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of the index in `folder` while the block runs.

    Args:
        folder: of the index; the file `lock` is made there and stays.
        timeout_seconds: how long to wait for another writer.

    Raises:
        IndexLocked: another writer holds it still.
        OSError: the folder cannot be written to, or its file system has no locks.
    """
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(handle, folder, time.monotonic() + timeout_seconds)
        try:
            # The number is for messages only; a full disk must not keep anybody from deleting.
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(handle, 0)
            # Said aloud: a forked child would otherwise keep the lock with its copy of the handle.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _acquire(handle: int, folder: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        if time.monotonic() >= until:
            raise IndexLocked(folder, _pid_in(handle))
        time.sleep(_POLL_SECONDS)


def _pid_in(handle: int) -> int | None:
    """The number that the holder has written, unless it is that of a process that has ended."""
    text = os.pread(handle, 32, 0).strip()
    if not text.isdigit():
        return None
    try:
        os.kill(int(text), 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return int(text)
