from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch.nn import functional

from facedistill.loss import Figure, LossAndFigures
from facedistill.training.meter import Meter, mean_similarity

CPU = torch.device("cpu")
ROWS = torch.eye(3)


def output(loss: float, **figures: tuple[float, float | None]) -> LossAndFigures:
    return LossAndFigures(
        torch.tensor(loss),
        {
            name: Figure(torch.tensor(total), None if weight is None else torch.tensor(weight))
            for name, (total, weight) in figures.items()
        },
    )


def test_means_are_weighted_and_counts_are_summed() -> None:
    meter = Meter(CPU)
    meter.add(output(2.0, cosine=(3.0, 4.0), triplets=(7.0, None)), ROWS, 1)
    meter.add(output(4.0, cosine=(1.0, 12.0), triplets=(5.0, None)), -ROWS, 1)
    meter.add_gradient(torch.tensor(3.0), 1)
    meter.add_gradient(torch.tensor(5.0), 2)
    assert meter.figures() == {
        "loss": 3.0,
        "mean_similarity": 0.0,
        "cosine": 0.25,
        "triplets": 12.0,
        "gradient_norm": 4.0,
    }
    assert meter.figures(of_all=False) == meter.figures()


def test_whole_numbers_and_half_precision_are_summed_in_double() -> None:
    meter = Meter(CPU)
    for _ in range(3):
        figures = {"train_accuracy": Figure(torch.tensor(2), torch.tensor(3))}
        meter.add(LossAndFigures(torch.tensor(0.1, dtype=torch.bfloat16), figures), ROWS, 1)
    assert meter.figures()["train_accuracy"] == 2 / 3
    assert meter.figures()["loss"] == float(torch.tensor(0.1, dtype=torch.bfloat16))


def test_a_mean_of_nothing_is_left_out_and_a_small_weight_counts() -> None:
    meter = Meter(CPU)
    meter.add(output(1.0, negative_distance=(0.0, 0.0), triplets=(0.0, None), half=(0.1, 0.5)), ROWS, 1)
    figures = meter.figures()
    assert "negative_distance" not in figures
    assert figures["triplets"] == 0
    assert figures["half"] == pytest.approx(0.2)


def test_restart_begins_anew() -> None:
    meter = Meter(CPU)
    assert meter.figures() == {}
    meter.add(output(2.0), ROWS, 1)
    meter.restart()
    assert meter.figures() == {}
    meter.add(output(8.0), ROWS, 2)
    assert meter.figures()["loss"] == 8.0


def test_the_first_bad_step_is_kept() -> None:
    meter = Meter(CPU)
    meter.add(output(1.0), ROWS, 1)
    meter.add_gradient(torch.tensor(1.0), 1)
    assert meter.first_bad_step() is None
    meter.add_gradient(torch.tensor(torch.inf), 2)
    assert meter.first_bad_step() == ("gradient", 2)
    meter.add(output(torch.nan), ROWS, 3)
    meter.add(output(torch.nan), ROWS, 4)
    meter.add_gradient(torch.tensor(torch.nan), 4)
    assert meter.first_bad_step() == ("gradient", 2)
    meter.restart()
    assert meter.first_bad_step() == ("gradient", 2)


def test_of_the_same_step_the_loss_is_named() -> None:
    meter = Meter(CPU)
    meter.add(output(torch.inf), ROWS, 5)
    meter.add_gradient(torch.tensor(torch.nan), 5)
    assert meter.first_bad_step() == ("loss", 5)


def test_an_earlier_loss_before_a_later_gradient() -> None:
    meter = Meter(CPU, bad_gradients=2)
    meter.add(output(-torch.inf), ROWS, 6)
    for step in (5, 6, 7):
        meter.add_gradient(torch.tensor(torch.nan), step)
    assert meter.first_bad_step() == ("loss", 6)


def test_gradients_that_a_scaler_leaves_out() -> None:
    meter = Meter(CPU, bad_gradients=3)
    bad, good = torch.tensor(torch.inf), torch.tensor(2.0)
    for step, norm in enumerate([bad, bad, good, bad, bad, good], start=1):
        meter.add_gradient(norm, step)
    assert meter.first_bad_step() is None
    assert meter.figures() == {"gradient_norm": 2.0}  # of those that were steps
    meter.restart()
    for step in (7, 8, 9, 10):
        meter.add_gradient(bad, step)
    assert meter.first_bad_step() == ("gradient", 9)
    assert meter.figures() == {}


def test_a_meter_goes_on_from_its_state() -> None:
    whole, first, second = (Meter(CPU, bad_gradients=3) for _ in range(3))
    for meter in (whole, first):
        meter.add(output(0.1, cosine=(1.0, 3.0), triplets=(2.0, None)), ROWS, 1)
        meter.add_gradient(torch.tensor(torch.inf), 1)
        meter.add_gradient(torch.tensor(torch.inf), 2)
    second.load_state_dict(first.state_dict())
    for meter in (whole, second):
        assert meter.first_bad_step() is None
        meter.add(output(0.7, cosine=(1.0, 4.0), triplets=(5.0, None)), ROWS, 3)
        meter.add_gradient(torch.tensor(torch.inf), 3)
        assert meter.first_bad_step() == ("gradient", 3)
    assert second.figures() == whole.figures()
    assert list(second.figures()) == list(whole.figures())


def test_a_fresh_meter_has_a_state_too() -> None:
    meter = Meter(CPU)
    meter.load_state_dict(Meter(CPU).state_dict())
    assert meter.figures() == {}
    assert meter.first_bad_step() is None


@pytest.mark.parametrize("shape", [(2, 3), (7, 5), (64, 512)])
def test_mean_similarity_equals_a_double_loop(shape: tuple[int, int]) -> None:
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 0.3
    pairs = permutations(range(len(rows)), 2)
    cosines = [float(functional.cosine_similarity(rows[a], rows[b], dim=0)) for a, b in pairs]
    assert float(mean_similarity(rows)) == pytest.approx(sum(cosines) / len(cosines), abs=1e-5)
    assert float(mean_similarity(1e-3 * rows)) == pytest.approx(float(mean_similarity(rows)), abs=1e-6)


def test_mean_similarity_at_its_ends() -> None:
    assert float(mean_similarity(torch.ones(128, 512))) == pytest.approx(1.0, abs=1e-5)
    assert float(mean_similarity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-1.0)
    assert float(mean_similarity(torch.ones(1, 4))) == pytest.approx(0.0, abs=1e-6)
    assert float(mean_similarity(torch.zeros(4, 4))) == 0.0
    assert mean_similarity(torch.ones(3, 4, dtype=torch.bfloat16)).dtype == torch.float32
