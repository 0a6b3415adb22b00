"""What a run needs to go on: checkpoints that are whole or absent, and the average of weights.

A checkpoint is `step-<n>.safetensors` (tensors, with everything else as JSON in its header) and
`step-<n>.json` (its sha256), written in that order: without the second, the first does not count.
Random generators are not saved, because the loop seeds them from (seed, epoch, batch) every step.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from isogloss._files import sha256_of_file, write_json
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech.scaling import load_regulariser_state, regulariser_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch.optim import Optimizer

__all__ = ["Average", "Position", "load_checkpoint", "newest_checkpoint", "save_checkpoint"]


@dataclass(slots=True)
class Position:
    """How far a run is: steps done, the batch to take next, the last mean loss, work by kind."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    audio_seconds: float = 0.0
    train_seconds: float = 0.0
    loss: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)


class Average:
    """The running mean of a model's weights in float64; empty until `add` is called."""

    def __init__(self) -> None:
        self.count = 0
        self.values: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Take the present weights into the mean."""
        self.count += 1
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                self.values[name] = tensor.detach().clone()
            elif name not in self.values:
                self.values[name] = tensor.detach().to(torch.float64, copy=True)
            else:
                mean = self.values[name]
                mean.add_(tensor.to(torch.float64).sub_(mean), alpha=1.0 / self.count)

    def apply_to(self, model: nn.Module) -> None:
        """Give `model` the mean weights; nothing happens while there are none."""
        if self.count:
            model.load_state_dict(self.values)


def save_checkpoint(
    folder: Path,
    position: Position,
    model: nn.Module,
    optimizer: Optimizer,
    average: Average,
    *,
    keep: int,
    rules: Mapping[int, Mapping[str, float]] | None = None,
) -> Path:
    """Write a checkpoint to `folder`, then drop all but the newest `keep`; its path comes out.

    `rules` are the `regulariser_state` of each micro-batch of a step, where there are several.

    Raises:
        MissingExtra: safetensors is not installed.
        OSError: no room; the older checkpoints stay.
    """
    from isogloss._files import atomic_writer

    save = _safetensors().save
    state = optimizer.state_dict()
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.values.items()}
    for index, entries in state["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in entries.items()}
    described = {
        "position": {name: getattr(position, name) for name in Position.__slots__},
        "average_count": average.count,
        "param_groups": state["param_groups"],
        "regulariser": regulariser_state(model),
        "rules": {str(slot): dict(state) for slot, state in (rules or {}).items()},
    }
    tensors = _separate(tensors)
    path = folder / f"step-{position.step:09d}.safetensors"
    with atomic_writer(path) as handle:
        handle.write(save(tensors, metadata={"isogloss": json.dumps(described)}))
    write_json(path.with_suffix(".json"), {"step": position.step, "sha256": sha256_of_file(path)})
    for old in list(_by_age(folder))[keep:]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint whose checksum is right, or None; a damaged one is warned about."""
    for path in _by_age(folder):
        if path.is_file() and sha256_of_file(path) == _checksum(path.with_suffix(".json")):
            return path
        warnings.warn(
            f"{path} is damaged (sha256 differs); going back to the one before", stacklevel=2
        )
    return None


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: Optimizer,
    average: Average,
    *,
    rules: dict[int, dict[str, float]] | None = None,
) -> Position:
    """Put a checkpoint into model, optimiser, average and `rules`; where the run stood comes out.

    Raises:
        IsoglossError: it belongs to another model.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["isogloss"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        parts[kind][rest] = tensor
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = tensor
    groups = [{**group, "betas": tuple(group["betas"])} for group in described["param_groups"]]
    try:
        model.load_state_dict(parts["model"])
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        load_regulariser_state(model, described["regulariser"])
    except (RuntimeError, ValueError) as error:
        raise IsoglossError(f"{path} is of another model: {error}") from error
    device = next(model.parameters()).device
    average.count = described["average_count"]
    average.values = {name: tensor.to(device) for name, tensor in parts["average"].items()}
    if rules is not None:
        rules |= {int(slot): state for slot, state in described.get("rules", {}).items()}
    return Position(**described["position"])


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each with memory of its own: safetensors refuses shared ones."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if own.numel() and own.data_ptr() in seen:
            own = own.clone()
        seen.add(own.data_ptr())
        found[name] = own
    return found


def _checksum(path: Path) -> str | None:
    """The sha256 that a checkpoint's second file tells, None when that is damaged."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _by_age(folder: Path) -> Iterator[Path]:
    """Checkpoints that were finished, the newest first."""
    for described in sorted(folder.glob("step-*.json"), reverse=True):
        yield described.with_suffix(".safetensors")


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtra("speech", "safetensors") from error
    return safetensors.torch
