"""Install torch into the Python that runs this: the CPU build unless 'cuda' is asked for.

On Linux the default index carries only CUDA builds of torch, with several GB of libraries. So
pip is first asked what it would install; where that is no CPU build, uv fetches one, since it
knows where torch publishes a build for each backend.

Usage: install_torch.py {cpu,cuda} VERSION
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def installed_backend() -> tuple[str, str] | None:
    """Version and backend ('cpu' or 'cuda') of the torch that is here, or None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.__version__.split("+")[0], "cuda" if torch.version.cuda else "cpu"


def pip_would_bring_cuda(requirement: str) -> bool:
    """Whether pip's own choice for `requirement` comes with CUDA libraries."""
    report = subprocess.run(
        [*PIP, "install", "--dry-run", "--ignore-installed", "--report", "-", requirement],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [entry["metadata"]["name"].lower() for entry in json.loads(report)["install"]]
    return any(name.startswith(("nvidia", "cuda", "triton")) for name in names)


def main() -> int:
    """Install, or do nothing when it is done already."""
    backend, version = sys.argv[1], sys.argv[2]
    if backend not in ("cpu", "cuda"):
        sys.stderr.write(f"TORCH={backend} is not cpu or cuda\n")
        return 2
    if installed_backend() == (version, backend):
        return 0
    requirement = f"torch=={version}"
    if backend == "cpu" and not pip_would_bring_cuda(requirement):
        return subprocess.call([*PIP, "install", requirement])
    subprocess.check_call([*PIP, "install", "uv>=0.7"])
    choice = "cpu" if backend == "cpu" else "auto"
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    return subprocess.call([*uv, "--torch-backend", choice, requirement])


if __name__ == "__main__":
    sys.exit(main())
