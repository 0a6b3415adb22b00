"""Catalogues of gettext from Debian packages, for machines that have few: `fetch_catalogues`.

The packages are downloaded and unpacked into a folder; nothing is installed, so this works for
every user of a Debian or Ubuntu machine, and where documentation and locales are left out of
installations, as in small containers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CATALOGUE_PACKAGES", "CataloguesUnavailable", "fetch_catalogues"]

CATALOGUE_PACKAGES = (
    "evolution-common",
    "gedit-common",
    "gnome-control-center-data",
    "gnome-shell-common",
    "gnupg-l10n",
    "libc-l10n",
    "libglib2.0-data",
    "libgtk-3-common",
    "libgtk-4-common",
    "nautilus-data",
    "rhythmbox-data",
)
"""Packages with many translated sentences, Serbian in both scripts among them: 26 MB in Debian 12.

Newer releases give some of them other names; those that are not found are passed over.
"""

_DONE = "complete.txt"
_SECONDS = 600.0


class CataloguesUnavailable(IsoglossError):
    """Catalogues cannot be had here; the message says what to install."""

    def __init__(self, problem: str, packages: Sequence[str]) -> None:
        super().__init__(
            f"{problem}; install packages with translations, such as: apt-get update && apt-get "
            f"install {' '.join(packages)}; or, on other systems, any desktop's language packs, "
            "and name their folder"
        )


def fetch_catalogues(
    folder: Path,
    packages: Sequence[str] = CATALOGUE_PACKAGES,
    *,
    say: Callable[[str], None] | None = None,
) -> Path:
    """`folder` with the catalogues of `packages` in it; what is there already is not fetched again.

    Args:
        folder: made if absent; whole or absent, whenever this is killed.
        packages: names of Debian packages; those that apt does not know are passed over.
        say: called with a line before the download.

    Raises:
        CataloguesUnavailable: there is no apt here, it knows none of the packages, or nothing can
            be downloaded.
    """
    if (folder / _DONE).is_file():
        return folder
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CataloguesUnavailable("there are no programs apt-get and dpkg-deb here", packages)
    known = _known(packages)
    if not known:
        _run(["apt-get", "update", "-qq"], Path.cwd())  # a new machine has no lists yet
        known = _known(packages)
    if not known:
        raise CataloguesUnavailable("apt knows none of the packages with catalogues", packages)
    if say is not None:
        say(f"fetching the translations of {len(known)} Debian packages into {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".catalogues-") as temporary:
        work = Path(temporary)
        problem = _run(["apt-get", "download", "-qq", *known], work)
        archives = sorted(work.glob("*.deb"))
        if not archives:
            raise CataloguesUnavailable(f"apt-get download failed: {problem}", packages)
        unpacked = work / "unpacked"
        for archive in archives:
            problem = _run(["dpkg-deb", "-x", str(archive), str(unpacked)], work)
            if problem:
                raise CataloguesUnavailable(f"{archive.name}: {problem}", packages)
        _keep_catalogues(unpacked)
        names = "".join(f"{archive.stem}\n" for archive in archives)
        (unpacked / _DONE).write_text(names, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
    return folder


def _known(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that apt could download."""
    answer = subprocess.run(
        ["apt-cache", "--generate", "show", "--no-all-versions", *packages],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env=_english(),
    )
    prefix = "Package: "
    found = {x.removeprefix(prefix) for x in answer.stdout.splitlines() if x.startswith(prefix)}
    return [package for package in packages if package in found]


def _run(command: Sequence[str], folder: Path) -> str:
    """Run `command` in `folder`; '' when it was done, else the last line of what it said."""
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env=_english(),
        )
    except subprocess.TimeoutExpired:
        return f"no end after {_SECONDS:.0f} s"
    if answer.returncode == 0:
        return ""
    return (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]


def _keep_catalogues(folder: Path) -> None:
    """Delete what is no catalogue."""
    for path in folder.rglob("*"):
        if path.is_symlink() or (path.is_file() and path.suffix != ".mo"):
            path.unlink()


def _english() -> dict[str, str]:
    """The environment, with answers in English, so that they can be read."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}
