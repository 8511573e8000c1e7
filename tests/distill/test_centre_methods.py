"""What all methods with class centres have in common: invariances, precision, odd batches, resuming, processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from facedistill.distill.method import METHODS, DistillationBatch
from facedistill.ranks import rank, ranks, sum_over_ranks

from ..two_processes import run_in_two_processes
from .made_people import EQUAL, NAMES, SIZE, batch_of, build, setting_of, teacher_size_of

# All of GKD's loss at once.
OPTIONS: dict[str, dict[str, Any]] = {"gkd": {"ramp_epochs": 0}}


def made(name: str, **values: Any) -> Any:
    """A method that has seen a batch, so that running centres are there."""
    method = build(name, setting=setting_of(name, **values), **OPTIONS.get(name, {}))
    method(batch_of(name, 5))
    return method


def reordered(batch: DistillationBatch, order: torch.Tensor) -> DistillationBatch:
    return batch._replace(student=batch.student[order], teacher=batch.teacher[order], labels=batch.labels[order])


def test_every_method_says_what_it_is() -> None:
    for name in NAMES:
        kind = METHODS[name]
        assert kind.needs(kind.options()).labels
        assert not kind.needs(kind.options()).pairs
        assert kind.formula
        assert kind.published
        assert all(field.description for field in kind.options.model_fields.values())


@pytest.mark.parametrize("name", NAMES)
def test_order_and_length_do_not_count(name: str) -> None:
    batch = batch_of(name)
    loss = made(name)(batch).loss
    order = torch.tensor([4, 7, 1, 0, 6, 5, 3, 2])
    torch.testing.assert_close(made(name)(reordered(batch, order)).loss, loss, rtol=1e-5, atol=1e-5)
    longer = batch._replace(student=5 * batch.student, teacher=batch.teacher * torch.rand(8, 1).add(0.5))
    torch.testing.assert_close(made(name)(longer).loss, loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "margin-softmax"])
def test_rotations_of_the_teachers_space_do_not_count(name: str) -> None:
    size = teacher_size_of(name)
    torch.manual_seed(3)
    rotation = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q
    centres = setting_of(name).centres
    assert centres is not None
    turned = build(
        name, setting=setting_of(name, centres=(centres.double() @ rotation).float()), **OPTIONS.get(name, {})
    )
    plain = build(name, **OPTIONS.get(name, {}))
    for seed in range(2):
        batch = batch_of(name, seed)
        expected = plain(batch).loss
        # Where student and teacher share one space, the student turns with it.
        student = batch.student @ rotation if name in EQUAL else batch.student
        found = turned(batch._replace(student=student, teacher=batch.teacher @ rotation)).loss
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "margin-softmax"])
def test_gradient_by_finite_differences(name: str) -> None:
    method = made(name).double().eval()
    batch = batch_of(name)
    # A fixed group, since a small step may otherwise change who is in it.
    if name == "gkd":
        method = build(name, ramp_epochs=0, group=4, scale=16).double().eval()

    def loss(student: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = method(batch._replace(student=student)).loss
        return result

    student = batch.student.clone().requires_grad_()
    assert loss(student) > 0
    assert loss(student).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, (student,), eps=1e-6, atol=1e-5)
    for parameter in method.parameters():

        def loss_of(values: torch.Tensor) -> torch.Tensor:
            found = torch.func.functional_call(method, {"head.centres": values}, (batch,))
            result: torch.Tensor = found.loss
            return result

        assert torch.autograd.gradcheck(loss_of, (parameter.detach().clone().requires_grad_(),), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    batch = batch_of(name)
    teacher, student = batch.teacher.requires_grad_(), batch.student.requires_grad_()
    made(name)(batch._replace(student=student, teacher=teacher)).loss.backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_float32_whatever_the_autocast_says(name: str) -> None:
    batch = batch_of(name, dtype=torch.float32)
    expected = made(name)(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(name)(batch)
    assert found.loss.dtype == torch.float32
    assert torch.equal(found.loss, expected.loss)
    rounded = batch._replace(student=batch.student.bfloat16())
    exact = batch._replace(student=batch.student.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(made(name)(rounded).loss, made(name)(exact).loss)


def odd_batches(name: str) -> dict[str, DistillationBatch]:
    batch = batch_of(name, dtype=torch.float32)
    centres = setting_of(name).centres
    assert centres is not None
    student, teacher, labels = batch.student, batch.teacher, batch.labels
    one = torch.zeros(8, dtype=torch.int64)
    return {
        "one identity": batch._replace(labels=one),
        "no two of a person": batch._replace(labels=torch.arange(8)),
        "two images": DistillationBatch(student[:2], teacher[:2], labels[:2]),
        "one image": DistillationBatch(student[:1], teacher[:1], labels[:1]),
        "identical students": batch._replace(student=student[:1].expand(8, -1).clone()),
        "identical teachers": batch._replace(teacher=teacher[:1].expand(8, -1).clone()),
        "teacher wrong": batch._replace(teacher=-centres[labels]),
        "student of zeros": batch._replace(student=torch.zeros(8, SIZE)),
        "teacher of zeros": batch._replace(teacher=torch.zeros_like(teacher)),
        "student is the teacher": batch._replace(student=teacher[:, :SIZE].clone()),
        "opposite student": batch._replace(student=-teacher[:, :SIZE].clone()),
    }


@pytest.mark.parametrize("name", NAMES)
def test_odd_batches_are_finite(name: str) -> None:
    for case, batch in odd_batches(name).items():
        for method in (build(name, **OPTIONS.get(name, {})), made(name)):
            student = batch.student.requires_grad_()
            for _ in range(2):
                student.grad = None
                output = method(batch._replace(student=student))
                output.loss.backward()
                assert torch.isfinite(output.loss), case
                assert student.grad is not None
                assert torch.isfinite(student.grad).all(), case
                for total, weight in output.figures.values():
                    assert torch.isfinite(total), case
                    assert weight is None or weight > 0, case
            assert all(torch.isfinite(value).all() for value in method.state_dict().values()), case


@pytest.mark.parametrize("name", [name for name in NAMES if name != "margin-softmax"])
def test_an_embedding_of_zeros_is_not_blown_up(name: str) -> None:
    student = torch.zeros(8, SIZE, requires_grad=True)
    made(name)(batch_of(name, dtype=torch.float32)._replace(student=student)).loss.backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e4


@pytest.mark.parametrize("name", NAMES)
def test_with_a_single_person_there_is_nothing_to_tell_apart(name: str) -> None:
    batch = batch_of(name, dtype=torch.float32)
    method = build(name, setting=setting_of(name, classes=1), **OPTIONS.get(name, {}))
    student = batch.student.requires_grad_()
    loss = method(batch._replace(student=student, labels=torch.zeros(8, dtype=torch.int64))).loss
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


class NoWaiting(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        assert func not in (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default), func
        if func in (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_does_not_wait_for_the_device(name: str) -> None:
    method, batch = made(name), batch_of(name, dtype=torch.float32)
    student = batch.student.requires_grad_()
    with NoWaiting():
        method(batch._replace(student=student)).loss.backward()
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        method(batch).loss.item()


def steps(name: str, method: Any, first: int, last: int) -> list[torch.Tensor]:
    """Losses of a few steps of training what the method trains."""
    optimizer = torch.optim.SGD(list(method.parameters()) or [torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    losses = []
    for step in range(first, last):
        batch = batch_of(name, step, dtype=torch.float32)
        output = method(batch._replace(student=batch.student.requires_grad_()))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.detach())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_its_state(name: str) -> None:
    options = {"gkd": {"ramp_epochs": 3}, "margin-softmax": {"head": "adaface"}}.get(name, {})
    whole = build(name, **options)
    losses = steps(name, whole, 0, 3)
    half = build(name, **options)
    steps(name, half, 0, 1)
    resumed = build(name, seed=7, **options)
    resumed.load_state_dict(half.state_dict())
    for found, expected in zip(steps(name, resumed, 1, 3), losses[1:], strict=True):
        assert torch.equal(found, expected)


def train(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A few steps of a backbone of one matrix, its gradient averaged as DDP does; all that must not depend on ranks."""
    method = build(name, **options)
    backbone = torch.nn.Parameter(torch.eye(SIZE))
    trained = [backbone, *method.parameters()]
    optimizer = torch.optim.SGD(trained, lr=0.01)
    kept: dict[str, Any] = {"steps": []}
    for step in range(3):
        whole = batch_of(name, step, dtype=torch.float32)
        own = slice(rank() * 8 // ranks(), (rank() + 1) * 8 // ranks())
        batch = DistillationBatch(whole.student[own] @ backbone, whole.teacher[own], whole.labels[own])
        optimizer.zero_grad()
        output = method(batch)
        output.loss.backward()
        for parameter in trained:
            assert parameter.grad is not None
            parameter.grad = sum_over_ranks(parameter.grad) / ranks()
        kept["steps"].append(
            {
                "loss": sum_over_ranks(output.loss) / ranks(),
                "gradients": [parameter.grad.clone() for parameter in trained if parameter.grad is not None],
                "figures": {
                    key: sum_over_ranks(total) / sum_over_ranks(weight)
                    for key, (total, weight) in output.figures.items()
                },
            }
        )
        optimizer.step()
    kept["state"] = method.state_dict()
    return kept


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, OPTIONS.get(name, {})) for name in NAMES},
    "adaface": ("margin-softmax", {"head": "adaface"}),
    "easy": ("adadistill", {"hard": False}),
    "ramp": ("gkd", {"ramp_epochs": 2, "tau": 0.5}),
}


