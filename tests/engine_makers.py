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
from pathlib import Path

import psycopg
import pytest

from isogloss.errors import IsoglossError, MissingExtra
from isogloss.search.engine_embedded import as_database_user, programs, reachable


def need_servers() -> None:
    """Skip where no PostgreSQL can be started, saying why; any other failure is a failure."""
    try:
        reachable(programs() / "postgres")
        found = subprocess.run(
            [str(programs() / "postgres"), "--version"], capture_output=True, **as_database_user()
        )
    except MissingExtra as error:
        pytest.skip(str(error))
    except (OSError, IsoglossError) as error:
        pytest.skip(f"PostgreSQL cannot be started here: {error}")
    if found.returncode:
        pytest.skip(f"PostgreSQL cannot be started here: {found.stderr.decode().strip()}")


def open_folder() -> Path:
    """A temporary folder that the servers' user may reach, removed when Python ends.

    Not one of pytest's: those are shut to other users each time that a session of pytest begins.
    """
    folder = Path(tempfile.mkdtemp(prefix="isogloss-engine-"))
    # Run last of all, so that an embedded server has stopped before.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Server:
    """One server on a port of its own; `url` is its database."""

    def __init__(self, folder: Path, source: Server | None = None) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        reachable(self.data)
        reachable(programs() / "postgres")
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        if os.geteuid() == 0:
            shutil.chown(self.data, str(as_database_user()["user"]))
        self.data.chmod(0o700)
        if source is None:
            _run(
                "initdb", "-A", "trust", "-U", "postgres", "-E", "utf8", "-N", "-D", str(self.data)
            )
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
            [str(programs() / "postgres"), "-D", str(self.data), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **as_database_user(),
        )
        end = time.monotonic() + 120
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


def _run(program: str, *arguments: str) -> None:
    command = [str(programs() / program), *arguments]
    subprocess.run(command, check=True, capture_output=True, **as_database_user())
