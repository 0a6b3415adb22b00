"""A `TrainConfig` to what learns: model, optimiser, objective; made by `loop`, once for a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError
from isogloss.speech.checkpoint import load_model, save_model
from isogloss.speech.ctc import CtcModel
from isogloss.training.adapters import add_adapters, merge_adapters, save_adapter
from isogloss.training.objectives import (
    AlignedModel,
    AlignedObjective,
    CtcObjective,
    Extras,
    inner_stacks,
    save_added,
)
from isogloss.training.optim import ClippedAdamW, ScaledAdam
from isogloss.training.tuning import parameter_groups
from isogloss.training.units import grown_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from isogloss.training.config import TrainConfig
    from isogloss.training.prepare import Material

__all__ = ["losses_of", "make_model", "make_objective", "make_optimizer", "write_model"]


def losses_of(config: TrainConfig) -> tuple[str, ...]:
    """Losses beside CTC that need texts of their own in a batch (see `make_batch`)."""
    asked = {
        "inter": config.inter_ctc > 0 and config.inter_ctc_text != "same",
        "teacher": config.pooled_teacher > 0,
        "contrast": config.contrastive > 0,
    }
    return tuple(name for name, is_on in asked.items() if is_on)


def make_model(config: TrainConfig, material: Material) -> CtcModel:
    """The model with its first weights: a `CtcModel`, or an `AlignedModel` for further losses.

    Encoder and CTC outputs start alike in both, given the state of torch's random generator.

    Raises:
        IsoglossError: `start_from` is a model of another shape.
        ValueError: inner stacks cannot share the final output.
    """
    shape = config.encoder()
    extras = Extras(
        inner_stacks(shape, config.inter_ctc_stacks) if config.inter_ctc else (),
        config.inter_ctc_heads == "own",
        None if material.teacher is None else material.teacher.shape[1],
        config.contrastive > 0,
    )
    units, two = material.tokenizer.vocab_size, config.transcripts == "both"
    model: CtcModel
    if extras:
        model = AlignedModel(shape, units, extras, dialect_head=two)
    else:
        model = CtcModel(shape, units, dialect_head=two)
    tuning = config.tuning
    if config.start_from is not None:
        _take_weights(Path(config.start_from), model, grown=tuning is not None)
    if tuning is not None and tuning.lora_rank:
        add_adapters(model, tuning.lora_rank, tuning.alpha)
    return model


def make_optimizer(config: TrainConfig, model: CtcModel) -> ScaledAdam | ClippedAdamW:
    """The optimiser of all parameters that learn."""
    kind = ScaledAdam if config.optimiser == "scaled-adam" else ClippedAdamW
    if config.tuning is not None:
        groups = parameter_groups(model, len(model.config.dims), config.tuning.layer_decay)
        return kind(groups, config.base_lr, clip=config.clip)
    return kind(model.parameters(), config.base_lr, clip=config.clip)


def make_objective(
    config: TrainConfig, model: CtcModel, steps: int
) -> CtcObjective | AlignedObjective:
    """The loss of a run of `steps` steps."""
    ctc = CtcObjective(
        config.objective,
        augment=config.spec_augment(),
        cr_scale=config.cr_scale,
        cr_warmup=min(config.cr_warmup, steps // 5),
        time_mask_ratio=config.time_mask_ratio,
        standard_weight=config.standard_weight,
    )
    if not isinstance(model, AlignedModel):
        return ctc
    return AlignedObjective(ctc, config.inter_ctc, config.pooled_teacher, config.contrastive)


def write_model(
    config: TrainConfig,
    model: CtcModel,
    material: Material,
    folder: Path,
    described: Mapping[str, Any],
) -> str:
    """Write the trained model to `folder`; its revision comes out.

    What further losses added goes to a file of its own, which loading a model does not need; LoRA
    is merged into the weights, and also written by itself where `keep_adapter` asks for it.
    """
    weights = ("inter_ctc", "pooled_teacher", "contrastive")
    extra = {
        "transcripts": config.transcripts,
        "objective": config.objective,
        "beside_ctc": {name: getattr(config, name) for name in weights if getattr(config, name)},
        "standard_share": config.standard_share,
        **described,
    }
    if config.tuning is not None and config.start_from is not None:
        start = load_model(Path(config.start_from))
        extra = {**extra, "tuned_from": start.revision}
        if config.tuning.keep_adapter:
            save_adapter(
                model,
                folder,
                rank=config.tuning.lora_rank,
                alpha=config.tuning.alpha,
                base_revision=start.revision,
                added_units=material.tokenizer.symbols[start.tokenizer.vocab_size :],
            )
        merge_adapters(model)
    if isinstance(model, AlignedModel):
        save_added(model, folder)
        model = model.bare()
    return save_model(folder, model, material.tokenizer, config.encoder(), extra=extra)


def _take_weights(folder: Path, model: CtcModel, *, grown: bool) -> None:
    """Give `model` the encoder of a trained one, and its heads where they have the same shape.

    `grown` takes all of it, with rows added to the heads for units that were appended.
    """
    trained = load_model(folder).model.state_dict()
    own = model.state_dict()
    if grown:
        trained = grown_state(trained, own, folder)
    fitting = {
        name: tensor
        for name, tensor in trained.items()
        if name in own and own[name].shape == tensor.shape
    }
    missing = [name for name in own if name.startswith("encoder") and name not in fitting]
    if missing:
        raise IsoglossError(
            f"start_from {folder}: its encoder has another shape; {len(missing)} tensors do not "
            f"fit, first {missing[0]}"
        )
    model.load_state_dict(fitting, strict=False)
