from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec, Checkpoint, load_checkpoint, save_checkpoint
from facedistill.errors import UsageError
from facedistill.models import BACKBONES, build_backbone, default_embedding_size
from facedistill.models.complexity import measure_complexity
from facedistill.models.mobilefacenet import MobileFaceNet
from facedistill.preprocessing import Preprocessing

NAMES = [entry.name for entry in BACKBONES]
# Counted by hand from the published layer tables.
COUNTS = [
    ("mobilefacenet", 128, 1.003, 221.0),
    ("mobilefacenet", 512, 1.2005, 221.2),
    ("iresnet18", 512, 24.03, 2610),
    ("iresnet34", 512, 34.14, 4460),
    ("iresnet50", 512, 43.59, 6310),
    ("iresnet100", 512, 65.16, 12090),
    ("iresnet200", 512, 118.83, 23420),
]


@pytest.mark.parametrize(("name", "size", "millions", "mega_multiply_adds"), COUNTS)
def test_published_counts(name: str, size: int, millions: float, mega_multiply_adds: float) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=size)
    complexity = measure_complexity(backbone, input_size=112)
    assert complexity.parameters / 1e6 == pytest.approx(millions, rel=1e-3)
    assert complexity.multiply_adds / 1e6 == pytest.approx(mega_multiply_adds, rel=1e-3)


def test_layer_table_of_mobilefacenet() -> None:
    """Input, output channels and stride of each block, and the maps between them, as in Table 1 of the paper."""
    backbone = MobileFaceNet(embedding_size=128)
    shapes: list[tuple[int, ...]] = []
    for layer in (*backbone.stem, *backbone.blocks, backbone.expand, backbone.pool):
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    backbone.eval()(torch.zeros(1, 3, 112, 112))
    table = [(64, 56, 56)] * 2 + [(64, 28, 28)] * 5 + [(128, 14, 14)] * 7 + [(128, 7, 7)] * 3
    assert shapes == [*table, (512, 7, 7), (512, 1, 1)]
    expanded = [block.layers[0][0].out_channels for block in backbone.blocks]  # type: ignore[index,union-attr]
    assert expanded == [128] * 5 + [256] + [256] * 6 + [512] + [256] * 2
    residual = [block.residual for block in backbone.blocks]
    assert residual == [False, *[True] * 4, False, *[True] * 6, False, *[True] * 2]
    assert all(layer.bias is None for layer in backbone.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("input_size", [112, 64])
def test_every_backbone_embeds_and_passes_gradients(name: str, input_size: int) -> None:
    backbone = build_backbone(name, embedding_size=24, width=0.125, input_size=input_size)
    output = backbone(torch.randn(2, 3, input_size, input_size))
    assert output.shape == (2, 24)
    output.square().sum().backward()
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in trained)


def test_last_batch_norm_of_iresnet_keeps_its_scale() -> None:
    backbone = build_backbone("iresnet18", embedding_size=8, width=0.125)
    assert not backbone.norm.weight.requires_grad
    assert backbone.norm.bias.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_eval_mode_gives_an_image_the_same_embedding_in_every_batch(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_size=24, width=0.125, input_size=48)
    images = torch.randn(4, 3, 48, 48)
    backbone.train()(images)
    # In double precision, since statistics of one batch let the deep nets' values grow.
    backbone.double().eval()
    images = images.double()
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.no_grad():
        embeddings = backbone(images)
        assert torch.equal(embeddings, backbone(images))
        torch.testing.assert_close(backbone(images[2:3]), embeddings[2:3], rtol=1e-9, atol=1e-9)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_every_backbone_back(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_size=24, width=0.125, input_size=48)
    images = torch.randn(2, 3, 48, 48)
    backbone.train()(images)
    saved = Checkpoint(backbone.eval(), BackboneSpec(name, 24, 0.125), Preprocessing(size=48))
    save_checkpoint(tmp_path / "net.safetensors", saved)
    torch.manual_seed(1)
    loaded = load_checkpoint(tmp_path / "net.safetensors").backbone
    assert loaded.state_dict().keys() == backbone.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(loaded(images), backbone(images))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "iresnet200"])
def test_the_same_seed_draws_the_same_weights(name: str) -> None:
    first, second = (
        (torch.manual_seed(3), build_backbone(name, embedding_size=8, width=0.125, input_size=48))[1].state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_default_embedding_sizes_are_the_published_ones() -> None:
    sizes = {name: default_embedding_size(name) for name in NAMES}
    assert {name for name, size in sizes.items() if size == 128} == {"mobilefacenet", "tinyfacenet"}
    assert {size for name, size in sizes.items() if name not in ("mobilefacenet", "tinyfacenet")} == {512}
    with pytest.raises(UsageError, match="Did you mean 'vit-tiny'"):
        default_embedding_size("vittiny")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mobilfacenet"}, "Did you mean 'mobilefacenet'"),
        ({"name": "tinyfacenet", "embedding_size": 0}, "embedding size is 0"),
        ({"name": "tinyfacenet", "width": -1.0}, "width multiplier is -1"),
        ({"name": "tinyfacenet", "input_size": 8}, "input size is 8"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_backbone(**{"embedding_size": 8, **arguments})  # type: ignore[arg-type]
