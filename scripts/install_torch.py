"""Install torch into the Python that runs this: the CPU build unless 'cuda' is asked for.

On Linux the usual index carries CUDA builds of torch only, with several GB of libraries. So pip
is first asked what it would install; where that is no CPU build, uv fetches one, since it knows
where torch publishes a build for each backend. Where that place cannot be reached, pip's own
choice is taken: a CUDA build runs on a CPU too, it is only larger.

Usage: install_torch.py {cpu,cuda} VERSION
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def installed_backend() -> tuple[str, str] | None:
    """Version and backend ('cpu' or 'cuda') of the torch that is here; None without a sound one."""
    if importlib.util.find_spec("torch") is None:
        return None
    code = "import torch; print(torch.__version__.split('+')[0], torch.version.cuda or '')"
    # In a process of its own: an interrupted installation can fail in any way when imported.
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if found.returncode:
        return None
    version, *cuda = found.stdout.split()
    return version, "cuda" if cuda else "cpu"


def pip_would_bring_cuda(requirement: str) -> bool:
    """Whether pip's own choice for `requirement` comes with CUDA libraries."""
    report = subprocess.run(
        [*PIP, "install", "--dry-run", "--ignore-installed", "--report", "-", requirement],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    names = [entry["metadata"]["name"].lower() for entry in json.loads(report)["install"]]
    return any(name.startswith(("nvidia", "cuda", "triton")) for name in names)


def environment_of_uv() -> dict[str, str]:
    """This environment, and the index that pip is told to use: uv does not read pip's settings."""
    asked = [*PIP, "config", "get", "global.index-url"]
    found = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    index = os.environ.get("PIP_INDEX_URL") or found.stdout.strip()
    return ({"UV_DEFAULT_INDEX": index} if index else {}) | os.environ


def install_with_uv(requirement: str, backend: str) -> int:
    """Exit code of uv, which picks the build for `backend`."""
    subprocess.check_call([*PIP, "install", "uv>=0.7"])
    choice = "cpu" if backend == "cpu" else "auto"
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    uv += ["--reinstall-package", "torch", "--torch-backend", choice, requirement]
    return subprocess.call(uv, env=environment_of_uv())


def main() -> int:
    """Install, or do nothing when it is done already."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("cpu", "cuda"):
        sys.stderr.write(f"usage: install_torch.py {{cpu,cuda}} VERSION, got {sys.argv[1:]}\n")
        return 2
    backend, version = sys.argv[1:]
    if installed_backend() == (version, backend):
        return 0
    requirement = f"torch=={version}"
    if backend == "cpu" and not pip_would_bring_cuda(requirement):
        return subprocess.call([*PIP, "install", requirement])
    if install_with_uv(requirement, backend) == 0:
        return 0
    sys.stderr.write("no build for this backend could be fetched; taking the usual one\n")
    return subprocess.call([*PIP, "install", requirement])


if __name__ == "__main__":
    sys.exit(main())
