from __future__ import annotations

import pytest
import torch

from facedistill.errors import UsageError
from facedistill.heads import HEADS, make_head

from .made_people import CLASSES, SIZE, batch_of, build, setting_of
from .slow_centres import cross_entropy, logits


def test_loss_equals_a_slow_loop() -> None:
    method, batch = build("margin-softmax"), batch_of("margin-softmax", dtype=torch.float32)
    output = method(batch)
    centres = method.head.centres.tolist()
    labels = batch.labels.tolist()
    rows = [
        logits(embedding, label, centres, 0.5, "arcface", 64.0)
        for embedding, label in zip(batch.student.tolist(), labels, strict=True)
    ]
    assert output.loss.item() == pytest.approx(cross_entropy(rows, labels), rel=1e-5)
    assert "train_accuracy" in output.figures


@pytest.mark.parametrize("name", [entry.name for entry in HEADS])
def test_every_head_is_a_term(name: str) -> None:
    method, batch = build("margin-softmax", head=name), batch_of("margin-softmax", dtype=torch.float32)
    torch.manual_seed(0)
    head = make_head(name, SIZE, CLASSES)
    head.load_state_dict(method.head.state_dict())
    expected = head(batch.student, batch.labels)
    output = method(batch)
    assert torch.equal(output.loss, expected.loss)
    assert output.figures.keys() == expected.figures.keys()


def test_it_needs_no_teacher() -> None:
    method = build("margin-softmax", setting=setting_of("margin-softmax", teacher_size=0, centres=None))
    batch = batch_of("margin-softmax")
    assert method(batch._replace(teacher=torch.zeros(len(batch.labels), 0))).loss > 0


def test_wrong_heads_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'arcface'"):
        build("margin-softmax", head="arkface")
    with pytest.raises(UsageError, match="takes no margin"):
        build("margin-softmax", head="softmax", margin=0.3)
