from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from facedistill.errors import UsageError
from facedistill.training.options import TrainingOptions, select_options
from facedistill.training.train_teacher import TeacherOptions


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("epochs", 0, "--epochs"),
        ("batch_size", 1, "--batch-size"),
        ("accumulate", 0, "--accumulate"),
        ("lr", 0.0, "--lr"),
        ("lr", float("nan"), "--lr"),
        ("momentum", 1.0, "--momentum"),
        ("weight_decay", -0.1, "--weight-decay"),
        ("clip_norm", 0.0, "--clip-norm"),
        ("ema", 1.0, "--ema"),
        ("seed", -1, "--seed"),
        ("optimizer", "lamb", "--optimizer"),
        ("precision", "8", "--precision"),
        ("device", "tpu", "--device"),
        ("lr_floor", 1.0, "--lr-floor"),
        ("warmup_epochs", -1.0, "--warmup-epochs"),
        ("max_corrupt", 1.5, "--max-corrupt"),
        ("augment_crop", 2.0, "--augment-crop"),
        ("save_minutes", 0.0, "--save-minutes"),
        ("keep", 0, "--keep"),
        ("partial_fc", 0.0, "--partial-fc"),
        ("input_size", 31, "--input-size"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(name: str, value: Any, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_options(TeacherOptions, {name: value})
    assert caught.value.place == place
    assert f"{value!r}" in str(caught.value)


def test_the_first_of_several_faults_is_told() -> None:
    with pytest.raises(UsageError, match=r"--epochs: .*and it is 0"):
        select_options(TrainingOptions, {"keep": 0, "epochs": 0})


@pytest.mark.parametrize("options", [{"optimizer": "adamw"}, {"momentum": 0.0}])
def test_nesterov_needs_momentum(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^nesterov goes with sgd and a momentum above 0"):
        select_options(TrainingOptions, {"nesterov": True, **options})
    assert select_options(TrainingOptions, {"nesterov": True}).nesterov


def test_what_concerns_something_else_is_left_out() -> None:
    options = select_options(TrainingOptions, {"lr": 0.2, "data": "faces", "head": "cosface"})
    assert options == TrainingOptions(lr=0.2)
    with pytest.raises(ValidationError):
        TrainingOptions(head="cosface")  # type: ignore[call-arg]


def test_augmentation_gathers_its_options() -> None:
    options = TrainingOptions(augment_crop=0.1, augment_occlusion=0.2, augment_jpeg=0.3)
    given = options.augmentation
    assert (given.crop, given.occlusion, given.jpeg, given.photometric) == (0.1, 0.2, 0.3, 0.0)
    assert {f"augment_{name}" for name in given.__dataclass_fields__} == {
        name for name in TrainingOptions.model_fields if name.startswith("augment_")
    }


def test_options_do_not_change() -> None:
    with pytest.raises(ValidationError):
        TrainingOptions().lr = 0.3  # type: ignore[misc]
