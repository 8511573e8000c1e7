from __future__ import annotations

import pytest
import torch

from facedistill.distill.grouped_divergence import group_size, grouped_divergence, primary_group

from . import slow_centres
from .made_people import CLASSES, batch_of, build, setting_of
from .slow_centres import cross_entropy, logits


@pytest.mark.parametrize(
    ("options", "tau", "step", "fixed"),
    [
        ({}, 0.93, 1, None),
        ({"tau": 0.5}, 0.5, 1, None),
        ({"step": 4}, 0.93, 4, None),
        ({"group": 3}, 0.93, 1, 3),
        ({"group": 10_000}, 0.93, 1, CLASSES),
        ({"group": 1}, 0.93, 1, 1),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_loss_equals_a_slow_loop(
    options: dict[str, object], tau: float, step: int, fixed: int | None, seed: int
) -> None:
    method, batch = build("gkd", ramp_epochs=0, scale=16, **options).double(), batch_of("gkd", seed)
    labels = batch.labels.tolist()
    ours = [
        logits(embedding, label, method.head.centres.tolist(), 0.4, "cosface", 16.0)
        for embedding, label in zip(batch.student.tolist(), labels, strict=True)
    ]
    theirs = [
        logits(embedding, label, method.centres.tolist(), 0.4, "cosface", 16.0)
        for embedding, label in zip(batch.teacher.tolist(), labels, strict=True)
    ]
    size = slow_centres.group_size(ours, tau, step) if fixed is None else fixed
    parts = [
        slow_centres.grouped(own, taught, label, size, 4.0)
        for own, taught, label in zip(ours, theirs, labels, strict=True)
    ]
    primary, binary = (16 * sum(values) / len(parts) for values in zip(*parts, strict=True))
    output = method(batch)
    assert output.loss.dtype == torch.float64
    assert output.figures["group"].total == size
    assert output.figures["primary"].total.item() == pytest.approx(primary, rel=1e-6, abs=1e-12)
    assert output.figures["binary"].total.item() == pytest.approx(binary, rel=1e-6, abs=1e-12)
    assert output.loss.item() == pytest.approx(cross_entropy(ours, labels) + 8 * primary + binary, rel=1e-6)


def test_size_by_hand() -> None:
    probability = torch.tensor([0.05, 0.5, 0.15, 0.3])
    assert [int(group_size(probability, tau=tau)) for tau in (0.4, 0.79, 0.81, 0.93, 1.0)] == [1, 2, 3, 3, 4]
    # Sizes that are looked at are 1 and 3; none of them holds 0.96, which is where the public code has no size at all.
    assert [int(group_size(probability, tau=tau, step=2)) for tau in (0.4, 0.79, 0.93, 0.96)] == [1, 3, 3, 4]
    assert int(group_size(torch.ones(1), tau=0.93)) == 1
    assert int(group_size(torch.full((50,), 0.02), tau=0.93, step=100)) == 50


def test_the_own_class_is_in_the_group_and_counts() -> None:
    row = torch.tensor([[0.0, 5.0, 4.0, 3.0]])
    for size, expected in ((1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 2, 3])):
        group = primary_group(row, torch.tensor([0]), torch.tensor(size))
        assert group[0].nonzero().flatten().tolist() == expected
        own = primary_group(row, torch.tensor([1]), torch.tensor(size))
        assert own[0].nonzero().flatten().tolist() == sorted([1, 2, 3, 0][:size])


def test_both_parts_and_the_rest_make_up_the_whole_divergence() -> None:
    # KL = binary + P_t * KL within the group + (1 - P_t) * KL within the rest.
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 9, dtype=torch.float64).mul(4)
    group = torch.rand(5, 9) < 0.5
    group[:, 0], group[:, 1] = True, False
    primary, binary = grouped_divergence(student, teacher, group)
    rest, same = grouped_divergence(student, teacher, ~group)
    torch.testing.assert_close(binary, same)
    share = (teacher.softmax(dim=1) * group).sum(dim=1)
    ours, theirs = student.log_softmax(dim=1), teacher.log_softmax(dim=1)
    whole = (theirs.exp() * (theirs - ours)).sum(dim=1)
    torch.testing.assert_close(binary + share * primary + (1 - share) * rest, whole)


def test_a_rest_without_probability_keeps_its_digits() -> None:
    # The student's 1 - P is 0 in float32, and its logarithm would be infinite.
    student, teacher = torch.tensor([[90.0, 0.0, 1.0]]), torch.tensor([[5.0, 0.0, 1.0]])
    group = torch.tensor([[True, False, False]])
    _, binary = grouped_divergence(student, teacher, group)
    _, exact = grouped_divergence(student.double(), teacher.double(), group)
    assert binary.item() == pytest.approx(exact.item(), rel=1e-5)
    assert exact.item() == pytest.approx(
        slow_centres.grouped([90.0, 0.0, 1.0], [5.0, 0.0, 1.0], 0, 1, 1.0)[1], rel=1e-6
    )


def test_a_group_of_everything_or_of_one_has_finite_gradients() -> None:
    student = torch.randn(4, 6).mul(30).requires_grad_()
    teacher = torch.randn(4, 6) * 30
    everything = torch.ones(4, 6, dtype=torch.bool)
    primary, binary = grouped_divergence(student, teacher, everything)
    assert torch.equal(binary, torch.zeros(4))
    (primary + binary).sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    one = torch.zeros(4, 6, dtype=torch.bool)
    one[:, 2] = True
    student.grad = None
    primary, binary = grouped_divergence(student, teacher, one)
    torch.testing.assert_close(primary, torch.zeros(4), atol=1e-5, rtol=0)
    (primary + binary).sum().backward()
    assert torch.isfinite(student.grad).all()


def test_ramp_goes_up_with_the_epochs_and_on_after_a_resume() -> None:
    method, batch = build("gkd", ramp_epochs=4), batch_of("gkd")
    seen = []
    for step in range(11):
        output = method(batch)
        seen.append(output.figures["ramp"].total.item())
        if step == 0:
            assert output.loss.item() == pytest.approx(output.figures["cross_entropy"].total.item())
        if step == 4:
            resumed = build("gkd", ramp_epochs=4, seed=5)
            resumed.load_state_dict(method.state_dict())
            method = resumed
    # Two batches are an epoch.
    assert seen == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1, 1]
    method.eval()
    before = method.calls.clone()
    method(batch)
    assert torch.equal(method.calls, before)


def test_state() -> None:
    method = build("gkd", setting=setting_of("gkd"))
    assert sorted(method.state_dict()) == ["calls", "head.centres"]
    assert [name for name, _ in method.named_parameters()] == ["head.centres"]
