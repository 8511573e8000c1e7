"""AdaDistill against a loop over images; each bug of its public code has a test."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from facedistill.distill.adadistill import centre_shares, move_centres
from facedistill.distill.method import METHODS
from facedistill.errors import UsageError

from . import slow_centres
from .made_people import batch_of, build, setting_of
from .slow_centres import cross_entropy, logits


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("head", "margin"), [("arcface", 0.45), ("cosface", 0.35)])
def test_three_steps_equal_a_slow_loop(hard: bool, head: str, margin: float) -> None:
    # Both variants of alpha run: of the public code's two one wants a keyword that the other side does not send, the
    # other an attribute that nobody sets.
    method = build("adadistill", hard=hard, head=head).double()
    centres = [[0.0] * 6 for _ in range(11)]
    for step in range(3):
        batch = batch_of("adadistill", step)
        student, labels = batch.student.tolist(), batch.labels.tolist()
        centres, alphas = slow_centres.move_centres(centres, student, batch.teacher.tolist(), labels, hard=hard)
        output = method(batch)
        torch.testing.assert_close(method.centres, torch.tensor(centres, dtype=torch.float64))
        rows = [
            logits(embedding, label, centres, margin, head, 64.0)
            for embedding, label in zip(student, labels, strict=True)
        ]
        assert output.loss.item() == pytest.approx(cross_entropy(rows, labels))
        total, weight = output.figures["alpha"]
        assert weight is not None
        assert (total / weight).item() == pytest.approx(sum(alphas) / len(alphas))
        # Not at first sight, but later the shares are shares.
        assert (max(alphas) > 0.1) == (step > 0)
    assert 0 < sum(1 for centre in centres if any(centre)) < len(centres)


def test_alpha_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    teacher = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [0.0, 0.0], [0.6, 0.8]])
    old = torch.tensor([[0.0, 0.5], [0.0, 0.0], [0.0, -0.5], [0.0, -0.5], [0.0, 0.5], [0.0, 0.5]])
    # In turn: 0.6 * 0.8; never seen; two negative cosines, whose product must not become a share; a centre that points
    # away; a teacher that says nothing, whose centre stays; a student that says nothing.
    hard = centre_shares(student, teacher, old, hard=True)
    assert hard.tolist() == pytest.approx([0.48, 0, 0, 0, 1, 0])
    easy = centre_shares(student, teacher, old, hard=False)
    assert easy.tolist() == pytest.approx([0.6, 0, 0, 0.6, 1, 0])


def test_a_class_starts_with_the_teachers_embedding_exactly() -> None:
    for hard in (True, False):
        batch = batch_of("adadistill", dtype=torch.float32)
        batch = batch._replace(student=batch.teacher, labels=torch.arange(8))
        method = build("adadistill", hard=hard)
        method(batch)
        torch.testing.assert_close(method.centres[:8], functional.normalize(batch.teacher))
        assert method.centres[8:].abs().max() == 0


def test_no_image_of_a_class_wins_by_its_place_in_the_batch() -> None:
    batch = batch_of("adadistill", dtype=torch.float32)
    order = torch.tensor([4, 7, 1, 0, 6, 5, 3, 2])
    first, second = build("adadistill"), build("adadistill")
    for seed in range(2):
        batch = batch_of("adadistill", seed, dtype=torch.float32)
        one = first(batch)
        other = second(type(batch)(*(None if part is None else part[order] for part in batch)))
        torch.testing.assert_close(first.centres, second.centres, atol=1e-6, rtol=0)
        torch.testing.assert_close(one.loss, other.loss)
    # All three images of person 3 have a say.
    for image in (0, 1, 4):
        method = build("adadistill")
        changed = batch.teacher.clone()
        changed[image] += 3
        method(batch._replace(teacher=changed))
        plain = build("adadistill")
        plain(batch)
        assert (method.centres[3] - plain.centres[3]).abs().max() > 0.01


def test_all_rows_of_a_class_are_written_alike() -> None:
    centres = torch.randn(3, 40)
    labels = torch.tensor([1] * 33 + [2])
    teacher, alpha = functional.normalize(torch.randn(34, 40)), torch.rand(34)
    expected = (alpha[:33, None] * centres[1] + (1 - alpha[:33, None]) * teacher[:33]).mean(dim=0)
    before = centres.clone()
    move_centres(centres, labels, teacher, alpha)
    torch.testing.assert_close(centres[1], expected)
    torch.testing.assert_close(centres[2], alpha[33] * before[2] + (1 - alpha[33]) * teacher[33])
    assert torch.equal(centres[0], before[0])


def test_the_centre_moves_before_it_is_used() -> None:
    # A student that equals the teacher finds itself on its own centre at first sight.
    batch = batch_of("adadistill", dtype=torch.float32)
    batch = batch._replace(student=batch.teacher.clone(), labels=torch.arange(8))
    output = build("adadistill")(batch)
    total, weight = output.figures["centre_accuracy"]
    assert total == weight == 8


def test_centres_stand_still_outside_of_training() -> None:
    method = build("adadistill")
    method(batch_of("adadistill"))
    before = method.centres.clone()
    method.eval()(batch_of("adadistill", 1))
    assert torch.equal(method.centres, before)


def test_a_step_that_overflows_leaves_the_centres_finite() -> None:
    method, batch = build("adadistill"), batch_of("adadistill", dtype=torch.float32)
    student = batch.student.clone()
    student[0], student[2, 1] = float("nan"), float("inf")
    for _ in range(2):
        method(batch._replace(student=student))
        assert torch.isfinite(method.centres).all()
    assert (method.centres[batch.labels].norm(dim=1) > 0).all()


def test_unseen_classes_pull_at_nobody() -> None:
    method = build("adadistill", margin=0.0, scale=1.0)
    batch = batch_of("adadistill", dtype=torch.float32)
    batch = batch._replace(student=batch.teacher[:1], teacher=batch.teacher[:1], labels=batch.labels[:1])
    # The own class at cos 1, ten unseen ones at cos 0.
    expected = torch.log(torch.exp(torch.tensor(1.0)) + 10) - 1
    torch.testing.assert_close(method(batch).loss, expected, atol=1e-5, rtol=0)


def test_centres_are_state_and_nothing_is_trained() -> None:
    method = build("adadistill")
    assert list(method.parameters()) == []
    assert list(method.state_dict()) == ["centres"]


def test_without_a_teacher_there_is_an_error_rather_than_nan() -> None:
    with pytest.raises(UsageError, match="the method adadistill needs a teacher"):
        build("adadistill", setting=setting_of("adadistill", teacher_size=0))
    with pytest.raises(UsageError, match="6 dimensions, the teacher's 9"):
        build("adadistill", setting=setting_of("adadistill", teacher_size=9))
    needs = METHODS["adadistill"].needs(METHODS["adadistill"].options())
    assert needs.teacher
    assert needs.equal_sizes
    assert not needs.centres
