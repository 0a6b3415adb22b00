"""`AlignedModel`: a `CtcModel` with the outputs that further losses need, in one forward pass.

Its encoder and CTC heads have the names and random start of a `CtcModel`; what is added lies below
`aligned.` and stays in checkpoints. The trained model goes out without it (`AlignedModel.bare`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from isogloss._files import atomic_writer
from isogloss.speech.ctc import CtcModel
from isogloss.speech.zipformer_layers import StepMask
from isogloss.training.objectives.contrastive import Contrast
from isogloss.training.objectives.inter import (
    InnerOutputs,
    check_width,
    inner_stacks,
    joined_channels,
)
from isogloss.training.objectives.pooling import AttentionPooling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.speech.zipformer import ZipformerConfig

__all__ = ["AlignedModel", "Extras", "Outputs", "padded_units", "save_added"]

_FILE = "alignment.safetensors"

_PREFIX = "aligned."


@dataclass(frozen=True, slots=True)
class Extras:
    """What a model has beside its CTC heads.

    `stacks` are the inner stacks with a CTC output (none: no such loss), `own_heads` whether it is
    their own; `teacher_dim` is the width of the teacher's vectors, None without a teacher.
    """

    stacks: tuple[int, ...] = ()
    own_heads: bool = True
    teacher_dim: int | None = None
    contrast: bool = False

    def __bool__(self) -> bool:
        return bool(self.stacks) or self.teacher_dim is not None or self.contrast


class Outputs(NamedTuple):
    """One pass of an `AlignedModel`; what was not asked for is empty or None.

    `heads` and `inner` are (M, T', V) log-probabilities with `lengths` (M,); `pooled` (M, E) is
    the vector for the teacher, `contrast` both sides' vectors and their scale.
    """

    heads: tuple[Tensor, ...]
    lengths: Tensor
    inner: tuple[Tensor, ...] = ()
    pooled: Tensor | None = None
    contrast: tuple[Tensor, Tensor, Tensor] | None = None


class AlignedModel(CtcModel):
    """A `CtcModel` with heads for further losses."""

    def __init__(
        self,
        config: ZipformerConfig,
        vocab_size: int,
        extras: Extras,
        *,
        dialect_head: bool = False,
    ) -> None:
        """A model with random weights; the CTC part is that of a `CtcModel` of the same seed.

        Raises:
            ValueError: no such stack, or inner stacks share a final output of another width.
        """
        super().__init__(config, vocab_size, dialect_head=dialect_head)
        self.extras = extras
        self.stacks = inner_stacks(config, extras.stacks) if extras.stacks else ()
        width = config.output_dim
        if not extras.own_heads:
            for stack in self.stacks:
                check_width(config, stack)
        added: dict[str, nn.Module] = {}
        if self.stacks and extras.own_heads:
            added["inner"] = InnerOutputs(config, self.stacks, vocab_size)
        if extras.teacher_dim is not None:
            added["pooling"] = AttentionPooling(width, extras.teacher_dim)
        if extras.contrast:
            added["contrast"] = Contrast(width, vocab_size)
        self.aligned = nn.ModuleDict(added)

    # A call with `wanted` is the one of the losses; without, the model is a `CtcModel`.
    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        both: bool = False,
        *,
        wanted: Literal["all"] | None = None,
        units: Tensor | None = None,
        unit_lengths: Tensor | None = None,
    ) -> Any:
        """As `CtcModel.forward`; with `wanted="all"` everything the losses need, as `Outputs`.

        Args:
            features: (M, T, 80).
            lengths: (M,) real frames.
            both: as in `CtcModel.forward`.
            wanted: "all" for `Outputs`. One call of the module gives everything, because
                distributed training synchronises the gradients of one call only.
            units: (N, L) texts of the contrastive loss, padded.
            unit_lengths: (N,) their lengths.
        """
        if wanted is None:
            return super().forward(features, lengths, both=both)  # type: ignore[call-overload]
        states, out_lengths, inner_states = self.states_and_inner(features, lengths)
        heads = [self.ctc_output(states).float()]
        if self.ctc_output_dialect is not None:
            heads.append(self.ctc_output_dialect(states).float())
        inner: tuple[Tensor, ...] = ()
        if self.stacks and self.extras.own_heads:
            inner = self.aligned["inner"](inner_states)
        elif self.stacks:
            inner = tuple(self.ctc_output(state).float() for state in inner_states)
        pooled = contrast = None
        if "pooling" in self.aligned:
            pooled = self.aligned["pooling"](states, out_lengths)
        if "contrast" in self.aligned and units is not None:
            contrast = self.aligned["contrast"](states, out_lengths, units, unit_lengths)
        return Outputs(tuple(heads), out_lengths, inner, pooled, contrast)

    def states_and_inner(
        self, features: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Final states (M, T', D), their lengths, and the states that end at each inner stack."""
        if not self.stacks:
            return *self.states(features, lengths), []
        layers = self.forward_layers(features, lengths)
        outputs = [values for values, _, _ in layers[1:-1]]
        mask = StepMask(layers[1][1], outputs[0].shape[1])
        inner = [
            self.encoder.downsample_output(joined_channels(outputs[:index]), mask)
            for index in self.stacks
        ]
        return layers[-1][0], layers[-1][1], inner

    def utterance_vectors(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(N, E) vectors in the teacher's space of encoder states (N, T', D).

        Raises:
            ValueError: the model was trained without a teacher.
        """
        if "pooling" not in self.aligned:
            raise ValueError("this model has no utterance vector; train with pooled_teacher > 0")
        vectors: Tensor = self.aligned["pooling"](states, lengths)
        return vectors

    def bare(self) -> CtcModel:
        """A `CtcModel` with this one's weights, without what was added."""
        with torch.random.fork_rng(devices=[]):
            model = CtcModel(self.config, self.vocab_size, dialect_head=self.has_dialect_head)
        state = self.state_dict()
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith(_PREFIX)})
        return model.train(self.training)

    def added_state(self) -> dict[str, Tensor]:
        """Weights of what was added, without their prefix."""
        state = self.state_dict().items()
        return {k.removeprefix(_PREFIX): v for k, v in state if k.startswith(_PREFIX)}


def save_added(model: AlignedModel, folder: Path) -> None:
    """Write what `model` has beside its CTC heads to `folder/alignment.safetensors`.

    Loading the model does not need it: it is for utterance vectors in the teacher's space, and for
    a look at the text encoder. The file's header names the extras. Nothing is written where the
    extras have no weights of their own.
    """
    from safetensors.torch import save

    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.added_state().items()
    }
    if not tensors:
        return
    described = json.dumps(asdict(model.extras))
    with atomic_writer(folder / _FILE) as handle:
        handle.write(save(tensors, metadata={"isogloss": described}))


def padded_units(
    texts: Sequence[Sequence[int] | None], device: torch.device
) -> tuple[Tensor, Tensor]:
    """(N, L) unit numbers, 0 behind each text, and (N,) lengths; None is an empty text."""
    rows = [torch.tensor(text or (), dtype=torch.long) for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    units = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    if not units.shape[1]:
        units = torch.zeros(len(rows), 1, dtype=torch.long)
    return units.to(device), lengths.to(device)
