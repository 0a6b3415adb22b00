"""A public speech encoder of transformers as an encoder: recordings in, steps of any layer out.

Called through `load_encoder("hf:NAME_OR_PATH")`. What differs between models is in `hf_families`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from isogloss import __version__
from isogloss.encoders.features import item_samples, needs_device
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from isogloss.encoders.hf_families import Plan
    from isogloss.types import FloatArray, Item

__all__ = ["HfEncoder", "load"]

# Recordings whose features are held at once.
_ITEMS_READ_AT_ONCE = 64


@dataclass(frozen=True)
class _Window:
    """One piece of one item: the encoder's arguments, and how many steps to keep."""

    item: int
    arguments: Mapping[str, Tensor]
    seconds: float
    steps: int | None
    final_steps: int | None

    @property
    def treatment(self) -> tuple[object, ...]:
        """Equal for windows that may share a batch: nothing has to be padded or masked."""
        return tuple(
            (name, tuple(value.shape), 0 if value.is_floating_point() else int(value.sum()))
            for name, value in self.arguments.items()
        )


@dataclass(frozen=True, eq=False)
class HfEncoder:
    """The encoder of a public checkpoint.

    An item's steps are the same alone as in any batch (within 1e-5): only windows of the very same
    size share a batch, so no padding is added to any. Steps of padding that belongs to the model
    (Whisper's 30 s) are cut off.

    Attributes:
        model: the encoder alone, in evaluation mode.
        blocks: its blocks, first to last.
        plan: how samples become steps.
        name: what identifies the weights, first part of `made_by`.
        layer: 0 is the input of the first block, i the output of block i, None or the last number
            what the encoder returns: after its last norm, pooling or adapter, where it has one.
        device: where `model` is.
        sample_rate_hz: of the recordings it takes; others are resampled.
        batch_seconds: recording time in one batch; a longer window is alone.
    """

    model: Any
    blocks: tuple[Any, ...]
    plan: Plan
    name: str
    layer: int | None = None
    device: str = "cpu"
    sample_rate_hz: int = 16000
    batch_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.layer is not None and self.layer not in self.layers:
            raise ValueError(
                f"layer must be one of 0 to {self.layers[-1]} (0 the embedding, then "
                f"{len(self.blocks)} blocks, then the final output), got {self.layer}"
            )
        if self.layer == self.layers[-1]:
            object.__setattr__(self, "layer", None)

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that can be asked for: 0, the blocks, and last the final output."""
        return tuple(range(len(self.blocks) + 2))

    @property
    def made_by(self) -> str:
        """Name and checksum of the weights, layer, and the versions that computed the steps."""
        layer = "final" if self.layer is None else self.layer
        return f"{self.name};layer={layer};isogloss={__version__}"

    def with_layer(self, layer: int | None) -> HfEncoder:
        """The same model giving another layer; nothing is loaded again."""
        return replace(self, layer=layer)

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item at this encoder's layer, in order.

        Raises:
            AudioError: a recording cannot be read, or is too short or too long (see `features`).
            ValueError: there is no item, or one has no audio.
        """
        layer = self.layers[-1] if self.layer is None else self.layer
        return self._encode(items, (layer,))[0]

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        """Steps of every layer from one pass, `result[i]` for layer i; the last is the final one.

        Errors as `encode`.
        """
        return self._encode(items, self.layers)

    def _encode(self, items: Sequence[Item], layers: tuple[int, ...]) -> list[Sequences]:
        if not items:
            raise ValueError("there is no item to encode")
        found: list[list[FloatArray]] = [[] for _ in layers]
        for first in range(0, len(items), _ITEMS_READ_AT_ONCE):
            windows = [
                window
                for number, item in enumerate(items[first : first + _ITEMS_READ_AT_ONCE])
                for window in self._windows(number, item)
            ]
            for column, arrays in zip(found, self._encode_windows(windows, layers), strict=True):
                column += arrays
        ids = [item.id for item in items]
        return [
            Sequences.from_list(
                ids,
                arrays,
                step_seconds=self._step_seconds(layer),
                made_by=self.with_layer(layer).made_by,
            )
            for layer, arrays in zip(layers, found, strict=True)
        ]

    def _step_seconds(self, layer: int) -> float:
        is_final = layer == self.layers[-1]
        return self.plan.final_step_seconds if is_final else self.plan.step_seconds

    def _windows(self, number: int, item: Item) -> list[_Window]:
        samples = item_samples(
            item, sample_rate_hz=self.sample_rate_hz, least_samples=self.plan.least_samples
        )
        steps, final_steps = self.plan.steps, self.plan.final_steps
        return [
            _Window(
                number,
                self.plan.inputs(piece),
                (self.plan.window_samples or len(piece)) / self.sample_rate_hz,
                None if steps is None else steps(len(piece)),
                None if final_steps is None else final_steps(len(piece)),
            )
            for piece in self.plan.windows(samples)
        ]

    def _encode_windows(
        self, windows: Sequence[_Window], layers: tuple[int, ...]
    ) -> list[list[FloatArray]]:
        """For each layer the steps of each item, its windows joined."""
        pieces: list[list[FloatArray | None]] = [[None] * len(windows) for _ in layers]
        for batch in self._batches(windows):
            states = self._states([windows[i] for i in batch], layers)
            for layer, column, values in zip(layers, pieces, states, strict=True):
                for row, i in zip(values, batch, strict=True):
                    window = windows[i]
                    real = window.final_steps if layer == self.layers[-1] else window.steps
                    # A copy, so that what is cut off is not kept in memory.
                    column[i] = row[:real].copy()
        count = windows[-1].item + 1
        joined: list[list[FloatArray]] = []
        for column in pieces:
            by_item: list[list[FloatArray]] = [[] for _ in range(count)]
            for window, piece in zip(windows, column, strict=True):
                by_item[window.item].append(cast("FloatArray", piece))
            joined.append([np.concatenate(parts) for parts in by_item])
        return joined

    def _batches(self, windows: Sequence[_Window]) -> Iterator[list[int]]:
        alike: dict[tuple[object, ...], list[int]] = {}
        for index, window in enumerate(windows):
            alike.setdefault(window.treatment, []).append(index)
        for indices in alike.values():
            size = max(1, int(self.batch_seconds / windows[indices[0]].seconds))
            for first in range(0, len(indices), size):
                yield indices[first : first + size]

    def _states(self, batch: Sequence[_Window], layers: tuple[int, ...]) -> list[FloatArray]:
        """(N, T, D) for each of `layers`."""
        import torch

        arguments = {
            name: torch.cat([window.arguments[name] for window in batch]).to(self.device)
            for name in batch[0].arguments
        }
        with torch.inference_mode(), _captured(self.blocks, layers) as states:
            states[self.layers[-1]] = self.model(**arguments).last_hidden_state
        found = []
        for layer in layers:
            values = states[layer]
            # Qwen3-ASR works on all steps of a batch in one row; equal treatment, equal shares.
            values = values.reshape(len(batch), -1, values.shape[-1])
            found.append(values.float().cpu().numpy())
        return found


