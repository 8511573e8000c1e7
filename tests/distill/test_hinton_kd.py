from __future__ import annotations

import pytest
import torch

from facedistill.errors import UsageError

from .made_people import batch_of, build, setting_of
from .slow_centres import cross_entropy, divergence, logits


@pytest.mark.parametrize(
    ("options", "form", "margin", "scale", "temperature", "weight"),
    [
        ({}, "arcface", 0.5, 64.0, 4.0, 1.0),
        ({"head": "cosface"}, "cosface", 0.4, 64.0, 4.0, 1.0),
        ({"margin": 0.0, "temperature": 1.5, "scale": 20.0, "classification": 0.05}, "arcface", 0.0, 20.0, 1.5, 0.05),
        ({"classification": 0.0}, "arcface", 0.5, 64.0, 4.0, 0.0),
    ],
)
def test_loss_equals_a_slow_loop(
    options: dict[str, object], form: str, margin: float, scale: float, temperature: float, weight: float
) -> None:
    method, batch = build("hinton-kd", **options).double(), batch_of("hinton-kd")
    assert batch.student.shape[1] != batch.teacher.shape[1]
    labels = batch.labels.tolist()
    ours = [
        logits(embedding, label, method.head.centres.tolist(), margin, form, scale)
        for embedding, label in zip(batch.student.tolist(), labels, strict=True)
    ]
    theirs = [
        logits(embedding, label, method.centres.tolist(), margin, form, scale)
        for embedding, label in zip(batch.teacher.tolist(), labels, strict=True)
    ]
    apart = [
        divergence([value / temperature for value in taught], [value / temperature for value in own])
        for taught, own in zip(theirs, ours, strict=True)
    ]
    expected = temperature**2 * sum(apart) / len(apart)
    output = method(batch)
    assert output.loss.dtype == torch.float64
    assert output.figures["divergence"].total.item() == pytest.approx(expected, rel=1e-6)
    assert output.loss.item() == pytest.approx(weight * cross_entropy(ours, labels) + expected, rel=1e-6)


def test_the_teacher_counts() -> None:
    # In one public port its logits are computed and then left out of the loss.
    method, batch = build("hinton-kd"), batch_of("hinton-kd")
    other = batch._replace(teacher=batch.teacher.flip(0))
    assert (method(batch).loss - method(other).loss).abs() > 0.1


def test_a_student_like_the_teacher_has_no_divergence() -> None:
    setting = setting_of("hinton-kd", student_size=9)
    method, batch = build("hinton-kd", setting=setting), batch_of("hinton-kd", dtype=torch.float32)
    with torch.no_grad():
        method.head.centres.copy_(7 * method.centres)
    output = method(batch._replace(student=3 * batch.teacher))
    assert output.figures["divergence"].total.abs() < 1e-4


def test_the_students_centres_learn_and_the_teachers_stay() -> None:
    method, batch = build("hinton-kd"), batch_of("hinton-kd")
    method(batch).loss.backward()
    assert [name for name, _ in method.named_parameters()] == ["head.centres"]
    assert method.head.centres.grad.abs().sum() > 0
    assert list(method.state_dict()) == ["head.centres"]


def test_without_centres_there_is_an_error() -> None:
    with pytest.raises(UsageError, match="the method hinton-kd needs the teacher's class centres"):
        build("hinton-kd", setting=setting_of("hinton-kd", centres=None))
