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
