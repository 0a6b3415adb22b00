"""Adam for a table of which a batch reads few rows; used by `hash_training`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isogloss.training.optim import NonFiniteGradient

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RowAdam"]


class RowAdam(torch.optim.SparseAdam):
    """torch's SparseAdam with a state of tensors alone, which `training.state` can save.

    Raises:
        NonFiniteGradient: from `step`, before anything is changed.
    """

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Change the rows that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None and not gradient.coalesce().values().isfinite().all():
                    raise NonFiniteGradient("the gradient holds NaN or infinity")
        return super().step(closure)  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """As torch's, the number of steps as a tensor."""
        found = super().state_dict()
        found["state"] = {
            place: {
                key: value if isinstance(value, torch.Tensor) else torch.tensor(value)
                for key, value in entries.items()
            }
            for place, entries in found["state"].items()
        }
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        super().load_state_dict(state_dict)
        for entries in self.state.values():
            if "step" in entries:
                entries["step"] = int(entries["step"])
