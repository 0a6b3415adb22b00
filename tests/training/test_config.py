from __future__ import annotations

from typing import Any

import pytest

from isogloss._config import config_from_mapping
from isogloss.errors import UnknownName
from isogloss.training.config import TrainConfig


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"epochs": 1, "minutes": 2},
        {"max_steps": 0},
        {"epochs": 1, "base_lr": 0.0},
        {"epochs": 1, "max_batch_seconds": 10.0},
        {"epochs": 1, "min_seconds": 30.0},
        {"epochs": 1, "speeds": ()},
        {"epochs": 1, "speeds": (1.0, 1.0)},
        {"epochs": 1, "speeds": (0.1,)},
        {"epochs": 1, "average_from": 1.5},
        {"epochs": 1, "threads": 0},
        {"epochs": 1, "clip": 0.0},
        {"epochs": 1, "seed": -1},
        {"epochs": 1, "keep": 0},
        {"epochs": 1, "bpe_size": 0},
        {"epochs": 1, "warmup": -5},
        {"epochs": 1, "cr_scale": -0.1},
        {"epochs": 1, "checkpoint_minutes": -1.0},
        {"epochs": 1, "dev_minutes": -1.0},
        {"epochs": 1, "base_lr": float("nan")},
        {"minutes": float("inf")},
        {"epochs": float("inf")},
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    field = list(values)[-1] if values else "exactly one of epochs"
    with pytest.raises(ValueError, match=field):
        TrainConfig(**values)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"standard_share": 1.5}, "standard_share is a share"),
        ({"standard_share": 0.1, "transcripts": "dialect"}, "standard_share has no effect"),
        ({"transcripts": "tagged", "units": "bpe"}, "tagged"),
        ({"standard_weight": 2.0}, "standard_weight is for"),
        ({"inter_ctc": -0.1}, "inter_ctc must be 0 or more"),
        ({"inter_ctc_text": "dialect"}, "inter_ctc_text has no effect while inter_ctc is 0"),
        ({"inter_ctc": 0.3, "inter_ctc_stacks": (0,)}, "inter_ctc_stacks"),
        ({"inter_ctc": 0.3, "inter_ctc_stacks": (7,)}, "lie in 1 to 6"),
        ({"inter_ctc": 0.3, "inter_ctc_stacks": (3, 3)}, "must differ"),
        ({"inter_ctc": 0.3, "inter_ctc_heads": "shared", "size": "medium"}, "inter_ctc_heads"),
        ({"teacher_text": "dialect"}, "teacher_text has no effect"),
        ({"text_teacher": "vectors:a.npz"}, "text_teacher has no effect"),
        ({"pooled_teacher": 1.0, "text_teacher": "labse"}, "text_teacher must be one of"),
        ({"pooled_teacher": 1.0, "text_teacher": "hf:"}, "text_teacher must be one of"),
        ({"contrastive_text": "standard"}, "contrastive_text has no effect"),
        ({"contrastive": float("nan")}, "contrastive must be a finite number"),
    ],
)
def test_losses_that_make_no_sense_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TrainConfig(**{"epochs": 1, **values})


def test_a_tenth_of_standard_text_may_go_to_any_loss() -> None:
    for values in (
        {"transcripts": "both"},
        {"transcripts": "dialect", "inter_ctc": 0.3, "inter_ctc_text": "standard"},
        {"transcripts": "dialect", "pooled_teacher": 1.0, "teacher_text": "standard"},
    ):
        config = TrainConfig(epochs=1, standard_share=0.1, **values)
        assert config_from_mapping(TrainConfig, config.to_dict()) == config


def test_a_wrong_value_inside_the_shape_is_told_as_such() -> None:
    with pytest.raises(UnknownName, match="did you mean dims"):
        config_from_mapping(TrainConfig, {"epochs": 1, "shape": {"dim": [16, 16]}})
    with pytest.raises(ValueError, match=r"ZipformerConfig\.dims: expected a list, got 16"):
        config_from_mapping(TrainConfig, {"epochs": 1, "shape": {"dims": 16}})


def test_plain_values_make_the_same_config_again() -> None:
    config = TrainConfig(minutes=3.0, speeds=(0.9, 1.0), objective="cr-ctc")
    assert config_from_mapping(TrainConfig, config.to_dict()) == config


def test_a_wrong_key_and_a_wrong_size_offer_near_ones() -> None:
    with pytest.raises(UnknownName, match="base_lr"):
        config_from_mapping(TrainConfig, {"epochs": 1, "base_lrs": 0.1})
    with pytest.raises(UnknownName, match="tiny"):
        TrainConfig(epochs=1, size="tinny").encoder()


def test_specaugment_follows_its_switches() -> None:
    assert TrainConfig(epochs=1, specaugment=False).spec_augment() is None
    weak = TrainConfig(epochs=1, specaugment_strength=0.5, time_warp=False).spec_augment()
    assert weak is not None
    assert (weak.frame_masks, weak.max_frame_fraction, weak.time_warp_factor) == (5, 0.075, 0)
