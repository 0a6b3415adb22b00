"""Public implementations that stand beside ours in benchmarks, in a virtual environment.

`peer_python` makes the environment: torch, numpy and all else come from the interpreter that runs
this, so that every contestant computes with the same torch; the packages themselves are installed
without their dependencies. `load_zipformer` and `load_conformer` are called inside it. Neither
package imports as a whole there (their `__init__` wants tensorboard, data loaders or a torch of the
same release), so only the modules with the network are imported, under empty parents.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import random
import subprocess
import sys
import sysconfig
import types
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "load_conformer", "load_zipformer", "peer_python"]

PACKAGES = ("zipformer==0.1.3", "torchaudio==2.11.0")
"""What is installed, and which release."""


def peer_python(folder: Path, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Python of the environment in `folder`, made and filled if it is not there with `packages`."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    complete = folder / "complete.txt"
    wanted = "\n".join((*packages, sys.prefix))
    if complete.is_file() and complete.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder} with {', '.join(packages)}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *packages]
    # What pip says is no result.
    subprocess.run(command, check=True, stdout=sys.stderr)
    # Looked into after the environment's own packages.
    ours = sysconfig.get_path("purelib")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    place = "Lib" if sys.platform == "win32" else f"lib/{version}"
    (folder / place / "site-packages" / "beside.pth").write_text(ours + "\n", encoding="utf-8")
    complete.write_text(wanted, encoding="utf-8")
    return python


def load_zipformer() -> Any:
    """Modules `zipformer`, `subsampling` and `optim` of the package `zipformer`, as attributes."""
    _empty_parent("zipformer")
    _empty_parent("zipformer.modules")
    _stub("torch.utils.tensorboard", SummaryWriter=object)
    _stub("atdataset", fix_random_seed=random.seed, SpecAugment=object, time_warp=None)
    _stub("kaldialign")
    found = {
        name: importlib.import_module(f"zipformer.modules.{name}")
        for name in ("zipformer", "subsampling", "optim")
    }
    return types.SimpleNamespace(**found)


def load_conformer() -> Any:
    """Module `models.conformer` of the package `torchaudio`."""
    _empty_parent("torchaudio")
    _empty_parent("torchaudio.models")
    return importlib.import_module("torchaudio.models.conformer")


def _stub(name: str, **attributes: Any) -> None:
    """Put an empty module where `name` is not installed; the network does not use it."""
    if importlib.util.find_spec(name.partition(".")[0]) is not None and "." not in name:
        return
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules.setdefault(name, module)


def _empty_parent(name: str) -> None:
    """Make package `name` importable without running its `__init__`."""
    if name in sys.modules:
        return
    top, *rest = name.split(".")
    parent = types.ModuleType(name)
    parent.__path__ = [str(Path(str(distribution(top).locate_file(top))).joinpath(*rest))]
    sys.modules[name] = parent
    if rest:
        with contextlib.suppress(KeyError):
            setattr(sys.modules[name.rpartition(".")[0]], rest[-1], parent)
