from __future__ import annotations

import math

import torch
from torch.nn import functional

from facedistill.distill.cross_architecture_mapping import (
    LocalAttention,
    ReceptiveFieldMapping,
    as_tokens,
    held_fixed,
    layout,
    local_features,
)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def standardised(vector: torch.Tensor) -> torch.Tensor:
    """With the epsilon of a layer norm."""
    centred = vector - vector.mean()
    return centred / math.sqrt(centred.square().mean().item() + 1e-5)


def test_local_features_by_a_slow_loop() -> None:
    torch.manual_seed(0)
    queries, keys, values, table = draw(4, 6), draw(3, 5, 6), draw(3, 5, 6), draw(7, 6)
    buckets = torch.randint(7, (4, 5))
    attention, local = local_features(queries, keys, values, table, buckets)
    for image in range(3):
        for centre in range(4):
            logits = [
                ((queries[centre] + table[buckets[centre, pixel]]) @ keys[image, pixel]).item() / math.sqrt(6)
                for pixel in range(5)
            ]
            total = sum(math.exp(logit) for logit in logits)
            weights = [math.exp(logit) / total for logit in logits]
            torch.testing.assert_close(attention[image, centre], draw(0).new_tensor(weights))
            mixed = sum((weight * value for weight, value in zip(weights, values[image], strict=True)), draw(6) * 0)
            torch.testing.assert_close(local[image, centre], standardised(mixed))


def test_gradient_of_local_features() -> None:
    torch.manual_seed(0)
    buckets = torch.randint(4, (3, 5))
    inputs = [tensor.requires_grad_() for tensor in (draw(3, 4), draw(2, 5, 4), draw(2, 5, 4), draw(4, 4))]
    assert torch.autograd.gradcheck(lambda *given: local_features(*given, buckets), inputs)


def test_self_attention_by_a_slow_loop() -> None:
    torch.manual_seed(0)
    mixing = LocalAttention(6, 2).double()
    local = draw(2, 4, 6)
    attention, output = mixing(local)
    query, key, value = mixing.qkv.weight.chunk(3)
    for image in range(2):
        mixed = torch.zeros(4, 6, dtype=torch.float64)
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            for one in range(4):
                logits = torch.stack(
                    [
                        (query[part] @ local[image, one]) @ (key[part] @ local[image, other]) / math.sqrt(3)
                        for other in range(4)
                    ]
                )
                weights = logits.exp() / logits.exp().sum()
                torch.testing.assert_close(attention[image, head, one], weights)
                for other in range(4):
                    mixed[one, part] += weights[other] * (value[part] @ local[image, other])
        for one in range(4):
            torch.testing.assert_close(output[image, one], standardised(mixing.project.weight @ mixed[one]))


def test_maps_and_tokens_are_one() -> None:
    features = torch.randn(2, 5, 4, 4)
    torch.manual_seed(1)
    of_map = ReceptiveFieldMapping((5, 4, 4), centres=4, width=8, buckets=4, gamma=1.0)
    torch.manual_seed(1)
    of_tokens = ReceptiveFieldMapping((16, 5), centres=4, width=8, buckets=4, gamma=1.0)
    centres = torch.randn(4, 8)
    tokens = as_tokens(features)
    assert torch.equal(tokens[1, 6], features[1, :, 1, 2])
    torch.testing.assert_close(of_map(centres, features), of_tokens(centres, tokens))
    torch.testing.assert_close(of_map(centres, 9 * features), of_map(centres, features), atol=1e-4, rtol=1e-4)


def test_a_class_token_is_left_out() -> None:
    assert layout((17, 5)) == (5, 4, 4)
    assert layout((5, 3, 2)) == (5, 3, 2)
    mapping = ReceptiveFieldMapping((17, 5), centres=4, width=8, buckets=4, gamma=1.0)
    centres, tokens = torch.randn(4, 8), torch.randn(2, 17, 5)
    other = tokens.clone()
    other[:, 0] = torch.randn(2, 5)
    assert torch.equal(mapping(centres, tokens), mapping(centres, other))


def test_the_place_of_a_pixel_counts() -> None:
    """With a table the attention of a centre follows the distance; without it the order of pixels is free."""
    torch.manual_seed(0)
    mapping = ReceptiveFieldMapping((5, 4, 4), centres=4, width=8, buckets=4, gamma=1.0)
    centres, features = torch.randn(4, 8), torch.randn(2, 5, 4, 4)
    with torch.no_grad():
        mapping.table.normal_()
    assert (mapping(centres, features) - mapping(centres, features.flip(2))).abs().max() > 0.01
    with torch.no_grad():
        mapping.table.zero_()
    torch.testing.assert_close(mapping(centres, features), mapping(centres, features.flip(2)))


def test_a_module_that_is_held_fixed_passes_gradient_on() -> None:
    mixing = LocalAttention(8, 2)
    local = torch.randn(2, 4, 8, requires_grad=True)
    attention, output = held_fixed(mixing, local)
    torch.testing.assert_close(output, mixing(local)[1])
    (attention.square().sum() + output[:, 0, 0].sum()).backward()
    assert local.grad is not None
    assert local.grad.abs().sum() > 0
    assert mixing.qkv.weight.grad is None
    assert functional.mse_loss(attention.sum(dim=3), torch.ones(2, 2, 4)) < 1e-9
