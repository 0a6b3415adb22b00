"""Features to unit log-probabilities, and the losses that teach it: `CtcModel`, CTC and CR-CTC."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.speech.tokens import Tokenizer
from isogloss.speech.zipformer import SpeechEncoder, ZipformerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CrCtcLoss",
    "CtcModel",
    "cr_ctc_loss",
    "ctc_loss",
    "output_steps",
    "steps_needed",
    "unfit_targets",
    "warm_up_factor",
]

_BLANK = Tokenizer.blank_id


class CtcModel(SpeechEncoder):
    """A speech encoder with a CTC output, or two that share everything below.

    Its state has the names of icefall's `AsrModel`: `encoder_embed.*`, `encoder.*`,
    `ctc_output.1.*`; the second head adds `ctc_output_dialect.1.*`. `forward_layers` is that of
    `SpeechEncoder`; `states` gives the encoder's output without a head.
    """

    def __init__(
        self,
        config: ZipformerConfig,
        vocab_size: int,
        *,
        dialect_head: bool = False,
        dropout: float = 0.1,
    ) -> None:
        """A model with random weights.

        Args:
            config: the encoder.
            vocab_size: units of the tokenizer, blank included, for both heads.
            dialect_head: add a second head. The first is then meant for standard transcripts, the
                second for transcripts in the variety's own characters.
            dropout: before each head, in training only.

        Raises:
            ValueError: fewer than 2 units.
        """
        if vocab_size < 2:
            raise ValueError(f"CTC needs the blank and at least one unit, got {vocab_size} units")
        super().__init__(config)
        width = config.output_dim
        self.vocab_size = vocab_size
        self.ctc_output = _head(width, vocab_size, dropout)
        self.ctc_output_dialect = _head(width, vocab_size, dropout) if dialect_head else None

    @property
    def has_dialect_head(self) -> bool:
        """Whether there is a second head."""
        return self.ctc_output_dialect is not None

    def states(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder output (N, T', D) at 25 Hz and its lengths (N,), as `SpeechEncoder.forward`."""
        return super().forward(features, lengths)

    @overload
    def forward(
        self, features: Tensor, lengths: Tensor, both: Literal[False] = False
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def forward(
        self, features: Tensor, lengths: Tensor, both: Literal[True]
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def forward(
        self, features: Tensor, lengths: Tensor, both: bool = False
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of units, (N, T', V) float32, and their lengths, (N,).

        Args:
            features: (N, T, 80) log-mel filterbank, 100 a second, padded at the end of T.
            lengths: (N,) real frames.
            both: return (first head, lengths, dialect head) from one pass of the encoder. It is an
                argument of `forward`, not another method, because distributed training synchronises
                gradients only for calls of the module itself.

        Raises:
            ValueError: `both` without a dialect head.
        """
        states, out_lengths = self.states(features, lengths)
        log_probs = self.ctc_output(states).float()
        if not both:
            return log_probs, out_lengths
        if self.ctc_output_dialect is None:
            raise ValueError("this model has no dialect head; make it with dialect_head=True")
        return log_probs, out_lengths, self.ctc_output_dialect(states).float()


def output_steps(frames: int) -> int:
    """Steps that `CtcModel` gives for `frames` log-mel frames: ((T - 7) // 2 + 1) // 2, or 0."""
    return max(0, ((frames - 7) // 2 + 1) // 2)


def steps_needed(tokens: Sequence[int]) -> int:
    """Encoder steps that CTC needs at least for `tokens`: one each, and a blank between equals."""
    return len(tokens) + sum(a == b for a, b in itertools.pairwise(tokens))


def unfit_targets(targets: Sequence[Sequence[int]], lengths: Tensor | Sequence[int]) -> list[int]:
    """Indices of utterances that no CTC path can spell: too few steps, or no step at all.

    Args:
        targets: N lists of unit numbers.
        lengths: (N,) encoder steps (`CtcModel`'s second output, or `output_steps` of the frames).
    """
    steps = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    if len(steps) != len(targets):
        raise ValueError(f"{len(targets)} targets for {len(steps)} lengths")
    pairs = enumerate(zip(targets, steps, strict=True))
    return [i for i, (tokens, count) in pairs if count < max(1, steps_needed(tokens))]


def ctc_loss(
    log_probs: Tensor,
    lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    names: Sequence[str] | None = None,
) -> Tensor:
    """Minus the log-probability of the targets, in nats, summed over the utterances.

    The sum is not divided by anything, so that a long utterance counts for all its units; for a
    figure that can be compared between batches divide it by `lengths.sum()` (nats a step, what
    icefall logs) or by the number of utterances. Steps behind `lengths` have no influence on value
    or gradient.

    Args:
        log_probs: (N, T', V) natural log-probabilities of units; computed in float32 at least.
        lengths: (N,) real steps.
        targets: N lists of unit numbers, none of them the blank; an empty list is silence.
        names: N names (item ids) for the error message.

    Returns:
        A scalar with gradient. It is finite for finite log-probabilities.

    Raises:
        ValueError: shapes do not agree, a unit is the blank or outside the vocabulary, or a target
            needs more steps than its utterance has; filter with `unfit_targets` before.

    Source: Graves et al. 2006.
    """
    _check_targets(log_probs, lengths, targets, names)
    flat = [unit for tokens in targets for unit in tokens]
    log_probs = log_probs if log_probs.dtype == torch.float64 else log_probs.float()
    return functional.ctc_loss(
        log_probs.transpose(0, 1),
        torch.tensor(flat, dtype=torch.long, device=log_probs.device),
        lengths.to(device="cpu", dtype=torch.long),
        torch.tensor([len(tokens) for tokens in targets], dtype=torch.long),
        blank=_BLANK,
        reduction="sum",
    )


class CrCtcLoss(NamedTuple):
    """`total` is to be minimised; `ctc` and `consistency` are its parts, detached, for logs.

    All are sums over utterances: `total` = `ctc` + cr_scale * warm_up * `consistency`.
    """

    total: Tensor
    ctc: Tensor
    consistency: Tensor


def cr_ctc_loss(
    log_probs: Tensor,
    lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    cr_scale: float = 0.2,
    warm_up: float = 1.0,
    names: Sequence[str] | None = None,
) -> CrCtcLoss:
    """The CR-CTC loss of a doubled batch: both views must spell the target, and agree step by step.

    With views a and b of each utterance, and sg() for "taken as a constant":

        1/2 (CTC(a) + CTC(b))
        + cr_scale * warm_up * 1/2 sum over steps (KL(sg(b) || a) + KL(sg(a) || b))

    Args:
        log_probs: (2N, T', V); rows i and N + i are two views of one utterance, as `two_views`
            makes them.
        lengths: (2N,) real steps, equal for the two views; the rest is ignored.
        targets: N lists of unit numbers, given once.
        cr_scale: weight of the agreement; 0.2 where CTC is the only other loss.
        warm_up: further factor in [0, 1], see `warm_up_factor`.
        names: N names (item ids) for the error message.

    Returns:
        Sums over the N utterances, as `ctc_loss`; each utterance counts once.

    Raises:
        ValueError: as `ctc_loss`; an odd number of rows; views of different length.

    Source: Yao et al. 2025 (arXiv 2410.05101), eq. 4 and 5.
    """
    count = len(targets)
    if len(log_probs) != 2 * count or not torch.equal(lengths[:count], lengths[count:]):
        raise ValueError(
            f"expected 2 views of {count} targets, of equal lengths, got {len(log_probs)} rows "
            f"with lengths {lengths.tolist()}"
        )
    both_names = None if names is None else [*names, *names]
    ctc = 0.5 * ctc_loss(log_probs, lengths, [*targets, *targets], names=both_names)
    steps = torch.arange(log_probs.shape[1], device=log_probs.device)
    is_real = steps < lengths.to(log_probs.device)[:, None]
    first, second = log_probs[:count][is_real[:count]], log_probs[count:][is_real[count:]]
    consistency = 0.5 * (_divergence(second, first) + _divergence(first, second))
    total = ctc + (cr_scale * warm_up) * consistency
    return CrCtcLoss(total, ctc.detach(), consistency.detach())


def warm_up_factor(step: int, warm_steps: int = 2000) -> float:
    """Weight in [0, 1] of the agreement at training step `step`: rising linearly, then 1.

    While the outputs are random, agreement is reached soonest by both views saying nothing.
    """
    return 1.0 if warm_steps <= 0 else min(1.0, max(0, step) / warm_steps)


def _head(width: int, vocab_size: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, vocab_size), nn.LogSoftmax(dim=-1))


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) summed over the rows (steps); no gradient reaches the teacher."""
    if student.dtype != torch.float64:
        teacher, student = teacher.float(), student.float()
    return functional.kl_div(student, teacher.detach(), reduction="sum", log_target=True)


def _check_targets(
    log_probs: Tensor,
    lengths: Tensor,
    targets: Sequence[Sequence[int]],
    names: Sequence[str] | None,
) -> None:
    if log_probs.ndim != 3 or lengths.shape != log_probs.shape[:1] or not len(log_probs):
        raise ValueError(
            f"expected (N, T', V) log-probabilities and (N,) lengths of at least one utterance, "
            f"got {tuple(log_probs.shape)} and {tuple(lengths.shape)}"
        )
    if len(targets) != len(log_probs):
        raise ValueError(f"{len(targets)} targets for {len(log_probs)} utterances")
    if int(lengths.max()) > log_probs.shape[1] or int(lengths.min()) < 0:
        raise ValueError(f"lengths {lengths.tolist()} for {log_probs.shape[1]} steps")
    if names is None:
        names = [f"number {i}" for i in range(len(targets))]
    elif len(names) != len(targets):
        raise ValueError(f"{len(names)} names for {len(targets)} utterances")
    for name, tokens in zip(names, targets, strict=True):
        wrong = [unit for unit in tokens if not 0 < unit < log_probs.shape[2] or unit == _BLANK]
        if wrong:
            raise ValueError(
                f"target of utterance {name} has unit {wrong[0]}; units run from 1 to "
                f"{log_probs.shape[2] - 1}, {_BLANK} is the blank"
            )
    unfit = unfit_targets(targets, lengths)
    if unfit:
        listed = ", ".join(
            f"{names[i]} ({steps_needed(targets[i])} steps needed, {int(lengths[i])} there)"
            for i in unfit[:5]
        )
        raise ValueError(
            f"{len(unfit)} of {len(targets)} targets do not fit their utterance: {listed}; leave "
            "them out (unfit_targets finds them) or check audio against transcript"
        )
