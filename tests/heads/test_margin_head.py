"""Heads with all centres in one place, against every head's formula in a slow loop."""

from __future__ import annotations

import math

import pytest
import torch

from facedistill.heads import HEADS, MarginHead, make_head

from . import slow_heads
from .slow_heads import Statistics

NAMES = [entry.name for entry in HEADS]


def made_batch(
    images: int = 9, size: int = 5, classes: int = 7, spread: float = 40.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of norms from about 1 to 3 * spread, some of them long past MagFace's bounds, and labels."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.linspace(1, spread, images)[:, None]
    labels = torch.randint(0, classes, (images,), generator=generator)
    return torch.randn(images, size, generator=generator) * lengths, labels


def made_head(name: str, size: int = 5, classes: int = 7) -> MarginHead:
    torch.manual_seed(0)
    head = make_head(name, size, classes)
    assert isinstance(head, MarginHead)
    return head


def statistics_after(name: str, head: MarginHead, embeddings: torch.Tensor, labels: torch.Tensor) -> Statistics:
    return slow_heads.updated(name, embeddings, labels, head.centres.detach())


def test_all_heads_are_there() -> None:
    published = "adaface arcface combined cosface curricularface magface softmax subcentre-arcface"
    assert sorted(NAMES) == published.split()


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_loss_equal_the_formula(name: str) -> None:
    head, (embeddings, labels) = made_head(name), made_batch()
    after = statistics_after(name, head, embeddings, labels)
    expected = slow_heads.logits(name, embeddings, labels, head.centres.detach(), after)
    norms = embeddings.norm(dim=1)
    logits = head.logits(head.margin.similarities(embeddings, head.centres), norms, labels)
    torch.testing.assert_close(logits.double() / head.margin.scale, expected / head.margin.scale, atol=1e-5, rtol=1e-5)
    expected_loss = slow_heads.loss(name, embeddings, labels, head.centres.detach(), after)
    output = made_head(name)(embeddings, labels)
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == pytest.approx(expected_loss, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_embeddings_give_the_float32_loss(name: str) -> None:
    embeddings, labels = made_batch(16)
    rounded = embeddings.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = made_head(name)(rounded.requires_grad_(), labels)
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == made_head(name)(rounded.float(), labels).loss.item()
    output.loss.backward()
    assert rounded.grad is not None
    assert torch.isfinite(rounded.grad).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("norm", [0.0, 1e-6, 1.0, 20.0, 1e6, 1e15])
def test_gradients_are_finite_where_the_cosine_is_one(name: str, sign: float, norm: float) -> None:
    head = made_head(name, 3, 2)
    with torch.no_grad():
        head.centres.copy_(torch.eye(3)[[0] * (len(head.centres) // 2) + [1] * (len(head.centres) // 2)])
    # With one image of other length: a batch of equal ones has no spread.
    embeddings = torch.tensor([[sign * norm, 0.0, 0.0], [0.0, sign * 3.0, 4.0]], requires_grad=True)
    output = head(embeddings, torch.tensor([0, 1]))
    output.loss.backward()
    assert math.isfinite(output.loss.item())
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()
    assert head.centres.grad is not None
    assert torch.isfinite(head.centres.grad).all()
    for buffer in head.buffers():
        assert torch.isfinite(buffer).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_the_loss(name: str) -> None:
    """Against the slow loop at two points close to each other, along a random direction of embeddings and centres."""
    embeddings, labels = made_batch(6, spread=15.0)
    head = made_head(name)
    with torch.no_grad():
        head.centres.mul_(50)
    # AdaFace's quality and the running t take no part in the gradient.
    after = statistics_after(name, head, embeddings, labels)
    moving = embeddings.clone().requires_grad_()
    head(moving, labels).loss.backward()
    assert moving.grad is not None
    assert head.centres.grad is not None
    generator = torch.Generator().manual_seed(2)
    turn = torch.randn(embeddings.shape, generator=generator).double()
    # Along the sphere for AdaFace, whose norm is a constant to its gradient.
    turn -= (turn * embeddings).sum(1, keepdim=True) / embeddings.square().sum(1, keepdim=True) * embeddings
    shift = torch.randn(head.centres.shape, generator=generator).double()
    step = 1e-5
    losses = [
        slow_heads.loss(
            name, embeddings.double() + sign * turn, labels, head.centres.detach().double() + sign * shift, after
        )
        for sign in (step, -step)
    ]
    slope = float((moving.grad.double() * turn).sum() + (head.centres.grad.double() * shift).sum())
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=2e-3, abs=1e-3)


def test_the_norm_has_a_gradient_in_magface_and_none_in_adaface() -> None:
    cosine = torch.tensor([0.3, 0.6], requires_grad=True)
    norms = torch.tensor([20.0, 30.0], requires_grad=True)
    made_head("adaface").margin.target(cosine, norms).sum().backward()
    assert norms.grad is None
    made_head("magface").margin.target(cosine, norms).sum().backward()
    # m grows by 0.0035 a unit of the norm: m(20) = 0.485 and m(30) = 0.52.
    expected = [-0.0035 * math.sin(math.acos(cosine) + m) for cosine, m in ((0.3, 0.485), (0.6, 0.52))]
    torch.testing.assert_close(norms.grad, torch.tensor(expected))


def test_magface_penalises_by_hand_computed_numbers() -> None:
    norms = torch.tensor([20.0, 55.0])
    penalty = made_head("magface").margin.penalty(norms)
    assert penalty is not None
    # 35 * mean(1/20 + 20/12100, 1/55 + 55/12100) = 35 * mean(0.0516529, 0.0227273)
    assert float(penalty) == pytest.approx(1.301653, abs=1e-5)


def test_adaface_statistics_follow_their_closed_form() -> None:
    head = made_head("adaface", 4, 3)
    labels = torch.tensor([0, 1, 2, 0])
    batches = [torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)) * 10 for seed in range(30)]
    for batch in batches:
        head(batch, labels)
    weights = [0.01 * 0.99 ** (29 - step) for step in range(30)]
    means = [float(batch.double().norm(dim=1).mean()) for batch in batches]
    stds = [float(batch.double().norm(dim=1).std()) for batch in batches]
    mean = 20 * 0.99**30 + sum(weight * value for weight, value in zip(weights, means, strict=True))
    std = 100 * 0.99**30 + sum(weight * value for weight, value in zip(weights, stds, strict=True))
    assert float(head.margin.get_buffer("norm_mean")) == pytest.approx(mean, rel=1e-5)
    assert float(head.margin.get_buffer("norm_std")) == pytest.approx(std, rel=1e-5)


def test_one_image_moves_the_mean_and_leaves_the_spread() -> None:
    head = made_head("adaface", 2, 3)
    head(torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
    assert float(head.margin.get_buffer("norm_mean")) == pytest.approx(0.99 * 20 + 0.01 * 5)
    assert float(head.margin.get_buffer("norm_std")) == 100


def test_curricularface_t_follows_its_closed_form_and_is_logged() -> None:
    head = made_head("curricularface", 2, 2)
    with torch.no_grad():
        head.centres.copy_(torch.eye(2))
    for _ in range(50):
        output = head(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([0, 1]))
    # The cosines with the own centres are 0.6 and 1.
    expected = 0.8 * (1 - 0.99**50)
    assert float(head.margin.get_buffer("t")) == pytest.approx(expected, rel=1e-5)
    total, weight = output.figures["curriculum_t"]
    assert weight is not None
    assert float(total / weight) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["adaface", "curricularface"])
def test_statistics_rest_out_of_training(name: str) -> None:
    head = made_head(name).eval()
    before = {key: value.clone() for key, value in head.margin.state_dict().items()}
    head(*made_batch())
    for key, value in head.margin.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_counted_without_the_margin(name: str) -> None:
    head = made_head(name, 2, 2)
    copies = len(head.centres) // 2
    with torch.no_grad():
        head.centres.copy_(torch.eye(2).repeat_interleave(copies, dim=0))
    # Three are nearest to their own centre, two of them by less than any margin.
    embeddings = torch.tensor([[11.0, 10.0], [10.0, 11.0], [10.0, 0.0], [11.0, 10.0]])
    total, weight = head(embeddings, torch.tensor([0, 1, 0, 1])).figures["train_accuracy"]
    assert weight is not None
    assert (int(total), int(weight)) == (3, 4)


@pytest.mark.parametrize("name", ["adaface", "magface"])
def test_the_mean_norm_is_logged(name: str) -> None:
    figures = made_head(name, 2, 3)(torch.tensor([[3.0, 4.0], [0.0, 25.0]]), torch.tensor([0, 1])).figures
    total, weight = figures["embedding_norm"]
    assert weight is not None
    assert (float(total), float(weight)) == (30.0, 2.0)
    assert not total.requires_grad


def test_the_nearest_subcentre_counts_and_alone_learns() -> None:
    head = made_head("subcentre-arcface", 2, 2)
    with torch.no_grad():
        directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.6, -0.8], [-0.6, -0.8]])
        head.centres.copy_(directions)
    embeddings = torch.tensor([[0.8, 0.6]])
    cosine = head.margin.similarities(embeddings, head.centres)
    torch.testing.assert_close(cosine, torch.tensor([[0.8, 0.0]]))
    head(embeddings, torch.tensor([1])).loss.backward()
    assert head.centres.grad is not None
    assert head.centres.grad.abs().sum(1).gt(0).tolist() == [True, False, False, False, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_loss_at_chance_is_the_loss_of_orthogonal_embeddings(name: str) -> None:
    head = made_head(name, 36, 5).eval()
    with torch.no_grad():
        head.centres.zero_()
        head.centres[:, 0] = 1.0
    embeddings = torch.zeros(3, 36)
    embeddings[:, 1] = 6.0  # the norm of an embedding of 36 dimensions after batch norm
    assert head.loss_at_chance() == pytest.approx(head(embeddings, torch.tensor([0, 1, 4])).loss.item(), rel=1e-5)


def test_loss_at_chance_by_hand() -> None:
    assert made_head("softmax", 8, 10).loss_at_chance() == pytest.approx(math.log(10))
    assert made_head("arcface", 8, 1000).loss_at_chance() == pytest.approx(64 * math.sin(0.5) + math.log(999), rel=1e-5)
    assert made_head("cosface", 8, 1).loss_at_chance() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_heads_can_be_made_without_memory(name: str) -> None:
    with torch.device("meta"):
        head = make_head(name, 512, 10_000_000)
    assert head.centres.is_meta
