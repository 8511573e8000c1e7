"""The rows that take turns in the optimizer, against steps computed by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from facedistill.heads.sampled_centres import SampledCentres

SIZE, WIDTH = 12, 3
Optimizers = Callable[[list[Any]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Optimizers] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    "plain": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "amsgrad": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, amsgrad=True),
}


def made(rate: float = 0.25, optimizer: str = "sgd") -> tuple[SampledCentres, torch.optim.Optimizer]:
    centres = torch.randn(SIZE, WIDTH, generator=torch.Generator().manual_seed(0))
    sampling = SampledCentres(centres, rate)
    # Another parameter in a group before it, as the backbone's are.
    made_optimizer = OPTIMIZERS[optimizer]([{"params": [torch.nn.Parameter(torch.ones(2))]}])
    made_optimizer.add_param_group({"params": [sampling.sampled]})
    sampling.attach(made_optimizer)
    return sampling, made_optimizer


def pull(centres: torch.Tensor, seed: int) -> torch.Tensor:
    """A loss whose gradient is another one for each row and value."""
    generator = torch.Generator().manual_seed(seed)
    return (centres * torch.randn(centres.shape, generator=generator)).sum() + centres.square().sum()


def step(sampling: SampledCentres, optimizer: torch.optim.Optimizer, rows: list[int], seed: int) -> torch.Tensor:
    """One step; returns the rows that took part."""
    torch.manual_seed(seed)
    centres, _ = sampling.sample(torch.tensor(rows))
    pull(centres, seed).backward()
    optimizer.step()
    optimizer.zero_grad()
    return sampling._rows.clone()


def test_needed_rows_are_in_and_others_fill_up() -> None:
    sampling, _ = made(rate=0.5)
    seen: set[int] = set()
    for seed in range(50):
        torch.manual_seed(seed)
        centres, position = sampling.sample(torch.tensor([7, SIZE, 2, 7]))
        chosen = sampling._rows.tolist()
        assert len(chosen) == len(set(chosen)) == 6
        assert {2, 7} <= set(chosen)
        assert [chosen[index] for index in position[[0, 2, 3]].tolist()] == [7, 2, 7]
        assert torch.equal(centres, sampling.centres[chosen])
        seen |= set(chosen)
    assert seen == set(range(SIZE))


def test_all_needed_rows_are_in_where_they_are_more_than_the_rate_allows() -> None:
    sampling, _ = made(rate=0.1)
    sampling.sample(torch.arange(8))
    assert sorted(sampling._rows.tolist()) == list(range(8))
    sampling.sample(torch.arange(SIZE).repeat(2))
    assert sorted(sampling._rows.tolist()) == list(range(SIZE))


def test_negatives_are_drawn_evenly() -> None:
    sampling, _ = made(rate=0.25)
    counts = torch.zeros(SIZE)
    torch.manual_seed(0)
    for _ in range(3000):
        sampling.sample(torch.tensor([0]))
        counts[sampling._rows] += 1
    # 2 of the other 11 each time: 545 expected, standard deviation 21.
    assert counts[0] == 3000
    assert (counts[1:] - 3000 * 2 / 11).abs().max() < 85


def test_the_draw_repeats_with_the_seed_of_the_generator() -> None:
    sampling, _ = made()
    torch.manual_seed(4)
    sampling.sample(torch.tensor([3]))
    first = sampling._rows
    torch.manual_seed(4)
    sampling.sample(torch.tensor([3]))
    assert torch.equal(first, sampling._rows)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_that_take_no_part_keep_values_and_state(name: str) -> None:
    sampling, optimizer = made(optimizer=name)
    for seed in range(6):
        before = {key: value.clone() for key, value in sampling.state_dict().items()}
        chosen = step(sampling, optimizer, [seed, 1], seed)
        assert len(chosen) == 3
        others = torch.ones(SIZE, dtype=torch.bool).index_fill(0, chosen, False)
        for key, value in sampling.state_dict().items():
            earlier = before.get(key, torch.zeros_like(value))
            assert torch.equal(value[others], earlier[others])
        assert not torch.equal(sampling.centres[chosen], before["centres"][chosen])


def test_momentum_is_each_row_s_own() -> None:
    """SGD with momentum and weight decay by hand, row by row, over steps in which a row is there or not."""
    sampling, optimizer = made()
    values, momentum = sampling.centres.double().clone(), torch.zeros(SIZE, WIDTH, dtype=torch.float64)
    times = torch.zeros(SIZE)
    for seed in range(20):
        chosen = step(sampling, optimizer, [seed % 5], seed)
        pulls = torch.randn(len(chosen), WIDTH, generator=torch.Generator().manual_seed(seed))
        for place, row in enumerate(chosen.tolist()):
            gradient = pulls[place].double() + 2 * values[row] + 0.01 * values[row]
            momentum[row] = 0.9 * momentum[row] + gradient
            values[row] = values[row] - 0.1 * momentum[row]
            times[row] += 1
    assert len(times.unique()) > 1
    torch.testing.assert_close(sampling.centres.double(), values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        sampling.get_buffer("optimizer_momentum_buffer").double(), momentum, atol=1e-5, rtol=1e-5
    )


def test_adam_moments_are_each_row_s_own_and_its_steps_are_everybody_s() -> None:
    sampling, optimizer = made(optimizer="adamw")
    values = sampling.centres.double().clone()
    first, second = torch.zeros_like(values), torch.zeros_like(values)
    for seed in range(20):
        chosen = step(sampling, optimizer, [seed % 5], seed)
        pulls = torch.randn(len(chosen), WIDTH, generator=torch.Generator().manual_seed(seed))
        for place, row in enumerate(chosen.tolist()):
            gradient = pulls[place].double() + 2 * values[row]
            values[row] = values[row] * (1 - 0.01 * 0.01)
            first[row] = 0.9 * first[row] + 0.1 * gradient
            second[row] = 0.999 * second[row] + 0.001 * gradient.square()
            mean = first[row] / (1 - 0.9 ** (seed + 1))
            spread = (second[row] / (1 - 0.999 ** (seed + 1))).sqrt()
            values[row] = values[row] - 0.01 * mean / (spread + 1e-8)
    torch.testing.assert_close(sampling.centres.double(), values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sampling.get_buffer("optimizer_exp_avg").double(), first, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sampling.get_buffer("optimizer_exp_avg_sq").double(), second, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_going_on_from_a_saved_state_gives_the_same(name: str) -> None:
    sampling, optimizer = made(optimizer=name)
    for seed in range(3):
        step(sampling, optimizer, [seed], seed)
    saved = {key: value.clone() for key, value in sampling.state_dict().items()}
    saved_optimizer = copy.deepcopy(optimizer.state_dict())
    assert "sampled" not in saved
    for seed in range(3, 8):
        step(sampling, optimizer, [seed], seed)
    later, later_optimizer = made(optimizer=name)
    later.load_state_dict(saved)
    later_optimizer.load_state_dict(saved_optimizer)
    for seed in range(3, 8):
        step(later, later_optimizer, [seed], seed)
    for key, value in sampling.state_dict().items():
        assert torch.equal(value, later.state_dict()[key]), key


def test_a_state_within_a_larger_module_goes_back_to_before_the_first_step() -> None:
    sampling, optimizer = made()
    module = torch.nn.ModuleDict({"head": sampling})
    fresh = {key: value.clone() for key, value in module.state_dict().items()}
    step(sampling, optimizer, [1], 0)
    after = {key: value.clone() for key, value in module.state_dict().items()}
    assert after.keys() == {"head.centres", "head.optimizer_momentum_buffer"}
    module.load_state_dict(fresh)
    assert module.state_dict().keys() == {"head.centres"}
    module.load_state_dict(after)
    assert torch.equal(sampling.get_buffer("optimizer_momentum_buffer"), after["head.optimizer_momentum_buffer"])
    with pytest.raises(RuntimeError, match="size mismatch"):
        module.load_state_dict({"head.centres": torch.zeros(SIZE + 1, WIDTH)})


def test_a_table_of_the_wrong_size_is_refused() -> None:
    sampling, _ = made()
    with pytest.raises(RuntimeError, match="size mismatch for optimizer_momentum_buffer"):
        sampling.load_state_dict(
            {"centres": torch.zeros(SIZE, WIDTH), "optimizer_momentum_buffer": torch.zeros(5, WIDTH)}
        )


def test_the_optimizer_keeps_no_rows_between_steps() -> None:
    sampling, optimizer = made(optimizer="adamw")
    step(sampling, optimizer, [1, 2, 3, 4, 5], 0)
    assert optimizer.state[sampling.sampled].keys() == {"step"}


def test_batches_of_another_size_follow_while_an_old_loss_is_alive() -> None:
    sampling, optimizer = made(rate=0.1)
    losses = []
    for rows in ([0, 1, 2, 3], [4, 5], [6, 7, 8, 9, 10], [1]):
        centres, _ = sampling.sample(torch.tensor(rows))
        losses.append(pull(centres, 0))
        losses[-1].backward()
        assert sampling.sampled.grad is not None
        assert sampling.sampled.grad.shape == sampling.sampled.shape == (len(rows), WIDTH)
        optimizer.step()
        optimizer.zero_grad()


def test_gradients_of_several_batches_are_gathered_before_a_step() -> None:
    sampling, optimizer = made(rate=0.25, optimizer="plain")
    before = sampling.centres.clone()
    expected = torch.zeros(SIZE, WIDTH)
    for seed, rows in enumerate(([0, 1], [1, 5, 6], [5])):
        torch.manual_seed(seed)
        centres, position = sampling.sample(torch.tensor(rows))
        chosen = sampling._rows.tolist()
        assert len(chosen) == len(set(chosen)) == (3, 6, 7)[seed]
        assert [chosen[index] for index in position.tolist()] == rows
        loss = pull(centres, seed)
        (gradient,) = torch.autograd.grad(loss, centres, retain_graph=True)
        expected.index_add_(0, sampling._rows, gradient)
        loss.backward()
    optimizer.step()
    torch.testing.assert_close(sampling.centres, before - 0.1 * expected)
    optimizer.zero_grad()
    sampling.sample(torch.tensor([0]))
    assert len(sampling._rows) == 3


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_skipped_step_leaves_nothing_behind(set_to_none: bool) -> None:
    """The scaler of half precision leaves steps out whose gradients are not finite."""
    sampling, optimizer = made()
    before = sampling.centres.clone()
    centres, _ = sampling.sample(torch.tensor([1]))
    pull(centres, 0).backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    chosen = step(sampling, optimizer, [2], 0)
    assert 2 in chosen
    others = torch.ones(SIZE, dtype=torch.bool).index_fill(0, chosen, False)
    assert torch.equal(sampling.centres[others], before[others])


def test_a_step_makes_room_for_other_rows_though_the_gradient_is_set_to_zero_instead_of_none() -> None:
    sampling, optimizer = made()
    step(sampling, optimizer, [1], 0)
    centres, _ = sampling.sample(torch.tensor([1]))
    pull(centres, 0).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    sampling.sample(torch.tensor([2]))
    assert len(sampling._rows) == 3


def test_a_step_without_a_batch_changes_nothing() -> None:
    sampling, optimizer = made()
    step(sampling, optimizer, [1], 0)
    before = {key: value.clone() for key, value in sampling.state_dict().items()}
    optimizer.step()
    for key, value in sampling.state_dict().items():
        assert torch.equal(value, before[key])


def test_attaching_again_moves_to_the_new_optimizer() -> None:
    sampling, first = made(optimizer="plain")
    second = OPTIMIZERS["plain"]([sampling.sampled])
    sampling.attach(second)
    assert not first._optimizer_step_post_hooks
    before = sampling.centres.clone()
    chosen = step(sampling, second, [1], 0)
    assert not torch.equal(sampling.centres[chosen], before[chosen])


def test_an_optimizer_without_the_parameter_is_refused() -> None:
    sampling, _ = made()
    with pytest.raises(ValueError, match="does not have the parameter 'sampled'"):
        sampling.attach(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1))


def test_nothing_of_the_size_of_the_table_is_made_in_a_step() -> None:
    """A tenth of a large table: what autograd keeps and what the step leaves is far below one table."""
    size, width = 20_000, 16
    sampling = SampledCentres(torch.zeros(size, width), 0.1)
    optimizer = torch.optim.SGD([sampling.sampled], lr=0.1)
    sampling.attach(optimizer)
    shapes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (shapes.append(tensor.numel()), tensor)[1], lambda t: t
    ):
        centres, _ = sampling.sample(torch.arange(64))
        pull(centres, 0).backward()
    optimizer.step()
    assert sampling.sampled.grad is not None
    assert sampling.sampled.grad.shape == (2000, width)
    assert max(shapes) <= 2000 * width
    assert sampling.state_dict().keys() == {"centres"}
