from __future__ import annotations

import pytest
import torch

from facedistill.errors import UsageError

from .made_people import batch_of, build, setting_of
from .slow_centres import cross_entropy, logits


@pytest.mark.parametrize(
    ("options", "margin"),
    [({}, 0.45), ({"head": "cosface"}, 0.35), ({"margin": 0.2, "scale": 16}, 0.2), ({"margin": 0.0}, 0.0)],
)
def test_loss_equals_a_slow_loop(options: dict[str, object], margin: float) -> None:
    method, batch = build("adadistill-fixed", **options), batch_of("adadistill-fixed")
    labels = batch.labels.tolist()
    rows = [
        logits(
            embedding,
            label,
            method.centres.tolist(),
            margin,
            str(options.get("head", "arcface")),
            float(str(options.get("scale", 64))),
        )
        for embedding, label in zip(batch.student.tolist(), labels, strict=True)
    ]
    output = method(batch)
    # The centres are float32 unit vectors, so that their lengths are 1 to 1e-7.
    assert output.loss.item() == pytest.approx(cross_entropy(rows, labels), rel=1e-5)
    plain = [row.index(max(row)) == label for row, label in zip(rows, labels, strict=True)]
    if margin == 0:
        assert output.figures["centre_accuracy"].total == sum(plain)


def test_centres_stay_and_are_no_state() -> None:
    method, batch = build("adadistill-fixed"), batch_of("adadistill-fixed")
    before = method.centres.clone()
    batch.student.requires_grad_()
    method(batch).loss.backward()
    assert torch.equal(method.centres, before)
    assert list(method.parameters()) == []
    assert list(method.state_dict()) == []


def test_what_is_missing_is_named() -> None:
    for values, message in (
        ({"teacher_size": 0}, "needs a teacher"),
        ({"teacher_size": 9}, "the student's have 6 dimensions, the teacher's 9"),
        ({"centres": None}, "needs the teacher's class centres"),
        ({"centres": torch.ones(4, 6)}, "class centres are 4 x 6, and 11 people with embeddings of 6"),
    ):
        with pytest.raises(UsageError, match=message):
            build("adadistill-fixed", setting=setting_of("adadistill-fixed", **values))
