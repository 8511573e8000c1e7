"""The terms of a loss as the command line names them."""

from __future__ import annotations

import pytest
import torch
from pydantic import Field, model_validator

from facedistill.distill.method import (
    METHODS,
    DistillationBatch,
    MethodOptions,
    Needs,
    Setting,
    register_method,
)
from facedistill.distill.terms import make_term, parse_terms
from facedistill.errors import UsageError
from facedistill.loss import LossAndFigures
from facedistill.training.objective import Distillation


class PullOptions(MethodOptions):
    strength: float = Field(default=2.0, gt=0, description="How hard")
    shared: float = Field(default=1.0, description="Both have it")

    @model_validator(mode="after")
    def _check(self) -> PullOptions:
        if self.strength == self.shared:
            raise ValueError("strength and shared have to differ")
        return self


class PushOptions(MethodOptions):
    shared: int = Field(default=3, ge=0, description="Both have it")


@pytest.fixture(autouse=True)
def two_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    @register_method(
        "pull", options=PullOptions, needs=Needs(), summary="pulls", source="here", formula="strength * mean s"
    )
    class Pull:
        def __init__(self, options: PullOptions, setting: Setting) -> None:
            self.options = options

        def __call__(self, batch: DistillationBatch) -> LossAndFigures:
            return LossAndFigures(self.options.strength * batch.student.mean(), {})

    def needs(options: PushOptions) -> Needs:
        return Needs(teacher=options.shared > 0)

    @register_method("push", options=PushOptions, needs=needs, summary="pushes", source="here", formula="-sum s")
    def build(options: PushOptions, setting: Setting) -> object:
        return lambda batch: LossAndFigures(-options.shared * batch.student.sum(), {})


def test_weights_and_options_reach_their_methods() -> None:
    terms = parse_terms("pull", ["push:0.5"], ["strength=7", "push.shared=4"])
    assert [(term.name, term.weight) for term in terms] == [("pull", 1.0), ("push", 0.5)]
    assert terms[0].options.model_dump() == {"strength": 7.0, "shared": 1.0}
    assert terms[1].options.model_dump() == {"shared": 4}


def test_what_a_method_needs_follows_its_options() -> None:
    assert make_term("push").needs.teacher
    assert not make_term("push", shared=0).needs.teacher


def test_the_loss_is_the_weighted_sum_and_each_loss_a_figure() -> None:
    student = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    batch = DistillationBatch(student, student, torch.tensor([0, 1]))
    setting = Setting(student_size=2, teacher_size=2, identities=2)
    output = Distillation(parse_terms("pull:10", ["push:0.5"]), setting)(batch)
    assert output.loss.item() == pytest.approx(10 * 2 * 3 - 0.5 * 3 * 12)
    assert {name: figure.total.item() for name, figure in output.figures.items()} == {"pull_loss": 6, "push_loss": -36}
    assert Distillation(parse_terms("pull:10"), setting)(batch).figures == {}


@pytest.mark.parametrize(
    ("method", "plus", "settings", "message"),
    [
        ("pul", [], [], "there is no method called 'pul'. Did you mean 'pull'?"),
        ("pull", ["pull:2"], [], "the method pull is asked for twice"),
        ("pull:heavy", [], [], "pull:heavy: 'heavy' is no weight. Write NAME or NAME:WEIGHT"),
        ("pull:0", [], [], "the weight of pull is 0. Use a number above 0"),
        ("pull:nan", [], [], "the weight of pull is nan"),
        ("pull", [], ["strength"], "--set: 'strength' sets nothing. Write OPTION=VALUE"),
        ("pull", [], ["strenght=3"], "--set strenght=3: pull has no option 'strenght'. Did you mean strength?"),
        ("pull", [], ["zzz=3"], "pull has no option 'zzz'. It has: strength, shared"),
        ("cosine", [], ["zzz=3"], "cosine has no option 'zzz'. It has no options"),
        ("pull", ["push"], ["shared=3"], "pull and push have an option 'shared'. Say which, such as pull.shared=3"),
        ("pull", [], ["push.shared=3"], "the method push is not among those of this run (pull)"),
        (
            "pull",
            [],
            ["strength=[1"],
            "--set strength=[1: '[1' is no value. Write a number, a word, true, false or none",
        ),
        ("pull", [], ["strength=1.5", "pull.strength=3"], "the option strength of pull is set twice"),
        ("pull", [], ["strength=none"], "pull: input should be a valid number, and strength is None"),
        ("pull", [], ["strength=true"], "pull: it is no flag, and strength is True"),
        ("pull", [], ["strength=-1"], "pull: input should be greater than 0, and strength is -1"),
        ("pull", [], ["strength=1"], "pull: strength and shared have to differ. See facedistill methods pull"),
    ],
)
def test_what_cannot_be_told_is_refused(method: str, plus: list[str], settings: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_terms(method, plus, settings)
    assert message in str(error.value)
