from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from facedistill.distill.prompts import PromptedTeacher
from facedistill.errors import UsageError
from facedistill.models import build_backbone
from facedistill.models.features import FeatureTap
from facedistill.models.vit import VisionTransformer


def make_teacher() -> VisionTransformer:
    """Three blocks, 3 x 3 tokens of 8 channels; batch norms with statistics of their own."""
    torch.manual_seed(0)
    teacher = VisionTransformer(4, embedding_size=6, width=0.25, input_size=32, depth=3)
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.3)
    teacher(torch.randn(8, 3, 32, 32))
    return teacher


def test_without_prompts_it_is_the_teacher() -> None:
    teacher = make_teacher().eval()
    tap = FeatureTap(teacher)
    images = torch.randn(4, 3, 32, 32)
    expected = teacher(images)
    tokens = tap.take()
    embeddings, features = PromptedTeacher(teacher, 0)(images)
    assert torch.equal(embeddings, expected)
    assert torch.equal(features, tokens)


def test_prompts_by_a_slow_loop() -> None:
    """One image at a time, the prompts behind the tokens: where they stand makes no difference."""
    teacher = make_teacher()
    prompted = PromptedTeacher(teacher, 2)
    images = torch.randn(3, 3, 32, 32)
    embeddings, features = prompted(images)
    for number, image in enumerate(images):
        patches = [
            teacher.patches.weight.flatten(1) @ image[:, y : y + 9, x : x + 9].flatten() + teacher.patches.bias
            for y in (0, 9, 18)
            for x in (0, 9, 18)
        ]
        tokens = [patch + teacher.positions[0, place] for place, patch in enumerate(patches)]
        for block, prompts in zip(teacher.blocks, prompted.prompts, strict=True):
            tokens = list(block(torch.stack([*tokens, *prompts])[None])[0])[:9]
        final = torch.stack([teacher.tail(token) for token in tokens])
        torch.testing.assert_close(features[number], final, atol=1e-5, rtol=1e-4)
        embedding = teacher.norm(teacher.embed(teacher.gather_norm(teacher.gather(final.flatten()[None]))))[0]
        torch.testing.assert_close(embeddings[number], embedding, atol=1e-5, rtol=1e-4)


def test_only_the_prompts_are_trained_and_saved() -> None:
    teacher = make_teacher().train()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    prompted = PromptedTeacher(teacher, 2)
    assert [name for name, _ in prompted.named_parameters()] == list(prompted.state_dict()) == ["prompts"]
    assert prompted.prompts.shape == (3, 2, 8)
    start = prompted.prompts.detach().clone()
    prompted.train()
    optimizer = torch.optim.SGD(prompted.parameters(), lr=0.1)
    for _ in range(3):
        embeddings, features = prompted(torch.randn(4, 3, 32, 32))
        optimizer.zero_grad()
        (embeddings.square().mean() + features[:, 0, 0].square().mean()).backward()
        assert prompted.prompts.grad is not None
        assert (prompted.prompts.grad.abs().sum(dim=(1, 2)) > 0).all()
        optimizer.step()
    assert not torch.equal(prompted.prompts, start)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_gradient_of_the_prompts() -> None:
    teacher = make_teacher().double()
    prompted = PromptedTeacher(teacher, 1).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def outputs(prompts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings, features = functional_call(prompted, {"prompts": prompts}, images)
        return embeddings, features

    assert torch.autograd.gradcheck(outputs, (prompted.prompts.detach().clone().requires_grad_(),))


def test_a_tap_on_the_teacher_does_not_see_the_prompted_tokens() -> None:
    teacher = make_teacher()
    tap = FeatureTap(teacher)
    PromptedTeacher(teacher, 1)(torch.randn(2, 3, 32, 32))
    with pytest.raises(RuntimeError):
        tap.take()


def test_a_convolutional_teacher_takes_none() -> None:
    with pytest.raises(UsageError, match="the teacher is a TinyFaceNet"):
        PromptedTeacher(build_backbone("tinyfacenet", embedding_size=8, input_size=32), 2)
