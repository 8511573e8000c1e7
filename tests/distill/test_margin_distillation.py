from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from facedistill.distill.margin_distillation import MarginDistillationOptions, margins_by_typicality

from .made_people import batch_of, build
from .slow_centres import cosine, cross_entropy, logits


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.5), (0.0, 1.0), (0.3, 0.3)])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_margins_equal_a_slow_loop(low: float, high: float, seed: int) -> None:
    method, batch = build("margin-distillation", margin_min=low, margin_max=high), batch_of("margin-distillation", seed)
    centres, labels = method.centres.tolist(), batch.labels.tolist()
    typical = [
        max(cosine(taught, centres[label]), 0.0) for taught, label in zip(batch.teacher.tolist(), labels, strict=True)
    ]
    margins = [(high - low) / max(typical) * value + low for value in typical]
    rows = [
        logits(embedding, label, centres, margin, "arcface", 64.0)
        for embedding, label, margin in zip(batch.student.tolist(), labels, margins, strict=True)
    ]
    output = method(batch)
    assert output.loss.item() == pytest.approx(cross_entropy(rows, labels), rel=1e-5)
    total, weight = output.figures["margin"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx(sum(margins) / len(margins), rel=1e-6)


def test_margins_by_hand() -> None:
    similarity = torch.tensor([0.8, 0.4, 0.0, -0.9])
    # The published formula would give the last one a margin of -0.1375.
    assert margins_by_typicality(similarity, similarity.amax()).tolist() == pytest.approx([0.5, 0.35, 0.2, 0.2])


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=12), low=st.floats(0, 0.7), width=st.floats(0, 0.7))
@settings(deadline=None, max_examples=60)
def test_margins_stay_in_their_range_and_grow(values: list[float], low: float, width: float) -> None:
    similarity = torch.tensor(values, dtype=torch.float64)
    margins = margins_by_typicality(similarity, similarity.amax(), margin_min=low, margin_max=low + width)
    assert (margins >= low - 1e-12).all()
    assert (margins <= low + width + 1e-12).all()
    assert (margins[similarity.argsort()].diff() >= -1e-12).all()


def test_a_teacher_that_is_wrong_everywhere_leaves_the_smallest_margin() -> None:
    batch = batch_of("margin-distillation")
    method = build("margin-distillation")
    for teacher in (-method.centres[batch.labels].double(), torch.zeros_like(batch.teacher)):
        fixed = build("adadistill-fixed", margin=0.2)
        output = method(batch._replace(teacher=teacher))
        torch.testing.assert_close(output.loss, fixed(batch).loss)


def test_an_image_on_its_centre_has_a_finite_gradient() -> None:
    method = build("margin-distillation")
    batch = batch_of("margin-distillation")
    for sign in (1, -1):
        student = (sign * method.centres[batch.labels]).requires_grad_()
        method(batch._replace(student=student)).loss.backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_margins_out_of_order_are_refused() -> None:
    for values in ({"margin_min": 0.6}, {"margin_max": 2.0}, {"margin_min": -0.1}):
        with pytest.raises(ValidationError, match="margin"):
            MarginDistillationOptions(**values)


def test_it_has_no_state() -> None:
    assert list(build("margin-distillation").state_dict()) == []
