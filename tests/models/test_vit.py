from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.export.export import export_onnx
from facedistill.models import build_backbone
from facedistill.models.complexity import measure_complexity
from facedistill.models.vit import Attention, TransformerBlock, VisionTransformer
from facedistill.preprocessing import Preprocessing


@pytest.mark.parametrize(("name", "channels", "giga"), [("vit-tiny", 256, 1.5), ("vit-small", 512, 5.7)])
def test_counts_are_the_published_ones(name: str, channels: int, giga: float) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=512)
    complexity = measure_complexity(backbone, input_size=112)
    assert complexity.multiply_adds / 1e9 == pytest.approx(giga, rel=0.01)
    # By hand: patches, blocks (attention, perceptron), what gathers the tokens and what embeds them.
    tokens, c = 144, channels
    block = 4 * c * c + 8 * c * c
    attention = 2 * tokens * tokens * c
    head = tokens * c * c + c * 512
    assert complexity.multiply_adds == tokens * 243 * c + 12 * (tokens * block + attention) + head
    parameters = 243 * c + c + tokens * c + 12 * (block + c + 5 * c + 4 * c) + 2 * c + head + 2 * c + 2 * 512
    assert complexity.parameters == parameters


def test_attention_is_a_weighted_mean_of_values() -> None:
    torch.manual_seed(0)
    layer = Attention(6, 2).requires_grad_(False)
    tokens = torch.randn(2, 5, 6)
    queries, keys, values = layer.qkv.weight.split(6)
    expected = torch.zeros(2, 5, 6)
    for image in range(2):
        for head in range(2):
            channels = slice(3 * head, 3 * head + 3)
            for token in range(5):
                query = queries[channels] @ tokens[image, token]
                scores = [float(query @ (keys[channels] @ tokens[image, other])) / math.sqrt(3) for other in range(5)]
                total = sum(math.exp(score) for score in scores)
                for other, score in enumerate(scores):
                    share = math.exp(score) / total
                    expected[image, token, channels] += share * (values[channels] @ tokens[image, other])
    torch.testing.assert_close(layer(tokens), layer.project(expected))


def test_oracle_torchs_encoder_layer() -> None:
    torch.manual_seed(0)
    ours = TransformerBlock(16, 4)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0.0, activation=functional.relu6, batch_first=True, norm_first=True
    )
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    norm, attention = ours.attention
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(attention.qkv.weight)
        theirs.self_attn.in_proj_bias.zero_()
    theirs.self_attn.out_proj.load_state_dict(attention.project.state_dict())
    theirs.norm1.load_state_dict(norm.state_dict())
    theirs.norm2.load_state_dict(ours.perceptron[0].state_dict())
    theirs.linear1.load_state_dict(ours.perceptron[1].state_dict())
    theirs.linear2.load_state_dict(ours.perceptron[3].state_dict())
    tokens = torch.randn(3, 7, 16)
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-4, atol=1e-4)


def test_the_width_counts_heads() -> None:
    for width, heads in ((0.01, 1), (0.25, 2), (1.0, 8), (1.5, 12)):
        net = VisionTransformer(32, embedding_size=8, width=width, input_size=48, depth=1)
        assert net.blocks[0].attention[1].heads == heads
        assert net.positions.shape == (1, 25, 32 * heads)


def test_each_patch_has_its_place() -> None:
    """Without positions the tokens of two exchanged patches would change places, and with them nothing else."""
    torch.manual_seed(0)
    net = VisionTransformer(8, embedding_size=4, width=0.25, input_size=36, depth=1).eval()
    images = torch.randn(1, 3, 36, 36)
    exchanged = images.clone()
    exchanged[..., :9, :9], exchanged[..., 27:, 27:] = images[..., 27:, 27:], images[..., :9, :9]
    tokens = []
    net.tail.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with torch.no_grad():
        nn.init.zeros_(net.positions)
        net(images)
        net(exchanged)
        order = [15, *range(1, 15), 0]
        torch.testing.assert_close(tokens[1], tokens[0][:, order])
        nn.init.normal_(net.positions)
        net(images)
        net(exchanged)
        assert not torch.allclose(tokens[3], tokens[2][:, order], atol=1e-3)


def test_a_short_one_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = VisionTransformer(16, embedding_size=8, width=0.25, input_size=32, depth=1)
    net.train()(torch.randn(4, 3, 32, 32))
    checkpoint = Checkpoint(net.eval(), BackboneSpec("vit-tiny", 8, 0.25), Preprocessing(size=32))
    assert export_onnx(checkpoint, tmp_path / "net.onnx").parity[0].largest_difference < 1e-5