@contextmanager
def _captured(blocks: Sequence[Any], layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """A dict that fills with the input of the first block (0) and the output of block i (i)."""
    states: dict[int, Tensor] = {}

    # Copies: some models go on to change a block's output in place.
    def keep_input(module: Any, arguments: Any, keywords: Any) -> None:
        del module
        states[0] = (arguments[0] if arguments else keywords["hidden_states"]).clone()

    def keep_output(layer: int) -> Any:
        def keep(module: Any, arguments: Any, output: Any) -> None:
            del module, arguments
            states[layer] = (output[0] if isinstance(output, tuple) else output).clone()

        return keep

    hooks = []
    try:
        for layer in layers:
            if layer == 0:
                hooks.append(blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
            elif layer <= len(blocks):
                hooks.append(blocks[layer - 1].register_forward_hook(keep_output(layer)))
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def load(argument: str, *, layer: int | None = None, device: str = "cpu") -> HfEncoder:
    """The encoder behind 'hf:NAME_OR_PATH': a folder, or OWNER/NAME[@REVISION] of the hub.

    Only the encoder's weights are read and kept, as float32.

    Raises:
        ValueError: nothing follows the colon, or there is no such layer or device.
        IsoglossError: a file of the checkpoint is missing, damaged or does not fit the others
            (file and field or tensor are named), or the hub cannot be reached.
        MissingExtra: torch, transformers or safetensors is not installed.
    """
    if not argument:
        raise ValueError("'hf:' needs a folder or a name, such as hf:openai/whisper-small")
    needs_device(device)
    from isogloss.encoders.hf_checkpoint import load_checkpoint

    loaded = load_checkpoint(argument)
    import transformers

    return HfEncoder(
        loaded.model.to(device),
        loaded.blocks,
        loaded.plan,
        f"hf:{loaded.name};sha={loaded.revision[:16]};transformers={transformers.__version__}",
        layer,
        device,
        loaded.sample_rate_hz,
    )
