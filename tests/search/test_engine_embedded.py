"""The database in a folder: shared, left behind by a crash, killed, of another user, half made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg")
pytest.importorskip("numba")

from engine_makers import need_servers, open_folder
from isogloss.errors import IsoglossError
from isogloss.search.engine import EngineIndex
from isogloss.search.engine_place import is_engine_place
from isogloss.search.index_settings import IndexSettings
from isogloss.types import Item, Sequences

SETTINGS = IndexSettings(units=256, iterations=2)

BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_engine_embedded import SETTINGS, some
from isogloss.search.engine import EngineIndex
index = EngineIndex.build(sys.argv[2], *some(), settings=SETTINGS)
print(len(index), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def startable() -> None:
    need_servers()


@pytest.fixture
def folder() -> Path:
    return open_folder() / "index"


def some(first: int = 0) -> tuple[Sequences, list[Item]]:
    rng = np.random.default_rng(0)
    names = [f"i{number}" for number in range(first, first + 40)]
    steps = [rng.standard_normal((8, 12), dtype=np.float32) for _ in names]
    return Sequences.from_list(names, steps), [Item(name, "cmn") for name in names]


def started(folder: Path) -> subprocess.Popen[str]:
    """A process that builds an index and keeps it open."""
    command = [sys.executable, "-c", BUILD, str(Path(__file__).parent), str(folder)]
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def postmaster(folder: Path) -> int | None:
    try:
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid


OPEN = """
import sys
from isogloss.search.engine import EngineIndex
print(len(EngineIndex.open(sys.argv[1])))
"""


def counted_by_another_process(folder: Path) -> int:
    found = subprocess.run(
        [sys.executable, "-c", OPEN, str(folder)], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    return int(found.stdout)


def test_it_stops_with_the_last_process_and_a_killed_one_does_not_count(folder: Path) -> None:
    one = started(folder)
    assert one.stdout is not None
    assert one.stdout.readline() == "40\n"
    assert counted_by_another_process(folder) == 40
    # The first uses it still.
    assert postmaster(folder) is not None
    one.kill()
    one.communicate(timeout=300)
    assert postmaster(folder) is not None
    # The next finds it running, and stops it.
    assert counted_by_another_process(folder) == 40
    assert postmaster(folder) is None


def test_a_killed_database_is_started_again(folder: Path) -> None:
    sequences, items = some()
    with EngineIndex.build(folder, sequences, items, settings=SETTINGS) as index:
        right = index.search(sequences, 3)
        pid = postmaster(folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert index.search(sequences, 3) == right
        more, their_items = some(40)
        index.append(more, their_items)
        assert len(index) == 80
        if os.geteuid() == 0:
            data = folder / "postgres"
            assert data.stat().st_uid != 0
            assert data.stat().st_mode & 0o077 == 0


def test_a_build_that_failed_can_be_repeated(folder: Path) -> None:
    sequences, items = some()
    with pytest.raises(ValueError, match="there is no item left"):
        EngineIndex.build(folder, sequences, items[:-1], settings=SETTINGS)
    assert is_engine_place(folder)
    with pytest.raises(IsoglossError, match="holds no index"):
        EngineIndex.open(folder)
    # What a killed initdb would leave.
    (folder / "postgres.making").mkdir()
    with EngineIndex.build(folder, sequences, items, settings=SETTINGS) as index:
        assert len(index) == 40


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no engine index"):
        EngineIndex.build(tmp_path, *some(), settings=SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(FileExistsError):
        EngineIndex.build(tmp_path / "thesis.txt", *some(), settings=SETTINGS)


def test_a_path_too_long_for_a_socket_and_with_odd_letters() -> None:
    folder = open_folder() / ("long " * 10) / "a'b 字;&" / ("x" * 40)
    one = started(folder)
    assert one.stdout is not None
    assert one.stdout.readline() == "40\n"
    [sockets] = Path(tempfile.gettempdir()).glob("isogloss-[0-9]*/.s.PGSQL.5432.lock")
    assert sockets.parent.stat().st_mode & 0o077 == 0
    one.communicate("", timeout=300)
    assert not sockets.parent.exists()


def test_a_database_that_does_not_start_says_where_to_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.search.engine_embedded._STARTS", 1)
    folder.mkdir()
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("3\n")
    if os.geteuid() == 0:
        shutil.chown(folder / "postgres", "pgserver")
    with pytest.raises(IsoglossError, match=r"does not start; .*log says why"):
        EngineIndex.build(folder, *some(), settings=SETTINGS)
