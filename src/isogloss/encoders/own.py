"""A model trained here as an encoder: recordings in, steps of any layer or posteriors out.

Called through `load_encoder("own:FOLDER")`; the same class with random weights is the control.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from isogloss import __version__
from isogloss.encoders.features import item_features, needs_device
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from isogloss.speech.ctc import CtcModel
    from isogloss.speech.decode import Hypothesis
    from isogloss.speech.tokens import Tokenizer
    from isogloss.speech.zipformer import SpeechEncoder
    from isogloss.types import FloatArray, Item

    # Padded features (N, T, 80) and lengths (N,) to a list of (values, lengths, step_seconds).
    Forward = Callable[[Tensor, Tensor], list[tuple[Tensor, Tensor, float]]]

__all__ = ["OwnEncoder", "load", "load_random"]

Head = Literal["standard", "dialect"]

# Recordings read before any is encoded: sorting by length needs some choice, memory sets a limit.
_ITEMS_READ_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class OwnEncoder:
    """A Zipformer as an encoder; batches are made of recordings of like length.

    An item's steps are the same alone as in any batch (within 1e-5): the model hides padding from
    itself, and what is returned is cut to the item's own steps.

    Attributes:
        model: a `SpeechEncoder`, or a `CtcModel` when posteriors are wanted, in evaluation mode.
        name: what identifies the weights, first part of `made_by`.
        layer: 0 is the embedding (50 Hz), i the output of stack i (50 Hz), None or the last number
            the final output (25 Hz).
        device: where `model` is.
        tokenizer: of a `CtcModel`.
        batch_seconds: recording time in one padded batch; a longer recording is alone.
    """

    model: SpeechEncoder
    name: str
    layer: int | None = None
    device: str = "cpu"
    tokenizer: Tokenizer | None = None
    batch_seconds: float = 60.0
    extra: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layer is not None and self.layer not in self.layers:
            raise ValueError(
                f"layer must be one of {self.layers[0]} to {self.layers[-1]} "
                f"(0 the embedding, then {len(self.layers) - 2} stacks, then the final output), "
                f"got {self.layer}"
            )
        if self.layer == self.layers[-1]:
            object.__setattr__(self, "layer", None)

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that can be asked for: 0, the stacks, and last the final output."""
        return tuple(range(len(self.model.config.dims) + 2))

    @property
    def made_by(self) -> str:
        """Name and revision of the weights, layer, and the version that computed the features."""
        layer = "final" if self.layer is None else self.layer
        return f"{self.name};layer={layer};isogloss={__version__}"

    def with_layer(self, layer: int | None) -> OwnEncoder:
        """The same model giving another layer; nothing is loaded again."""
        return OwnEncoder(
            self.model,
            self.name,
            layer,
            self.device,
            self.tokenizer,
            self.batch_seconds,
            self.extra,
        )

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item at this encoder's layer, in order.

        Raises:
            AudioError: a recording cannot be read, or is too short or too long (see `features`).
            ValueError: there is no item, or one has no audio.
        """
        if self.layer is None:
            return self._encode(items, self._final)[0]
        layer = self.layer
        return self._encode(
            items, lambda x, lengths: [self.model.forward_layers(x, lengths)[layer]]
        )[0]

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        """Steps of every layer from one pass, `result[i]` for layer i; the last is the final one.

        Errors as `encode`.
        """
        found = self._encode(items, self.model.forward_layers)
        return [
            Sequences(
                steps.ids,
                steps.values,
                steps.offsets,
                steps.step_seconds,
                self.with_layer(layer).made_by,
            )
            for layer, steps in zip(self.layers, found, strict=True)
        ]

    def posteriors(self, items: Sequence[Item], *, head: Head = "standard") -> Sequences:
        """Natural log-probabilities of units at every step: (T', V) for each item, 25 Hz.

        Args:
            items: recordings.
            head: which of the model's outputs; 'dialect' needs a model trained with
                `transcripts="both"`.

        Raises:
            ValueError: the model has no such output; otherwise as `encode`.
        """
        found = self._encode(items, self._posteriors_forward(head))[0]
        made_by = f"{self.name};posteriors={head};isogloss={__version__}"
        return Sequences(found.ids, found.values, found.offsets, found.step_seconds, made_by)

    def posteriors_of_samples(
        self, pieces: Sequence[FloatArray], *, head: Head = "standard"
    ) -> Iterator[tuple[int, FloatArray]]:
        """Index and log-probabilities (T', V) of each piece of sound, as they are computed.

        Longest first, in batches of like length, so that the posteriors of a batch alone are held.

        Args:
            pieces: (S,) float32 mono samples at 16 kHz each; one that is too short for the model
                (under 90 ms) is followed by silence up to that length.
            head: as for `posteriors`.

        Raises:
            ValueError: the model has no such output, or a piece holds NaN or infinity.
        """
        from isogloss.speech.features import fbank
        from isogloss.speech.subsampling import MINIMUM_FRAMES

        forward = self._posteriors_forward(head)
        least = MINIMUM_FRAMES * 160
        features = [fbank(np.pad(piece, (0, max(0, least - len(piece))))) for piece in pieces]
        for batch, outputs in self._batches_through(features, forward):
            values, out_lengths, _ = outputs[0]
            log_probs = values.float().cpu().numpy()
            for row, length, i in zip(log_probs, out_lengths.tolist(), batch, strict=True):
                yield i, row[:length]

    def _posteriors_forward(self, head: Head) -> Forward:
        model = self._ctc_model(head)

        def forward(features: Tensor, lengths: Tensor) -> list[tuple[Tensor, Tensor, float]]:
            if head == "standard":
                log_probs, out_lengths = model(features, lengths)
            else:
                _, out_lengths, log_probs = model(features, lengths, both=True)
            return [(log_probs, out_lengths, 0.04)]

        return forward

    def transcribe(self, items: Sequence[Item], *, head: Head = "standard") -> list[Hypothesis]:
        """The greedy reading of each item, in order; errors as `posteriors`."""
        from isogloss.speech.decode import greedy

        if self.tokenizer is None:
            raise ValueError(f"{self.name} has no tokenizer, so it cannot transcribe")
        log_probs = self.posteriors(items, head=head)
        return [greedy(log_probs[i], self.tokenizer) for i in range(len(log_probs))]

    def _final(self, features: Tensor, lengths: Tensor) -> list[tuple[Tensor, Tensor, float]]:
        # `CtcModel.forward` ends in a head; what all models share is the layer list.
        states = getattr(self.model, "states", self.model.forward)
        values, out_lengths = states(features, lengths)
        return [(values, out_lengths, 0.04)]

    def _ctc_model(self, head: Head) -> CtcModel:
        if head not in ("standard", "dialect"):
            raise ValueError(f"head must be 'standard' or 'dialect', got '{head}'")
        if not hasattr(self.model, "ctc_output"):
            raise ValueError(f"{self.name} has no CTC output, so it gives no posteriors")
        # What `speech import` wrote from a checkpoint that had none.
        if self.extra.get("head") == "none":
            raise ValueError(
                f"{self.name} was imported from a checkpoint without CTC output, so it cannot "
                "transcribe; use its steps, or train an output with start_from"
            )
        model = cast("CtcModel", self.model)
        if head == "dialect" and not model.has_dialect_head:
            raise ValueError(f"{self.name} has no dialect output; train with transcripts='both'")
        return model

    def _encode(self, items: Sequence[Item], forward: Forward) -> list[Sequences]:
        """One `Sequences` for each output of `forward`, items in order."""
        if not items:
            raise ValueError("there is no item to encode")
        outputs: list[list[FloatArray]] = []
        seconds: list[float] = []
        for first in range(0, len(items), _ITEMS_READ_AT_ONCE):
            window = items[first : first + _ITEMS_READ_AT_ONCE]
            arrays, seconds = self._encode_window(window, forward)
            outputs = [a + b for a, b in zip(outputs or [[] for _ in arrays], arrays, strict=True)]
        ids = [item.id for item in items]
        return [
            Sequences.from_list(ids, arrays, step_seconds=step, made_by=self.made_by)
            for arrays, step in zip(outputs, seconds, strict=True)
        ]

    def _encode_window(
        self, items: Sequence[Item], forward: Forward
    ) -> tuple[list[list[FloatArray]], list[float]]:
        from isogloss.speech.subsampling import MINIMUM_FRAMES

        features = [item_features(item, least_frames=MINIMUM_FRAMES) for item in items]
        found: list[list[FloatArray | None]] = []
        seconds: list[float] = []
        for batch, outputs in self._batches_through(features, forward):
            found = found or [[None] * len(items) for _ in outputs]
            seconds = [step for _, _, step in outputs]
            for column, (values, out_lengths, _) in zip(found, outputs, strict=True):
                steps = values.float().cpu().numpy()
                for row, length, i in zip(steps, out_lengths.tolist(), batch, strict=True):
                    column[i] = row[:length].copy()
        return [cast("list[FloatArray]", column) for column in found], seconds

    def _batches_through(
        self, features: Sequence[Tensor], forward: Forward
    ) -> Iterator[tuple[list[int], list[tuple[Tensor, Tensor, float]]]]:
        """Indices of each batch of like length, and what `forward` makes of it."""
        import torch

        frames = np.array([len(f) for f in features], dtype=np.int64)
        for batch in _batches(frames, int(self.batch_seconds * 100)):
            lengths = torch.from_numpy(frames[batch])
            padded = torch.nn.utils.rnn.pad_sequence([features[i] for i in batch], batch_first=True)
            with torch.inference_mode():
                outputs = forward(padded.to(self.device), lengths.to(self.device))
            yield batch, outputs


def load(argument: str, *, layer: int | None = None, device: str = "cpu") -> OwnEncoder:
    """The encoder behind 'own:FOLDER': a folder written by training.

    Raises:
        ValueError: no folder is given, or there is no such layer or device.
        IsoglossError: the folder holds no readable model.
        MissingExtra: torch or safetensors is not installed.
    """
    if not argument:
        raise ValueError("'own:' needs the folder of a trained model, such as own:runs/a")
    needs_device(device)
    from isogloss.speech.checkpoint import load_model

    loaded = load_model(Path(argument), device)
    return OwnEncoder(
        loaded.model,
        f"own:{loaded.revision[:16]}",
        layer,
        device,
        loaded.tokenizer,
        extra=dict(loaded.extra),
    )


def load_random(argument: str, *, layer: int | None = None, device: str = "cpu") -> OwnEncoder:
    """The encoder behind 'random:SIZE' or 'random:SIZE:SEED': a Zipformer never trained.

    The weights depend on size and seed (0 by default) only; torch's random state is left as it
    was. `made_by` holds a checksum of the weights, since initialisation may differ between
    versions of torch.

    Raises:
        UnknownName: no such size.
        ValueError: the seed is no whole number, or there is no such layer or device.
        MissingExtra: torch is not installed.
    """
    needs_device(device)
    import torch

    from isogloss.speech.zipformer import SpeechEncoder, ZipformerConfig

    size, _, seed = argument.partition(":")
    if seed and not seed.isdecimal():
        raise ValueError(f"the seed of 'random:{size}:SEED' must be a whole number, got '{seed}'")
    config = ZipformerConfig.of_size(size or "tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed or 0))
        model = SpeechEncoder(config).eval()
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    name = f"random:{size or 'tiny'}:{int(seed or 0)}:{digest.hexdigest()[:16]}"
    return OwnEncoder(model.to(device), name, layer, device)


def _batches(
    frames: np.ndarray[tuple[int, ...], np.dtype[np.int64]], budget: int
) -> list[list[int]]:
    """Indices in batches of like length whose padded size stays within `budget` frames."""
    batches: list[list[int]] = []
    current: list[int] = []
    for index in np.argsort(-frames, kind="stable").tolist():
        # Longest first, so the first of a batch gives its padded length.
        if current and (len(current) + 1) * int(frames[current[0]]) > budget:
            batches.append(current)
            current = []
        current.append(index)
    return [*batches, current] if current else batches
