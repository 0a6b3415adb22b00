from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue_packages import CataloguesUnavailable, fetch_catalogues

if TYPE_CHECKING:
    from pathlib import Path

# A stand-in for apt: it knows `good` and `other`, whose archives are plain text.
APT_CACHE = """#!/bin/sh
for name in "$@"; do case $name in good|other) echo "Package: $name";; esac; done
"""
APT_GET = """#!/bin/sh
[ "$1" = download ] || exit 0
shift 2
for name in "$@"; do echo archive > "${name}_1.deb"; done
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/share/locale/de/LC_MESSAGES" "$3/usr/bin"
name=$(basename "$2" _1.deb)
echo catalogue > "$3/usr/share/locale/de/LC_MESSAGES/$name.mo"
echo program > "$3/usr/bin/$name"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("apt-cache", APT_CACHE), ("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_catalogues_are_unpacked_and_nothing_else_is_kept(programs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = fetch_catalogues(tmp_path / "out", ("good", "absent", "other"), say=said.append)
    assert files_in(out) == [
        "complete.txt",
        "usr/share/locale/de/LC_MESSAGES/good.mo",
        "usr/share/locale/de/LC_MESSAGES/other.mo",
    ]
    assert "2 Debian packages" in said[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "out"]


def test_what_is_there_is_not_fetched_again(programs: Path, tmp_path: Path) -> None:
    fetch_catalogues(tmp_path / "out", ("good",))
    for program in programs.iterdir():
        program.unlink()
    assert fetch_catalogues(tmp_path / "out", ("good",)) == tmp_path / "out"


def test_without_apt_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CataloguesUnavailable, match=r"no programs apt-get.*apt-get install good"):
        fetch_catalogues(tmp_path / "out", ("good",))


def test_packages_that_nobody_knows(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(CataloguesUnavailable, match="knows none of the packages"):
        fetch_catalogues(tmp_path / "out", ("absent",))


def test_a_failed_download_leaves_nothing_behind(programs: Path, tmp_path: Path) -> None:
    (programs / "apt-get").write_text("#!/bin/sh\necho 'no network' >&2; exit 100\n")
    with pytest.raises(CataloguesUnavailable, match="download failed: no network"):
        fetch_catalogues(tmp_path / "out", ("good",))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin"]


def test_a_broken_archive_is_named(programs: Path, tmp_path: Path) -> None:
    (programs / "dpkg-deb").write_text("#!/bin/sh\necho 'not an archive' >&2; exit 2\n")
    with pytest.raises(CataloguesUnavailable, match=r"good_1\.deb: not an archive"):
        fetch_catalogues(tmp_path / "out", ("good",))
    assert not (tmp_path / "out").exists()