def train_all() -> dict[str, dict[str, Any]]:
    return {case: train(name, options) for case, (name, options) in CASES.items()}


def test_two_processes_equal_one(tmp_path: Path) -> None:
    both = run_in_two_processes(train_all, tmp_path=tmp_path, seconds=300)
    alone = train_all()
    for case, expected in alone.items():
        first, second = (one[case] for one in both)
        for step, values in enumerate(expected["steps"]):
            for found in (first["steps"][step], second["steps"][step]):
                torch.testing.assert_close(found["loss"], values["loss"], rtol=1e-5, atol=1e-5, msg=case)
                for gradient, other in zip(found["gradients"], values["gradients"], strict=True):
                    torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4, msg=case)
                for key, figure in values["figures"].items():
                    torch.testing.assert_close(
                        found["figures"][key].float(), figure.float(), rtol=1e-4, atol=1e-4, msg=f"{case} {key}"
                    )
        assert first["state"].keys() == expected["state"].keys()
        for key, value in expected["state"].items():
            # To the last bit in both processes: running centres must not drift apart.
            assert torch.equal(first["state"][key], second["state"][key]), f"{case} {key}"
            torch.testing.assert_close(first["state"][key], value, rtol=1e-4, atol=1e-4, msg=f"{case} {key}")
    assert (alone["adadistill"]["state"]["centres"].norm(dim=1) > 0).sum() == 5


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_cuda_gives_the_cpu_loss_without_waiting(name: str) -> None:
    here, there = build(name, **OPTIONS.get(name, {})), build(name, **OPTIONS.get(name, {})).cuda()
    for step in range(3):
        batch = batch_of(name, step, dtype=torch.float32)
        expected = here(batch).loss
        on_device = DistillationBatch(batch.student.cuda().requires_grad_(), batch.teacher.cuda(), batch.labels.cuda())
        torch.cuda.set_sync_debug_mode("error")
        try:
            output = there(on_device)
            output.loss.backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.testing.assert_close(output.loss.cpu(), expected, rtol=1e-4, atol=1e-4)
